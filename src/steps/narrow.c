/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: the package lists all nodes of the job, but only one is added at a time: initial-cluster becomes the
 * members and this node, and the new node gets the state "existing"; a member has "new", whatever the generator wrote.
 * Every other byte stays. */

#include "basic/error.h"
#include "scripts.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_free_ char *cluster = addition_initial_cluster(a, /* with_new= */ true);

        if (!cluster)
                return -ENOMEM;
        FOREACH_NODE (h, a) {
                int r = host_edit_config(h->client, a->txn, step_narrow.name, cluster, h->new_node ? "existing" : "new",
                                         CALL_TIMEOUT, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_free_ char *cluster = addition_initial_cluster(a, /* with_new= */ true);

        if (!cluster)
                return -ENOMEM;
        FOREACH_NODE (h, a) {
                _cleanup_json_ json_t *facts = NULL;
                const json_t *config;
                const char *state;
                int r;

                r = host_describe(h->client, CALL_TIMEOUT, &facts, reterr);
                if (r < 0)
                        return r;
                config = json_object_get(facts, "config");
                if (!streq(json_get_string(config, "initial_cluster"), cluster))
                        return fail(reterr, -EUCLEAN, "%s: initial-cluster in %s is not '%s'", h->address,
                                    DH_ETCD_CONFIG, cluster);
                state = h->new_node ? "existing" : "new";
                if (!streq(json_get_string(config, "initial_cluster_state"), state))
                        return fail(reterr, -EUCLEAN, "%s: initial-cluster-state in %s is not '%s'", h->address,
                                    DH_ETCD_CONFIG, state);
        }
        return 0;
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_narrow, reterr);
}

static void foresee(void *world, StepForecast *f) {
        f->why = "every other byte of config.yaml stays; etcd ignores initial-cluster once it has data";
}

const Step step_narrow = {
        .name = "narrow",
        .title = "Listing only the members and this node in initial-cluster",
        .changes = CHANGES_MEMBERS | CHANGES_NEW,
        .undoes = "every host gets its old config.yaml back",
        .foresee = foresee,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
