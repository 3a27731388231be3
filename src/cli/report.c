/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "report.h"

#include "basic/string-util.h"
#include "table.h"

static const char head[] =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
        ":root { color-scheme: light dark }\n"
        "body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }\n"
        "table { border-collapse: collapse; margin: 1em 0; width: 100% }\n"
        "th, td { text-align: left; padding: .15em .8em .15em 0; vertical-align: top; border-bottom: 1px solid #8884 "
        "}\n"
        "td.n { text-align: right; white-space: nowrap } h1 + table td { overflow-wrap: anywhere }\n"
        ".log td:first-child, .steps td:nth-child(3), th { white-space: nowrap }\n"
        "code, .log td { font-family: ui-monospace, monospace; font-size: 12px; overflow-wrap: anywhere }\n"
        ".badge { padding: .1em .6em; border-radius: 1em; color: #fff; background: #777 }\n"
        ".committed, .done { background: #2a7d3f; fill: #2a7d3f }\n"
        ".rejected, .failed, .stuck { background: #b3261e; fill: #b3261e }\n"
        ".rolled-back, .undone, .undoing { background: #b26a00; fill: #d98a1c }\n"
        ".running { background: #2160b0; fill: #2160b0 } .skipped { fill: #999 }\n"
        ".wide { overflow-x: auto } .wide > * { min-width: 50rem }\n"
        "svg { width: 100%; height: auto; font: 11px system-ui, sans-serif }\n"
        "svg text { fill: currentColor } .label, .note { text-anchor: end } .tick { text-anchor: middle }\n"
        ".head { font-weight: bold } .note { opacity: .7 } .grid { stroke: #8884 }\n"
        ".event { fill: #5b8def } .restart { fill: #b3261e } .gap { fill: #b3261e }\n"
        ".lag { fill: none; stroke: #2160b0; stroke-width: 1.5 }\n"
        ".p0, .p1, .p2, .p3 { color: #c5352c } .p4 { color: #b26a00 } .p5 { font-weight: bold } .p7 { opacity: .6 }\n"
        "</style>\n";

void html_escape(FILE *f, const char *text) {
        for (; *text; text++)
                switch (*text) {
                case '&':
                        fputs("&amp;", f);
                        break;
                case '<':
                        fputs("&lt;", f);
                        break;
                case '>':
                        fputs("&gt;", f);
                        break;
                case '"':
                        fputs("&quot;", f);
                        break;
                case '\'':
                        fputs("&#39;", f);
                        break;
                default:
                        fputc((unsigned char) *text < ' ' || *text == 0x7f ? ' ' : *text, f);
                }
}

static void element(FILE *f, const char *tag, const char *text) {
        fprintf(f, "<%s>", tag);
        html_escape(f, text ?: "");
        fprintf(f, "</%s>", tag);
}

static void write_time(FILE *f, json_int_t usec) {
        _cleanup_free_ char *text = time_to_string(usec > 0 ? (uint64_t) usec : 0);

        element(f, "td", text);
}

static void write_field(FILE *f, const char *name, const char *value) {
        fputs("<tr>", f);
        element(f, "th", name);
        element(f, "td", value);
        fputs("</tr>\n", f);
}

static bool is_class(const char *state) {
        return state && strspn(state, "abcdefghijklmnopqrstuvwxyz-") == strlen(state);
}

static void write_job(FILE *f, const json_t *job) {
        const char *state = json_get_string(job, "state");
        _cleanup_free_ char *options = json_to_text(json_object_get(job, "options"), JSON_COMPACT);
        _cleanup_free_ char *queued = time_to_string((uint64_t) json_get_integer(job, "queued_usec", 0));
        _cleanup_free_ char *ended = time_to_string((uint64_t) json_get_integer(job, "ended_usec", 0));
        _cleanup_free_ char *user = user_to_string(json_get_integer(job, "uid", -1));

        fputs("<h1>Job ", f);
        html_escape(f, json_get_string(job, "job") ?: "?");
        fprintf(f, " <span class=\"badge %s\">", is_class(state) ? state : "");
        html_escape(f, state ?: "?");
        fputs("</span></h1>\n<table>\n", f);
        write_field(f, "Result", json_get_string(job, "text"));
        write_field(f, "Asked for", queued);
        write_field(f, "Ended", ended);
        write_field(f, "Asked by", user);
        write_field(f, "Options", options);
        fputs("</table>\n", f);
}

static void write_span(FILE *f, const json_t *step, const char *from, const char *to) {
        json_int_t begun = json_get_integer(step, from, 0), ended = json_get_integer(step, to, 0);
        char span[32] = "";

        if (begun > 0 && ended >= begun)
                span_to_string((uint64_t) (ended - begun), span);
        fprintf(f, "<td class=\"n\">%s</td>", span);
}

static void write_step(FILE *f, const json_t *step) {
        const char *address;
        json_t *digest;

        fputs("<tr>", f);
        element(f, "td", json_get_string(step, "step"));
        element(f, "td", json_get_string(step, "state"));
        write_time(f, json_get_integer(step, "started_usec", 0));
        write_span(f, step, "started_usec", "ended_usec");
        write_span(f, step, "undo_usec", "undone_usec");
        fputs("<td>", f);
        json_object_foreach (json_object_get(step, "hosts"), address, digest) {
                html_escape(f, address);
                fputs(" <code>", f);
                html_escape(f, json_string_value(digest) ?: "");
                fputs("</code><br>", f);
        }
        html_escape(f, json_get_string(step, "why") ?: "");
        fputs("</td></tr>\n", f);
}

static void write_transaction(FILE *f, const json_t *transaction) {
        const json_t *backup = json_object_get(transaction, "backup");
        json_t *step;
        size_t i;

        fputs("<h2>Node ", f);
        html_escape(f, json_get_string(transaction, "node") ?: "?");
        fputs(": ", f);
        html_escape(f, json_get_string(transaction, "state") ?: "?");
        fputs("</h2>\n", f);
        if (json_get_string(transaction, "reason"))
                element(f, "p", json_get_string(transaction, "reason"));
        fputs("<div class=\"wide\"><table class=\"steps\"><tr><th>Step<th>State<th>Begun<th>Took<th>Undo<th>Hosts "
              "changed, "
              "SHA-256 before</tr>\n",
              f);
        json_array_foreach (json_object_get(transaction, "steps"), i, step)
                write_step(f, step);
        fputs("</table></div>\n", f);
        if (json_get_string(backup, "sha256")) {
                fputs("<p>Snapshot of etcd's data: <code>", f);
                html_escape(f, json_get_string(backup, "path") ?: "?");
                fprintf(f, "</code>, revision %" JSON_INTEGER_FORMAT ", SHA-256 <code>",
                        json_get_integer(backup, "revision", 0));
                html_escape(f, json_get_string(backup, "sha256"));
                fputs("</code></p>\n", f);
        }
}

static void write_lines(FILE *f, const json_t *lines) {
        json_t *line;
        size_t i;

        fputs("<h2>Journal</h2>\n", f);
        if (json_array_size(lines) == 0)
                fputs("<p>The journal could not be read, or has no line of this job any more.</p>\n", f);
        fputs("<table class=\"log\">\n", f);
        json_array_foreach ((json_t *) lines, i, line) {
                json_int_t priority = json_get_integer(line, "priority", 6);

                fprintf(f, "<tr class=\"p%d\">", priority >= 0 && priority <= 7 ? (int) priority : 6);
                write_time(f, json_get_integer(line, "usec", 0));
                element(f, "td", json_get_string(line, "host"));
                element(f, "td", json_get_string(line, "message"));
                fputs("</tr>\n", f);
        }
        fputs("</table>\n", f);
}

static void write_gaps(FILE *f, const json_t *gaps) {
        json_int_t sum = 0;
        char span[32];
        json_t *gap;
        size_t i;

        json_array_foreach ((json_t *) gaps, i, gap)
                sum += json_get_integer(gap, "until_usec", 0) - json_get_integer(gap, "from_usec", 0);
        span_to_string(sum > 0 ? (uint64_t) sum : 0, span);
        if (sum > 0)
                fprintf(f,
                        "<p>While one of at most two voters restarted, the cluster took no writes: %s, in %zu "
                        "part%s, at most.</p>\n",
                        span, json_array_size(gaps), json_array_size(gaps) == 1 ? "" : "s");
        else
                fputs("<p>No member was restarted that the quorum needed: no gap in writes is known.</p>\n", f);
}

char *report_html(const json_t *data) {
        const json_t *job = json_object_get(data, "job");
        json_t *transaction;
        char *text = NULL;
        size_t size, i;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        fputs(head, f);
        fputs("<title>dhetcd job ", f);
        html_escape(f, json_get_string(job, "job") ?: "?");
        fputs("</title>\n</head>\n<body>\n", f);
        write_job(f, job);
        report_svg(f, data);
        write_gaps(f, json_object_get(data, "gaps"));
        json_array_foreach (json_object_get(job, "transactions"), i, transaction)
                write_transaction(f, transaction);
        write_lines(f, json_object_get(data, "lines"));
        fputs("<footer><p>Written by dhetcd " DHETCD_VERSION ".</p></footer>\n</body>\n</html>\n", f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
