/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* After a crash of this host, before dh-etcd starts: what a step of the job that holds this host has left
 * half-written is put back from this host's own snapshot. That step cannot be done any more then: the worker,
 * wherever it is, is told so when it asks again, and goes back. */

#include "basic/failpoint.h"
#include "basic/fs.h"
#include "host-operation.h"
#include "host-script-unit.h"
#include "txn/snapshot.h"

#define TRANSIENT_UNITS "/run/systemd/transient"

/* ---- which steps ---- */

typedef struct Running {
        const char *txn;
        bool any;
} Running;

static int look_for_script(void *userdata, const char *step, const char *verb) {
        _cleanup_free_ char *unit = NULL, *path = NULL;
        Running *s = userdata;

        if (!step || !verb)
                return 0;
        unit = script_unit_name(s->txn, step, verb);
        path = unit ? format(TRANSIENT_UNITS "/%s", unit) : NULL;
        if (!path)
                return -ENOMEM;
        s->any = s->any || path_exists(path) > 0;
        return 0;
}

/* Only a host that was not rebooted still has a script's unit: then the daemon takes it up, and nothing is to be
 * done. */
static int script_runs(const HostRecord *record, const char *txn) {
        Running s = { .txn = txn };
        int r = host_record_each_open(record, "RunScript", look_for_script, &s);

        return r < 0 ? r : s.any;
}

/* All snapshots are of the same files, so the oldest of them is what all the steps began with. NULL: none has one. */
static int oldest(const char *txn, char *const *steps, const char **ret, char **reterr) {
        _cleanup_free_ char *first = NULL;

        *ret = NULL;
        STRV_FOREACH (step, steps) {
                _cleanup_free_ char *name = host_snapshot_name(txn, *step);
                int r = name ? snapshot_is_older(DHETCD_SNAPSHOT_STORE, name, first ?: name) : -ENOMEM;

                if (r < 0 && r != -ENOENT)
                        return fail(reterr, r, "the snapshot before \"%s\" of %s cannot be read: %s", *step, txn,
                                    strerror(-r));
                if (r < (first ? 1 : 0)) /* one that is there is not older than itself */
                        continue;
                free(first);
                first = TAKE_PTR(name);
                *ret = *step;
        }
        return 0;
}

/* ---- putting back ---- */

static int mark_restored(HostRecord *record, const char *step, char **reterr) {
        HostKey key = { .step = step, .operation = "Restore", .arguments = HOST_REPAIR_ARGUMENTS };

        return host_record_is_open(record, step, key.operation) ? 0 : host_record_intent(record, &key, NULL, reterr);
}

/* The intents stay open: the Restore that the worker asks for ends them, and lets systemd read its unit files again,
 * which cannot be done here. */
static int repair_steps(HostRecord *record, const char *job, const char *txn, char *const *steps, char **reterr) {
        const char *step;
        char address[256];
        int r = oldest(txn, steps, &step, reterr);

        if (r < 0 || !step || host_is_further_back(record, txn, step))
                return r;
        STRV_FOREACH (s, steps) {
                r = mark_restored(record, *s, reterr);
                if (r < 0)
                        return r;
        }
        FAILPOINT("boot", "repair", "marked");
        r = host_restore_files(txn, step, NULL, reterr);
        if (r > 0)
                log_event(EVENT_HOST_REPAIRED, LOG_WARNING,
                          &(EventContext){ .job = job, .txn = txn, .step = step, .host = host_own_address(address) },
                          "This host went down in the middle of step \"%s\" of job %s: its files are put back, so that "
                          "etcd does not start on a half-written configuration",
                          step, job);
        FAILPOINT("boot", "repair", "restored");
        return r;
}

static int repair_txn(const char *job, const char *txn, char **reterr) {
        _cleanup_(host_record_freep) HostRecord *record = NULL;
        _cleanup_free_ char *dir = host_transaction_dir(txn);
        _cleanup_strv_ char **steps = NULL;
        int r;

        if (!dir)
                return -ENOMEM;
        r = host_record_open(dir, &record, reterr);
        if (r == -EBUSY)
                return 0; /* dhetcdd is at work on it */
        if (r < 0)
                return r;
        r = script_runs(record, txn);
        if (r != 0)
                return r < 0 ? r : 0;
        r = host_record_half_written(record, &steps);
        return r < 0 ? r : repair_steps(record, job, txn, steps, reterr);
}

int host_repair(char **reterr) {
        _cleanup_(host_lock_done) HostLock lock = {};
        _cleanup_(closedirp) DIR *d = NULL;
        int r, result = 0, n = 0;
        struct dirent *e;

        r = host_lock_read(&lock, reterr);
        if (r <= 0)
                return r;
        FAILPOINT("boot", "repair", "begin");
        d = opendir(DHETCD_HOST_DIR);
        if (!d)
                return fail(reterr, -errno, "%s cannot be listed: %s", DHETCD_HOST_DIR, strerror(errno));
        while ((errno = 0, e = readdir(d))) {
                if (!txn_is_valid(e->d_name) || strncmp(e->d_name, lock.job, JOB_SIZE - 1) != 0)
                        continue;
                r = repair_txn(lock.job, e->d_name, result < 0 ? NULL : reterr);
                RET_GATHER(result, r);
                n += r > 0;
        }
        if (errno != 0 && result >= 0)
                result = fail(reterr, -errno, "%s cannot be listed: %s", DHETCD_HOST_DIR, strerror(errno));
        return result < 0 ? result : n;
}
