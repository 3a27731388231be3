/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Restore: the files are what they were before a step, and the directories of etcd's data. */

#include "host-operation.h"
#include "txn/snapshot.h"

#define RELOAD_TIMEOUT (120 * USEC_PER_SEC)

int host_restore_files(const char *txn, const char *step, bool *ret_units, char **reterr) {
        char digest[DIGEST_HEX_SIZE], before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE], address[256];
        _cleanup_free_ char *name = host_snapshot_name(txn, step), *job = strndup(txn, JOB_SIZE - 1);
        bool known;
        int r, places;

        if (ret_units)
                *ret_units = false;
        if (!name || !job)
                return -ENOMEM;
        r = snapshot_describe(DHETCD_SNAPSHOT_STORE, name, digest, NULL, reterr);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;

        known = snapshot_digest_now(host_unit_roots, before, NULL) >= 0;
        r = snapshot_restore(DHETCD_SNAPSHOT_STORE, name, reterr);
        if (r < 0)
                return r;
        places = host_places_restore(txn, step, reterr);
        if (places < 0)
                return places;
        if (r > 0 || places > 0)
                log_event(EVENT_HOST_RESTORED, LOG_NOTICE,
                          &(EventContext){ .job = job,
                                           .txn = txn,
                                           .step = step,
                                           .host = host_own_address(address),
                                           .after = digest },
                          "Files are as before \"%s\" again", step);
        if (ret_units)
                *ret_units = !known || snapshot_digest_now(host_unit_roots, after, NULL) < 0 || !streq(before, after);
        return r > 0 || places > 0;
}

static int answer(HostOperation *op) {
        return host_operation_answer(op, json_pack("[b]", (int) op->changed));
}

static int after_reload(HostOperation *op) {
        if (op->job_error < 0)
                return fail(&op->why, op->job_error,
                            "the files are restored, but systemd did not read its unit files again: %s",
                            error_text(op->job_why, op->job_error));
        return answer(op);
}

static int reload(HostOperation *op) {
        UnitJob *j;
        int r;

        r = host_operation_job(op, after_reload, &j);
        if (r >= 0)
                r = unit_job_reload(j, RELOAD_TIMEOUT);
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked to reload: %s", strerror(-r)) : 0;
}

/* Whether everything is as before the step already. Without a snapshot the step was not begun here. */
static bool is_restored(const HostOperation *op) {
        _cleanup_free_ char *name = host_snapshot_name(op->txn, op->step);
        _cleanup_strv_ char **differences = NULL;
        char digest[DIGEST_HEX_SIZE];

        if (!name)
                return false;
        /* Only of the snapshot itself does -ENOENT say that: a file that goes while it is looked at gives it, too. */
        if (snapshot_describe(DHETCD_SNAPSHOT_STORE, name, digest, NULL, NULL) == -ENOENT)
                return true;
        return snapshot_compare(DHETCD_SNAPSHOT_STORE, name, &differences, NULL) == 0 &&
               host_places_are_restored(op->txn, op->step);
}

bool host_is_further_back(const HostRecord *record, const char *txn, const char *step) {
        _cleanup_free_ char *name = host_snapshot_name(txn, step);
        _cleanup_strv_ char **restored = NULL;

        if (!name || host_record_restored(record, &restored) < 0)
                return false;
        STRV_FOREACH (s, restored) {
                _cleanup_free_ char *earlier = host_snapshot_name(txn, *s);

                if (earlier && snapshot_is_older(DHETCD_SNAPSHOT_STORE, earlier, name) > 0)
                        return true;
        }
        return false;
}

static int restore_now(HostOperation *op) {
        bool back = host_is_further_back(op->record, op->txn, op->step), units = false;
        int r;

        /* An undo that waits for another host asks again and again: the record does not grow by what changes
         * nothing. */
        if (!op->intended) {
                if (back || is_restored(op))
                        return answer(op);
                r = host_operation_intent(op, NULL);
                if (r < 0)
                        return r;
        }

        r = back ? 0 : host_restore_files(op->txn, op->step, &units, &op->why);
        if (r < 0)
                return r;
        op->changed = r > 0;
        HOST_FAILPOINT(op, "restored");
        /* One that was cut short may have restored the files and not reloaded. */
        return units || op->was_open ? reload(op) : answer(op);
}

/* A script that is still at work would change the files again. */
int begin_restore(HostOperation *op) {
        bool again = host_record_is_restored(op->record, op->step);
        int r = 0;

        op->was_open = host_record_is_open(op->record, op->step, op->method->name);
        if (!again || op->was_open)
                r = host_operation_intent(op, NULL);
        return r < 0 ? r : host_scripts_stop(op, restore_now);
}
