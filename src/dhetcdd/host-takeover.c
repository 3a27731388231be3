/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* KeepPlan, Recall, TakeLock, Close: what each host keeps so that another one can end a job whose own host never comes
 * back, and what keeps the old one from going on when it comes back all the same. */

#include <dirent.h>

#include "basic/fs.h"
#include "host-operation.h"
#include "txn/txn-log.h"

#define PLAN_SIZE_MAX (1024U * 1024U)
#define OUTCOME_SIZE_MAX 4096U

char *host_plan_path(const char *txn) {
        return format("%s/%s/plan.json", DHETCD_HOST_DIR, txn);
}

static char *outcome_path(const char *txn) {
        return format("%s/%s/outcome.json", DHETCD_HOST_DIR, txn);
}

static int write_json(HostOperation *op, const char *path, const json_t *v) {
        _cleanup_free_ char *dir = host_transaction_dir(op->txn), *text = v ? json_to_text(v, JSON_COMPACT) : NULL;
        int r;

        if (!dir || !path || !text)
                return -ENOMEM;
        r = mkdir_durable(dir, 0700);
        if (r >= 0)
                r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(&op->why, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

/* ---- the plan ---- */

int check_keep_plan(HostOperation *op) {
        _cleanup_json_ json_t *plan = NULL;
        const char *text = host_operation_string(op, "plan"), *holder;

        plan = text && strlen(text) <= PLAN_SIZE_MAX ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
        holder = json_get_string(plan, "holder");
        if (json_get_integer(plan, "format", 0) != 1 || !streq(json_get_string(plan, "txn"), op->txn) || !holder ||
            address_check(holder) < 0 || !json_is_object(json_object_get(plan, "job")) ||
            !json_is_object(json_object_get(plan, "plan")))
                return host_operation_reject(op, "this is no plan of %s", op->txn);
        return 0;
}

int begin_keep_plan(HostOperation *op) {
        _cleanup_json_ json_t *plan = json_loads(host_operation_string(op, "plan"), 0, NULL);
        _cleanup_free_ char *path = host_plan_path(op->txn);
        int r = write_json(op, path, plan);

        return r < 0 ? r : host_operation_answer(op, json_array());
}

/* ---- what is known ---- */

/* NULL where there is none. One that cannot be read is an outcome nobody knows: nothing may be done any more. */
static json_t *read_outcome(const char *txn) {
        _cleanup_free_ char *path = outcome_path(txn), *text = NULL;
        _cleanup_json_ json_t *v = NULL;
        int r;

        r = path ? read_file(path, OUTCOME_SIZE_MAX, false, &text, NULL) : -ENOMEM;
        if (r == -ENOENT)
                return NULL;
        v = text ? json_loads(text, 0, NULL) : NULL;
        return json_get_string(v, "outcome") ? TAKE_PTR(v) : json_object();
}

/* None may be missing: what a host has no snapshot of was not changed there. */
static int add_snapshots(const char *txn, json_t *list, char **reterr) {
        static const char path[] = DHETCD_SNAPSHOT_STORE "/snapshots";
        _cleanup_(closedirp) DIR *d = opendir(path);
        size_t length = strlen(txn);
        struct dirent *e;

        if (!d && errno != ENOENT)
                return fail(reterr, -errno, "%s cannot be listed: %s", path, strerror(errno));
        while (d && (errno = 0, e = readdir(d))) {
                size_t n = strlen(e->d_name);

                if (strncmp(e->d_name, txn, length) != 0 || e->d_name[length] != '.' || n < length + 7 ||
                    !streq(e->d_name + n - 5, ".json"))
                        continue;
                if (json_array_append_new(list, json_stringn(e->d_name + length + 1, n - length - 6)) < 0)
                        return -ENOMEM;
        }
        return d && errno != 0 ? fail(reterr, -errno, "%s cannot be listed: %s", path, strerror(errno)) : 0;
}

static int add_whether(json_t *records, const char *key, const char *path, char **reterr) {
        int r = path_exists(path);

        if (r < 0)
                return fail(reterr, r, "%s cannot be looked at: %s", path, strerror(-r));
        return json_object_set_new(records, key, json_boolean(r)) < 0 ? -ENOMEM : 0;
}

static int add_intents(HostOperation *op, json_t *list) {
        _cleanup_free_ char *dir = host_transaction_dir(op->txn);
        _cleanup_json_ json_t *records = NULL;
        json_t *record;
        size_t i;
        int r;

        r = dir ? txn_log_read(dir, &records, NULL, &op->why) : -ENOMEM;
        if (r < 0)
                return r;
        json_array_foreach (records, i, record)
                if (streq(json_get_string(record, "type"), "intent") &&
                    !streq(json_get_string(record, "arguments"), HOST_REPAIR_ARGUMENTS) &&
                    json_array_append_new(list, json_sprintf("%s %s %s", json_get_string(record, "step") ?: "",
                                                             json_get_string(record, "operation") ?: "",
                                                             json_get_string(record, "verb") ?: "")) < 0)
                        return -ENOMEM;
        return 0;
}

int begin_recall(HostOperation *op) {
        _cleanup_free_ char *path = host_plan_path(op->txn), *own = NULL, *text = NULL;
        _cleanup_json_ json_t *records = NULL, *outcome = read_outcome(op->txn);
        json_t *snapshots = json_array(), *intents = json_array();
        _cleanup_(host_lock_done) HostLock lock = {};
        int r;

        own = format("%s/%s/job.json", DHETCD_JOBS_DIR, op->job);
        records = json_pack("{so so}", "snapshots", snapshots, "intents", intents);
        if (!path || !own || !records)
                return -ENOMEM;
        r = host_lock_read(&lock, &op->why);
        if (r >= 0)
                r = add_snapshots(op->txn, snapshots, &op->why);
        if (r >= 0)
                r = add_intents(op, intents);
        if (r >= 0)
                r = add_whether(records, "known", path, &op->why);
        if (r >= 0)
                r = add_whether(records, "job", own, &op->why);
        if (r < 0)
                return r;

        if (json_object_set_new(records, "holder", streq(lock.job, op->job) ? json_string(lock.holder) : json_null()) <
            0)
                return -ENOMEM;
        if (outcome && (json_object_set_new(records, "outcome",
                                            json_string(json_get_string(outcome, "outcome") ?: "unknown")) < 0 ||
                        json_object_set_new(records, "by", json_string(json_get_string(outcome, "by") ?: "")) < 0))
                return -ENOMEM;
        text = json_to_text(records, JSON_COMPACT);
        return text ? host_operation_answer(op, json_pack("[s]", text)) : -ENOMEM;
}

/* ---- whose it is ---- */

int host_takeover_fail(HostOperation *op, const char *holder, const char *outcome) {
        op->error_name = DHETCD_ERROR_TAKEN_OVER;
        if (outcome)
                return fail(&op->why, -ESTALE, "job %s was taken over by %s and ended there: %s", op->job, holder,
                            outcome);
        return fail(&op->why, -ESTALE, "job %s is worked on by %s now; see there: dhetcd show %s", op->job, holder,
                    op->job);
}

int host_takeover_check(HostOperation *op) {
        _cleanup_json_ json_t *ended = read_outcome(op->txn);
        const char *by = json_get_string(ended, "by");

        if (!ended || (by && streq(by, op->holder)))
                return 0;
        return host_takeover_fail(op, by ?: "another host", json_get_string(ended, "outcome") ?: "see there");
}

int check_take_lock(HostOperation *op) {
        const char *from = host_operation_string(op, "from"), *holder = host_operation_string(op, "holder");

        if (!from || !holder || address_check(from) < 0 || address_check(holder) < 0)
                return host_operation_reject(op, "the holders of a lock are named by their addresses");
        return 0;
}

int begin_take_lock(HostOperation *op) {
        _cleanup_(host_lock_done) HostLock lock = {};
        const char *holder = host_operation_string(op, "holder");
        int r;

        r = host_lock_read(&lock, &op->why);
        if (r < 0)
                return r;
        if (r > 0 && streq(lock.job, op->job) && streq(lock.holder, holder))
                return host_operation_answer(op, json_array());
        if (r > 0 && streq(lock.job, op->job) && !streq(lock.holder, host_operation_string(op, "from")))
                return host_takeover_fail(op, lock.holder, NULL);
        if (r > 0 && !streq(lock.job, op->job)) {
                op->error_name = DHETCD_ERROR_BUSY;
                return fail(&op->why, -EBUSY, "held by job %s of %s; see there: dhetcd show %s", lock.job, lock.holder,
                            lock.job);
        }

        r = host_takeover_check(op);
        if (r >= 0)
                r = host_lock_write(op, holder);
        if (r < 0)
                return r;
        host_operation_event(op, EVENT_JOB_TAKEN_OVER, LOG_NOTICE, NULL, NULL,
                             "Job %s is worked on by %s from now on, no longer by %s", op->job, holder,
                             host_operation_string(op, "from"));
        return host_operation_answer(op, json_array());
}

/* ---- the end ---- */

int check_close(HostOperation *op) {
        const char *outcome = host_operation_string(op, "outcome");

        if (!streq(outcome, "committed") && !streq(outcome, "rolled-back"))
                return host_operation_reject(op, "a transaction is closed as committed or rolled-back");
        if (op->holder[0] == '\0')
                return host_operation_reject(op, "a transaction is closed by the host that took it over");
        return 0;
}

/* The outcome first: there is no moment at which neither lock nor outcome keeps the old worker off. */
int begin_close(HostOperation *op) {
        _cleanup_free_ char *path = outcome_path(op->txn);
        _cleanup_(host_lock_done) HostLock lock = {};
        _cleanup_json_ json_t *outcome = NULL;
        int r, held;

        held = host_lock_read(&lock, &op->why);
        if (held < 0)
                return held;
        if (held > 0 && streq(lock.job, op->job) && !streq(lock.holder, op->holder))
                return host_takeover_fail(op, lock.holder, NULL);
        r = host_takeover_check(op);
        if (r < 0)
                return r;

        outcome = json_pack("{ss ss sI}", "outcome", host_operation_string(op, "outcome"), "by", op->holder,
                            "time_usec", (json_int_t) now_real());
        r = write_json(op, path, outcome);
        if (r >= 0)
                HOST_FAILPOINT(op, "outcome");
        if (r >= 0 && held > 0 && streq(lock.job, op->job))
                r = host_lock_remove(op);
        if (r < 0)
                return r;
        host_prune(op->host, op->txn);
        return host_operation_answer(op, json_array());
}
