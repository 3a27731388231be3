/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcdd: one event loop, the bus name, and an end when nobody needs it. The bus starts it again. */

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "basic/error.h"
#include "basic/event.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host.h"
#if HAVE_MANAGER
#include "job.h"
#include "manager.h"
#endif

#define IDLE_TIME (30 * USEC_PER_SEC)
#define LEAVE_PAUSE (100 * USEC_PER_MSEC)
#define EXIT_AGAIN 75 /* for RestartForceExitStatus=: a job has come at the last moment */

typedef struct Daemon {
        sd_event *event;
        sd_bus *bus;
        Host *host;
#if HAVE_MANAGER
        Manager *manager;
#endif
        sd_event_source *idle_timer;
        sd_bus_slot *slot_release, *slot_filter;
        uint64_t last_call; /* now_boot() of the newest method call */
} Daemon;

static void daemon_done(Daemon *d) {
        sd_event_source_unref(d->idle_timer);
        sd_bus_slot_unref(d->slot_release);
        sd_bus_slot_unref(d->slot_filter);
#if HAVE_MANAGER
        manager_free(d->manager);
#endif
        host_free(d->host);
        sd_bus_flush_close_unref(d->bus);
        sd_event_unref(d->event);
}

/* ---- idle ---- */

static bool is_idle(const Daemon *d) {
#if HAVE_MANAGER
        if (!manager_is_idle(d->manager))
                return false;
#endif
        return host_is_idle(d->host) && now_boot() - d->last_call >= IDLE_TIME;
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Daemon *d = userdata;

        if (sd_bus_message_is_method_call(m, NULL, NULL))
                d->last_call = now_boot();
        return 0;
}

static int on_idle_timer(sd_event_source *s, uint64_t usec, void *userdata);

static int arm_idle_timer(Daemon *d) {
        uint64_t end = d->last_call + IDLE_TIME, now = now_boot();

        /* Work without calls: look again later. */
        if (end <= now)
                end = now + IDLE_TIME;
        d->idle_timer = sd_event_source_unref(d->idle_timer);
        return sd_event_add_time(d->event, &d->idle_timer, CLOCK_BOOTTIME, end, USEC_PER_SEC, on_idle_timer, d);
}

/* ---- leaving ---- */

/* Somebody waits for an answer. */
static bool is_asked(const Daemon *d) {
#if HAVE_MANAGER
        if (manager_is_asked(d->manager))
                return true;
#endif
        return !host_is_idle(d->host);
}

static bool has_work(const Daemon *d) {
#if HAVE_MANAGER
        return !manager_is_idle(d->manager);
#else
        return false;
#endif
}

/* What was sent to our name before it was given back has arrived by now, and is answered yet. PID 1 knows that we stop:
 * it neither ends us for the name nor takes us for running, and starts another one for who calls now. */
static int leave(Daemon *d);

static int on_leave_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        return leave(userdata);
}

static int leave(Daemon *d) {
        int r;

        if (!is_asked(d))
                return sd_event_exit(d->event, has_work(d) ? EXIT_AGAIN : 0);
        (void) sd_notify(0, "EXTEND_TIMEOUT_USEC=10000000");
        d->idle_timer = sd_event_source_unref(d->idle_timer);
        r = sd_event_add_time(d->event, &d->idle_timer, CLOCK_BOOTTIME, now_boot() + LEAVE_PAUSE, 0, on_leave_timer, d);
        return r < 0 ? sd_event_exit(d->event, r) : 0;
}

static int on_released(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Daemon *d = userdata;

        d->slot_release = sd_bus_slot_unref(d->slot_release);
        return leave(d);
}

static int on_idle_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Daemon *d = userdata;
        int r;

        if (!is_idle(d))
                return arm_idle_timer(d);
        host_prune(d->host, NULL);
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Nothing to do, leaving");
        r = sd_bus_release_name_async(d->bus, &d->slot_release, DHETCD_SERVICE, on_released, d);
        return r < 0 ? sd_event_exit(d->event, r) : 0;
}

/* ---- beginning ---- */

/* 1: ours. 4: already ours. Anything else: somebody else's. */
static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Daemon *d = userdata;
        uint32_t answer = 0;

        if (!e && sd_bus_message_read(m, "u", &answer) >= 0 && (answer == 1 || answer == 4)) {
                (void) sd_notify(0, "READY=1\nSTATUS=Waiting for calls");
                return 0;
        }
        fprintf(stderr, "The name %s on the system bus is not to be had: %s\n", DHETCD_SERVICE,
                e ? e->message ?: e->name : "another process has it");
        return sd_event_exit(d->event, -EEXIST);
}

static int open_loop(Daemon *d) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);

        r = sd_event_default(&d->event);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        return r < 0 ? r : 0;
}

static int open_bus(Daemon *d) {
        int r;

        r = sd_bus_open_system(&d->bus);
        if (r >= 0)
                r = sd_bus_attach_event(d->bus, d->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(d->bus, true);
        if (r >= 0)
                r = sd_bus_add_filter(d->bus, &d->slot_filter, on_call, d);
        return r;
}

/* The name comes last: who gets it has everything there. */
static int daemon_start(Daemon *d) {
        int r;

        r = open_loop(d);
        if (r >= 0)
                r = open_bus(d);
        if (r >= 0)
                r = host_new(d->event, d->bus, &d->host);
#if HAVE_MANAGER
        if (r >= 0)
                r = manager_new(d->event, d->bus, &d->manager);
#endif
        if (r < 0)
                return r;
        d->last_call = now_boot();
        r = sd_bus_request_name_async(d->bus, NULL, DHETCD_SERVICE, 0, on_name, d);
        return r < 0 ? r : arm_idle_timer(d);
}

/* dhetcd-repair.service: done before dh-etcd starts, whatever comes of it. */
static int repair(void) {
        _cleanup_free_ char *why = NULL;
        int r;

        umask(0077);
        r = host_repair(&why);
        if (r < 0)
                log_event(
                        EVENT_WARNING, LOG_ERR, &(EventContext){ .error = r },
                        "Not all that a crash left half-written could be put back: %s. \"dhetcd settle\" on the job's "
                        "host does it",
                        error_text(why, r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        _cleanup_(daemon_done) Daemon d = {};
        int r;

        if (argc == 2 && streq(argv[1], "--repair"))
                return repair();
#if DHETCD_FAILPOINTS
        if (argc == 2 && streq(argv[1], "failpoints")) {
                host_failpoints(stdout);
#if HAVE_MANAGER
                job_failpoints(stdout);
#endif
                return EXIT_SUCCESS;
        }
#endif
        if (argc > 1) {
                bool help = streq(argv[1], "--help") || streq(argv[1], "-h");

                if (streq(argv[1], "--version"))
                        printf("dhetcdd %s\n", DHETCD_VERSION);
                else
                        fprintf(help ? stdout : stderr, "dhetcdd takes no arguments but --repair: the system bus "
                                                        "starts it. See dhetcdd.service(8).\n");
                return help || streq(argv[1], "--version") ? EXIT_SUCCESS : EXIT_FAILURE;
        }

        umask(0077);
        r = daemon_start(&d);
        if (r < 0) {
                fprintf(stderr, "dhetcdd cannot start: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        r = sd_event_loop(d.event);
        (void) sd_notify(0, "STOPPING=1");
        if (r < 0) {
                fprintf(stderr, "dhetcdd ends early: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        return r;
}
