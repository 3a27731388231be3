/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a rescue finds before it changes anything: that this host is a voter, that the quorum is really lost, and what
 * there is to go on with. It tells the plan, and without --yes-i-lose-quorum that is the end. */

#include <inttypes.h>

#include "basic/error.h"
#include "host/config-yaml.h"
#include "preflight.h"
#include "rescue.h"
#include "steps.h"

#define DISK_MARGIN ((uint64_t) 192 << 20) /* etcd makes a log file of 64 MiB before it needs it, and one more */

static void view_done(RescueView *v) {
        quorum_done(&v->quorum);
        rescue_snapshot_done(&v->newest);
        rescue_snapshot_done(&v->chosen);
}

/* ---- this host ---- */

static int check_config(const json_t *facts, char ret_address[static ADDRESS_MAX], char **reterr) {
        const json_t *config = json_object_get(facts, "config");
        const char *why = json_get_string(facts, "config_error");
        const char *peer_url = json_get_string(config, "initial_advertise_peer_urls");
        uint16_t port;

        if (!json_is_object(config))
                return fail(reterr, -ENOENT, "this host is no member: %s", why ?: DH_ETCD_CONFIG " is not there");
        if (!json_get_string(config, "name") || !json_get_string(config, "initial_cluster") || !peer_url ||
            address_from_url(peer_url, ret_address, &port) < 0)
                return fail(reterr, -ENOKEY,
                            "%s lacks name, initial-cluster, or one initial-advertise-peer-urls https://ADDRESS:PORT",
                            DH_ETCD_CONFIG);
        if (address_is_local(ret_address) <= 0)
                return fail(reterr, -EUCLEAN, "%s is of another host: %s is no address of this one", DH_ETCD_CONFIG,
                            ret_address);
        if (json_is_true(json_object_get(config, "force_new_cluster")))
                return fail(reterr, -EUCLEAN,
                            "%s has force-new-cluster: true already; somebody began a rescue by hand. Remove that line",
                            DH_ETCD_CONFIG);
        return 0;
}

static int check_host(const Addition *a, const json_t *facts, char **reterr) {
        const json_t *data = json_object_get(facts, "data_directory"), *lock = json_object_get(facts, "lock");
        const char *holder = json_get_string(lock, "job");

        if (!streq(json_get_string(json_object_get(facts, "unit"), "load_state"), "loaded"))
                return fail(reterr, -ENOENT, "this host is no member: there is no %s", DH_ETCD_UNIT);
        if (holder && !streq(holder, a->rescue.job))
                return fail(reterr, -EBUSY, "job %s holds this host. Should it end with the rescue: dhetcd rescue %s",
                            holder, holder);
        if (json_get_string(data, "refused"))
                return fail(reterr, -EACCES, "%s", json_get_string(data, "refused"));
        if (!a->rescue.snapshot && !streq(json_get_string(data, "state"), "in-use"))
                return fail(reterr, -ENOENT,
                            "the data directory %s of this member is %s. What is left is a snapshot: dhetcd rescue "
                            "--from-snapshot=JOB",
                            json_get_string(data, "path") ?: "", json_get_string(data, "state") ?: "unknown");
        return 0;
}

static int add_own(Addition *a, RescueView *v, const char *address, char **reterr) {
        const json_t *config = json_object_get(v->facts, "config");
        const char *listed = json_get_string(config, "advertise_client_urls") ?: "";
        _cleanup_free_ char *url = strndup(listed, strcspn(listed, ","));
        char ignored[ADDRESS_MAX];
        uint16_t port;

        if (!url)
                return -ENOMEM;
        if (address_from_url(url, ignored, &port) < 0)
                return fail(reterr, -ENOKEY, "%s: advertise-client-urls is not https://ADDRESS:PORT", DH_ETCD_CONFIG);
        return addition_add_host(a, address, json_get_string(config, "name"), 1,
                                 json_get_string(config, "initial_advertise_peer_urls"), url, 0, &v->own);
}

/* ---- the others ---- */

static int add_voter(RescueView *v, const char *peer_url, const char *client_url, char **reterr) {
        _cleanup_free_ char *made = NULL;
        char address[ADDRESS_MAX];
        uint16_t port;

        if (address_from_url(peer_url, address, &port) < 0)
                return fail(reterr, -EUCLEAN, "the peer URL '%.80s' of a member is not https://ADDRESS:PORT", peer_url);
        if (!client_url) {
                made = address_url(address, DH_ETCD_CLIENT_PORT);
                client_url = made;
        }
        return client_url ? quorum_add(&v->quorum, address, client_url) : -ENOMEM;
}

/* As this member's own etcd knows them. */
static int voters_of_etcd(const EtcdMembers *members, RescueView *v, char **reterr) {
        bool found = false;
        int r = 0;

        for (size_t i = 0; i < members->n && r >= 0; i++) {
                const EtcdMember *m = members->items + i;
                bool own = strv_contains(m->peer_urls, v->own->peer_url);

                if (own && m->learner)
                        return fail(reterr, -EINVAL,
                                    "this member is a learner: it has no vote, and maybe not all data");
                found = found || own;
                if (!m->learner && strv_length(m->peer_urls) > 0)
                        r = add_voter(v, m->peer_urls[0], m->client_urls ? m->client_urls[0] : NULL, reterr);
        }
        if (r >= 0 && !found)
                return fail(reterr, -EINVAL, "etcd on this host is no member of the cluster any more");
        return r;
}

/* Where it does not answer, having no quorum at its start: as config.yaml lists them. */
static int voters_of_config(RescueView *v, char **reterr) {
        _cleanup_(cluster_entries_freep) ClusterEntries *entries = NULL;
        bool found = false;
        int r;

        r = cluster_entries_parse(json_get_string(json_object_get(v->facts, "config"), "initial_cluster"), &entries,
                                  reterr);
        for (size_t i = 0; r >= 0 && i < entries->n; i++) {
                found = found || streq(entries->items[i].peer_url, v->own->peer_url);
                r = add_voter(v, entries->items[i].peer_url, NULL, reterr);
        }
        if (r >= 0 && !found)
                return fail(reterr, -EINVAL, "this host is no member: initial-cluster of %s does not list %s",
                            DH_ETCD_CONFIG, v->own->peer_url);
        return r;
}

static int find_voters(Addition *a, RescueView *v, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

        r = etcd_member_list(a->etcd, v->own->client_url, /* linearizable= */ false, ETCD_TIMEOUT, &members, NULL);
        if (r == -ECANCELED)
                return r;
        return r >= 0 ? voters_of_etcd(members, v, reterr) : voters_of_config(v, reterr);
}

/* The members that will be lost, for the telling at the end. */
static int remember_lost(Addition *a, const RescueView *v, char **reterr) {
        json_t *lost = json_array();

        for (size_t i = 0; i < v->quorum.n; i++)
                if (!streq(v->quorum.voters[i].address, v->own->address) &&
                    json_array_append_new(lost, json_string(v->quorum.voters[i].address)) < 0)
                        return -ENOMEM;
        return lost ? txn_remember(a->transaction, "lost", lost, reterr) : -ENOMEM;
}

static int check_quorum(Addition *a, RescueView *v, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

        addition_progress(a, "asking %zu members for some seconds whether they have a quorum", v->quorum.n);
        r = quorum_is_lost(a, &v->quorum);
        if (r < 0)
                return r;
        if (r > 0)
                return 0;
        r = v->quorum.leader ? etcd_member_list(a->etcd, v->own->client_url, true, ETCD_TIMEOUT, &members, NULL) : -1;
        return fail(reterr, -EINVAL,
                    "%s: %zu of %zu members answer. A rescue would only lose data; look with: "
                    "etcdctl.sh endpoint status --cluster",
                    r >= 0 ? "the cluster has its quorum" : "the quorum is not lost, it comes back by itself",
                    v->quorum.alive, v->quorum.n);
}

/* ---- what to go on with ---- */

static int check_disk(const RescueView *v, char **reterr) {
        const json_t *data = json_object_get(v->facts, "data_directory");
        uint64_t free_bytes = (uint64_t) json_get_integer(data, "free_bytes", 0), needed = DISK_MARGIN;

        needed += v->chosen.path ? v->chosen.bytes : (uint64_t) json_get_integer(data, "used_bytes", 0);
        if (free_bytes < needed)
                return fail(reterr, -ENOSPC, "the disk of %s has %" PRIu64 " MiB free, %" PRIu64 " MiB are needed",
                            json_get_string(data, "path") ?: DH_ETCD_DATA_PARENT, free_bytes >> 20, needed >> 20);
        return 0;
}

static int find_snapshots(Addition *a, RescueView *v, char **reterr) {
        int r;

        if (a->rescue.snapshot) {
                r = rescue_snapshot_find(a, &v->chosen, reterr);
                if (r >= 0)
                        r = rescue_snapshot_verify(&v->chosen, reterr);
                if (r < 0)
                        return r;
        }
        r = rescue_snapshot_newest(NULL, &v->newest, NULL);
        v->has_newest = r > 0 && rescue_snapshot_verify(&v->newest, NULL) >= 0;
        return r == -ENOMEM ? r : 0;
}

static int view(Addition *a, RescueView *v, char **reterr) {
        char address[ADDRESS_MAX];
        int r;

        r = check_config(v->facts, address, reterr);
        if (r >= 0)
                r = check_host(a, v->facts, reterr);
        if (r >= 0)
                r = preflight_seed_trust(a, v->facts, reterr);
        if (r >= 0)
                r = addition_open_etcd(a, reterr);
        if (r >= 0)
                r = add_own(a, v, address, reterr);
        if (r >= 0)
                r = find_voters(a, v, reterr);
        if (r >= 0)
                r = check_quorum(a, v, reterr);
        if (r >= 0)
                r = find_snapshots(a, v, reterr);
        return r < 0 ? r : check_disk(v, reterr);
}

static int save(Addition *a, const RescueView *v, char **reterr) {
        const json_t *lock = json_object_get(v->facts, "lock");
        int r;

        a->cluster_id = strdup(json_get_string(v->facts, "cluster_id") ?: "unknown");
        if (!a->cluster_id)
                return -ENOMEM;
        r = remember_lost(a, v, reterr);
        if (r >= 0 && json_is_object(lock))
                r = txn_remember(a->transaction, "lock", json_deep_copy(lock), reterr);
        return r < 0 ? r : addition_save_plan(a, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(host_client_freep) HostClient *own = NULL;
        _cleanup_(view_done) RescueView v = {};
        _cleanup_free_ char *command = rescue_command(a);
        _cleanup_json_ json_t *facts = NULL;
        int r;

        r = host_client_new("this host", /* local= */ true, &(SshOptions){}, a->cancel_fd, &own);
        if (r >= 0)
                r = host_describe(own, CALL_TIMEOUT, &facts, reterr);
        v.facts = facts;
        if (r >= 0)
                r = view(a, &v, reterr);
        if (r < 0)
                return r;

        rescue_tell_plan(a, &v);
        if (!a->rescue.confirmed)
                return fail(reterr, -ECANCELED, "this was only the plan. To do it, and to lose what it says: %s",
                            command ?: "dhetcd rescue --yes-i-lose-quorum");
        return save(a, &v, reterr);
}

const Step step_rescue_look = {
        .name = "rescue-look",
        .title = "Looking whether the quorum is lost, and what is left",
        .rejects = true,
        .apply = apply,
};
