/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "live.h"

#include <inttypes.h>
#include <stdarg.h>

#include "basic/event.h"
#include "basic/string-util.h"
#include "table.h"

#define STEPS_MAX 64U
#define HOSTS_MAX 32U
#define BAR_WIDTH_MAX 60U
#define BAR_WIDTH_MIN 12U

typedef enum Mark { MARK_RUNNING, MARK_DONE, MARK_SKIPPED, MARK_FAILED, MARK_UNDOING, MARK_UNDONE, _MARK_MAX } Mark;

static const struct {
        EventKind event; /* the fields of others are those of the step before */
        const char *sign;
        Colour colour;
} marks[_MARK_MAX] = {
        [MARK_RUNNING] = { EVENT_STEP_STARTED, "▶", COLOUR_BOLD },
        [MARK_DONE] = { EVENT_STEP_DONE, "✓", COLOUR_GREEN },
        [MARK_SKIPPED] = { EVENT_STEP_SKIPPED, "·", COLOUR_GREY },
        [MARK_FAILED] = { EVENT_STEP_FAILED, "✗", COLOUR_RED },
        [MARK_UNDOING] = { EVENT_STEP_UNDOING, "◀", COLOUR_YELLOW },
        [MARK_UNDONE] = { EVENT_STEP_UNDONE, "↺", COLOUR_YELLOW },
};

typedef struct Row {
        unsigned index;
        char *step, *last; /* the newest sentence about it */
        char **hosts;      /* that were worked on, in order */
        Mark mark;
        uint64_t begun, ended;
} Row;

struct Live {
        char *job, *txn, *node;
        Row rows[STEPS_MAX];
        size_t n;
        Row *present;
        unsigned count;
        uint64_t begun, ended;      /* of the job; ended 0: it runs */
        uint64_t done, total, rate; /* of the present step */
        char *what;
};

static void replace(char **s, const char *value) {
        char *copy = value ? strdup(value) : NULL;

        free(*s);
        *s = copy;
}

static void forget_rows(Live *l) {
        for (size_t i = 0; i < l->n; i++) {
                free(l->rows[i].step);
                free(l->rows[i].last);
                strv_free(l->rows[i].hosts);
        }
        l->n = 0;
        l->present = NULL;
}

Live *live_new(const char *job) {
        Live *l = calloc(1, sizeof(Live));

        if (l)
                l->job = strdup(job);
        return l && l->job ? l : live_free(l);
}

Live *live_free(Live *l) {
        if (!l)
                return NULL;
        forget_rows(l);
        free(l->job);
        free(l->txn);
        free(l->node);
        free(l->what);
        free(l);
        return NULL;
}

/* ---- what the lines say ---- */

static Row *find_row(Live *l, const JournalLine *line) {
        for (size_t i = 0; i < l->n; i++)
                if (streq(l->rows[i].step, line->step))
                        return l->rows + i;
        if (l->n == STEPS_MAX)
                return NULL;
        l->rows[l->n] = (Row){ .index = line->step_index, .step = strdup(line->step), .begun = line->usec };
        return l->rows[l->n].step ? l->rows + l->n++ : NULL;
}

static void set_mark(Live *l, Row *row, const JournalLine *line) {
        for (Mark m = 0; m < _MARK_MAX; m++) {
                if (!streq(event_message_id(marks[m].event), line->message_id))
                        continue;
                row->mark = m;
                l->ended = 0;
                if (m == MARK_RUNNING || m == MARK_UNDOING) {
                        row->begun = line->usec;
                        row->ended = 0;
                        l->total = 0;
                } else
                        row->ended = line->usec;
        }
}

/* "[7/16] deploy: unpacking …" without what the row says anyway. */
static const char *sentence(const char *message) {
        const char *colon = *message == '[' ? strstr(message, ": ") : NULL;

        return colon ? colon + 2 : message;
}

void live_end(Live *l, uint64_t usec) {
        l->ended = usec;
}

void live_feed(Live *l, const JournalLine *line) {
        Row *row;

        if (l->begun == 0)
                l->begun = line->usec;
        if (!line->step || !line->txn || line->step_index == 0 || line->of_systemd)
                return;
        if (!streq(l->txn, line->txn)) { /* the next node */
                forget_rows(l);
                replace(&l->txn, line->txn);
        }
        if (line->node)
                replace(&l->node, line->node);
        row = find_row(l, line);
        if (!row)
                return;
        l->count = line->step_count > 0 ? line->step_count : l->count;
        l->present = row;
        set_mark(l, row, line);
        if (line->priority <= 6)
                replace(&row->last, sentence(line->message));
        if (line->host && strv_length(row->hosts) < HOSTS_MAX && !strv_contains(row->hosts, line->host) &&
            strv_append(&row->hosts, line->host) < 0)
                return;
        if (line->what) {
                replace(&l->what, line->what);
                l->done = line->done;
                l->total = line->total;
                l->rate = line->rate;
        }
}

/* ---- drawing ---- */

typedef struct Canvas {
        FILE *f;
        size_t width;
        int fd;
} Canvas;

static void draw_line(const Canvas *c, Colour colour, const char *fmt, ...) _printf_(3, 4);

static void draw_line(const Canvas *c, Colour colour, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL, *cut = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        cut = text ? text_cut(text, c->width) : NULL;
        fprintf(c->f, "%s%s%s\n", colour_on(c->fd, colour), cut ?: "", colour_off(c->fd));
}

static void draw_row(const Live *l, const Canvas *c, const Row *row, uint64_t now) {
        uint64_t ended = row->ended > 0 ? row->ended : now;
        _cleanup_free_ char *hosts = strv_join(row->hosts, " ");
        char took[32];

        span_to_string(ended > row->begun ? ended - row->begun : 0, took);
        /* A row that is over needs no sentence, unless it says why. */
        draw_line(c, marks[row->mark].colour, "%s %2u/%u %-12s %8s  %s%s%s", marks[row->mark].sign, row->index,
                  l->count, row->step, took, hosts ?: "", hosts && *hosts && row->mark != MARK_DONE ? "  " : "",
                  row->mark == MARK_DONE ? "" : row->last ?: "");
}

/* "69.9M of 220.7M, 69.4M/s, left: 2.1s", or "12 of 16065 entries". */
static char *progress_to_string(const Live *l) {
        char done[24], total[24], rate[24], left[32] = "";
        bool bytes = streq(l->what, "bytes");
        _cleanup_free_ char *tail = NULL;

        if (bytes) {
                bytes_to_string(l->done, done);
                bytes_to_string(l->total, total);
                bytes_to_string(l->rate, rate);
        } else {
                (void) snprintf(done, sizeof(done), "%" PRIu64, l->done);
                (void) snprintf(total, sizeof(total), "%" PRIu64, l->total);
                (void) snprintf(rate, sizeof(rate), "%" PRIu64, l->rate);
        }
        if (l->rate > 0 && l->total > l->done)
                span_to_string((uint64_t) ((double) (l->total - l->done) / (double) l->rate * USEC_PER_SEC), left);
        tail = l->rate > 0 ? format(", %s/s%s%s", rate, *left ? ", left: " : "", left) : strdup("");
        return tail ? format("%s of %s%s%s%s", done, total, bytes ? "" : " ", bytes ? "" : l->what, tail) : NULL;
}

/* The bar has what room the numbers leave. */
static void draw_progress(const Live *l, const Canvas *c) {
        _cleanup_free_ char *numbers = progress_to_string(l), *bar = NULL;
        size_t used = 3 + (numbers ? text_width(numbers) : 0), room = c->width > used ? c->width - used : 0;

        if (!numbers)
                return;
        bar = progress_bar(l->done, l->total, room < BAR_WIDTH_MAX ? room : BAR_WIDTH_MAX, true);
        draw_line(c, COLOUR_NONE, "  %s %s", room >= BAR_WIDTH_MIN && bar ? bar : "", numbers);
}

char *live_draw(const Live *l, size_t width, size_t height, uint64_t now, int fd) {
        char *text = NULL, span[32];
        size_t size, room = height > 2 ? height - 2 : 1, from = l->n > room ? l->n - room + 1 : 0;
        Canvas c = { .f = open_memstream(&text, &size), .width = width, .fd = fd };

        if (!c.f)
                return NULL;
        now = l->ended > 0 ? l->ended : now;
        span_to_string(l->begun > 0 && now > l->begun ? now - l->begun : 0, span);
        draw_line(&c, COLOUR_BOLD, "Job %s%s%s, %s", l->job, l->node ? ": node " : "", l->node ?: "", span);
        if (from > 0)
                draw_line(&c, COLOUR_GREY, "  … %zu steps before", from);
        for (size_t i = from; i < l->n; i++)
                draw_row(l, &c, l->rows + i, now);
        if (l->present && l->present->ended == 0 && l->total > 0 && l->what)
                draw_progress(l, &c);
        if (fclose(c.f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
