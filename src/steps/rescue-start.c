/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* etcd starts as a cluster of this member alone: the point of no return. From its first answer on clients write to it,
 * and what it acknowledged must not be taken back. */

#include "basic/error.h"
#include "cluster.h"
#include "rescue.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        uint64_t timeout = a->config->step_timeout_usec;
        int r = 0;

        if (json_is_true(txn_recall(a->transaction, "enabled")))
                r = host_manage_unit(own->client, a->txn, step_rescue_start.name, "enable", CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = host_manage_unit(own->client, a->txn, step_rescue_start.name, "start", timeout, reterr);
        if (r >= 0 && !a->rescue.snapshot)
                /* Started with it once more, after a crash, etcd drops what its log does not call committed yet. */
                r = host_force_new_cluster(own->client, a->txn, step_rescue_start.name, false, CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = rescue_wait_alone(a, timeout, reterr);
        return r < 0 ? r : txn_remember(a->transaction, "answered", json_true(), reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;

        return cluster_prove_write(a, addition_this_host(a), reterr);
}

/* 1: it answered as such a cluster. 0: it never was ready, so no client was answered. Else it is not known yet. */
static int happened(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_json_ json_t *facts = NULL;
        const char *state, *sub_state;
        const json_t *unit;
        int r;

        if (txn_recall(a->transaction, "answered"))
                return 1;
        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        unit = json_object_get(facts, "unit");
        state = json_get_string(unit, "active_state");
        sub_state = json_get_string(unit, "sub_state");
        if (json_is_true(json_object_get(unit, "job"))) /* after a power cut it may have been ready, and starts again */
                return fail(reterr, -EAGAIN, "%s: a job of systemd for %s is not done yet", own->address, DH_ETCD_UNIT);
        if (streq(state, "inactive") || streq(state, "failed") || streq(sub_state, "auto-restart"))
                return 0;
        r = rescue_is_alone(a, reterr);
        return r != 0 ? r : -EAGAIN;
}

/* Disabled first: a boot must not start it on what is taken back. rescue-stop's undo enables it again. */
static int undo(void *world, char **reterr) {
        Addition *a = world;
        HostClient *own = addition_this_host(a)->client;
        int r = 0;

        if (json_is_true(txn_recall(a->transaction, "enabled")))
                r = host_manage_unit(own, a->txn, "rescue-start-undo", "disable", CALL_TIMEOUT, reterr);
        return r < 0 ? r
                     : host_manage_unit(own, a->txn, "rescue-start-undo", "stop", a->config->step_timeout_usec, reterr);
}

const Step step_rescue_start = {
        .name = "rescue-start",
        .title = "Starting etcd as a cluster of this member alone",
        .point_of_no_return = true,
        .apply = apply,
        .prove = prove,
        .happened = happened,
        .undo = undo,
};
