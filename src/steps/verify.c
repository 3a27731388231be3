/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 7, its end: every member is healthy, all have the same data, and every config.yaml lists them. */

#include <inttypes.h>

#include "basic/error.h"
#include "cluster.h"
#include "steps.h"

static int oldest_revision(Addition *a, int64_t *ret, char **reterr) {
        *ret = INT64_MAX;
        FOREACH_VOTER (h, a) {
                EtcdHash hash;
                int r = etcd_hash_kv(a->etcd, h->client_url, 0, ETCD_TIMEOUT, &hash, reterr);

                if (r < 0)
                        return r;
                if (hash.revision < *ret)
                        *ret = hash.revision;
        }
        return 0;
}

static int same_data(Addition *a, char **reterr) {
        const Host *of_first = NULL;
        EtcdHash first = {};
        int64_t revision;
        int r;

        r = oldest_revision(a, &revision, reterr);
        if (r < 0)
                return r;
        FOREACH_VOTER (h, a) {
                EtcdHash hash;

                r = etcd_hash_kv(a->etcd, h->client_url, revision, ETCD_TIMEOUT, &hash, reterr);
                if (r < 0)
                        return r;
                if (!of_first) {
                        of_first = h;
                        first = hash;
                } else if (hash.compact_revision == first.compact_revision && hash.hash != first.hash)
                        return fail(reterr, -EUCLEAN, "%s and %s have different data at revision %" PRId64,
                                    of_first->address, h->address, revision);
        }
        return 0;
}

static int same_config(Addition *a, char **reterr) {
        _cleanup_free_ char *cluster = addition_initial_cluster(a, /* with_new= */ true);

        if (!cluster)
                return -ENOMEM;
        FOREACH_VOTER (h, a) {
                _cleanup_json_ json_t *facts = NULL;
                int r = host_describe(h->client, CALL_TIMEOUT, &facts, reterr);

                if (r < 0)
                        return r;
                if (!streq(json_get_string(json_object_get(facts, "config"), "initial_cluster"), cluster))
                        return fail(reterr, -EUCLEAN, "%s: initial-cluster in %s is not the member list", h->address,
                                    DH_ETCD_CONFIG);
        }
        return 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

        r = cluster_members(a, &members, reterr);
        if (r >= 0)
                r = cluster_check_members(a, members, /* with_new= */ true, reterr);
        FOREACH_VOTER (h, a)
                if (r >= 0)
                        r = cluster_wait_caught_up(a, h, a->config->step_timeout_usec, reterr);
        if (r >= 0)
                r = cluster_forget_probe(a, addition_new_node(a), reterr);
        if (r >= 0)
                r = same_data(a, reterr);
        return r < 0 ? r : same_config(a, reterr);
}

const Step step_verify = {
        .name = "verify",
        .title = "Verifying members, data and configuration",
        .asks = CHANGES_THIS_HOST | CHANGES_MEMBERS | CHANGES_NEW,
        .apply = apply,
};
