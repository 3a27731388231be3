/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* etcd is stopped, and not started by a boot either: before rescue-start nobody may be answered from data that an undo
 * would take away again. */

#include "basic/error.h"
#include "rescue.h"
#include "scripts.h"
#include "steps.h"

/* Without a quorum etcd is never ready, so its start has no end: it is enough that it has begun. */
#define START_PATIENCE (5 * USEC_PER_SEC)

static int look(Host *own, bool *ret_runs, bool *ret_enabled, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        const json_t *unit;
        const char *state;
        int r;

        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        unit = json_object_get(facts, "unit");
        state = json_get_string(unit, "active_state");
        *ret_runs = streq(state, "active") || streq(state, "activating") || streq(state, "reloading");
        *ret_enabled = streq(json_get_string(unit, "unit_file_state"), "enabled");
        return 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        bool ran, enabled;
        int r;

        r = look(own, &ran, &enabled, reterr);
        if (r >= 0)
                r = txn_remember(a->transaction, "ran", json_boolean(ran), reterr);
        if (r >= 0)
                r = txn_remember(a->transaction, "enabled", json_boolean(enabled), reterr);
        if (r >= 0 && enabled)
                r = host_manage_unit(own->client, a->txn, step_rescue_stop.name, "disable", CALL_TIMEOUT, reterr);
        if (r < 0)
                return r;
        return host_manage_unit(own->client, a->txn, step_rescue_stop.name, "stop", a->config->step_timeout_usec,
                                reterr);
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_free_ char *why = NULL;
        bool runs = false, enabled;
        int r;

        r = restore_hosts(a, &step_rescue_stop, reterr);
        if (r < 0 || !json_is_true(txn_recall(a->transaction, "ran")))
                return r;
        r = look(own, &runs, &enabled, reterr);
        if (r < 0 || runs)
                return r;
        r = host_manage_unit(own->client, a->txn, "rescue-stop-undo", "start", START_PATIENCE, &why);
        if (r >= 0)
                return 0;
        if (look(own, &runs, &enabled, reterr) >= 0 && runs)
                return 0;
        return fail(reterr, r, "%s", error_text(why, r));
}

const Step step_rescue_stop = {
        .name = "rescue-stop",
        .title = "Stopping etcd on this host",
        .changes = CHANGES_THIS_HOST,
        .undo_last = true, /* it starts etcd, which must find its own data and configuration again */
        .apply = apply,
        .undo = undo,
};
