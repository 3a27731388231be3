/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "follow.h"

#include <signal.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "basic/error.h"
#include "basic/event.h"
#include "basic/string-util.h"
#include "bus/host-state.h"
#include "bus/names.h"
#include "cli.h"
#include "journal-follow.h"
#include "live.h"
#include "table.h"

#define RETRY_USEC USEC_PER_SEC
#define REDRAW_USEC (250 * USEC_PER_MSEC)
#define LAST_LINE_USEC (500 * USEC_PER_MSEC) /* the journal may be a little behind the bus */

typedef struct Follow {
        const char *job;
        FollowMode mode;
        sd_event *event;
        sd_bus *bus; /* NULL while it is away */
        sd_bus_slot *ask_slot, *cancel_slot;
        sd_event_source *retry, *last;
        JournalFollow *journal;
        Live *live;   /* on a terminal; else NULL: lines */
        size_t drawn; /* its lines that are on the screen */
        sd_event_source *redraw;
        char *text;     /* the job's, as told last */
        char *end;      /* its state, once it has ended */
        bool any_line;  /* the journal can be read */
        bool end_shown; /* its newest line is that of its end */
        unsigned interrupts;
        int signal; /* that made us leave before the end */
} Follow;

#define ERROR_SHUTTING_DOWN "org.freedesktop.systemd1.ShuttingDown" /* of whoever would start the daemon */

static void ask(Follow *f);
static void reconnect(Follow *f);

static void follow_done(Follow *f) {
        sd_bus_slot_unref(f->ask_slot);
        sd_bus_slot_unref(f->cancel_slot);
        sd_event_source_unref(f->retry);
        sd_event_source_unref(f->last);
        sd_event_source_unref(f->redraw);
        live_free(f->live);
        journal_follow_free(f->journal);
        sd_bus_close_unref(f->bus);
        sd_event_unref(f->event);
        free(f->text);
        free(f->end);
}

static bool shows_lines(void) {
        return !args.quiet && !args.unit && args.json == JSON_OFF;
}

static void say(const char *text) {
        if (args.json != JSON_OFF)
                return;
        print_clean(stdout, text);
        putchar('\n');
        fflush(stdout);
}

/* --- the live view --- */

static void erase(Follow *f) {
        if (f->drawn > 0)
                printf("\033[%zuA\r\033[J", f->drawn);
        f->drawn = 0;
}

/* Several changes of the picture are one: it is drawn a few times a second at most. */
static void draw(Follow *f) {
        size_t width = terminal_width(STDOUT_FILENO), height = terminal_height(STDOUT_FILENO);
        _cleanup_free_ char *text = NULL;

        erase(f);
        text = live_draw(f->live, width > 0 ? width - 1 : 79, height > 6 ? height - 3 : 4, now_real(), STDOUT_FILENO);
        for (const char *c = text; c && *c; c++)
                f->drawn += *c == '\n';
        fputs(text ?: "", stdout);
        fflush(stdout);
}

static int on_redraw(sd_event_source *source, uint64_t usec, void *userdata) {
        Follow *f = userdata;

        draw(f);
        (void) sd_event_source_set_time(source, now_boot() + REDRAW_USEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static bool wants_live(void) {
        const char *term = getenv("TERM");

        return !args.quiet && !args.unit && args.json == JSON_OFF && isatty(STDOUT_FILENO) && term &&
               !streq(term, "dumb");
}

static int start_live(Follow *f) {
        f->live = live_new(f->job);
        if (!f->live)
                return -ENOMEM;
        return sd_event_add_time(f->event, &f->redraw, CLOCK_BOOTTIME, now_boot() + REDRAW_USEC / 2, 0, on_redraw, f);
}

/* --- the lines --- */

static Colour line_colour(const JournalLine *l) {
        if (l->priority <= LOG_ERR)
                return COLOUR_RED;
        if (l->priority == LOG_WARNING)
                return COLOUR_YELLOW;
        return l->priority == LOG_NOTICE ? COLOUR_BOLD : COLOUR_NONE;
}

static void print_line(const JournalLine *l) {
        time_t seconds = (time_t) (l->usec / USEC_PER_SEC);
        char when[16] = "";
        struct tm tm;

        if (localtime_r(&seconds, &tm))
                (void) strftime(when, sizeof(when), "%H:%M:%S", &tm);
        printf("%s%s%s ", colour_on(1, COLOUR_GREY), when, colour_off(1));
        if (l->host)
                printf("%s: ", l->host);
        fputs(colour_on(1, line_colour(l)), stdout);
        print_clean(stdout, l->message);
        printf("%s\n", colour_off(1));
        fflush(stdout);
}

static bool is_id(const JournalLine *l, const EventKind *kinds, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (streq(l->message_id, event_message_id(kinds[i])))
                        return true;
        return false;
}

/* What `systemctl status dhetcd-add@…` shows as the present step. */
static void notify_step(const JournalLine *l) {
        static const EventKind steps[] = { EVENT_STEP_STARTED, EVENT_STEP_PROGRESS, EVENT_STEP_UNDOING,
                                           EVENT_TXN_SETTLING };

        if (!args.unit || !is_id(l, steps, ELEMENTSOF(steps)))
                return;
        if (l->step_index > 0 && l->step_count > 0 && l->message[0] != '[') /* the engine says it itself */
                (void) sd_notifyf(0, "STATUS=Step %u/%u: %s", l->step_index, l->step_count, l->message);
        else
                (void) sd_notifyf(0, "STATUS=%s", l->message);
}

/* That a unit was started or stopped as it should says nothing to an operator; and what the live view shows is no line
 * as well. */
static bool is_worth_a_line(const Follow *f, const JournalLine *l, bool end) {
        if (!shows_lines())
                return false;
        if (f->live)
                return end || (l->priority <= LOG_WARNING && !l->of_systemd);
        return l->priority <= (l->of_systemd ? LOG_WARNING : LOG_INFO);
}

static void on_line(void *userdata, const JournalLine *l) {
        static const EventKind ends[] = { EVENT_JOB_COMMITTED, EVENT_JOB_REJECTED, EVENT_JOB_ROLLED_BACK,
                                          EVENT_JOB_STUCK,     EVENT_JOB_CANCELED, EVENT_JOB_RESCUED };
        bool end = is_id(l, ends, ELEMENTSOF(ends));
        Follow *f = userdata;

        f->any_line = true;
        if (is_worth_a_line(f, l, end)) {
                erase(f); /* it comes again below the line */
                print_line(l);
        }
        if (f->live)
                live_feed(f->live, l);
        if (f->live && end)
                live_end(f->live, l->usec);
        notify_step(l);
        f->end_shown = end; /* an earlier end may be followed by a settling */
        if (f->end && f->end_shown)
                (void) sd_event_exit(f->event, 0);
}

/* --- the job --- */

static int on_last(sd_event_source *source, uint64_t usec, void *userdata) {
        Follow *f = userdata;

        return sd_event_exit(f->event, 0);
}

static void on_state(Follow *f, const char *state, const char *text) {
        bool news = !streq(f->text, text);

        if (f->end || (state_exit_code(state) < 0 && !news))
                return;
        free(f->text);
        f->text = strdup(text);
        if (state_exit_code(state) < 0) {
                if (args.unit)
                        (void) sd_notifyf(0, "STATUS=%s", text);
                if ((args.unit && streq(state, "queued")) || (shows_lines() && !f->any_line && !f->live))
                        say(text);
                return;
        }

        f->end = strdup(state);
        if (f->journal && shows_lines())
                journal_follow_drain(f->journal);
        if (f->end_shown || !shows_lines() || !f->journal ||
            sd_event_add_time(f->event, &f->last, CLOCK_BOOTTIME, now_boot() + LAST_LINE_USEC, 0, on_last, f) < 0)
                (void) sd_event_exit(f->event, 0);
}

static int on_job_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused) {
        const char *job, *state, *text;
        Follow *f = userdata;

        if (sd_bus_message_read(signal, "sss", &job, &state, &text) >= 0 && streq(job, f->job))
                on_state(f, state, text);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Follow *f = userdata;

        if (f->bus && sd_bus_is_open(f->bus) > 0)
                ask(f);
        else
                reconnect(f);
        return 0;
}

static void retry_later(Follow *f) {
        f->retry = sd_event_source_unref(f->retry);
        if (sd_event_add_time(f->event, &f->retry, CLOCK_BOOTTIME, now_boot() + RETRY_USEC, 0, on_retry, f) < 0)
                (void) sd_event_exit(f->event, -ENOMEM);
}

/* No answer comes any more, and a shutdown must not wait for us. */
static int leave_to_next_boot(Follow *f) {
        fprintf(stderr, "dhetcd: This host is shutting down; its next boot goes on with job %s.\n", f->job);
        f->signal = SIGTERM;
        return sd_event_exit(f->event, 0);
}

static int on_job(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        _cleanup_json_ json_t *v = NULL;
        const char *text = NULL;
        Follow *f = userdata;

        f->ask_slot = sd_bus_slot_unref(f->ask_slot);
        if (error && (sd_bus_error_has_name(error, DHETCD_ERROR_NO_SUCH_JOB) ||
                      sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))) {
                (void) client_error(error);
                return sd_event_exit(f->event, -ENOENT);
        }
        if (error && sd_bus_error_has_name(error, ERROR_SHUTTING_DOWN) && !args.host)
                return leave_to_next_boot(f);
        if (!error && sd_bus_message_read_basic(reply, 's', &text) > 0)
                v = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (v && json_get_string(v, "state") && json_get_string(v, "text"))
                on_state(f, json_get_string(v, "state"), json_get_string(v, "text"));
        else
                retry_later(f);
        return 0;
}

static void ask(Follow *f) {
        f->ask_slot = sd_bus_slot_unref(f->ask_slot);
        if (sd_bus_call_method_async(f->bus, &f->ask_slot, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, "GetJob",
                                     on_job, f, "s", f->job) < 0)
                retry_later(f);
}

/* --- the bus --- */

/* The daemon went, or a new one came: it is started again by being asked, and knows the job from disk. */
static int on_owner_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused) {
        Follow *f = userdata;

        if (!f->end)
                ask(f);
        return 0;
}

static int on_disconnected(sd_bus_message *signal, void *userdata, sd_bus_error *unused) {
        retry_later(userdata);
        return 0;
}

static int add_matches(Follow *f) {
        int r;

        r = sd_bus_match_signal(f->bus, NULL, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, "JobChanged", on_job_changed,
                                f);
        if (r >= 0)
                r = sd_bus_match_signal(f->bus, NULL, "org.freedesktop.DBus.Local", NULL, "org.freedesktop.DBus.Local",
                                        "Disconnected", on_disconnected, f);
        if (r >= 0)
                r = sd_bus_add_match(f->bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                                     "member='NameOwnerChanged',arg0='" DHETCD_SERVICE "'",
                                     on_owner_changed, f);
        return r;
}

static void reconnect(Follow *f) {
        int r;

        f->ask_slot = sd_bus_slot_unref(f->ask_slot);
        f->cancel_slot = sd_bus_slot_unref(f->cancel_slot);
        f->bus = sd_bus_close_unref(f->bus);

        r = client_connect(&f->bus);
        if (r >= 0)
                r = sd_bus_attach_event(f->bus, f->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = add_matches(f);
        if (r < 0)
                retry_later(f);
        else
                ask(f); /* after the matches: no change is missed */
}

/* --- signals --- */

static int on_canceled(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);

        if (error)
                (void) client_error(error);
        return 0;
}

static void cancel(Follow *f) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r = -ENOTCONN;

        if (f->bus && client_new_call(f->bus, "CancelJob", &call) == EXIT_DONE) {
                r = sd_bus_message_append_basic(call, 's', f->job);
                if (r >= 0)
                        r = sd_bus_call_async(f->bus, &f->cancel_slot, call, on_canceled, f, 0);
        }
        if (r < 0)
                fprintf(stderr, "dhetcd: Job %s could not be canceled (%s); run \"dhetcd cancel %s\"\n", f->job,
                        strerror(-r), f->job);
        else if (!args.unit)
                fprintf(stderr, "Canceling job %s. This waits for its end.\n", f->job);
        else
                (void) sd_notifyf(0, "STATUS=Canceling job %s", f->job);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Follow *f = userdata;
        bool asks_first = si->ssi_signo == SIGINT && isatty(STDIN_FILENO);

        if (si->ssi_signo == SIGTERM && !args.host && host_goes_down())
                return leave_to_next_boot(f);
        f->interrupts++;
        f->drawn = 0; /* the picture stays above what is said now */
        if (f->mode != FOLLOW_OWN || (asks_first && f->interrupts > 2)) {
                fprintf(stderr, "\nJob %s goes on without us; see \"dhetcd show %s\".\n", f->job, f->job);
                f->signal = (int) si->ssi_signo;
                return sd_event_exit(f->event, 0);
        }
        if (asks_first && f->interrupts == 1)
                fprintf(stderr,
                        "\nJob %s goes on, also when this terminal is closed. Press ^C again to cancel it, as "
                        "\"dhetcd cancel %s\" does.\n",
                        f->job, f->job);
        else
                cancel(f);
        return 0;
}

static int add_signals(Follow *f) {
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(f->event, NULL, SIGINT, on_signal, f);
        return r < 0 ? r : sd_event_add_signal(f->event, NULL, SIGTERM, on_signal, f);
}

/* --- the whole --- */

/* The outcome, where the journal's own last line was not shown, and where scripts want it. */
static int tell_end(Follow *f) {
        _cleanup_free_ char *line = format("Job %s: %s: %s", f->job, f->end, f->text ?: "");
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *v = NULL;

        if (args.json != JSON_OFF && f->mode != FOLLOW_SILENT) {
                /* The loop has closed its connection at its end. */
                if (client_open(&bus) == EXIT_DONE && client_get_job(bus, f->job, &v) == EXIT_DONE)
                        (void) print_json(v);
        } else if ((!f->end_shown && !args.quiet) || args.unit)
                say(line ?: f->end);
        if (args.unit)
                (void) sd_notifyf(0, "STATUS=%s", line ?: f->end);
        return state_exit_code(f->end);
}

int follow_job(const char *job, uint64_t since, FollowMode mode) {
        _cleanup_(follow_done) Follow f = { .job = job, .mode = mode };
        int r;

        r = sd_event_new(&f.event);
        if (r >= 0)
                r = add_signals(&f);
        if (r < 0)
                return client_fail(r);
        if (args.host && shows_lines())
                fprintf(stderr, "dhetcd: Only the job's state is shown. For all of it: ssh -t %s dhetcd watch %s\n",
                        args.host, job);
        if (!args.host && args.json == JSON_OFF && !args.quiet &&
            journal_follow_new(f.event, job, since, on_line, &f, &f.journal) < 0)
                fprintf(stderr, "dhetcd: The journal cannot be read; only the job's state is shown.\n");

        if (f.journal && wants_live() && start_live(&f) < 0)
                f.live = live_free(f.live);
        reconnect(&f);
        r = sd_event_loop(f.event);
        if (f.live && f.end && !f.signal) /* else what was said last stays the last */
                draw(&f);
        if (f.signal)
                return EXIT_SIGNAL + f.signal;
        if (r < 0 || !f.end)
                return EXIT_FAILED;
        return tell_end(&f);
}

int follow_call(sd_bus *bus, sd_bus_message *call, uint64_t since) {
        _cleanup_free_ char *job = NULL;
        int k = client_call_string(bus, call, &job);

        if (k != EXIT_DONE)
                return k;
        if (!args.block) {
                if (args.json != JSON_OFF)
                        return print_json_string("job", job);
                puts(job);
                return EXIT_DONE;
        }
        if (!args.quiet && args.json == JSON_OFF && !args.unit)
                fprintf(stderr, "Job %s. It goes on without this command; \"dhetcd watch %s\" comes back to it.\n", job,
                        job);
        return follow_job(job, since, FOLLOW_OWN);
}
