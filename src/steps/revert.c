/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Taking back an addition that was committed: its steps' undo does it, once this has made sure that they would undo
 * nothing but what the addition itself did. */

#include "revert.h"

#include "basic/error.h"
#include "basic/failpoint.h"
#include "cluster.h"
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

static int check(Addition *a, bool force, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

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

void addition_unlock(Addition *a) {
        int result = 0;

        FOREACH_HOST (h, a)
                RET_GATHER(result, host_unlock(h->client, a->txn, CALL_TIMEOUT, NULL));
        if (result >= 0) /* else whoever settles tries once more */
                (void) (txn_remember(a->transaction, "looking", json_false(), NULL) < 0);
}

int addition_check_revert(Addition *a, bool force, char **reterr) {
        int r;

        a->promoted = true;
        r = txn_remember(a->transaction, "looking", json_true(), reterr);
        if (r < 0)
                return r;
        FAILPOINT("revert", "look", "begun");
        r = lock_hosts(a, reterr);
        FAILPOINT("revert", "look", "locked");
        if (r >= 0)
                r = check(a, force, reterr);
        if (r < 0)
                addition_unlock(a);
        FAILPOINT("revert", "look", "done");
        return r;
}

#if DHETCD_FAILPOINTS
void revert_failpoints(FILE *out) {
        fprintf(out, "revert.look.begun\nrevert.look.locked\nrevert.look.done\n");
}
#endif
