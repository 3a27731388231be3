/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6, its end: initial-cluster-state of the new node goes back to "new", as on every other node. A running
 * etcd does not read it, so it is restarted only where restart=always asks for the page to the letter. */

#include "basic/error.h"
#include "cluster.h"
#include "scripts.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        int r;

        r = host_edit_config(new->client, a->txn, step_finish.name, NULL, "new", CALL_TIMEOUT, reterr);
        if (r < 0 || !a->restart_always)
                return r;
        return cluster_restart_member(a, step_finish.name, new, reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        _cleanup_json_ json_t *facts = NULL;
        int r;

        r = host_describe(new->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        if (!streq(json_get_string(json_object_get(facts, "config"), "initial_cluster_state"), "new"))
                return fail(reterr, -EUCLEAN, "%s: initial-cluster-state in %s is not 'new'", new->address,
                            DH_ETCD_CONFIG);
        return cluster_wait_caught_up(a, new, a->config->step_timeout_usec, reterr);
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_finish, reterr);
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->restarts = a->restart_always ? CHANGES_NEW : 0;
        f->why = a->restart_always ? "restart=always: the new node is restarted, as the vendor's page says"
                                   : "a running etcd does not read it: no restart";
}

const Step step_finish = {
        .name = "finish",
        .title = "Setting the new node's initial-cluster-state back to 'new'",
        .changes = CHANGES_NEW,
        .undoes = "only by \"dhetcd rollback\": the new node gets its old files back",
        .foresee = foresee,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
