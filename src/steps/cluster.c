/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cluster.h"

#include <inttypes.h>

#include "basic/error.h"

#define CAUGHT_UP_MARGIN 10U               /* entries: what a healthy voter may lag under load between two questions */
#define RETURN_WAIT (15 * USEC_PER_SEC)    /* for a member that is away for a moment, as calls to hosts wait */
#define LEADER_TIMEOUT (15 * USEC_PER_SEC) /* an election takes some seconds on a busy machine */

/* ---- who is there ---- */

bool cluster_may_pass(int error) {
        return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ENETUNREACH || error == -ECONNRESET ||
               error == -ETIMEDOUT || error == -EHOSTDOWN;
}

int cluster_persist(Addition *a, int (*ask)(Addition *a, void *userdata, char **reterr), void *userdata,
                    char **reterr) {
        uint64_t until = 0;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = ask(a, userdata, &why);

                if (r >= 0)
                        return r;
                if (!cluster_may_pass(r) || (until > 0 && now_boot() >= until))
                        return fail(reterr, r, "%s", error_text(why, r));
                if (until == 0) {
                        until = now_boot() + RETURN_WAIT;
                        addition_progress(a, "trying again for %u s: %s", (unsigned) (RETURN_WAIT / USEC_PER_SEC),
                                          error_text(why, r));
                }
                r = addition_sleep(a, USEC_PER_SEC);
                if (r < 0)
                        return r;
        }
}

int cluster_leader(Addition *a, Host **ret, char **reterr) {
        _cleanup_free_ char *last = NULL;
        uint64_t leader = 0;

        FOREACH_VOTER (h, a) {
                _cleanup_(etcd_status_done) EtcdStatus s = {};
                _cleanup_free_ char *why = NULL;
                int r = etcd_status(a->etcd, h->client_url, ETCD_TIMEOUT, &s, &why);

                if (r == -ECANCELED)
                        return r;
                if (r < 0 || s.leader == 0) {
                        free(last);
                        last = r < 0 ? TAKE_PTR(why) : format("%s knows no leader", h->client_url);
                        continue;
                }
                if (leader != 0 && s.leader != leader)
                        return fail(reterr, -EHOSTDOWN, "members do not agree on a leader: %" PRIx64 " and %" PRIx64,
                                    leader, s.leader);
                leader = s.leader;
        }

        if (leader == 0)
                return fail(reterr, -EHOSTDOWN, "no member knows a leader: %s", last ?: "none answered");
        *ret = addition_find_member(a, leader);
        if (!*ret)
                return fail(reterr, -EHOSTDOWN, "the leader %" PRIx64 " is not a member of the plan", leader);
        return 0;
}

static int members_of(Addition *a, const Host *voter, EtcdMembers **ret, char **reterr) {
        _cleanup_free_ char *alarms = NULL;
        int r;

        r = etcd_alarms(a->etcd, voter->client_url, ETCD_TIMEOUT, &alarms, reterr);
        if (r < 0)
                return r;
        return etcd_member_list(a->etcd, voter->client_url, /* linearizable= */ true, ETCD_TIMEOUT, ret, reterr);
}

int cluster_members(Addition *a, EtcdMembers **ret, char **reterr) {
        _cleanup_free_ char *last = NULL;
        int result = -EHOSTDOWN;

        FOREACH_VOTER (h, a) {
                _cleanup_free_ char *why = NULL;
                int r = members_of(a, h, ret, &why);

                if (r >= 0 || r == -ECANCELED)
                        return r;
                result = r;
                free(last);
                last = TAKE_PTR(why);
        }

        return fail(reterr, result, "no member gives the member list: %s", error_text(last, result));
}

int cluster_change(Addition *a, ClusterCall call, void *userdata, char **reterr) {
        _cleanup_free_ char *first = NULL;
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        r = call(a, leader, userdata, &first);
        if (r != -EHOSTDOWN)
                return r < 0 ? fail(reterr, r, "%s", error_text(first, r)) : r;

        FOREACH_VOTER (h, a) {
                int k;

                if (h == leader || h->new_node)
                        continue;
                k = call(a, h, userdata, NULL);
                if (k == -ECANCELED)
                        return k;
                if (k < 0)
                        continue;
                addition_progress(a, "%s did it; the leader %s takes a member for lost that is not", h->address,
                                  leader->address);
                return k;
        }
        return fail(reterr, r, "%s", error_text(first, r));
}

static int check_member(const EtcdMembers *m, const Host *h, char **reterr) {
        const EtcdMember *found = etcd_members_find_id(m, h->member_id);

        if (!found)
                return fail(reterr, -ENOENT, "%s is no longer in the member list", h->address);
        if (found->learner)
                return fail(reterr, -EUCLEAN, "%s is a learner in the member list, not a voter", h->address);
        if (strv_length(found->peer_urls) != 1 || !streq(found->peer_urls[0], h->peer_url))
                return fail(reterr, -EUCLEAN, "%s has another peer URL than %s in the member list", h->address,
                            h->peer_url);
        return 0;
}

int cluster_check_members(Addition *a, const EtcdMembers *m, bool with_new, char **reterr) {
        size_t expected = addition_members(a) + (with_new ? 1 : 0);

        if (m->n != expected)
                return fail(reterr, -EUCLEAN,
                            "the member list has %zu members instead of %zu; look with \"etcdctl.sh member list\"",
                            m->n, expected);
        FOREACH_PLANNED (h, a) {
                int r;

                if (h->number == 0 || (h->new_node && !with_new))
                        continue;
                r = check_member(m, h, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- how far they are ---- */

int cluster_caught_up(Addition *a, const Host *h, uint64_t margin, uint64_t *ret_index, uint64_t *ret_leader_index,
                      char **reterr) {
        _cleanup_(etcd_status_done) EtcdStatus leader_status = {}, s = {};
        Host *leader;
        int r;

        /* The leader is asked first: what it had then, the other must have now. */
        r = cluster_leader(a, &leader, reterr);
        if (r >= 0)
                r = etcd_status(a->etcd, leader->client_url, ETCD_TIMEOUT, &leader_status, reterr);
        if (r >= 0)
                r = etcd_status(a->etcd, h->client_url, ETCD_TIMEOUT, &s, reterr);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                return 0;

        if (ret_index)
                *ret_index = s.raft_applied_index;
        if (ret_leader_index)
                *ret_leader_index = leader_status.raft_index;

        if (s.member_id != h->member_id) {
                (void) fail(reterr, -EUCLEAN, "%s answers as member %" PRIx64 " instead of %" PRIx64, h->client_url,
                            s.member_id, h->member_id);
                return 0;
        }
        if (s.leader != leader->member_id) {
                (void) fail(reterr, -EHOSTDOWN, "%s follows no leader yet", h->client_url);
                return 0;
        }
        if (s.raft_applied_index + margin < leader_status.raft_index) {
                (void) fail(reterr, -EAGAIN, "%s has applied %" PRIu64 " of %" PRIu64 " entries", h->client_url,
                            s.raft_applied_index, leader_status.raft_index);
                return 0;
        }
        return 1;
}

int cluster_mark(Addition *a, uint64_t *ret_index, char **reterr) {
        _cleanup_(etcd_status_done) EtcdStatus s = {};
        _cleanup_free_ char *alarms = NULL;
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r >= 0)
                r = etcd_alarms(a->etcd, leader->client_url, ETCD_TIMEOUT, &alarms, reterr);
        if (r >= 0)
                r = etcd_status(a->etcd, leader->client_url, ETCD_TIMEOUT, &s, reterr);
        if (r >= 0)
                *ret_index = s.raft_applied_index;
        return r;
}

int cluster_wait_caught_up(Addition *a, const Host *h, uint64_t timeout, char **reterr) {
        uint64_t deadline = now_boot() + timeout;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = cluster_caught_up(a, h, CAUGHT_UP_MARGIN, NULL, NULL, &why);

                if (r != 0)
                        return r < 0 ? fail(reterr, r, "%s", error_text(why, r)) : 0;
                if (now_boot() >= deadline)
                        return fail(reterr, -ETIMEDOUT, "%s is not in quorum %" PRIu64 " s after its restart: %s",
                                    h->address, timeout / USEC_PER_SEC, error_text(why, -ETIMEDOUT));
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}

/* ---- a write ---- */

static char *probe_key(const Addition *a) {
        return format("dhetcd/probe/%s", a->txn);
}

int cluster_prove_write(Addition *a, const Host *h, char **reterr) {
        _cleanup_free_ char *key = probe_key(a);
        int r;

        if (!key)
                return -ENOMEM;
        r = etcd_put_and_read(a->etcd, h->client_url, key, a->txn, ETCD_TIMEOUT, reterr);
        return r < 0 ? r : etcd_delete(a->etcd, h->client_url, key, ETCD_TIMEOUT, reterr);
}

int cluster_forget_probe(Addition *a, const Host *h, char **reterr) {
        _cleanup_free_ char *key = probe_key(a);

        return key ? etcd_delete(a->etcd, h->client_url, key, ETCD_TIMEOUT, reterr) : -ENOMEM;
}

/* ---- restarting ---- */

int cluster_restart_member(Addition *a, const char *step, Host *h, char **reterr) {
        uint64_t begun = now_boot();
        int r;

        addition_progress_of(a, h, &(Progress){ .phase = "restarting", .unit = DH_ETCD_UNIT }, "restarting %s on %s",
                             DH_ETCD_UNIT, h->address);
        r = host_manage_unit(h->client, a->txn, step, "restart", a->config->step_timeout_usec, reterr);
        if (r < 0)
                return r;
        r = cluster_wait_caught_up(a, h, a->config->step_timeout_usec, reterr);
        if (r < 0)
                return r;
        addition_progress_of(a, h, &(Progress){ .phase = "restarted", .unit = DH_ETCD_UNIT },
                             "%s is in quorum again after %" PRIu64 " ms", h->address,
                             (now_boot() - begun) / USEC_PER_MSEC);
        return 0;
}

/* Another voter that is in quorum now. */
static Host *successor_of(Addition *a, const Host *leader) {
        FOREACH_VOTER (h, a)
                if (h != leader && cluster_caught_up(a, h, CAUGHT_UP_MARGIN, NULL, NULL, NULL) > 0)
                        return h;
        return NULL;
}

int cluster_hand_over(Addition *a, Host *leader, char **reterr) {
        Host *next = successor_of(a, leader);

        if (!next)
                return 0; /* the only voter: its restart is an outage, as the plan said */
        addition_progress(a, "moving the leader from %s to %s", leader->address, next->address);
        return etcd_move_leader(a->etcd, leader->client_url, next->member_id, ETCD_TIMEOUT, reterr);
}

/* The member may have lost the lead by itself meanwhile, which is as good; or nobody leads for a moment. */
static int take_lead_from(Addition *a, Host *member, char **reterr) {
        uint64_t deadline = now_boot() + LEADER_TIMEOUT;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                Host *leader = NULL;
                int r = cluster_leader(a, &leader, &why);

                if (r >= 0 && leader != member)
                        return 0;
                if (r >= 0)
                        r = cluster_hand_over(a, member, &why);
                if (r >= 0 || r == -ECANCELED || now_boot() >= deadline)
                        return r < 0 ? fail(reterr, r, "%s", error_text(why, r)) : 0;
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}

int cluster_rolling_restart(Addition *a, const char *step, bool (*wanted)(Addition *a, const Host *h), char **reterr) {
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;

        FOREACH_VOTER (h, a) {
                if (h == leader || !wanted(a, h))
                        continue;
                r = cluster_restart_member(a, step, h, reterr);
                if (r < 0)
                        return r;
        }

        if (!wanted(a, leader))
                return 0;
        r = take_lead_from(a, leader, reterr);
        return r < 0 ? r : cluster_restart_member(a, step, leader, reterr);
}
