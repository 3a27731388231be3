/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Taking back an addition that was committed: its steps' undo does it, once this has made sure that they would undo
 * nothing but what the addition itself did. */

#include "revert.h"

#include "basic/error.h"
#include "basic/failpoint.h"
#include "cluster.h"
#include "preflight.h"
#include "steps.h"

static int check_host(Addition *a, const Host *h, char **reterr) {
        _cleanup_strv_ char **differences = NULL;
        _cleanup_free_ char *list = NULL;
        int r = host_compare(h->client, a->txn, step_unlock.name, CALL_TIMEOUT, &differences, reterr);

        if (r < 0 || !differences || !*differences)
                return r;
        list = strv_join(differences, "; ");
        return fail(reterr, -EUCLEAN,
                    "%s was changed since the node was added, and that would be lost: %s. Take later jobs back first, "
                    "or run \"dhetcd rollback --force %s\"",
                    h->address, list ?: "", a->job);
}

/* A later job may have brought a CA that the addition did not know. */
static int trust_present_authorities(Addition *a, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        int r = host_describe(addition_this_host(a)->client, CALL_TIMEOUT, &facts, reterr);

        return r < 0 ? r : preflight_seed_trust(a, facts, reterr);
}

static int check(Addition *a, bool force, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

        r = trust_present_authorities(a, reterr);
        if (r >= 0)
                r = cluster_members(a, &members, reterr);
        if (r >= 0)
                r = cluster_check_members(a, members, /* with_new= */ true, reterr);
        FOREACH_VOTER (h, a)
                if (r >= 0)
                        r = cluster_wait_caught_up(a, h, CALL_TIMEOUT, reterr);
        FOREACH_HOST (h, a)
                if (r >= 0 && !force)
                        r = check_host(a, h, reterr);
        return r;
}

static int release(Addition *a, char **reterr) {
        int result = 0;

        FOREACH_HOST (h, a)
                if (h->asked_lock) {
                        int r = host_unlock(h->client, a->txn, CALL_TIMEOUT, result < 0 ? NULL : reterr);

                        if (r != -ESTALE) /* another host holds it now, for the same job */
                                RET_GATHER(result, r);
                }
        return result;
}

static int insist_on_release(Addition *a, const TxnLimits *limits, char **reterr) {
        uint64_t deadline = now_boot() + limits->settle_usec;
        bool told = false;

        addition_no_cancel(a);
        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = release(a, &why);

                if (r >= 0)
                        return 0;
                if (now_boot() >= deadline)
                        return fail(reterr, r,
                                    "it stays, and of the look whether it can be taken out a lock is left: %s",
                                    error_text(why, r));
                if (!told)
                        addition_progress(a, "waiting to release every host: %s", error_text(why, r));
                told = true;
                r = addition_sleep(a, limits->pause_usec);
                if (r < 0)
                        return fail(reterr, r, "%s", error_text(why, r));
        }
}

int addition_end_look(Addition *a, const TxnLimits *limits, const char *why, char **reterr) {
        _cleanup_free_ char *held = NULL;
        int r = insist_on_release(a, limits, &held);

        if (r == -ESHUTDOWN)
                return fail(reterr, r, "%s", error_text(held, r));
        if (r < 0)
                return txn_end(a->transaction, TXN_STUCK, error_text(held, r), reterr);
        return txn_refuse_revert(a->transaction, why, reterr);
}

int addition_settle_look(Addition *a, const TxnLimits *limits, char **reterr) {
        int r = addition_load_plan(a, reterr);

        if (r >= 0)
                r = addition_set_holder(a, reterr);
        if (r < 0)
                return r;
        FOREACH_HOST (h, a)
                h->asked_lock = true; /* who began to look did not tell how far it came */
        r = addition_end_look(a, limits, "it ended while it was looked whether it can be taken out", reterr);
        return r != 0 ? r : TXN_COMMITTED;
}

int addition_check_revert(Addition *a, bool force, char **reterr) {
        int r;

        a->promoted = true;
        r = txn_look(a->transaction, reterr);
        if (r < 0)
                return r;
        FAILPOINT("revert", "look", "begun");
        r = lock_hosts(a, a->wait_timeout, reterr);
        FAILPOINT("revert", "look", "locked");
        if (r >= 0)
                r = check(a, force, reterr);
        FAILPOINT("revert", "look", "done");
        return r;
}

#if DHETCD_FAILPOINTS
void revert_failpoints(FILE *out) {
        fprintf(out, "revert.look.begun\nrevert.look.locked\nrevert.look.done\n");
}
#endif
