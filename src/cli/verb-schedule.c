/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd schedule, unschedule, and what the timer's service asks for at the date. */

#include <time.h>

#include "basic/event.h"
#include "basic/string-util.h"
#include "basic/time-of-day.h"
#include "bus/unit-job.h"
#include "calendar.h"
#include "cli.h"
#include "pager.h"
#include "schedules.h"
#include "table.h"
#include "verb-plan.h"

#define DATES 3U
#define LATE_MAX (60 * USEC_PER_SEC) /* a timer that elapses later has missed its date */

/* As this host's clocks show it, which is how systemd reads dates, whatever the caller's $TZ says. */
static bool host_time(time_t at, struct tm *ret) {
        unsetenv("TZ");
        tzset();
        return localtime_r(&at, ret);
}

static char *date_to_string(uint64_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64];
        struct tm tm;

        if (!host_time(seconds, &tm) || strftime(text, sizeof(text), "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                return strdup("?");
        return strdup(text);
}

/* ---- asking ---- */

static int find_dates(const char *on, uint64_t *dates, size_t n) {
        int r = calendar_dates(on, now_real(), dates, n);

        if (r > 0)
                return r;
        if (r == -ENOENT)
                fprintf(stderr, "dhetcd: systemd-analyze is not installed; it is needed to work out dates\n");
        else if (r == -EINVAL)
                fprintf(stderr, "dhetcd: '%s' is no calendar event, like 'Sat 02:00'; see systemd.time(7)\n", on);
        else if (r == 0)
                fprintf(stderr, "dhetcd: '%s' has no date that is still to come\n", on);
        else
                return client_fail(r);
        return -EINVAL;
}

/* From the first date to --until, microseconds; 0 where there is no --until. */
static int find_window(uint64_t from, uint64_t *ret) {
        uint64_t end;
        struct tm tm;

        *ret = 0;
        if (!args.until)
                return EXIT_DONE;
        if (!host_time((time_t) (from / USEC_PER_SEC), &tm) || time_of_day_after(args.until, from, &end) < 0) {
                fprintf(stderr, "dhetcd: --until= takes a time of day, like 05:00, not '%s'\n", args.until);
                return EXIT_USAGE;
        }
        *ret = end - from;
        return EXIT_DONE;
}

static int ask(char **nodes) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        int k, r;

        k = client_begin("Schedule", &bus, &call);
        if (k != EXIT_DONE)
                return k;
        r = client_append_request(call, nodes, 0);
        if (r >= 0)
                r = sd_bus_message_append(call, "ss", args.on, args.until ?: "");
        return r < 0 ? client_fail(r) : client_call(bus, call, &reply);
}

static int print_dates(char **nodes, const uint64_t *dates, size_t n) {
        _cleanup_free_ char *all = strv_join(nodes, ", ");
        _cleanup_json_ json_t *array = json_array();

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *date = date_to_string(dates[i]);

                if (args.json != JSON_OFF)
                        (void) json_array_append_new(array, json_integer((json_int_t) dates[i]));
                else if (!args.quiet)
                        printf("%s %s\n", i == 0 ? "Next:" : "     ", date ?: "?");
        }
        if (args.json != JSON_OFF) {
                _cleanup_json_ json_t *v =
                        json_pack("{s:s, s:s, s:O}", "node", nodes[0], "on", args.on, "dates_usec", array);

                return print_json(v);
        }
        if (!args.quiet && args.legend)
                fprintf(stderr,
                        "%s: scheduled; once added, the schedule ends. A date that is missed is not caught up. To take "
                        "it "
                        "back: dhetcd unschedule %s\n",
                        all ?: "?", nodes[0]);
        return EXIT_DONE;
}

int verb_schedule(int argc, char **argv) {
        uint64_t dates[DATES], window;
        int n, k;

        if (argc == 1 && !args.on)
                return schedules_list();
        if (argc == 1 || !args.on) {
                fprintf(stderr, "dhetcd: schedule needs nodes and a date: dhetcd schedule NODE… --on 'Sat 02:00'\n");
                return EXIT_USAGE;
        }
        n = find_dates(args.on, dates, DATES);
        if (n <= 0)
                return EXIT_FAILED;
        k = find_window(dates[0], &window);
        if (k == EXIT_DONE && args.check)
                k = plan_nodes(argv + 1, window, /* brief= */ true);
        if (k == EXIT_DONE)
                k = ask(argv + 1);
        return k == EXIT_DONE ? print_dates(argv + 1, dates, (size_t) n) : k;
}

int verb_unschedule(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        int k, r;

        k = client_begin("Unschedule", &bus, &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append_basic(call, 's', argv[1]);
        k = r < 0 ? client_fail(r) : client_call(bus, call, &reply);
        return k == EXIT_DONE && args.json != JSON_OFF ? print_json_string("node", argv[1]) : k;
}

/* ---- listing ---- */

int schedules_read(sd_bus *bus, json_t **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *text;
        int k;

        k = client_new_call(bus, "ListSchedules", &call);
        if (k == EXIT_DONE)
                k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;
        if (sd_bus_message_read_basic(reply, 's', &text) < 0)
                return client_fail(-EBADMSG);
        *ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        return json_is_array(*ret) ? EXIT_DONE : client_fail(-EBADMSG);
}

/* What systemd says of the timer; 0 where it says nothing. */
static uint64_t next_of(sd_bus *bus, const char *node) {
        _cleanup_free_ char *unit = format("dhetcd-add@%s.timer", node), *path = NULL;
        uint64_t next = 0;

        if (!unit || sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path) < 0 ||
            sd_bus_get_property_trivial(bus, SYSTEMD_SERVICE, path, "org.freedesktop.systemd1.Timer",
                                        "NextElapseUSecRealtime", NULL, 't', &next) < 0 ||
            next == UINT64_MAX)
                return 0;
        return next;
}

static int add_row(Table *t, sd_bus *bus, const json_t *schedule) {
        json_t *nodes = json_object_get(schedule, "nodes");
        uint64_t next = next_of(bus, json_string_value(json_array_get(nodes, 0)) ?: "");
        _cleanup_free_ char *when = next > 0 ? date_to_string(next) : strdup("");
        int r;

        r = table_add(t, when);
        if (r >= 0)
                r = table_add(t, json_get_string(schedule, "on"));
        if (r >= 0)
                r = table_add(t, json_get_string(schedule, "until"));
        return r < 0 ? r : table_add_strings(t, nodes);
}

int schedules_print(sd_bus *bus, const json_t *schedules) {
        static const Column columns[] = { { "NEXT" }, { "ON" }, { "UNTIL" }, { "NODES" } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        json_t *schedule;
        size_t i;

        if (!t)
                return client_fail(-ENOMEM);
        json_array_foreach ((json_t *) schedules, i, schedule)
                if (add_row(t, bus, schedule) < 0)
                        return client_fail(-ENOMEM);
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        return EXIT_DONE;
}

int schedules_list(void) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *array = NULL;
        json_t *v;
        size_t i;
        int k;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = schedules_read(bus, &array);
        if (k != EXIT_DONE)
                return k;
        pager_open();
        if (args.json == JSON_OFF) {
                return schedules_print(bus, array);
        }
        json_array_foreach (array, i, v) {
                const char *node = json_string_value(json_array_get(json_object_get(v, "nodes"), 0));

                (void) json_object_set_new(v, "next_usec", json_integer((json_int_t) next_of(bus, node ?: "")));
        }
        return print_json(array);
}

/* ---- at the date ---- */

static const json_t *find_schedule(const json_t *array, const char *node) {
        json_t *v;
        size_t i;

        json_array_foreach (array, i, v)
                if (streq(json_string_value(json_array_get(json_object_get(v, "nodes"), 0)), node))
                        return v;
        return NULL;
}

/* The window that began at the date; the next one is not this job's. */
static bool window_is_over(const char *until, uint64_t date) {
        uint64_t end;
        struct tm tm;

        return until && *until && host_time((time_t) (date / USEC_PER_SEC), &tm) &&
               time_of_day_after(until, date, &end) >= 0 && end <= now_real();
}

static int tell_missed(const char *node, const char *on, const char *why) {
        log_event(EVENT_JOB_MISSED, LOG_WARNING, &(EventContext){ .node = node },
                  "The addition of etcd node %s was scheduled for '%s', and %s: nothing was begun, and it is tried at "
                  "the next date",
                  node, on, why);
        fprintf(stderr, "dhetcd: The date was missed; nothing was begun. To add it now: dhetcd add %s\n", node);
        return EXIT_FAILED;
}

/* The timer elapses at its date, or, after the machine slept or its clock was set, later: then nothing is begun. */
int schedules_check_date(sd_bus *bus, const char *node) {
        _cleanup_json_ json_t *array = NULL;
        uint64_t date = 0, now = now_real();
        const json_t *schedule;
        const char *on;
        int k, r;

        k = schedules_read(bus, &array);
        if (k != EXIT_DONE)
                return k;
        schedule = find_schedule(array, node);
        on = json_get_string(schedule, "on");
        if (!on) {
                fprintf(stderr, "dhetcd: %s is not scheduled; to add it now: dhetcd add %s\n", node, node);
                return EXIT_FAILED;
        }
        r = calendar_dates(on, now - LATE_MAX, &date, 1);
        if (r < 0)
                return client_fail(r);
        if (r == 0 || date > now + USEC_PER_SEC)
                return tell_missed(node, on, "this is more than a minute later");
        if (window_is_over(json_get_string(schedule, "until"), date))
                return tell_missed(node, on, "its window is over");
        return EXIT_DONE;
}
