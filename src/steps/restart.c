/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: the members are restarted, here one at a time and the leader last. etcd ignores initial-cluster once it
 * has data, and reads certificates at each handshake: a member whose config.yaml is otherwise the same gains nothing by
 * a restart, and in a small cluster it would be an outage. So it is left running, unless restart=always asks for the
 * page to the letter. */

#include "basic/error.h"
#include "cluster.h"
#include "scripts.h"
#include "steps.h"

static bool wanted(Addition *a, const Host *h) {
        _cleanup_json_ json_t *facts = NULL;

        if (a->restart_always)
                return true;
        if (host_describe(h->client, CALL_TIMEOUT, &facts, NULL) < 0)
                return true;
        return !h->config_digest || !streq(json_get_string(facts, "config_digest"), h->config_digest);
}

static int check(void *world, char **reterr) {
        Addition *a = world;

        FOREACH_MEMBER (h, a)
                if (wanted(a, h))
                        return 1;
        return skip_step(reterr, "no member needs it: their config.yaml differs only in what a running etcd ignores");
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        json_t *restarted = json_array();
        int r;

        FOREACH_MEMBER (h, a)
                if (wanted(a, h) && json_array_append_new(restarted, json_string(h->address)) < 0)
                        return -ENOMEM;
        r = txn_remember(a->transaction, "restarted", restarted, reterr);
        return r < 0 ? r : cluster_rolling_restart(a, step_restart.name, wanted, reterr);
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->restarts = CHANGES_MEMBERS;
        f->perhaps = !a->restart_always;
        f->why = a->restart_always
                         ? "restart=always: one at a time, the leader last and only after it has handed over"
                         : "only a member whose config.yaml differs in more than initial-cluster*, which none should";
}

/* Its undo is deploy's: a member is restarted again only when it has its old files back. */
const Step step_restart = {
        .name = "restart",
        .title = "Restarting members one at a time",
        .changes = CHANGES_MEMBERS,
        .undoes = "with the old files (deploy)",
        .foresee = foresee,
        .check = check,
        .apply = apply,
};
