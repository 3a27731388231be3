/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A learner that was left behind is removed: it has no vote, has never started, and no job owns it. What is removed
 * does not come back, so this is the point of no return, with or without a learner. */

#include <inttypes.h>

#include "basic/error.h"
#include "cluster.h"
#include "repair.h"
#include "steps.h"

static uint64_t learner_of(const Addition *a) {
        const char *id = json_get_string(json_object_get(repair_find(a, "dead-learner", NULL), "fix"), "member");

        return id ? strtoull(id, NULL, 16) : 0; /* etcd takes one learner at a time */
}

static int remove_from(Addition *a, const Host *voter, void *userdata, char **reterr) {
        const uint64_t *id = userdata;

        return etcd_member_remove(a->etcd, voter->client_url, *id, ETCD_TIMEOUT, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        uint64_t id = learner_of(a);
        const EtcdMember *m;
        int r;

        if (id == 0)
                return 0;
        r = cluster_members(a, &members, reterr);
        if (r < 0)
                return r;
        m = etcd_members_find_id(members, id);
        if (!m)
                return 0;
        if (!m->learner || *m->name != '\0')
                return fail(reterr, -EBUSY, "member %" PRIx64 " has started meanwhile; see: dhetcd cluster", id);
        r = cluster_change(a, remove_from, &id, reterr);
        return r == -ENOENT ? 0 : r;
}

static int happened(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        uint64_t id = learner_of(a);
        int r;

        if (id == 0)
                return 0;
        r = cluster_members(a, &members, reterr);
        return r < 0 ? r : !etcd_members_find_id(members, id);
}

const Step step_repair_learner = {
        .name = "repair-learner",
        .title = "Removing a learner that was left behind",
        .point_of_no_return = true,
        .apply = apply,
        .happened = happened,
};
