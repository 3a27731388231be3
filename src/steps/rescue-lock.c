/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* This host's lock: from the stuck job that ends with the rescue, and back to it where the rescue is undone. Right
 * after, the first snapshot: what the undo is proved against. */

#include "basic/error.h"
#include "rescue.h"
#include "steps.h"

/* The lock that rescue-look found; NULL: there was none. */
static const json_t *lock_of_stuck(const Addition *a) {
        return txn_recall(a->transaction, "lock");
}

static int take_over(Addition *a, Host *own, char **reterr) {
        const json_t *lock = lock_of_stuck(a);

        return lock ? host_unlock(own->client, json_get_string(lock, "txn"), CALL_TIMEOUT, reterr) : 0;
}

static int give_back(Addition *a, Host *own, char **reterr) {
        const json_t *lock = lock_of_stuck(a);

        return lock ? host_lock(own->client, json_get_string(lock, "txn"), json_get_string(lock, "holder"),
                                CALL_TIMEOUT, reterr)
                    : 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        char digest[DIGEST_HEX_SIZE];
        int r;

        r = take_over(a, own, reterr);
        if (r >= 0)
                r = host_lock(own->client, a->txn, own->address, CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = host_snapshot(own->client, a->txn, step_rescue_lock.name, CALL_TIMEOUT, digest, reterr);
        return r < 0 ? r : txn_remember(a->transaction, "snapshots-taken", json_true(), reterr);
}

static int prove_undone(Addition *a, char **reterr) {
        Host *own = addition_this_host(a);
        _cleanup_strv_ char **differences = NULL;
        _cleanup_free_ char *list = NULL;
        int r;

        r = host_compare(own->client, a->txn, step_rescue_lock.name, CALL_TIMEOUT, &differences, reterr);
        if (r < 0 || !differences || !*differences)
                return r;
        list = strv_join(differences, "; ");
        return fail(reterr, -EUCLEAN, "%s is not as it was: %s", own->address, list ?: "");
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        int r = addition_prove_undone(a, prove_undone, reterr);

        if (r >= 0)
                r = host_unlock(own->client, a->txn, CALL_TIMEOUT, reterr);
        return r < 0 ? r : give_back(a, own, reterr);
}

const Step step_rescue_lock = {
        .name = "rescue-lock",
        .title = "Locking this host and taking a first snapshot",
        .rejects = true,
        .undo_last = true,
        .apply = apply,
        .undo = undo,
};
