/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "learner.h"

#include <inttypes.h>

#include "basic/error.h"
#include "cluster.h"

#define SAMPLES 3U
#define RECEIVE_TIMEOUT (5 * USEC_PER_SEC)

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

/* Whether the learner applies an entry that the leader writes now: near the leader's index is also one that was cut off
 * a moment ago. 1 yes, 0 no (*reterr says why), negative as learner_in_sync(). */
static int receives_entries(Addition *a, char **reterr) {
        Host *new = addition_new_node(a);
        uint64_t deadline, mark;
        int r;

        r = cluster_mark(a, &mark, reterr);
        if (r < 0) /* a password that is wrong now does not become right by waiting */
                return r == -ECANCELED || r == -EACCES ? r : 0;
        for (deadline = now_boot() + RECEIVE_TIMEOUT;;) {
                _cleanup_(etcd_status_done) EtcdStatus s = {};

                r = etcd_status(a->etcd, new->client_url, ETCD_TIMEOUT, &s, reterr);
                if (r < 0)
                        return r == -ECANCELED ? r : 0;
                if (s.raft_applied_index >= mark)
                        return 1;
                if (now_boot() >= deadline) {
                        (void) fail(
                                reterr, -EAGAIN,
                                "%s has applied %" PRIu64 " of the %" PRIu64 " entries that the leader had %u s ago",
                                new->address, s.raft_applied_index, mark, (unsigned) (RECEIVE_TIMEOUT / USEC_PER_SEC));
                        return 0;
                }
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
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
        r = receives_entries(a, reterr);
        if (r <= 0)
                return r;
        r = invocation(a, &after, reterr);
        if (r < 0)
                return r;

        if (*before == '\0' || !streq(before, after)) {
                (void) fail(reterr, -EAGAIN, "%s: %s was restarted or is not active", new->address, DH_ETCD_UNIT);
                return 0;
        }
        return 1;
}
