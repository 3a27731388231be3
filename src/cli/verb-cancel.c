/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd cancel, dhetcd rollback, dhetcd watch, dhetcd settle: verbs about a job that is there. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"
#include "install.h"

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

/* The first job whose `key` is `value`; NULL where there is none. */
static int find_job(const char *key, const char *value, json_t **ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *jobs = NULL;
        json_t *job;
        size_t i;
        int k;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_list_jobs(bus, &jobs);
        if (k != EXIT_DONE)
                return k;
        json_array_foreach (jobs, i, job)
                if (streq(json_get_string(job, key), value)) {
                        *ret = json_incref(job);
                        break;
                }
        return EXIT_DONE;
}

/* `job` NULL: it is an installation. */
static int tell_canceled(const char *id, const json_t *job) {
        if (args.json != JSON_OFF)
                return print_json_string(job ? "job" : "install", id);
        if (args.quiet)
                return EXIT_DONE;
        if (!job)
                printf("Installation %s is being ended; what the installer has done so far stays, what a job of it has "
                       "changed is put back. See \"dhetcd install --list\".\n",
                       id);
        else if (state_exit_code(json_get_string(job, "state")) >= 0) {
                printf("Job %s is %s: ", id, json_get_string(job, "state"));
                print_clean(stdout, json_get_string(job, "text"));
                putchar('\n');
        } else
                printf("Job %s is being canceled: what it has changed is put back, or, where that is past, finished. "
                       "Follow it: dhetcd watch %s\n",
                       id, id);
        return EXIT_DONE;
}

int verb_cancel(int argc, char **argv) {
        _cleanup_json_ json_t *job = NULL;
        int k = call_with_job("CancelJob", argv[1], -1);

        if (k == EXIT_DONE)
                k = find_job("job", argv[1], &job);
        return k == EXIT_DONE ? tell_canceled(argv[1], job) : k;
}

/* Of a job that goes on without us. */
static int tell_asked(const char *job) {
        return args.json != JSON_OFF ? print_json_string("job", job) : EXIT_DONE;
}

/* Here a job that was rolled back is what was asked for. */
int verb_rollback(int argc, char **argv) {
        uint64_t since = now_real();
        int k = call_with_job("RollbackJob", argv[1], args.force);

        if (k != EXIT_DONE)
                return k;
        if (!args.block)
                return tell_asked(argv[1]);
        k = follow_job(argv[1], since, FOLLOW_WATCH);
        return k == EXIT_ROLLED_BACK ? EXIT_DONE : k == EXIT_DONE ? EXIT_FAILED : k;
}

/* What is no job is a run of the installer. */
static int watch_named(const char *id) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *job = NULL;
        int k = find_job("job", id, &job);

        if (k != EXIT_DONE || job)
                return k == EXIT_DONE ? follow_job(id, 0, FOLLOW_WATCH) : k;
        password_agent_open();
        k = client_open(&bus);
        return k == EXIT_DONE ? install_watch(bus, id) : k;
}

int verb_watch(int argc, char **argv) {
        _cleanup_json_ json_t *running = NULL;
        int k;

        if (argc > 1)
                return watch_named(argv[1]);
        k = find_job("state", "running", &running);
        if (k != EXIT_DONE)
                return k;
        if (!running) {
                fprintf(stderr, "No job runs. See \"dhetcd list\" for those that ended.\n");
                return args.json != JSON_OFF ? print_json(json_null()) : EXIT_DONE;
        }
        return follow_job(json_get_string(running, "job"), 0, FOLLOW_WATCH);
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

/* As --json= has them. */
static int print_jobs(char *const *ids) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *array = json_array();
        int k;

        k = client_open(&bus);
        STRV_FOREACH (id, ids) {
                json_t *job = NULL;

                if (k == EXIT_DONE)
                        k = client_get_job(bus, *id, &job);
                if (job && json_array_append_new(array, job) < 0)
                        return client_fail(-ENOMEM);
        }
        return k == EXIT_DONE ? print_json(array) : k;
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
        STRV_FOREACH (job, open) {
                k = follow_job(*job, since, FOLLOW_SILENT);
                if (k > EXIT_SIGNAL)
                        return k;
                stuck = k == EXIT_STUCK || stuck;
        }
        k = args.json != JSON_OFF ? print_jobs(open) : EXIT_DONE;
        return k == EXIT_DONE && stuck ? EXIT_STUCK : k;
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
        if (k != EXIT_DONE)
                return k;
        if (!args.block)
                return tell_asked(argv[1]);
        return follow_job(argv[1], since, FOLLOW_WATCH);
}
