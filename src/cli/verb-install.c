/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd install: the vendor's installer, asked of dhetcdd. */

#include <signal.h>
#include <systemd/sd-event.h>

#include "basic/event.h"
#include "basic/string-util.h"
#include "cli.h"
#include "host/install-record.h"
#include "install.h"
#include "journal-follow.h"
#include "table.h"

#define ASK_USEC (500 * USEC_PER_MSEC)
#define ASK_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define FAILURES_MAX 60U                     /* in a row: the daemon may be restarted */
#define LAST_LINE_USEC (500 * USEC_PER_MSEC) /* the journal may be a little behind */

typedef struct Follow {
        const char *id;
        sd_bus *bus;
        sd_event *event;
        sd_event_source *timer;
        JournalFollow *journal;
        json_t *record; /* once it has ended */
        bool end_shown;
        unsigned failures;
        int signal; /* that made us leave before the end */
} Follow;

static void follow_done(Follow *f) {
        sd_event_source_unref(f->timer);
        journal_follow_free(f->journal);
        json_decref(f->record);
        sd_event_unref(f->event);
}

int install_dir(char **ret) {
        if (!args.installer_dir) {
                fprintf(stderr, "dhetcd: Name the folder of the installer with --installer-dir=\n");
                return EXIT_USAGE;
        }
        *ret = realpath(args.installer_dir, NULL);
        if (!*ret) {
                fprintf(stderr, "dhetcd: %s: %s\n", args.installer_dir, strerror(errno));
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}

static int ask(sd_bus *bus, const char *dir, bool expect, char **ret_id) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k, r;

        k = client_new_call(bus, "Install", &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append(call, "sa{sv}t", dir, 1, "expect", "s", expect ? "etcd-setup-check" : "success",
                                  (uint64_t) 0);
        return r < 0 ? client_fail(r) : client_call_string(bus, call, ret_id);
}

/* ---- listing ---- */

static int add_row(Table *t, const json_t *record) {
        uint64_t ended = (uint64_t) json_get_integer(record, "ended_usec", 0);
        _cleanup_free_ char *when =
                time_to_string(ended > 0 ? ended : (uint64_t) json_get_integer(record, "asked_usec", 0));
        int r;

        r = table_add(t, json_get_string(record, "install"));
        if (r >= 0)
                r = table_add(t, json_get_string(record, "state"));
        if (r >= 0)
                r = table_add(t, when);
        if (r >= 0)
                r = table_add_strings(t, json_object_get(record, "nodes"));
        if (r >= 0)
                r = table_add(t, json_get_string(record, "dir"));
        return r < 0 ? r : table_add(t, json_get_string(record, "text"));
}

static int list(sd_bus *bus) {
        static const Column columns[] = {
                { "ID" }, { "STATE" }, { "ENDED OR ASKED FOR" }, { "NODES" }, { "FOLDER", .spare = true }, { "TEXT" }
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_json_ json_t *all = NULL;
        const json_t *record;
        size_t i;
        int k;

        k = client_new_call(bus, "ListInstalls", &call);
        if (k == EXIT_DONE)
                k = client_call_json(bus, call, &all);
        if (k != EXIT_DONE)
                return k;
        if (args.json != JSON_OFF)
                return print_json(all);
        json_array_foreach (all, i, record)
                if (!t || add_row(t, record) < 0)
                        return client_fail(-ENOMEM);
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        return EXIT_DONE;
}

/* ---- following ---- */

static bool shows_lines(void) {
        return !args.quiet && args.json == JSON_OFF;
}

static bool is_end(const JournalLine *l) {
        static const EventKind ends[] = { EVENT_INSTALL_SUCCEEDED, EVENT_INSTALL_EXPECTED, EVENT_INSTALL_FAILED };

        for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                if (streq(l->message_id, event_message_id(ends[i])))
                        return true;
        return false;
}

static void on_line(void *userdata, const JournalLine *l) {
        bool output = streq(l->message_id, event_message_id(EVENT_SCRIPT_OUTPUT));
        Follow *f = userdata;

        if (is_end(l)) {
                f->end_shown = true; /* and said below, with more */
                if (f->record)
                        (void) sd_event_exit(f->event, 0);
                return;
        }
        if (!shows_lines() || (l->of_systemd && l->priority > LOG_WARNING))
                return;
        fputs(colour_on(1, output ? COLOUR_NONE : COLOUR_BOLD), stdout);
        print_clean(stdout, l->message);
        printf("%s\n", colour_off(1));
        fflush(stdout);
}

/* Blocking, and short: nothing else is to be done meanwhile. NULL where it is not told. */
static json_t *ask_record(Follow *f) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *text;

        if (client_new_call(f->bus, "GetInstall", &call) != EXIT_DONE ||
            sd_bus_message_append_basic(call, 's', f->id) < 0 ||
            sd_bus_call(f->bus, call, ASK_TIMEOUT_USEC, NULL, &reply) < 0 ||
            sd_bus_message_read_basic(reply, 's', &text) < 0)
                return NULL;
        return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
}

static int again(Follow *f, uint64_t usec) {
        int r = sd_event_source_set_time(f->timer, now_boot() + usec);

        return r < 0 ? r : sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_json_ json_t *record = NULL;
        Follow *f = userdata;

        if (f->record) /* the journal has had its time */
                return sd_event_exit(f->event, 0);
        record = ask_record(f);
        if (!record && ++f->failures >= FAILURES_MAX)
                return sd_event_exit(f->event, -ENOTCONN);
        if (!record)
                return again(f, ASK_USEC);
        f->failures = 0;
        if (streq(json_get_string(record, "state"), INSTALL_RUNNING))
                return again(f, ASK_USEC);
        f->record = TAKE_PTR(record);
        if (f->journal)
                journal_follow_drain(f->journal);
        if (f->end_shown || !f->journal)
                return sd_event_exit(f->event, 0);
        return again(f, LAST_LINE_USEC);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Follow *f = userdata;

        fprintf(stderr,
                "\nThe installer goes on without us. To end it: dhetcd cancel %s. Its lines: journalctl -f "
                "DHETCD_JOB=%s\n",
                f->id, f->id);
        f->signal = (int) si->ssi_signo;
        return sd_event_exit(f->event, 0);
}

static int open_follow(Follow *f) {
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        r = sd_event_new(&f->event);
        if (r >= 0)
                r = sd_event_add_signal(f->event, NULL, SIGINT, on_signal, f);
        if (r >= 0)
                r = sd_event_add_signal(f->event, NULL, SIGTERM, on_signal, f);
        if (r >= 0)
                r = sd_event_add_time(f->event, &f->timer, CLOCK_BOOTTIME, now_boot(), USEC_PER_MSEC, on_timer, f);
        return r;
}

static int follow(sd_bus *bus, const char *id, uint64_t since, json_t **ret) {
        _cleanup_(follow_done) Follow f = { .id = id, .bus = bus };
        int r;

        r = open_follow(&f);
        if (r < 0)
                return client_fail(r);
        if (!args.host && shows_lines() && journal_follow_new(f.event, id, since, on_line, &f, &f.journal) < 0)
                fprintf(stderr, "dhetcd: The journal cannot be read; only the end is shown.\n");
        r = sd_event_loop(f.event);
        if (f.signal)
                return EXIT_SIGNAL + f.signal;
        if (r < 0 || !f.record) {
                fprintf(stderr,
                        "dhetcd: dhetcdd does not tell of installation %s any more; see: journalctl DHETCD_JOB=%s\n",
                        id, id);
                return EXIT_FAILED;
        }
        *ret = TAKE_PTR(f.record);
        return EXIT_DONE;
}

/* ---- the end ---- */

static void print_lines(const json_t *record) {
        const json_t *lines = json_object_get(record, "lines");
        json_t *line;
        size_t i;

        if (json_array_size(lines) == 0)
                return;
        fprintf(stderr, "The lines that matter:\n");
        json_array_foreach (lines, i, line) {
                fputs("  ", stderr);
                print_clean(stderr, json_string_value(line) ?: "");
                fputc('\n', stderr);
        }
}

static int say_success(const json_t *record, const char *next) {
        if (args.quiet)
                return EXIT_DONE;
        printf("%s%s%s: ", colour_on(1, COLOUR_GREEN), "Done", colour_off(1));
        print_clean(stdout, json_get_string(record, "text"));
        putchar('\n');
        if (next)
                printf("Next: %s\n", next);
        fflush(stdout);
        return EXIT_DONE;
}

static int failure_code(const json_t *record) {
        return json_is_true(json_object_get(record, INSTALL_BUSY)) ? EXIT_BUSY : EXIT_FAILED;
}

/* Whether it is a run up to the vendor's expected failure, which is a success then; "grow" goes on from there. */
static bool expects(const json_t *record) {
        return json_is_true(json_object_get(record, "expect")) && !json_object_get(record, "nodes");
}

/* The command that does the same again. */
static char *same_again(const json_t *record) {
        const json_t *nodes = json_object_get(record, "nodes"), *node;
        char *text = format("dhetcd %s --installer-dir='%s'%s", nodes ? "grow" : "install",
                            json_get_string(record, "dir"), expects(record) ? " --expect=etcd-setup-check" : "");
        size_t i;

        json_array_foreach (nodes, i, node) {
                char *longer = text ? format("%s %s", text, json_string_value(node)) : NULL;

                free(text);
                text = longer;
        }
        return text;
}

/* Says how it ended, with the lines that matter where it is no success, and the command that goes on. The exit code for
 * it. */
static int tell(const json_t *record) {
        const char *state = json_get_string(record, "state"), *text = json_get_string(record, "text");
        bool as_expected = streq(state, INSTALL_EXPECTED);
        const char *id = json_get_string(record, "install");
        _cleanup_free_ char *again = same_again(record);

        if (streq(state, INSTALL_SUCCEEDED))
                return say_success(record, NULL);
        if (as_expected && expects(record))
                return say_success(record, "dhetcd add NODE...");

        fputs("dhetcd: ", stderr);
        print_clean(stderr, text ?: "The installer failed");
        fputc('\n', stderr);
        if (!streq(state, INSTALL_REFUSED)) {
                print_lines(record);
                fprintf(stderr, "All of them: journalctl DHETCD_JOB=%s, or " INSTALLS_DIR "/%s/output.log\n", id, id);
        }
        fprintf(stderr, "%s: %s\n",
                as_expected ? "The new nodes are no members yet: dhetcd add NODE..., then again"
                            : "When that is mended",
                again ?: "the same command again");
        return failure_code(record);
}

static int print_id(const char *id) {
        _cleanup_json_ json_t *v = NULL;

        if (args.json == JSON_OFF) {
                puts(id);
                return EXIT_DONE;
        }
        v = json_pack("{s:s}", "install", id);
        return v ? print_json(v) : client_fail(-ENOMEM);
}

int install_stay(sd_bus *bus, const char *id, uint64_t since) {
        _cleanup_json_ json_t *record = NULL;
        const char *state;
        int k;

        if (!args.block)
                return print_id(id);
        k = follow(bus, id, since, &record);
        if (k != EXIT_DONE)
                return k;
        if (args.json == JSON_OFF)
                return tell(record);
        k = print_json(record);
        state = json_get_string(record, "state");
        return streq(state, INSTALL_SUCCEEDED) || (expects(record) && streq(state, INSTALL_EXPECTED))
                       ? k
                       : failure_code(record);
}

/* Asks first: who may not be told is told so, and not only shown the journal's lines. */
int install_watch(sd_bus *bus, const char *id) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k;

        k = client_new_call(bus, "GetInstall", &call);
        if (k == EXIT_DONE && sd_bus_message_append_basic(call, 's', id) < 0)
                k = client_fail(-ENOMEM);
        if (k == EXIT_DONE)
                k = client_call(bus, call, NULL);
        return k == EXIT_DONE ? install_stay(bus, id, 0) : k;
}

int verb_install(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *dir = NULL, *id = NULL;
        uint64_t since = now_real();
        int k;

        k = args.list ? EXIT_DONE : install_dir(&dir);
        if (k != EXIT_DONE)
                return k;
        password_agent_open();
        k = client_open(&bus);
        if (args.list)
                return k == EXIT_DONE ? list(bus) : k;
        if (k == EXIT_DONE)
                k = ask(bus, dir, args.expect_setup_check, &id);
        return k == EXIT_DONE ? install_stay(bus, id, since) : k;
}
