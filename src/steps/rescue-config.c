/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* initial-cluster becomes this member alone, and for one start etcd is told to forget the others. A restored snapshot
 * has forgotten them already. */

#include "basic/error.h"
#include "rescue.h"
#include "scripts.h"
#include "steps.h"

static bool forces(const Addition *a) {
        return !a->rescue.snapshot;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_free_ char *cluster = format("%s=%s", own->name, own->peer_url);
        int r;

        if (!cluster)
                return -ENOMEM;
        r = host_edit_config(own->client, a->txn, step_rescue_config.name, cluster, NULL, CALL_TIMEOUT, reterr);
        if (r < 0 || !forces(a))
                return r;
        return host_force_new_cluster(own->client, a->txn, step_rescue_config.name, true, CALL_TIMEOUT, reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_free_ char *cluster = format("%s=%s", own->name, own->peer_url);
        _cleanup_json_ json_t *facts = NULL;
        const json_t *config;
        int r;

        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        config = json_object_get(facts, "config");
        if (!streq(json_get_string(config, "initial_cluster"), cluster) ||
            json_is_true(json_object_get(config, "force_new_cluster")) != forces(a))
                return fail(reterr, -EUCLEAN, "%s: %s is not what was written to it", own->address, DH_ETCD_CONFIG);
        return 0;
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_rescue_config, reterr);
}

const Step step_rescue_config = {
        .name = "rescue-config",
        .title = "Leaving only this member in config.yaml",
        .changes = CHANGES_THIS_HOST,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
