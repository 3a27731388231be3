/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The timeline: steps from the job's record, and from the journal, by host, what was done there, restarts, and how
 * far the learner was behind. */

#include "basic/string-util.h"
#include "report.h"
#include "table.h"

#define LEFT 190.0
#define LABEL_CHARS 26U /* that surely have room left of it */
#define WIDTH 800.0
#define ROW 20.0
#define LAG_HEIGHT 60.0
#define TICKS 8U
#define HOSTS_MAX 64U

typedef struct Chart {
        FILE *f;
        json_int_t from, until; /* microseconds */
        double y;
} Chart;

static double x_of(const Chart *c, json_int_t usec) {
        double part = (double) (usec - c->from) / (double) (c->until - c->from);

        return LEFT + WIDTH * (part < 0 ? 0 : part > 1 ? 1 : part);
}

static void include(Chart *c, json_int_t usec) {
        if (usec <= 0)
                return;
        c->from = c->from == 0 || usec < c->from ? usec : c->from;
        c->until = usec > c->until ? usec : c->until;
}

static const char *const step_times[] = { "started_usec", "ended_usec", "undo_usec", "undone_usec" };

static size_t find_range(Chart *c, const json_t *transactions) {
        json_t *transaction, *step;
        size_t i, k, n = 0;

        json_array_foreach ((json_t *) transactions, i, transaction)
                json_array_foreach (json_object_get(transaction, "steps"), k, step) {
                        for (size_t t = 0; t < ELEMENTSOF(step_times); t++)
                                include(c, json_get_integer(step, step_times[t], 0));
                        n++;
                }
        c->until = c->until > c->from ? c->until : c->from + 1;
        return n;
}

/* A long IPv6 address is pressed into the room that is there. */
static void label(const Chart *c, const char *text) {
        fprintf(c->f, "<text class=\"label\" x=\"%.1f\" y=\"%.1f\"", LEFT - 8, c->y + ROW - 6);
        if (text_width(text) > LABEL_CHARS)
                fprintf(c->f, " textLength=\"%.1f\" lengthAdjust=\"spacingAndGlyphs\"", LEFT - 12);
        fputc('>', c->f);
        html_escape(c->f, text);
        fputs("</text>\n", c->f);
}

static void bar(const Chart *c, const char *class, json_int_t from, json_int_t until, const char *title) {
        double x = x_of(c, from), w = x_of(c, until) - x;
        char span[32];

        span_to_string(until > from ? (uint64_t) (until - from) : 0, span);
        fprintf(c->f, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", class, x,
                c->y + 3, w > 1.5 ? w : 1.5, ROW - 6);
        html_escape(c->f, title);
        fprintf(c->f, " (%s)</title></rect>\n", span);
}

static const char *class_of(const char *state) {
        static const char *const known[] = { "done", "skipped", "failed", "undone", "undoing", "running" };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (streq(known[i], state))
                        return known[i];
        return "running";
}

static void draw_step(Chart *c, const json_t *step) {
        json_int_t begun = json_get_integer(step, "started_usec", 0), ended = json_get_integer(step, "ended_usec", 0);
        json_int_t undo = json_get_integer(step, "undo_usec", 0), undone = json_get_integer(step, "undone_usec", 0);
        const char *name = json_get_string(step, "step") ?: "?", *class = class_of(json_get_string(step, "state"));

        label(c, name);
        if (begun > 0)
                bar(c,
                    undo > 0 && ended == 0 ? "failed"
                    : undo > 0             ? "done"
                                           : class,
                    begun,
                    ended > 0  ? ended
                    : undo > 0 ? undo
                               : c->until,
                    name);
        else if (ended > 0)
                bar(c, class, ended, ended, json_get_string(step, "why") ?: name);
        if (undo > 0)
                bar(c, "undone", undo, undone > 0 ? undone : c->until, "undo");
        c->y += ROW;
}

static void draw_transactions(Chart *c, const json_t *transactions) {
        json_t *transaction, *step;
        size_t i, k;

        json_array_foreach ((json_t *) transactions, i, transaction) {
                if (json_array_size(json_object_get(transaction, "steps")) == 0)
                        continue;
                fprintf(c->f, "<text class=\"head\" x=\"4\" y=\"%.1f\">", c->y + ROW - 6);
                html_escape(c->f, json_get_string(transaction, "node") ?: "?");
                fputs("</text>\n", c->f);
                c->y += ROW;
                json_array_foreach (json_object_get(transaction, "steps"), k, step)
                        draw_step(c, step);
        }
}

/* ---- by host ---- */

static bool is_of(const json_t *line, const char *host) {
        return streq(json_get_string(line, "host"), host);
}

static char **find_hosts(const json_t *lines) {
        _cleanup_strv_ char **hosts = NULL;
        json_t *line;
        size_t i;

        json_array_foreach ((json_t *) lines, i, line) {
                const char *host = json_get_string(line, "host");

                if (host && !strv_contains(hosts, host) && strv_length(hosts) < HOSTS_MAX &&
                    strv_append(&hosts, host) < 0)
                        return NULL;
        }
        return TAKE_PTR(hosts);
}

static json_int_t restarted_at(const json_t *lines, size_t from, const char *host) {
        for (size_t i = from; i < json_array_size(lines); i++) {
                const json_t *line = json_array_get(lines, i);

                if (is_of(line, host) && streq(json_get_string(line, "phase"), "restarted"))
                        return json_get_integer(line, "usec", 0);
        }
        return 0;
}

static void draw_host(Chart *c, const json_t *lines, const char *host) {
        json_t *line;
        size_t i;

        label(c, host);
        json_array_foreach ((json_t *) lines, i, line) {
                json_int_t when = json_get_integer(line, "usec", 0), ended = when;
                bool restart = is_of(line, host) && streq(json_get_string(line, "phase"), "restarting");

                if (!is_of(line, host))
                        continue;
                if (restart)
                        ended = restarted_at(lines, i, host) ?: c->until;
                bar(c, restart ? "restart" : "event", when, ended, json_get_string(line, "message") ?: "");
        }
        c->y += ROW;
}

/* ---- the learner ---- */

static json_int_t lag_of(const json_t *line) {
        json_int_t done = json_get_integer(line, "done", 0), total = json_get_integer(line, "total", 0);

        return streq(json_get_string(line, "what"), "entries") ? total > done ? total - done : 0 : -1;
}

/* Each learner has a line of its own. */
static void draw_lag_lines(Chart *c, const json_t *lines, json_int_t most) {
        const char *txn = NULL;
        bool open = false;
        json_t *line;
        size_t i;

        json_array_foreach ((json_t *) lines, i, line) {
                if (lag_of(line) < 0)
                        continue;
                if (!open || !streq(json_get_string(line, "txn"), txn))
                        fprintf(c->f, "%s<polyline stroke-linecap=\"round\" class=\"lag\" points=\"",
                                open ? "\"/>\n" : "");
                open = true;
                txn = json_get_string(line, "txn");
                fprintf(c->f, "%.1f,%.1f ", x_of(c, json_get_integer(line, "usec", 0)),
                        c->y + LAG_HEIGHT - 4 -
                                (most > 0 ? (LAG_HEIGHT - 8) * (double) lag_of(line) / (double) most : 0));
        }
        if (open)
                fputs("\"/>\n", c->f);
}

static void draw_lag(Chart *c, const json_t *lines) {
        json_int_t most = -1;
        json_t *line;
        size_t i;

        json_array_foreach ((json_t *) lines, i, line)
                most = lag_of(line) > most ? lag_of(line) : most;
        if (most < 0)
                return;
        label(c, "raft lag");
        fprintf(c->f, "<text class=\"note\" x=\"%.1f\" y=\"%.1f\">at most %lld entries</text>\n", LEFT - 8,
                c->y + 2 * ROW - 8, (long long) most);
        draw_lag_lines(c, lines, most);
        c->y += LAG_HEIGHT;
}

/* ---- all of it ---- */

static void draw_gaps(Chart *c, const json_t *gaps) {
        json_t *gap;
        size_t i;

        if (json_array_size(gaps) == 0)
                return;
        label(c, "no writes");
        json_array_foreach ((json_t *) gaps, i, gap)
                bar(c, "gap", json_get_integer(gap, "from_usec", 0), json_get_integer(gap, "until_usec", 0),
                    json_get_string(gap, "host") ?: "?");
        c->y += ROW;
}

static void draw_axis(const Chart *c, double top) {
        for (unsigned i = 0; i <= TICKS; i++) {
                uint64_t usec = (uint64_t) (c->until - c->from) * i / TICKS;
                double x = LEFT + WIDTH * i / TICKS;
                char span[32];

                span_to_string(usec, span);
                fprintf(c->f,
                        "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
                        "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
                        x, top, x, c->y, x, top - 6, i == 0 ? "0" : span);
        }
}

void report_svg(FILE *f, const json_t *data) {
        const json_t *transactions = json_object_get(json_object_get(data, "job"), "transactions");
        const json_t *lines = json_object_get(data, "lines");
        _cleanup_strv_ char **hosts = find_hosts(lines);
        _cleanup_free_ char *body = NULL;
        size_t size;
        Chart c = { .y = 24 };

        if (find_range(&c, transactions) == 0)
                return;
        c.f = open_memstream(&body, &size);
        if (!c.f)
                return;
        draw_transactions(&c, transactions);
        STRV_FOREACH (host, hosts)
                draw_host(&c, lines, *host);
        draw_gaps(&c, json_object_get(data, "gaps"));
        draw_lag(&c, lines);
        draw_axis(&c, 24);
        if (fclose(c.f) != 0)
                return;
        fprintf(f,
                "<div class=\"wide\"><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
                "aria-label=\"Timeline\">\n%s</svg></div>\n",
                LEFT + WIDTH + 40, c.y + 8, body);
}
