/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd cancel, dhetcd rollback, dhetcd watch, dhetcd settle: verbs about a job that is there. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"

#define GET_TIMEOUT_USEC (10 * USEC_PER_SEC)

/* `force` is sent where the method takes it: it is not negative. */
static int call_with_job(const char *method, const char *job, int force) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k, r;

        k = client_begin(method, &bus, &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append_basic(call, 's', job);
        if (r >= 0 && force >= 0)
                r = sd_bus_message_append_basic(call, 'b', &force);
        return r < 0 ? client_fail(r) : client_call(bus, call, NULL);
}

/* The ids of the jobs in `state`. */
static int find_jobs(const char *wanted, char ***ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *jobs = NULL;
        _cleanup_strv_ char **ids = NULL;
        json_t *job;
        size_t i;
        int k;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_list_jobs(bus, &jobs);
        if (k != EXIT_DONE)
                return k;
        json_array_foreach (jobs, i, job)
                if (streq(json_get_string(job, "state"), wanted) && strv_append(&ids, json_get_string(job, "job")) < 0)
                        return client_fail(-ENOMEM);
        *ret = TAKE_PTR(ids);
        return EXIT_DONE;
}

/* Not a job. */
static bool is_install(const char *id) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;

        return client_begin("GetInstall", &bus, &call) == EXIT_DONE &&
               sd_bus_message_append_basic(call, 's', id) >= 0 &&
               sd_bus_call(bus, call, GET_TIMEOUT_USEC, NULL, NULL) >= 0;
}

int verb_cancel(int argc, char **argv) {
        int k = call_with_job("CancelJob", argv[1], -1);

        if (k != EXIT_DONE || args.quiet)
                return k;
        if (is_install(argv[1]))
                printf("Installation %s is canceled; what the installer has done stays, what a job of it has changed "
                       "is put back. See \"dhetcd install --list\".\n",
                       argv[1]);
        else
                printf("Job %s is canceled; what it has changed is put back. See \"dhetcd watch %s\".\n", argv[1],
                       argv[1]);
        return k;
}

/* Here a job that was rolled back is what was asked for. */
int verb_rollback(int argc, char **argv) {
        uint64_t since = now_real();
        int k = call_with_job("RollbackJob", argv[1], args.force);

        if (k != EXIT_DONE || !args.block)
                return k;
        k = follow_job(argv[1], since, FOLLOW_WATCH);
        return k == EXIT_ROLLED_BACK ? EXIT_DONE : k == EXIT_DONE ? EXIT_FAILED : k;
}

int verb_watch(int argc, char **argv) {
        _cleanup_strv_ char **running = NULL;
        int k;

        if (argc > 1)
                return follow_job(argv[1], 0, FOLLOW_WATCH);
        k = find_jobs("running", &running);
        if (k != EXIT_DONE)
                return k;
        if (!running) {
                fprintf(stderr, "No job runs. See \"dhetcd list\" for those that ended.\n");
                return EXIT_DONE;
        }
        return follow_job(running[0], 0, FOLLOW_WATCH);
}

/* What is open, and what is stuck: the daemon takes it up again. */
static int ask_to_settle_all(char ***ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const char *id;
        int k, r;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_new_call(bus, "SettleAll", &call);
        if (k == EXIT_DONE)
                k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;

        r = sd_bus_message_enter_container(reply, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read_basic(reply, 's', &id)) > 0)
                r = strv_append(ret, id);
        return r < 0 ? client_fail(r) : EXIT_DONE;
}

/* At boot, and by the timer. The daemon begins with what a power cut left as soon as it is asked for anything; here its
 * end is waited for. */
static int settle_all(void) {
        _cleanup_strv_ char **open = NULL;
        uint64_t since = now_real();
        bool stuck = false;
        int k;

        password_agent_open();
        k = ask_to_settle_all(&open);
        if (k != EXIT_DONE)
                return k;
        /* A job that was put back, or refused, is settled: nothing is left open. */
        STRV_FOREACH (job, open)
                stuck = follow_job(*job, since, FOLLOW_WATCH) == EXIT_STUCK || stuck;
        return stuck ? EXIT_STUCK : EXIT_DONE;
}

int verb_settle(int argc, char **argv) {
        uint64_t since = now_real();
        int k;

        if (args.all != (argc == 1) || (args.all && args.takeover)) {
                fprintf(stderr, "dhetcd: Name the job to settle, or --all\n");
                return EXIT_USAGE;
        }
        if (args.all)
                return settle_all();
        k = call_with_job(args.takeover ? "TakeOver" : "SettleJob", argv[1], -1);
        if (k != EXIT_DONE || !args.block)
                return k;
        return follow_job(argv[1], since, FOLLOW_WATCH);
}
