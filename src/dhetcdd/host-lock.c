/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The host's one lock, a file: it survives every crash, and says whose it is. */

#include <inttypes.h>
#include <time.h>

#include "basic/fs.h"
#include "host-operation.h"

#define LOCK_PATH DHETCD_HOST_DIR "/lock.json"
#define LOCK_SIZE_MAX 4096U

void host_lock_done(HostLock *lock) {
        free(lock->job);
        free(lock->holder);
        free(lock->txn);
}

static int parse_lock(const char *text, HostLock *ret) {
        _cleanup_json_ json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        const char *job = json_get_string(json, "job"), *holder = json_get_string(json, "holder");
        const char *txn = json_get_string(json, "txn");

        if (!job || !holder)
                return -EBADMSG;
        *ret = (HostLock){ .job = strdup(job),
                           .holder = strdup(holder),
                           .txn = txn ? strdup(txn) : NULL,
                           .since_usec = (uint64_t) json_get_integer(json, "since_usec", 0) };
        return ret->job && ret->holder && (!txn || ret->txn) ? 1 : -ENOMEM;
}

int host_lock_read(HostLock *ret, char **reterr) {
        _cleanup_(host_lock_done) HostLock lock = {};
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file(LOCK_PATH, LOCK_SIZE_MAX, false, &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", LOCK_PATH, strerror(-r));
        r = parse_lock(text, &lock);
        if (r == -EBADMSG)
                return fail(reterr, r, "%s is damaged; if no job runs (see \"dhetcd list\" on all hosts), remove it",
                            LOCK_PATH);
        if (r < 0)
                return r;
        *ret = lock;
        lock = (HostLock){};
        return 1;
}

static int busy(HostOperation *op, const HostLock *lock) {
        time_t seconds = (time_t) (lock->since_usec / USEC_PER_SEC);
        char when[64] = "";
        struct tm tm;

        if (localtime_r(&seconds, &tm))
                strftime(when, sizeof(when), "%F %T %Z", &tm);
        op->error_name = DHETCD_ERROR_BUSY;
        return fail(&op->why, -EBUSY, "held by job %s of %s since %s; see there: dhetcd show %s", lock->job,
                    lock->holder, when, lock->job);
}

/* 1: the operation's own job holds it; 0: nobody does. */
static int look(HostOperation *op) {
        _cleanup_(host_lock_done) HostLock lock = {};
        int r;

        r = host_lock_read(&lock, &op->why);
        if (r <= 0)
                return r;
        if (!streq(lock.job, op->job))
                return busy(op, &lock);
        return op->holder[0] == '\0' || streq(lock.holder, op->holder) ? 1 : host_takeover_fail(op, lock.holder, NULL);
}

int host_lock_check(HostOperation *op) {
        int r = look(op);

        return r < 0 ? r : r > 0 ? 0 : host_takeover_check(op);
}

int host_lock_write(HostOperation *op, const char *holder) {
        _cleanup_json_ json_t *lock = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        lock = json_pack("{ss ss ss sI}", "job", op->job, "txn", op->txn, "holder", holder, "since_usec",
                         (json_int_t) now_real());
        text = lock ? json_to_text(lock, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        r = mkdir_durable(DHETCD_HOST_DIR, 0700);
        if (r >= 0)
                r = write_file_durable(LOCK_PATH, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be written: %s", LOCK_PATH, strerror(-r));

        host_operation_event(op, EVENT_HOST_CHANGED, LOG_DEBUG, NULL, NULL, "This host is held by job %s of %s",
                             op->job, holder);
        return 0;
}

int host_lock_remove(HostOperation *op) {
        int r = unlink_durable(LOCK_PATH);

        if (r < 0)
                return fail(&op->why, r, "%s cannot be removed: %s", LOCK_PATH, strerror(-r));
        host_operation_event(op, EVENT_HOST_CHANGED, LOG_DEBUG, NULL, NULL, "This host is held by no job any more");
        return 0;
}

int check_lock(HostOperation *op) {
        const char *holder = host_operation_string(op, "holder");

        if (!holder || address_check(holder) < 0)
                return host_operation_reject(op, "the holder of a lock is named by its address");
        return 0;
}

int begin_lock(HostOperation *op) {
        int r = look(op);

        if (r == 0)
                r = host_takeover_check(op);
        else if (r > 0)
                return host_operation_answer(op, json_array());
        if (r >= 0)
                r = host_operation_open_record(op); /* no room for it later would keep the job from going back */
        if (r >= 0)
                HOST_FAILPOINT(op, "opened");
        if (r >= 0)
                r = host_lock_write(op, host_operation_string(op, "holder"));
        return r < 0 ? r : host_operation_answer(op, json_array());
}

/* Nobody's lock, or another job's: then ours is not held, which is what was asked for. */
int begin_unlock(HostOperation *op) {
        int r = look(op);

        if (r == -EBUSY) {
                op->error_name = NULL;
                r = 0;
        }
        if (r > 0)
                r = host_lock_remove(op);
        if (r < 0)
                return r;
        HOST_FAILPOINT(op, "released");
        host_prune(op->host, op->txn); /* also when asked again: we may have died in it */
        return host_operation_answer(op, json_array());
}
