/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every host that takes part: its lock, from a job that has ended and left it too, and a first snapshot, which the undo
 * is proved against. */

#include "basic/error.h"
#include "repair.h"
#include "steps.h"
#include "takeover.h"

static const json_t *lock_left_on(const Addition *a, const Host *h) {
        return json_object_get(repair_find(a, "lock-left", h->address), "fix");
}

static int lock_host(Addition *a, Host *h, char **reterr) {
        const json_t *left = lock_left_on(a, h);
        char digest[DIGEST_HEX_SIZE];
        int r = 0;

        if (left)
                r = host_unlock(h->client, json_get_string(left, "txn"), CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = host_lock(h->client, a->txn, addition_this_host(a)->address, CALL_TIMEOUT, reterr);
        return r < 0 ? r : host_snapshot(h->client, a->txn, step_repair_lock.name, CALL_TIMEOUT, digest, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;

        FOREACH_HOST (h, a) {
                int r = lock_host(a, h, reterr);

                if (r < 0)
                        return r;
        }
        return txn_remember(a->transaction, "snapshots-taken", json_true(), reterr);
}

static int prove_host(Host *h, Addition *a, char **reterr) {
        _cleanup_strv_ char **differences = NULL;
        _cleanup_free_ char *list = NULL;
        int r = host_compare(h->client, a->txn, step_repair_lock.name, CALL_TIMEOUT, &differences, reterr);

        if (r < 0 || !differences || !*differences)
                return r;
        list = strv_join(differences, "; ");
        return fail(reterr, -EUCLEAN, "%s is not as it was: %s", h->address, list ?: "");
}

static int prove_undone(Addition *a, char **reterr) {
        int result = 0;

        FOREACH_HOST (h, a)
                RET_GATHER(result, prove_host(h, a, result < 0 ? NULL : reterr));
        return result;
}

/* The lock that was left is given back as well: all is as it was. */
static int release(Addition *a, Host *h, char **reterr) {
        const json_t *left = lock_left_on(a, h);
        int r = host_unlock(h->client, a->txn, CALL_TIMEOUT, reterr);

        return r < 0 || !left ? r
                              : host_lock(h->client, json_get_string(left, "txn"), json_get_string(left, "holder"),
                                          CALL_TIMEOUT, reterr);
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        int result = addition_prove_undone(a, prove_undone, reterr);

        if (result < 0)
                return result;
        FOREACH_HOST (h, a)
                RET_GATHER(result, release(a, h, result < 0 ? NULL : reterr));
        return result;
}

const Step step_repair_lock = {
        .name = "repair-lock",
        .title = "Locking every host and taking a first snapshot",
        .rejects = true,
        .undo_last = true,
        .apply = apply,
        .undo = undo,
};
