/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "table.h"

#include <inttypes.h>
#include <sys/ioctl.h>

#include "basic/string-util.h"
#include "pager.h"

typedef struct Cell {
        char *text;
        Colour colour;
} Cell;

struct Table {
        const Column *columns;
        size_t n_columns;
        Cell *cells;
        size_t n;
};

/* ---- text ---- */

static bool is_continuation(char c) {
        return ((unsigned char) c & 0xc0) == 0x80;
}

size_t text_width(const char *text) {
        size_t n = 0;

        for (; *text; text++)
                n += !is_continuation(*text);
        return n;
}

static void clean(char *text) {
        for (; *text; text++)
                if ((unsigned char) *text < ' ' || *text == 0x7f)
                        *text = ' ';
}

char *text_cut(const char *text, size_t width) {
        _cleanup_free_ char *copy = strdup(text);
        size_t n = 0;

        if (!copy)
                return NULL;
        clean(copy);
        if (text_width(copy) <= width)
                return TAKE_PTR(copy);
        for (char *c = copy; *c; c++)
                if (!is_continuation(*c) && ++n == width) {
                        *c = '\0';
                        return format("%s…", copy);
                }
        copy[0] = '\0'; /* no column at all */
        return TAKE_PTR(copy);
}

char *strings_join(const json_t *list) {
        _cleanup_strv_ char **all = NULL;
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *) list, i, entry)
                if (strv_append(&all, json_string_value(entry) ?: "?") < 0)
                        return NULL;
        return all ? strv_join(all, ",") : strdup("");
}

void bytes_to_string(uint64_t bytes, char ret[static 16]) {
        static const char units[] = "BKMGT";
        double value = (double) bytes;
        size_t i = 0;

        for (; value >= 1024 && i < sizeof(units) - 2; i++)
                value /= 1024;
        (void) snprintf(ret, 16, i == 0 ? "%.0f%c" : "%.1f%c", value, units[i]);
}

void span_to_string(uint64_t usec, char ret[static 32]) {
        uint64_t seconds = usec / USEC_PER_SEC;

        if (seconds >= 3600)
                (void) snprintf(ret, 32, "%" PRIu64 "h %" PRIu64 "min", seconds / 3600, seconds % 3600 / 60);
        else if (seconds >= 60)
                (void) snprintf(ret, 32, "%" PRIu64 "min %" PRIu64 "s", seconds / 60, seconds % 60);
        else if (seconds >= 10)
                (void) snprintf(ret, 32, "%" PRIu64 "s", seconds);
        else if (seconds >= 1)
                (void) snprintf(ret, 32, "%" PRIu64 ".%" PRIu64 "s", seconds, usec % USEC_PER_SEC / 100000);
        else
                (void) snprintf(ret, 32, "%" PRIu64 "ms", usec / USEC_PER_MSEC);
}

char *progress_bar(uint64_t done, uint64_t total, size_t width, bool blocks) {
        size_t inner = width > 7 ? width - 7 : 0, full;
        unsigned percent;
        char *bar, *end;

        if (done > total)
                done = total;
        percent = total > 0 ? (unsigned) ((double) done * 100 / (double) total) : 0;
        full = inner * percent / 100;
        bar = end = calloc(1, inner * 3 + 16);
        if (!bar)
                return NULL;
        *end++ = '[';
        for (size_t i = 0; i < inner; i++)
                end = stpcpy(end, i >= full ? " " : blocks ? "█" : "#");
        (void) snprintf(end, 8, "] %3u%%", percent);
        return bar;
}

/* ---- the terminal ---- */

static struct winsize terminal_size(int fd) {
        struct winsize size = {};

        fd = pager_terminal(fd);
        if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) < 0)
                return (struct winsize){};
        return size;
}

size_t terminal_width(int fd) {
        return terminal_size(fd).ws_col;
}

size_t terminal_height(int fd) {
        return terminal_size(fd).ws_row;
}

/* ---- the table ---- */

#define LAST_READABLE 60U /* of the last column, which is cut, before others are left out for it */

Table *table_new(const Column *columns, size_t n) {
        Table *t = calloc(1, sizeof(Table));

        if (t)
                *t = (Table){ .columns = columns, .n_columns = n };
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
        return NULL;
}

int table_add_coloured(Table *t, Colour colour, const char *text) {
        Cell *grown = reallocarray(t->cells, t->n + 1, sizeof(Cell));

        if (!grown)
                return -ENOMEM;
        t->cells = grown;
        t->cells[t->n] = (Cell){ strdup(text && *text ? text : "-"), colour };
        if (!t->cells[t->n].text)
                return -ENOMEM;
        clean(t->cells[t->n++].text);
        return 0;
}

int table_add(Table *t, const char *text) {
        return table_add_coloured(t, COLOUR_NONE, text);
}

int table_add_strings(Table *t, const json_t *list) {
        _cleanup_free_ char *text = strings_join(list);

        return text ? table_add(t, text) : -ENOMEM;
}

static size_t find_widths(const Table *t, size_t widths[static TABLE_COLUMNS_MAX], bool legend) {
        size_t sum = 0;

        for (size_t c = 0; c < t->n_columns; c++)
                widths[c] = legend ? text_width(t->columns[c].title) : 0;
        for (size_t i = 0, c = 0; i < t->n; i++, c = c + 1 < t->n_columns ? c + 1 : 0) {
                size_t w = text_width(t->cells[i].text);

                widths[c] = w > widths[c] ? w : widths[c];
        }
        for (size_t c = 0; c < t->n_columns; c++)
                sum += widths[c] + 2;
        return sum - 2;
}

/* A cell that is cut is the line's last. */
static void print_row(const Table *t, const Cell *cells, const size_t *widths, FILE *f, int fd, size_t width) {
        size_t used = 0;

        for (size_t c = 0; c < t->n_columns; c++) {
                const char *text = cells ? cells[c].text : t->columns[c].title;
                size_t room = width == 0 ? SIZE_MAX : used < width ? width - used : 0, w = text_width(text);
                _cleanup_free_ char *cut = text_cut(text, w < room ? w : room);
                bool last = c + 1 == t->n_columns;

                if (widths[c] == 0 || room == 0)
                        continue;
                if (t->columns[c].right)
                        fprintf(f, "%*s", (int) (widths[c] - w), "");
                fprintf(f, "%s%s%s", cells ? colour_on(fd, cells[c].colour) : "", cut ?: "", colour_off(fd));
                if (!last)
                        fprintf(f, "%*s", (int) (t->columns[c].right ? 2 : widths[c] - w + 2), "");
                used += widths[c] + 2;
        }
        fputc('\n', f);
}

void table_print(const Table *t, FILE *f, int fd, size_t width, bool legend) {
        size_t widths[TABLE_COLUMNS_MAX] = {}, sum = find_widths(t, widths, legend), last = widths[t->n_columns - 1];

        if (last > LAST_READABLE)
                sum -= last - LAST_READABLE;
        for (size_t c = t->n_columns; width > 0 && sum > width && c-- > 0;)
                if (t->columns[c].spare) {
                        sum -= widths[c] + 2;
                        widths[c] = 0;
                }
        if (legend)
                print_row(t, NULL, widths, f, fd, width);
        for (size_t i = 0; i + t->n_columns <= t->n; i += t->n_columns)
                print_row(t, t->cells + i, widths, f, fd, width);
}
