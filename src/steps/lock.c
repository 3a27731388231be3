/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A durable lock on every host, naming the job, so that two jobs never change one host, from wherever they were asked
 * for. Right after, the first snapshot of each host: what the undo is proved against. */

#include "basic/error.h"
#include "cluster.h"
#include "preflight.h"
#include "steps.h"
#include "takeover.h"

#define LOOKS_MAX 3U                  /* dhetcd's other jobs wait for us by then */
#define HELD_WAIT (60 * USEC_PER_SEC) /* for one that is being released; who waits longer for us may be waited for */

/* The plan first: a host that is held knows what for, so that it can end the job where ours cannot. */
static int lock_host(Addition *a, Host *h, const char *plan, uint64_t deadline, char **reterr) {
        bool told = false;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r;

                r = host_keep_plan(h->client, a->txn, plan, CALL_TIMEOUT, &why);
                h->asked_lock = h->asked_lock || r >= 0;
                if (r >= 0)
                        r = host_lock(h->client, a->txn, addition_this_host(a)->address, CALL_TIMEOUT, &why);
                if (r >= 0)
                        return 0;
                if (r != -EBUSY || !a->wait || now_boot() >= deadline)
                        return fail(reterr, r, "%s", error_text(why, r));
                if (!told)
                        addition_progress(a, "waiting: %s", why);
                told = true;
                r = addition_sleep(a, USEC_PER_SEC);
                if (r < 0)
                        return r;
        }
}

int lock_hosts(Addition *a, uint64_t timeout, char **reterr) {
        uint64_t deadline = now_boot() + timeout;
        _cleanup_free_ char *plan = NULL;
        int r;

        r = addition_set_holder(a, reterr);
        if (r >= 0)
                r = addition_portable_plan(a, &plan, reterr);
        if (r < 0)
                return r;
        /* All jobs lock the hosts in the order of the node numbers, so that two never wait for each other. */
        FOREACH_HOST (h, a) {
                r = lock_host(a, h, plan, deadline, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- what was looked at may be gone ---- */

static int ask_members(Addition *a, void *userdata, char **reterr) {
        EtcdMembers **ret = userdata;

        return cluster_members(a, ret, reterr);
}

/* Nobody else changes the cluster from here on; a job that held the hosts before may have. 1, or 0 and why not. */
static int is_as_planned(Addition *a, char **ret_why, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r = cluster_persist(a, ask_members, &members, reterr);

        return r < 0 ? r : cluster_check_members(a, members, /* with_new= */ false, ret_why) >= 0;
}

static void forget_hosts(Addition *a) {
        while (a->n_hosts > 0)
                addition_drop_last_host(a);
        free(a->hosts);
        free(a->cluster_id);
        a->hosts = NULL;
        a->cluster_id = NULL;
}

static bool is_planned(const Addition *a, const Host *host) {
        FOREACH_PLANNED (h, a)
                if (streq(h->address, host->address))
                        return true;
        return false;
}

/* Another host that takes the job over must know of all that are locked, so they learn of those that are to be. */
static int tell_held(Addition *a, const Addition *old, char **reterr) {
        _cleanup_free_ char *plan = NULL;
        int r;

        r = addition_set_holder(a, reterr);
        if (r >= 0)
                r = addition_portable_plan(a, &plan, reterr);
        FOREACH_HOST (h, a)
                if (r >= 0 && is_planned(old, h))
                        r = host_keep_plan(h->client, a->txn, plan, CALL_TIMEOUT, reterr);
        return r;
}

static int plan_again_beside(Addition *a, const Addition *old, char **reterr) {
        int r = preflight_look(a, reterr);

        FOREACH_PLANNED (h, old)
                if (r >= 0 && !is_planned(a, h))
                        r = fail(reterr, -EUCLEAN, "%s was taken out of the cluster meanwhile", h->address);
        return r < 0 ? r : addition_save_plan(a, reterr);
}

/* A new plan, while the hosts of the old one are locked: those are in it, or the old one stays, for their release. */
static int plan_again(Addition *a, char **reterr) {
        Addition old = { .hosts = a->hosts, .n_hosts = a->n_hosts, .cluster_id = a->cluster_id };
        int r;

        a->hosts = NULL;
        a->n_hosts = 0;
        a->cluster_id = NULL;
        r = plan_again_beside(a, &old, reterr);
        if (r >= 0) {
                r = tell_held(a, &old, reterr);
                forget_hosts(&old);
                return r;
        }
        forget_hosts(a);
        a->hosts = old.hosts;
        a->n_hosts = old.n_hosts;
        a->cluster_id = old.cluster_id;
        return r;
}

static int lock_what_is(Addition *a, char **reterr) {
        for (unsigned looks = 1;; looks++) {
                _cleanup_free_ char *why = NULL;
                int r = lock_hosts(a, looks == 1 ? a->wait_timeout : HELD_WAIT, reterr);

                if (r >= 0)
                        r = is_as_planned(a, &why, reterr);
                if (r != 0)
                        return r;
                if (looks == LOOKS_MAX)
                        return fail(reterr, -EAGAIN, "the cluster changes while it is looked at: %s", why);
                addition_progress(a, "%s. The cluster is looked at again", why);
                r = plan_again(a, reterr);
                if (r < 0)
                        return r;
        }
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        int r = lock_what_is(a, reterr);

        if (r < 0)
                return r;
        FOREACH_HOST (h, a) {
                char digest[DIGEST_HEX_SIZE];

                r = host_snapshot(h->client, a->txn, step_lock.name, CALL_TIMEOUT, digest, reterr);

                if (r < 0)
                        return r;
        }
        return txn_remember(a->transaction, "snapshots-taken", json_true(), reterr);
}

/* Every host and the member list are what they were when the first snapshots were taken. */
static int prove_undone(Addition *a, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int result;

        result = cluster_members(a, &members, reterr);
        if (result >= 0)
                result = cluster_check_members(a, members, /* with_new= */ false, reterr);

        FOREACH_HOST (h, a) {
                _cleanup_strv_ char **differences = NULL;
                _cleanup_free_ char *why = NULL, *list = NULL;
                int r = host_compare(h->client, a->txn, step_lock.name, CALL_TIMEOUT, &differences, &why);

                if (r >= 0 && differences && *differences) {
                        list = strv_join(differences, "; ");
                        r = fail(&why, -EUCLEAN, "%s is not as it was: %s", h->address, list ?: "");
                }
                if (r < 0 && result >= 0)
                        result = fail(reterr, r, "%s", error_text(why, r));
        }
        return result;
}

/* The proof of the whole undo, then the release: as long as a host is not as it was, all keep their locks. */
static int undo(void *world, char **reterr) {
        Addition *a = world;
        int r = addition_prove_undone(a, prove_undone, reterr);

        return r < 0 ? r : takeover_release(a, "rolled-back", reterr);
}

const Step step_lock = {
        .name = "lock",
        .title = "Locking every host and taking a first snapshot",
        .asks = CHANGES_THIS_HOST | CHANGES_MEMBERS | CHANGES_NEW,
        .undoes = "every host is compared with its first snapshot, and released",
        .rejects = true,
        .undo_last = true,
        .apply = apply,
        .undo = undo,
};
