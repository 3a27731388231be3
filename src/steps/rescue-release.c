/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* force-new-cluster is for one start: with it, every later start would throw out what was added meanwhile. */

#include "basic/error.h"
#include "rescue.h"
#include "scripts.h"
#include "steps.h"

static int check(void *world, char **reterr) {
        Addition *a = world;

        return a->rescue.snapshot && rescue_has_answered(a)
                       ? skip_step(reterr, "a restored snapshot needs no force-new-cluster")
                       : 1;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        int r;

        if (!rescue_has_answered(a)) { /* the power was cut in rescue-start: its start, to the end */
                r = rescue_start_alone(a, step_rescue_release.name, reterr);
                if (r < 0 || a->rescue.snapshot)
                        return r;
        }
        r = host_force_new_cluster(own->client, a->txn, step_rescue_release.name, false, CALL_TIMEOUT, reterr);
        if (r < 0)
                return r;
        return host_manage_unit(own->client, a->txn, step_rescue_release.name, "restart", a->config->step_timeout_usec,
                                reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_json_ json_t *facts = NULL;
        int r;

        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        if (json_is_true(json_object_get(json_object_get(facts, "config"), "force_new_cluster")))
                return fail(reterr, -EUCLEAN, "%s: %s still has force-new-cluster: true", own->address, DH_ETCD_CONFIG);
        return rescue_wait_alone(a, a->config->step_timeout_usec, reterr);
}

const Step step_rescue_release = {
        .name = "rescue-release",
        .title = "Restarting etcd without force-new-cluster",
        .changes = CHANGES_THIS_HOST,
        .check = check,
        .apply = apply,
        .prove = prove,
};
