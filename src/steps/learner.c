/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "learner.h"

#include "basic/error.h"
#include "cluster.h"

#define SAMPLES 3U

/* The invocation of dh-etcd on the new node; *ret is "" where it is not active. Caller frees. */
static int invocation(Addition *a, char **ret, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        const json_t *unit;
        int r;

        r = host_describe(addition_new_node(a)->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        unit = json_object_get(facts, "unit");
        *ret = strdup(streq(json_get_string(unit, "active_state"), "active")
                              ? json_get_string(unit, "invocation_id") ?: ""
                              : "");
        return *ret ? 0 : -ENOMEM;
}

int learner_in_sync(Addition *a, char **reterr) {
        _cleanup_free_ char *before = NULL, *after = NULL;
        Host *new = addition_new_node(a);
        int r;

        r = invocation(a, &before, reterr);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < SAMPLES; i++) {
                if (i > 0) {
                        r = addition_sleep(a, POLL_INTERVAL);
                        if (r < 0)
                                return r;
                }
                r = cluster_caught_up(a, new, a->config->sync_margin, NULL, NULL, reterr);
                if (r <= 0)
                        return r;
        }
        r = invocation(a, &after, reterr);
        if (r < 0)
                return r;

        if (*before == '\0' || !streq(before, after)) {
                (void) fail(reterr, -EAGAIN, "%s: %s was restarted or is not active", new->address, DH_ETCD_UNIT);
                return 0;
        }
        return 1;
}
