/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The host that takes a job over. Nothing is decided before every host has been fenced: from then on the world does not
 * change any more but by us, and tells what the lost log would have told. */

#include "takeover.h"

#include "basic/error.h"
#include "basic/failpoint.h"
#include "cluster.h"
#include "quorum.h"
#include "steps.h"
#include "takeover-follow.h"

int takeover_release(Addition *a, const char *outcome, char **reterr) {
        int result = 0;

        FOREACH_HOST (h, a) {
                char **why = result < 0 ? NULL : reterr;

                RET_GATHER(result, a->taken_over_from ? host_close(h->client, a->txn, outcome, CALL_TIMEOUT, why)
                                                      : host_unlock(h->client, a->txn, CALL_TIMEOUT, why));
        }
        return result;
}

/* ---- is it really gone? ---- */

/* -EPERM: it is not. A host whose etcd answers is alive, whatever ssh says. */
static int check_gone(Addition *a, Host *former, char **reterr) {
        _cleanup_(etcd_status_done) EtcdStatus status = {};
        _cleanup_free_ char *why = NULL;
        _cleanup_json_ json_t *records = NULL;
        int r;

        r = host_recall(former->client, a->txn, CALL_TIMEOUT, &records, &why);
        if (r >= 0 && json_is_true(json_object_get(records, "job")))
                return fail(reterr, -EPERM, "%s answers and knows the job; run there: dhetcd settle %s",
                            former->address, a->job);
        if (r < 0 && r != -EHOSTUNREACH && r != -ETIMEDOUT)
                return fail(reterr, -EPERM, "%s answers, though not as it should (%s); run there: dhetcd settle %s",
                            former->address, error_text(why, r), a->job);
        if (r < 0 && former->client_url && etcd_status(a->etcd, former->client_url, ETCD_TIMEOUT, &status, NULL) >= 0)
                return fail(reterr, -EPERM,
                            "%s is alive, its etcd answers, only dhetcd there cannot be reached (%s); mend that, or "
                            "run there: dhetcd settle %s",
                            former->address, error_text(why, r), a->job);
        return 0;
}

static Host *former_host(Addition *a) {
        FOREACH_PLANNED (h, a)
                if (streq(h->address, a->taken_over_from))
                        return h;
        return NULL;
}

/* ---- fencing ---- */

/* All records first: whoever knows nothing of the transaction was never changed by it. */
static int recall_hosts(Addition *a, char **reterr) {
        FOREACH_HOST (h, a) {
                json_decref(h->records);
                h->records = NULL;
                int r = host_recall(h->client, a->txn, CALL_TIMEOUT, &h->records, reterr);

                if (r < 0)
                        return r;
        }
        FOREACH_HOST (h, a) {
                h->lost = !json_is_true(json_object_get(h->records, "known"));
                if (h->lost)
                        addition_progress(a, "%s knows nothing of this job: nothing was changed there", h->address);
        }
        return 0;
}

static int fence_hosts(Addition *a, char **reterr) {
        const char *own = addition_this_host(a)->address;
        bool any = false;

        FOREACH_HOST (h, a) {
                int r = host_take_lock(h->client, a->txn, a->taken_over_from, own, CALL_TIMEOUT, reterr);

                if (r == -ESTALE && !any)
                        return fail_prefix(reterr, -EPERM, "another host has taken it over before");
                if (r < 0)
                        return r;
                if (!any)
                        FAILPOINT("takeover", "fence", "first");
                any = true;
        }
        FAILPOINT("takeover", "fence", "done");
        return 0;
}

/* For the next one, should this host be lost too. */
static int keep_plan(Addition *a, char **reterr) {
        _cleanup_free_ char *plan = NULL;
        int r;

        r = addition_save_plan(a, reterr);
        if (r >= 0)
                r = addition_portable_plan(a, &plan, reterr);
        FOREACH_HOST (h, a)
                if (r >= 0)
                        r = host_keep_plan(h->client, a->txn, plan, CALL_TIMEOUT, reterr);
        return r;
}

static int fence(Addition *a, char **reterr) {
        Host *former = former_host(a);
        int r;

        FAILPOINT("takeover", "fence", "before-intent");
        /* Once it is fenced it may come back: it waits for the outcome. */
        if (!txn_recall(a->transaction, "fencing")) {
                r = check_gone(a, former, reterr);
                if (r >= 0)
                        r = txn_remember(a->transaction, "fencing", json_true(), reterr);
                if (r < 0)
                        return r;
        }
        FAILPOINT("takeover", "fence", "after-intent");
        former->lost = true;
        r = recall_hosts(a, reterr);
        if (r >= 0)
                r = fence_hosts(a, reterr);
        if (r >= 0)
                r = recall_hosts(a, reterr); /* what was under way when the locks changed hands */
        return r < 0 ? r : keep_plan(a, reterr);
}

/* ---- what the lost log would have told ---- */

static bool listed(const json_t *list, const char *text) {
        json_t *entry;
        size_t i;

        json_array_foreach (list, i, entry)
                if (streq(json_string_value(entry), text))
                        return true;
        return false;
}

static bool has_snapshot(const Host *h, const Step *s) {
        return listed(json_object_get(h->records, "snapshots"), s->name);
}

static bool has_intent(const Host *h, const char *intent) {
        return listed(json_object_get(h->records, "intents"), intent);
}

/* The host that is gone may have asked for the promotion, or be about to: etcd heeds it whoever holds the locks. */
static bool may_be_promoted(Addition *a) {
        return a->promoted || has_snapshot(addition_new_node(a), &step_start);
}

/* A step that changes hosts takes their snapshots before anything else. What a step does to etcd, etcd itself tells. */
static bool was_begun(void *world, const Step *s) {
        Addition *a = world;

        if (s == &step_lock || s == &step_add_learner)
                return true;
        if (s == &step_promote)
                return may_be_promoted(a);
        FOREACH_HOST (h, a)
                if (s->changes != 0 && has_snapshot(h, s))
                        return true;
        return false;
}

static int note_restarts(Addition *a, char **reterr) {
        json_t *restarted = json_array();
        bool trusting = false;
        int r;

        FOREACH_MEMBER (h, a) {
                if (has_intent(h, "restart ManageUnit restart") &&
                    json_array_append_new(restarted, json_string(h->address)) < 0)
                        return -ENOMEM;
                trusting = trusting || has_intent(h, "trust ManageUnit restart");
        }
        if (json_array_size(restarted) == 0) {
                json_decref(restarted);
                r = 0;
        } else
                r = txn_remember(a->transaction, "restarted", restarted, reterr);
        return r < 0 || !trusting ? r : txn_remember(a->transaction, "trust-restarted", json_true(), reterr);
}

/* Without the first snapshots of all nothing was changed on any. */
static int note_snapshots(Addition *a, char **reterr) {
        FOREACH_HOST (h, a)
                if (!has_snapshot(h, &step_lock))
                        return 0;
        return txn_remember(a->transaction, "snapshots-taken", json_true(), reterr);
}

/* The new node in the member list. A voter that this job never started is none of its making, and stays. */
static int find_new_node(Addition *a, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        Host *new = addition_new_node(a);
        const EtcdMember *found;
        int r;

        r = cluster_members(a, &members, reterr);
        if (r < 0)
                return r;
        found = etcd_members_find_peer(members, new->peer_url);
        if (!found)
                return 0;
        if (!found->learner && !has_snapshot(new, &step_start))
                return fail(reterr, -EPERM,
                            "%s is a voting member, and not by this job; look with \"etcdctl.sh member list\"",
                            new->address);
        new->member_id = found->id;
        a->promoted = !found->learner;
        return txn_remember(a->transaction, "member-id", json_integer((json_int_t) found->id), reterr);
}

/* Of what comes after the promotion the files are put back only where all of it is. And where the node does not vote
 * yet, though it may at any moment: it leaves the cluster while it is alive, as what it is then. Were it stopped first,
 * a promotion that comes late could cost the quorum. */
static bool is_taken_back(Addition *a) {
        return a->promoted ? has_intent(addition_new_node(a), "finish Restore ") : may_be_promoted(a);
}

static int assume(Addition *a, char **reterr) {
        _cleanup_free_ char *why =
                format("its host %s is gone, and %s took it over", a->taken_over_from, addition_this_host(a)->address);
        int r;

        if (!why)
                return -ENOMEM;
        FAILPOINT("takeover", "assume", "before-intent");
        r = find_new_node(a, reterr);
        if (r >= 0)
                r = note_snapshots(a, reterr);
        if (r >= 0)
                r = note_restarts(a, reterr);
        if (r >= 0)
                r = txn_assume(a->transaction, was_begun, a->promoted, is_taken_back(a), why, reterr);
        if (r < 0)
                return r;
        FAILPOINT("takeover", "assume", "applied");
        r = txn_remember(a->transaction, "assumed", json_true(), reterr);
        if (r < 0)
                return r;
        FAILPOINT("takeover", "assume", "after-done");
        return 0;
}

/* ---- all of it ---- */

static int take_over_once(Addition *a, bool *ret_fenced, char **reterr) {
        int r;

        *ret_fenced = false;
        r = fence(a, reterr);
        if (r < 0)
                return r;
        *ret_fenced = true;
        return assume(a, reterr);
}

/* The daemon adds the command that goes on from here. */
static int stuck(Addition *a, int error, bool fenced, const char *why, char **reterr) {
        _cleanup_free_ char *advice = fenced ? quorum_advice(a) : NULL, *text = NULL;
        const char *what = "";

        if (error != -EPERM)
                what = fenced ? "the cluster cannot be asked: " : "not every host of the job can be had: ";
        text = format("%s%s%s%s", what, why, advice ? ". " : "", advice ?: "");
        return text ? txn_end(a->transaction, TXN_STUCK, text, reterr) : -ENOMEM;
}

/* Loses no time where it will not help: -EPERM. */
static int take_over(Addition *a, const TxnLimits *limits, char **reterr) {
        uint64_t deadline = now_boot() + limits->settle_usec;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                bool fenced;
                int r = take_over_once(a, &fenced, &why);

                if (r >= 0)
                        return 0;
                if (r == -EPERM && !fenced)
                        return txn_end(a->transaction, TXN_REJECTED, error_text(why, r), reterr);
                if (r == -ENOMEM || r == -EPERM || now_boot() >= deadline)
                        return stuck(a, r, fenced, error_text(why, r), reterr);
                addition_progress(a, "tried again: %s", error_text(why, r));
                r = addition_sleep(a, limits->pause_usec);
                if (r < 0)
                        return r;
        }
}

int takeover_not_possible(Addition *a, int error, const char *why, char **reterr) {
        const json_t *note = txn_recall(a->transaction, TAKEOVER_NOTE);

        if (json_get_string(note, "from") && !txn_recall(a->transaction, "fencing"))
                return txn_end(a->transaction, TXN_REJECTED, why, reterr);
        return fail(reterr, error, "%s", why);
}

int takeover_prepare(Addition *a, const TxnLimits *limits, char **reterr) {
        const json_t *note = txn_recall(a->transaction, TAKEOVER_NOTE);
        const char *from = json_get_string(note, "from");
        int r;

        if (a->kind != JOB_ADD)
                return 0; /* on its own host alone */
        r = addition_set_holder(a, reterr);
        if (r < 0)
                return r;
        if (!from)
                return takeover_follow(a, limits, reterr);

        a->taken_over_from = strdup(from);
        if (!a->taken_over_from)
                return -ENOMEM;
        if (!former_host(a))
                return fail(reterr, -EBADMSG, "%s is no host of the plan of %s", from, a->txn);
        if (txn_recall(a->transaction, "assumed"))
                return 0;
        return take_over(a, limits, reterr);
}

#if DHETCD_FAILPOINTS
void takeover_failpoints(FILE *out) {
        static const char *const points[] = { "fence.before-intent", "fence.after-intent",   "fence.first",
                                              "fence.done",          "assume.before-intent", "assume.applied",
                                              "assume.after-done" };

        for (int promoted = 0; promoted < 2; promoted++)
                for (size_t i = 0; i < ELEMENTSOF(points); i++)
                        fprintf(out, "%stakeover.%s\n", promoted ? "promoted:" : "", points[i]);
}
#endif
