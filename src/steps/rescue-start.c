/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* etcd starts as a cluster of this member alone: the point of no return. From its first answer on clients write to it,
 * and what it acknowledged must not be taken back. */

#include <systemd/sd-id128.h>

#include "basic/error.h"
#include "cluster.h"
#include "rescue.h"
#include "steps.h"

/* Before etcd may be started: in which boot. */
static int note_boot(Addition *a, char **reterr) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t id;
        int r;

        r = sd_id128_get_boot(&id);
        if (r < 0)
                return fail(reterr, r, "this boot has no ID: %s", strerror(-r));
        return txn_remember(a->transaction, "boot", json_string(sd_id128_to_string(id, text)), reterr);
}

static int note_once(Addition *a, const char *what, char **reterr) {
        return txn_recall(a->transaction, what) ? 0 : txn_remember(a->transaction, what, json_true(), reterr);
}

/* Enabled last: no boot starts it with force-new-cluster, with which etcd drops, once more after a crash, what its log
 * does not call committed yet. */
int rescue_start_alone(Addition *a, const char *step, char **reterr) {
        Host *own = addition_this_host(a);
        uint64_t timeout = a->config->step_timeout_usec;
        int r;

        r = host_manage_unit(own->client, a->txn, step, "start", timeout, reterr);
        if (r >= 0)
                r = note_once(a, "ready", reterr);
        if (r >= 0 && !a->rescue.snapshot)
                r = host_force_new_cluster(own->client, a->txn, step, false, CALL_TIMEOUT, reterr);
        if (r >= 0 && json_is_true(txn_recall(a->transaction, "enabled")))
                r = host_manage_unit(own->client, a->txn, step, "enable", CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = rescue_wait_alone(a, timeout, reterr);
        return r < 0 ? r : note_once(a, "answered", reterr);
}

bool rescue_has_answered(const Addition *a) {
        return txn_recall(a->transaction, "answered");
}

/* Canceled now or not at all: a start that was asked for comes, also when nobody waits for it any more. */
static int apply(void *world, char **reterr) {
        Addition *a = world;
        int r;

        r = addition_sleep(a, 0);
        if (r < 0)
                return r;
        addition_no_cancel(a);
        r = note_boot(a, reterr);
        return r < 0 ? r : rescue_start_alone(a, step_rescue_start.name, reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;

        return cluster_prove_write(a, addition_this_host(a), reterr);
}

/* 1: it was ready, and clients may have written, whether or not we could since; or nobody knows, as what systemd knew
 * of it went with the boot. rescue-release starts it then, where it does not run. 0: it never was. Else it is not known
 * yet. */
static int happened(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_json_ json_t *facts = NULL;
        const char *boot, *state, *sub_state;
        const json_t *unit;
        int r;

        if (txn_recall(a->transaction, "ready"))
                return 1;
        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        boot = json_string_value(txn_recall(a->transaction, "boot"));
        if (boot && !streq(boot, json_get_string(facts, "boot_id")))
                return 1;
        unit = json_object_get(facts, "unit");
        state = json_get_string(unit, "active_state");
        sub_state = json_get_string(unit, "sub_state");
        if (streq(state, "active"))
                return 1;
        if (json_is_true(json_object_get(unit, "job")))
                return fail(reterr, -EAGAIN, "%s: a job of systemd for %s is not done yet", own->address, DH_ETCD_UNIT);
        if (streq(state, "inactive") || streq(state, "failed") || streq(sub_state, "auto-restart"))
                return boot ? txn_remember(a->transaction, "boot", json_null(), reterr) : 0; /* no boot asks again */
        return fail(reterr, -EAGAIN, "%s: %s is %s", own->address, DH_ETCD_UNIT, state ?: "not known");
}

/* systemd may be about to start it once more. It is not enabled: that comes after the note that it was ready, and then
 * nothing is undone. */
static int undo(void *world, char **reterr) {
        Addition *a = world;

        return host_manage_unit(addition_this_host(a)->client, a->txn, "rescue-start-undo", "stop",
                                a->config->step_timeout_usec, reterr);
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
