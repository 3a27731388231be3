/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd report: all that is known of a job, as one page for whoever was not there. */

#include "basic/string-util.h"
#include "journal-follow.h"
#include "report.h"
#include "cli.h"

static void on_line(void *userdata, const JournalLine *l) {
        json_t *line = json_pack("{sI si ss ss? ss? ss? ss? ss? ss?}", "usec", (json_int_t) l->usec, "priority",
                                 l->priority, "message", l->message, "host", l->host, "txn", l->txn, "step", l->step,
                                 "phase", l->phase, "unit", l->unit, "what", l->what);

        if (line && l->what)
                (void) json_object_update_new(line, json_pack("{sI sI sI}", "done", (json_int_t) l->done, "total",
                                                              (json_int_t) l->total, "rate", (json_int_t) l->rate));
        if (line) /* not, where it is no UTF-8 */
                (void) json_array_append_new(userdata, line);
}

int verb_report(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *job = NULL, *lines = json_array(), *data = NULL;
        _cleanup_free_ char *html = NULL;
        int k, r;

        if (args.json == JSON_OFF && isatty(STDOUT_FILENO)) {
                fprintf(stderr, "dhetcd: The report is a page for a browser: dhetcd report %s > FILE.html\n", argv[1]);
                return EXIT_USAGE;
        }
        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_get_job(bus, argv[1], &job);
        if (k != EXIT_DONE)
                return k;
        r = journal_read(argv[1], on_line, lines);
        if (r < 0)
                fprintf(stderr, "dhetcd: The journal cannot be read (%s); the report is without it\n", strerror(-r));
        data = json_pack("{sO sO}", "job", job, "lines", lines);
        if (!data || json_object_set_new(data, "gaps", report_gaps(data)) < 0)
                return client_fail(-ENOMEM);
        if (args.json != JSON_OFF)
                return print_json(data);
        html = report_html(data);
        if (!html)
                return client_fail(-ENOMEM);
        return fputs(html, stdout) == EOF || fflush(stdout) == EOF ? client_fail(-errno) : EXIT_DONE;
}
