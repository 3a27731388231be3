/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: member add --learner. A learner has no vote, so it is always safe to take it away again. */

#include <inttypes.h>

#include "basic/error.h"
#include "cluster.h"
#include "steps.h"

#define UNHEALTHY_TIMEOUT (60 * USEC_PER_SEC) /* etcd wants every voter connected for 5 s first */

/* The new node in the member list, by its peer URL: 1 found, 0 not there. */
static int find_new(Addition *a, EtcdMember *ret, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        const EtcdMember *found;
        int r;

        r = cluster_members(a, &members, reterr);
        if (r < 0)
                return r;
        found = etcd_members_find_peer(members, addition_new_node(a)->peer_url);
        if (!found)
                return 0;
        *ret = (EtcdMember){ .id = found->id, .learner = found->learner };
        return 1;
}

static int check(void *world, char **reterr) {
        Addition *a = world;
        EtcdMember m;
        int r = find_new(a, &m, reterr);

        if (r > 0)
                return fail(reterr, -EEXIST, "%s became a member meanwhile, and not by this job",
                            addition_new_node(a)->address);
        return r < 0 ? r : 1;
}

static int ask_to_add(Addition *a, const Host *voter, void *userdata, char **reterr) {
        uint64_t *ret_id = userdata;

        return etcd_member_add_learner(a->etcd, voter->client_url, addition_new_node(a)->peer_url, ETCD_TIMEOUT, ret_id,
                                       reterr);
}

/* One try. A reply may be lost: the member list tells what happened. */
static int add_once(Addition *a, uint64_t *ret_id, char **reterr) {
        EtcdMember m;
        int r, k;

        r = cluster_change(a, ask_to_add, ret_id, reterr);
        if (r >= 0 || r == -ECANCELED || r == -EACCES)
                return r;

        k = find_new(a, &m, NULL);
        if (k <= 0)
                return r;
        *ret_id = m.id;
        return 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        uint64_t deadline = now_boot() + UNHEALTHY_TIMEOUT, id = 0;
        bool told = false;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = add_once(a, &id, &why);

                if (r >= 0)
                        break;
                if (!cluster_may_pass(r) || now_boot() >= deadline)
                        return fail(reterr, r, "%s", error_text(why, r));
                if (!told)
                        addition_progress(a, "waiting until every voter has been connected for 5 s: %s",
                                          error_text(why, r));
                told = true;
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }

        new->member_id = id;
        addition_progress_of(a, new, &(Progress){}, "%s is learner %" PRIx64, new->address, id);
        return txn_remember(a->transaction, "member-id", json_integer((json_int_t) id), reterr);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        EtcdMember m;
        int r = find_new(a, &m, reterr);

        if (r < 0)
                return r;
        if (r == 0 || !m.learner || m.id != addition_new_node(a)->member_id)
                return fail(reterr, -EUCLEAN, "%s is not the learner that was added", addition_new_node(a)->address);
        return 0;
}

static int ask_to_remove(Addition *a, const Host *voter, void *userdata, char **reterr) {
        const EtcdMember *m = userdata;

        return etcd_member_remove(a->etcd, voter->client_url, m->id, ETCD_TIMEOUT, reterr);
}

/* What has its address and is not what this job added is somebody else's, and stays. */
static int find_ours(Addition *a, EtcdMember *ret, char **reterr) {
        const Host *new = addition_new_node(a);
        int r = find_new(a, ret, reterr);

        if (r <= 0 || (new->member_id == 0 ? ret->learner : ret->id == new->member_id))
                return r;
        return fail(reterr, -EPERM,
                    "%s is in the member list as %" PRIx64
                    ", and not by this job; nothing is done to it. Remove it with "
                    "\"etcdctl.sh member remove %" PRIx64 "\", then run \"dhetcd settle %s\"",
                    new->address, ret->id, ret->id, a->job);
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        EtcdMember m;
        int r;

        r = find_ours(a, &m, reterr);
        if (r <= 0)
                return r;
        r = cluster_change(a, ask_to_remove, &m, reterr);
        if (r < 0 && r != -ENOENT)
                return r;

        r = find_ours(a, &m, reterr);
        return r > 0 ? fail(reterr, -EUCLEAN, "%s is still in the member list after its removal",
                            addition_new_node(a)->address)
                     : r;
}

static void foresee(void *world, StepForecast *f) {
        f->seconds = 3;
        f->why = "a learner has no vote: the quorum stays as it is. etcd waits 5 s after any member's restart";
}

const Step step_add_learner = {
        .name = "add-learner",
        .title = "Adding the new node to the cluster as a learner",
        .asks = CHANGES_MEMBERS,
        .undoes = "the learner is removed from the member list",
        .foresee = foresee,
        .check = check,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
