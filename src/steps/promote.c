/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: member promote, the point of no return. etcd promotes a learner that is dead, and a cluster of one
 * voter has then lost its quorum; so the learner is asked itself right before. With authentication on, only the leader
 * promotes. */

#include "basic/error.h"
#include "cluster.h"
#include "learner.h"
#include "steps.h"

#define PROMOTE_TIMEOUT (30 * USEC_PER_SEC)
#define REMOVE_TIMEOUT (30 * USEC_PER_SEC) /* etcd wants a quorum of the others connected for 5 s first */

/* 1 the new node is in the member list, a->promoted tells as what; 0 it is not. */
static int find_new(Addition *a, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        const EtcdMember *m;
        int r;

        r = cluster_members(a, &members, reterr);
        if (r < 0)
                return r;
        m = etcd_members_find_id(members, addition_new_node(a)->member_id);
        a->promoted = m && !m->learner;
        return !!m;
}

static int happened(void *world, char **reterr) {
        Addition *a = world;
        int r = find_new(a, reterr);

        return r < 0 ? r : a->promoted;
}

static int promote_once(Addition *a, char **reterr) {
        Host *leader;
        int r;

        r = learner_in_sync(a, reterr);
        if (r <= 0)
                return r < 0 ? r : -EAGAIN;
        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        return etcd_member_promote(a->etcd, leader->client_url, addition_new_node(a)->member_id, ETCD_TIMEOUT, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        uint64_t deadline = now_boot() + PROMOTE_TIMEOUT;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = promote_once(a, &why);

                if (r >= 0)
                        return 0;
                if (r == -ECANCELED)
                        return r;
                if (r != -EAGAIN && happened(a, NULL) > 0)
                        return 0; /* only the reply was lost */
                if (r != -EAGAIN || now_boot() >= deadline)
                        return fail(reterr, r, "%s", error_text(why, r));
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        int r;

        r = happened(a, reterr);
        if (r <= 0)
                return r < 0 ? r : fail(reterr, -EUCLEAN, "%s is still no voter after its promotion", new->address);
        r = cluster_wait_caught_up(a, new, a->config->step_timeout_usec, reterr);
        if (r < 0)
                return r;
        r = etcd_is_learner_metric(a->etcd, new->client_url, ETCD_TIMEOUT, reterr);
        if (r != 0)
                return r < 0 ? r
                             : fail(reterr, -EUCLEAN, "%s still says of itself that it is a learner", new->client_url);

        return cluster_prove_write(a, new, reterr);
}

static int ask_to_remove(Addition *a, const Host *voter, void *userdata, char **reterr) {
        return etcd_member_remove(a->etcd, voter->client_url, addition_new_node(a)->member_id, ETCD_TIMEOUT, reterr);
}

static int remove_once(Addition *a, char **reterr) {
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r >= 0 && leader == addition_new_node(a)) {
                r = cluster_hand_over(a, leader, reterr);
                return r < 0 ? r : -EAGAIN;
        }
        if (r >= 0)
                r = cluster_change(a, ask_to_remove, NULL, reterr);
        return r == -ENOENT ? 0 : r;
}

/* Where the node votes, its addition was committed and is now taken back: it leaves while it is alive, so that what
 * stays has a quorum at every moment. Until then nothing may stop it: see start's undo. A learner leaves now, too: a
 * promotion that was asked for and not answered may still come, and finds nobody then. */
static int undo(void *world, char **reterr) {
        Addition *a = world;
        uint64_t deadline = now_boot() + REMOVE_TIMEOUT;
        int r;

        a->promoted = true;
        r = find_new(a, reterr);
        if (r > 0)
                addition_progress(a, "removing the %s %s from the cluster", a->promoted ? "voter" : "learner",
                                  addition_new_node(a)->address);
        while (r > 0) {
                _cleanup_free_ char *why = NULL;

                r = remove_once(a, &why);
                if (r < 0 && (now_boot() >= deadline || addition_sleep(a, POLL_INTERVAL) == -ESHUTDOWN))
                        return fail(reterr, r, "%s", error_text(why, r));
                r = find_new(a, reterr);
        }
        return r;
}

static void foresee(void *world, StepForecast *f) {
        f->why = "the point of no return: from here on what fails is tried again, not undone";
}

const Step step_promote = {
        .name = "promote",
        .title = "Promoting the learner to a voting member",
        .asks = CHANGES_MEMBERS | CHANGES_NEW,
        .undoes = "only by \"dhetcd rollback\": the voter is removed from the member list",
        .foresee = foresee,
        .point_of_no_return = true,
        .apply = apply,
        .prove = prove,
        .undo = undo,
        .happened = happened,
};
