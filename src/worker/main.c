/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd-worker: drives one transaction. "run" is the main process of dhetcd-txn-ID.service, "settle" its
 * ExecStopPost=: PID 1 itself starts the rollback when the first dies of anything. What ended as stuck is left alone by
 * it; "retry" takes it up again, for as long as the configuration says, or so many seconds. SIGTERM means: put
 * everything back, then end. "look" changes nothing, and is the main process of dhetcd-look-ID.service; "install" that
 * of dhetcd-install-ID.service, which runs the vendor's installer. "connect" tries, for the daemon, what can be
 * reached.
 *
 * Exit status: 0 committed, 1 rejected or not begun, 10 rolled back, 11 stuck. */

#include <signal.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include "basic/error.h"
#include "connect.h"
#include "install.h"
#include "steps/addition.h"
#include "steps/look.h"
#include "steps/revert.h"
#include "steps/steps.h"
#include "txn/txn-failpoints.h"
#include "steps/takeover.h"
#include "steps/window.h"

enum {
        EXIT_COMMITTED = 0,
        EXIT_REJECTED = 1,
        EXIT_USAGE = 2,
        EXIT_ROLLED_BACK = 10,
        EXIT_STUCK = 11,
};

#define PAUSE (5 * USEC_PER_SEC)
#define SECONDS_MAX 86400UL

typedef enum Verb { RUN, SETTLE, RETRY, REVERT, _VERB_MAX } Verb;

static int exit_status(int state) {
        switch (state) {
        case TXN_COMMITTED:
                return EXIT_COMMITTED;
        case TXN_REJECTED:
                return EXIT_REJECTED;
        case TXN_ROLLED_BACK:
                return EXIT_ROLLED_BACK;
        default:
                return EXIT_STUCK;
        }
}

static const Plan *plan_of(JobKind kind) {
        static const Plan *const plans[_JOB_KIND_MAX] = {
                [JOB_ADD] = &plan_add, [JOB_RESCUE] = &plan_rescue, [JOB_REPAIR] = &plan_repair
        };

        return plans[kind];
}

static int run(Addition *a, char **reterr) {
        int r = window_arm(a);

        if (r < 0)
                return fail(reterr, r, "no timer for the end of the window: %s", strerror(-r));
        addition_event(a, EVENT_TXN_STARTED, LOG_NOTICE, NULL, "%s etcd node %s (job %s).", job_words(a->kind)->Adding,
                       a->nodes[a->index], a->job);
        return txn_run(a->transaction, reterr);
}

/* What the dead worker knew: the plan, and what its log says. */
static int recall(Addition *a, char **reterr) {
        const json_t *member_id = txn_recall(a->transaction, "member-id");
        int r;

        if (a->n_hosts == 0) {
                r = addition_load_plan(a, reterr);
                if (r < 0)
                        return r;
        }
        if (json_is_integer(member_id))
                addition_new_node(a)->member_id = (uint64_t) json_integer_value(member_id);
        return addition_open_etcd(a, reterr);
}

/* The files with which this host logs in to etcd are those that "deploy" replaces. Where it was cut short they are put
 * back first; that takes no etcd. */
static int recall_cut_short(Addition *a, const json_t *records, char **reterr) {
        int r = recall(a, reterr);

        if (r >= 0 || a->n_hosts == 0 || !txn_is_recorded(records, "intent", step_deploy.name, NULL) ||
            txn_is_recorded(records, "done", step_deploy.name, NULL) ||
            host_restore(addition_this_host(a)->client, a->txn, step_deploy.name, CALL_TIMEOUT, NULL) < 0)
                return r;
        return recall(a, reterr);
}

static int settle(Addition *a, const TxnLimits *limits, bool retry, char **reterr) {
        _cleanup_json_ json_t *records = NULL;
        _cleanup_free_ char *why = NULL;
        TxnState state;
        int r;

        r = txn_log_read(a->dir, &records, NULL, reterr);
        if (r < 0)
                return r;
        state = txn_state_of(records);
        if (state == TXN_COMMITTED || state == TXN_ROLLED_BACK || state == TXN_REJECTED ||
            (state == TXN_STUCK && !retry))
                return state;
        if (txn_is_looking(records))
                return addition_settle_look(a, limits, reterr);

        addition_event(a, EVENT_TXN_SETTLING, state == TXN_STUCK ? LOG_INFO : LOG_WARNING, NULL,
                       "Settling the %s of node %s, which was left %s.", job_words(a->kind)->addition,
                       a->nodes[a->index], txn_state_to_string(state));
        a->promoted = txn_is_committed(a->transaction);
        r = recall_cut_short(a, records, &why);
        if (r >= 0)
                r = takeover_prepare(a, limits, reterr);
        else if (r == -ENOENT && a->n_hosts == 0) /* without a plan nothing was begun but the preflight */
                r = 0;
        else
                r = takeover_not_possible(a, r, error_text(why, r), reterr);
        return r != 0 ? r : txn_settle(a->transaction, reterr);
}

/* While we were at it another host took the job over: its outcome is ours. */
static int give_way(Addition *a, const TxnLimits *limits, int r, char **reterr) {
        bool over = r != TXN_STUCK && r != -ESTALE;

        if (over || a->kind != JOB_ADD || a->n_hosts == 0 || a->taken_over_from || takeover_was_lost(a) <= 0)
                return r;
        addition_no_cancel(a);
        return settle(a, limits, /* retry= */ true, reterr);
}

/* Takes back what was committed; refused where that would undo more than the addition itself did. */
static int revert(Addition *a, const TxnLimits *limits, char **reterr) {
        _cleanup_json_ json_t *records = NULL;
        _cleanup_free_ char *why = NULL;
        int r;

        r = txn_log_read(a->dir, &records, NULL, reterr);
        if (r < 0)
                return r;
        if (txn_state_of(records) != TXN_COMMITTED)
                return settle(a, limits, /* retry= */ true, reterr);
        addition_event(a, EVENT_TXN_REVERTING, LOG_WARNING, NULL,
                       "Taking node %s out of the etcd cluster again (job %s).", a->nodes[a->index], a->job);
        r = recall(a, &why);
        if (r >= 0)
                r = addition_check_revert(a, a->force, &why);
        if (r >= 0)
                return txn_revert(a->transaction, "taken back after it was committed", reterr);

        addition_event(a, EVENT_TXN_REVERT_REFUSED, LOG_ERR, NULL,
                       "Node %s stays, and nothing was changed: it cannot be taken out: %s", a->nodes[a->index],
                       error_text(why, r));
        r = addition_end_look(a, limits, error_text(why, r), reterr);
        return r != 0 ? r : TXN_REJECTED;
}

/* A descriptor that becomes, and stays, readable at SIGTERM or SIGINT. */
static int open_cancel_fd(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* "run", "settle", "retry" or "revert", a transaction, and with "retry" perhaps a number of seconds (0: not said). */
static int parse(int argc, char *argv[], Verb *ret, uint64_t *ret_budget) {
        static const char *const names[_VERB_MAX] = { "run", "settle", "retry", "revert" };
        unsigned long seconds = 0;
        char *end = NULL;

        for (*ret = RUN; argc >= 3 && *ret < _VERB_MAX && !streq(argv[1], names[*ret]);)
                ++*ret;
        if (argc < 3 || *ret == _VERB_MAX || argc > (*ret == RETRY ? 4 : 3))
                return -EINVAL;
        if (argc == 4) {
                seconds = strtoul(argv[3], &end, 10);
                if (*argv[3] < '0' || *argv[3] > '9' || *end != '\0' || seconds > SECONDS_MAX)
                        return -EINVAL;
        }
        *ret_budget = seconds * USEC_PER_SEC;
        return 0;
}

static int work(Addition *a, Verb verb, uint64_t budget, char **reterr) {
        TxnLimits limits = { .settle_usec = budget ?: a->config->settle_budget_usec, .pause_usec = PAUSE };
        int r;

        r = txn_new(a->dir, plan_of(a->kind)->steps, plan_of(a->kind)->n, &addition_ops, &limits, a, &a->transaction,
                    reterr);
        if (r < 0)
                return r;
        (void) sd_notify(0, "READY=1");
        r = verb == RUN      ? run(a, reterr)
            : verb == REVERT ? revert(a, &limits, reterr)
                             : settle(a, &limits, verb == RETRY, reterr);
        return give_way(a, &limits, r, reterr);
}

/* Nothing is changed; the answer is one line of JSON for the daemon. */
static int look_and_tell(const char *request, int cancel_fd) {
        const char *dir = getenv("RUNTIME_DIRECTORY");
        _cleanup_json_ json_t *answer = NULL;

        if (!dir) {
                fprintf(stderr, "RUNTIME_DIRECTORY is not set\n");
                return EXIT_USAGE;
        }
        answer = look(request, dir, cancel_fd);
        if (!answer || json_dumpf(answer, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF || fflush(stdout) == EOF)
                return EXIT_REJECTED;
        return EXIT_COMMITTED;
}

#if DHETCD_FAILPOINTS
static void list_failpoints_of(JobKind kind, FILE *out) {
        txn_failpoints(plan_of(kind)->steps, plan_of(kind)->n, out);
        if (kind == JOB_ADD) {
                txn_revert_failpoints(plan_add.steps, plan_add.n, out);
                revert_failpoints(out);
                takeover_failpoints(out);
        }
}

/* KIND:POINT, or KIND:WAY:POINT where a job comes to a point in two ways. */
static int list_failpoints(void) {
        for (JobKind kind = 0; kind < _JOB_KIND_MAX; kind++) {
                _cleanup_free_ char *text = NULL;
                char *rest = NULL;
                size_t size;
                FILE *f = open_memstream(&text, &size);

                if (!f)
                        return EXIT_FAILURE;
                list_failpoints_of(kind, f);
                if (fclose(f) < 0)
                        return EXIT_FAILURE;
                for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                        printf("%s:%s\n", job_words(kind)->name, line);
        }
        return EXIT_SUCCESS;
}
#endif

int main(int argc, char *argv[]) {
        _cleanup_close_ int cancel_fd = -EBADF;
        _cleanup_(addition_freep) Addition *a = NULL;
        _cleanup_free_ char *why = NULL;
        uint64_t budget;
        Verb verb;
        int r;

#if DHETCD_FAILPOINTS
        if (argc == 2 && streq(argv[1], "failpoints"))
                return list_failpoints();
#endif
        if (argc == 3 && streq(argv[1], "look")) {
                cancel_fd = open_cancel_fd();
                return look_and_tell(argv[2], cancel_fd);
        }
        if (argc >= 2 && streq(argv[1], "connect"))
                return connect_all(argv + 2, (unsigned) argc - 2) < 0 ? EXIT_REJECTED : EXIT_COMMITTED;
        if (argc == 3 && streq(argv[1], "install")) {
                cancel_fd = open_cancel_fd();
                return cancel_fd < 0 ? EXIT_REJECTED : install_run(argv[2], cancel_fd);
        }
        if (argc == 3 && streq(argv[1], "install-end"))
                return install_end(argv[2]);
        if (parse(argc, argv, &verb, &budget) < 0) {
                fprintf(stderr, "Usage: dhetcd-worker run|settle|retry|revert TRANSACTION [SECONDS]\n"
                                "       dhetcd-worker look REQUEST\n"
                                "       dhetcd-worker connect [https://ADDRESS:PORT]...\n"
                                "       dhetcd-worker install|install-end INSTALLATION\n"
                                "Started by dhetcdd; see dhetcdd(8).\n");
                return EXIT_USAGE;
        }

        cancel_fd = open_cancel_fd();
        r = addition_load(argv[2], verb == SETTLE || verb == RETRY ? -1 : cancel_fd, &a, &why);
        if (r >= 0)
                r = work(a, verb, budget, &why);
        if (r < 0) {
                EventContext context = { .txn = argv[2], .job = a ? a->job : NULL, .error = r };

                /* Not the transaction's end: PID 1, and then the daemon, settle it, and tell how it ended. */
                log_event(EVENT_WARNING, LOG_ERR, &context, "\"dhetcd-worker %s %s\" ended: %s", argv[1], argv[2],
                          error_text(why, r));
                return EXIT_STUCK;
        }
        return exit_status(r);
}
