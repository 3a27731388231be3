/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "rescue.h"
#include "steps.h"

/* Without a quorum etcd is never ready, so its start has no end: it is enough that it has begun. */
#define START_PATIENCE (5 * USEC_PER_SEC)

static int is_running(Host *own, bool *ret, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        const char *state;
        int r;

        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        state = json_get_string(json_object_get(facts, "unit"), "active_state");
        *ret = streq(state, "active") || streq(state, "activating") || streq(state, "reloading");
        return 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        bool ran;
        int r;

        r = is_running(own, &ran, reterr);
        if (r >= 0)
                r = txn_remember(a->transaction, "ran", json_boolean(ran), reterr);
        if (r < 0)
                return r;
        return host_manage_unit(own->client, a->txn, step_rescue_stop.name, "stop", a->config->step_timeout_usec,
                                reterr);
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        _cleanup_free_ char *why = NULL;
        bool runs = false;
        int r;

        if (!json_is_true(txn_recall(a->transaction, "ran")))
                return 0;
        r = is_running(own, &runs, reterr);
        if (r < 0 || runs)
                return r;
        r = host_manage_unit(own->client, a->txn, "rescue-stop-undo", "start", START_PATIENCE, &why);
        if (r >= 0)
                return 0;
        if (is_running(own, &runs, reterr) >= 0 && runs)
                return 0;
        return fail(reterr, r, "%s", error_text(why, r));
}

const Step step_rescue_stop = {
        .name = "rescue-stop",
        .title = "Stopping etcd on this host",
        .apply = apply,
        .undo = undo,
};
