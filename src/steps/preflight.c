/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everything that can be known before anything is changed; it ends with the plan on disk. A mistake that is found here
 * costs nothing; found after the promotion of a second voter it could cost the quorum. So the job's later nodes are
 * looked at too. */

#include "preflight.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "cluster.h"
#include "host/authorities.h"
#include "host/package.h"
#include "steps.h"
#include "window.h"

#define ENDPOINTS_SIZE_MAX 8192U
#define LEARNERS_SINCE "3.4"
#define VOTER_LAG_MAX 1000U /* entries a voter may be behind and still be called healthy */

/* ---- this host ---- */

int preflight_seed_trust(Addition *a, const json_t *facts, char **reterr) {
        _cleanup_free_ char *beside = NULL, *cert = NULL, *key = NULL, *configured = NULL,
                            *path = addition_trust_path(a);
        const char *own = json_get_string(facts, "authorities");
        _cleanup_free_ char *all = NULL;
        struct stat st;
        int r;

        if (a->config->etcd_ca_file) {
                r = read_file(a->config->etcd_ca_file, PEM_SIZE_MAX, true, &configured, NULL);
                if (r < 0)
                        return fail(reterr, r, "%s cannot be read: %s", a->config->etcd_ca_file, strerror(-r));
        }
        r = path_exists(DH_ROOT_CLIENT_DIR);
        if (r == 0)
                return fail(reterr, -ENOENT,
                            "this host has no etcd root client: %s is not there. Start the job on a host that has it, "
                            "usually a node with an etcd member",
                            DH_ROOT_CLIENT_DIR);
        r = client_credentials_find(DH_ROOT_CLIENT_DIR, &beside, &cert, &key, reterr);
        if (r < 0)
                return r;

        all = format("%s\n%s\n%s", own ?: "", beside ?: "", configured ?: "");
        if (!all || !path)
                return -ENOMEM;
        r = addition_trust(a, all, reterr);
        if (r == 0 && (stat(path, &st) < 0 || st.st_size == 0)) /* else it is known already */
                return fail(reterr, -ENOKEY,
                            "no CA certificate of the cluster was found on this host. Name it as CAFile= in "
                            "/etc/dhetcd/dhetcd.conf, section [etcd]");
        return r;
}

static int check_package(const json_t *facts, char **reterr) {
        _cleanup_(package_info_freep) PackageInfo *package = NULL;
        int r;

        if (!json_get_string(facts, "package_digest"))
                return 0; /* none yet: the generator makes one, and the undo takes it away again */
        r = package_inspect(DH_PACKAGE, &package, reterr);
        return r < 0 ? fail_prefix(reterr, r, "the present package is damaged") : 0;
}

/* ---- the cluster ---- */

int preflight_endpoints(char ***ret, char **reterr) {
        static const char path[] = DH_ROOT_CLIENT_DIR "/endpoints";
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_ char **endpoints = NULL;
        char *saved = NULL;
        int r;

        r = read_file(path, ENDPOINTS_SIZE_MAX, true, &text, NULL);
        if (r < 0)
                return fail(reterr, r,
                            "this host has no usable etcd root client: %s: %s. Start the job on a host that has it, "
                            "usually "
                            "a node with an etcd member",
                            path, strerror(-r));
        for (char *word = strtok_r(text, ", \t\r\n", &saved); word; word = strtok_r(NULL, ", \t\r\n", &saved)) {
                char address[ADDRESS_MAX];
                uint16_t port;

                if (address_from_url(word, address, &port) < 0)
                        return fail(reterr, -EBADMSG, "%s: '%s' is not https://ADDRESS:PORT", path, word);
                if (strv_append(&endpoints, word) < 0)
                        return -ENOMEM;
        }
        if (!endpoints)
                return fail(reterr, -EBADMSG, "%s names no endpoint", path);
        *ret = TAKE_PTR(endpoints);
        return 0;
}

int preflight_members(Addition *a, EtcdMembers **ret, char **reterr) {
        _cleanup_strv_ char **endpoints = NULL;
        _cleanup_free_ char *last = NULL;
        int r;

        r = preflight_endpoints(&endpoints, reterr);
        if (r < 0)
                return r;
        STRV_FOREACH (e, endpoints) {
                free(last);
                last = NULL;
                r = etcd_member_list(a->etcd, *e, /* linearizable= */ true, ETCD_TIMEOUT, ret, &last);
                if (r >= 0 || r == -ECANCELED || r == -EACCES)
                        break;
        }
        if (r < 0)
                return fail(reterr, r, "the cluster does not answer: %s", error_text(last, r));
        return (*ret)->n == 0 ? fail(reterr, -EPROTO, "the cluster has an empty member list") : 0;
}

/* The node number in a member's name: "etcd-3" -> 3; 0 where there is none. */
static unsigned number_of(const char *name) {
        const char *dash = strrchr(name, '-');
        unsigned number = 0;
        int end = 0;

        return dash && sscanf(dash + 1, "%2u%n", &number, &end) == 1 && dash[1 + end] == '\0' ? number : 0;
}

static int check_member_entry(const Addition *a, const EtcdMember *m, char ret_address[static ADDRESS_MAX],
                              char **reterr) {
        const char *new_node = a->nodes[a->index];
        uint16_t port;

        if (m->learner)
                return fail(reterr, -EBUSY,
                            "member %" PRIx64
                            " is a learner already; etcd takes one at a time. Promote or remove it first: "
                            "\"etcdctl.sh member remove %" PRIx64 "\"",
                            m->id, m->id);
        if (*m->name == '\0')
                return fail(reterr, -EHOSTDOWN,
                            "member %" PRIx64
                            " has never started. Start it, or remove it with \"etcdctl.sh member remove %" PRIx64 "\"",
                            m->id, m->id);
        if (number_of(m->name) == 0)
                return fail(reterr, -EUCLEAN,
                            "member '%s' has no node number in its name, as config_generator.sh gives one (etcd-1)",
                            m->name);
        if (strv_length(m->peer_urls) != 1 || strv_length(m->client_urls) < 1 ||
            address_from_url(m->peer_urls[0], ret_address, &port) < 0)
                return fail(reterr, -EUCLEAN, "member '%s' does not have exactly one peer URL https://ADDRESS:PORT",
                            m->name);
        if (streq(ret_address, new_node))
                return fail(reterr, -EEXIST, "%s is a member of the cluster already ('%s')", new_node, m->name);
        return 0;
}

static const EtcdMember *find_number(const EtcdMembers *members, unsigned number) {
        for (size_t i = 0; i < members->n; i++)
                if (number_of(members->items[i].name) == number)
                        return members->items + i;
        return NULL;
}

static int plan_new_node(Addition *a, const EtcdMembers *members, unsigned number, char **reterr) {
        _cleanup_free_ char *name = NULL, *peer_url = NULL, *client_url = NULL;
        const char *node = a->nodes[a->index], *one = members->items[0].name; /* "etcd-1": its prefix is every name's */
        Host *h;
        int r;

        name = format("%.*s%u", (int) (strrchr(one, '-') + 1 - one), one, number);
        peer_url = address_url(node, DH_ETCD_PEER_PORT);
        client_url = address_url(node, DH_ETCD_CLIENT_PORT);
        if (!name || !peer_url || !client_url)
                return -ENOMEM;
        r = addition_add_host(a, node, name, number, peer_url, client_url, 0, &h);
        if (r < 0)
                return r;
        return h->this_host ? fail(reterr, -EINVAL, "%s is this host's own address. Start the job on a member", node)
                            : 0;
}

static int plan_member(Addition *a, const EtcdMember *m, unsigned number, char **reterr) {
        char address[ADDRESS_MAX];
        Host *h;
        int r;

        r = check_member_entry(a, m, address, reterr);
        return r < 0 ? r
                     : addition_add_host(a, address, m->name, number, m->peer_urls[0], m->client_urls[0], m->id, &h);
}

int preflight_plan_hosts(Addition *a, const EtcdMembers *members, char **reterr) {
        size_t nodes = strv_length(a->nodes) - a->index, planned = 0, next = 0;
        char address[ADDRESS_MAX];
        int r = 0;

        for (size_t i = 0; i < members->n && r >= 0; i++)
                r = check_member_entry(a, members->items + i, address, reterr);
        for (unsigned number = 1; number <= members->n + nodes && r >= 0; number++) {
                const EtcdMember *m = find_number(members, number);

                if (m) {
                        planned++;
                        r = plan_member(a, m, number, reterr);
                } else if (next++ == 0) /* the others are for later transactions */
                        r = plan_new_node(a, members, number, reterr);
        }
        if (r < 0)
                return r;
        if (planned < members->n)
                return fail(reterr, -EUCLEAN,
                            "the members' node numbers have more gaps than this job has nodes; config_generator.sh "
                            "names nodes by their order. Add as many at once as it takes to number all from 1 on: "
                            "dhetcd add NODE NODE…");
        return 0;
}

static int check_voters(Addition *a, uint64_t *ret_db_size, char **reterr) {
        _cleanup_free_ char *version = NULL;
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        *ret_db_size = 0;
        FOREACH_MEMBER (h, a) {
                _cleanup_(etcd_status_done) EtcdStatus s = {};
                _cleanup_free_ char *why = NULL;

                r = cluster_caught_up(a, h, VOTER_LAG_MAX, NULL, NULL, &why);
                if (r <= 0)
                        return fail(reterr, r < 0 ? r : -EHOSTDOWN, "member %s is not healthy: %s", h->address,
                                    error_text(why, r < 0 ? r : -EHOSTDOWN));
                r = etcd_status(a->etcd, h->client_url, ETCD_TIMEOUT, &s, reterr);
                if (r < 0)
                        return r;
                if (s.errors)
                        return fail(reterr, -EUCLEAN, "member %s reports: %s", h->address, s.errors);
                if (s.db_size > *ret_db_size)
                        *ret_db_size = s.db_size;
                if (strverscmp(s.version, LEARNERS_SINCE) < 0)
                        return fail(reterr, -EOPNOTSUPP,
                                    "member %s runs etcd %s, which knows no learners; upgrade the members to %s or "
                                    "later first",
                                    h->address, s.version, LEARNERS_SINCE);
                if (!version)
                        version = strdup(s.version);
                if (!streq(version, s.version))
                        return fail(reterr, -EUCLEAN,
                                    "members run different versions of etcd: %s has %s, another has %s", h->address,
                                    s.version, version ?: "none");
        }
        return 0;
}

static int check_alarms(Addition *a, char **reterr) {
        _cleanup_free_ char *alarms = NULL;
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        r = etcd_alarms(a->etcd, leader->client_url, ETCD_TIMEOUT, &alarms, reterr);
        if (r > 0)
                return fail(reterr, -EUCLEAN, "the cluster has alarms: %s. Look with \"etcdctl.sh alarm list\"",
                            alarms);
        return r;
}

/* An even number is allowed, and said plainly. */
static int check_parity(Addition *a, char **reterr) {
        size_t final = addition_members(a) + strv_length(a->nodes) - a->index;

        if (final % 2 == 1)
                return 0;
        if (a->require_odd)
                return fail(
                        reterr, -EINVAL,
                        "the job would leave %zu members, and require-odd is set. Add one node more, or one less, in "
                        "one job",
                        final);
        addition_event(
                a, EVENT_WARNING, LOG_WARNING, NULL,
                "The job leaves %zu members, an even number: the cluster bears no more failures than with %zu%s.",
                final, final - 1, final == 2 ? ", and stops when either of the two does" : "");
        return 0;
}

/* ---- the hosts ---- */

typedef struct Reference {
        const json_t *facts; /* this host's */
        char *user;
        uint32_t uid, gid;
} Reference;

static void reference_done(Reference *r) {
        free(r->user);
}

static int check_common(HostClient *client, const char *address, const json_t *facts, const Reference *reference,
                        char **reterr) {
        _cleanup_free_ char *user = NULL;
        uint32_t uid, gid;
        int r;

        r = preflight_host(address, facts, reterr);
        if (r >= 0)
                r = preflight_clock(address, reference->facts, facts, reterr);
        if (r >= 0)
                r = host_admin_user(client, CALL_TIMEOUT, &user, &uid, &gid, reterr);
        if (r < 0)
                return r;
        if (!streq(user, reference->user) || uid != reference->uid || gid != reference->gid)
                return fail(
                        reterr, -EUCLEAN,
                        "%s: DH_ADMIN_USER is %s (%u:%u) there, but %s (%u:%u) here; it must be the same on every node",
                        address, user, uid, gid, reference->user, reference->uid, reference->gid);
        return 0;
}

static int check_host(Addition *a, Host *h, const Reference *reference, uint64_t db_size, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        const char *digest;
        int r;

        addition_progress_of(a, h, &(Progress){}, "looking at %s", h->address);
        r = host_describe(h->client, CALL_TIMEOUT, &facts, reterr);
        if (r >= 0)
                r = check_common(h->client, h->address, facts, reference, reterr);
        if (r >= 0 && h->member)
                r = preflight_member(a, h, facts, reterr);
        if (r >= 0 && h->new_node)
                r = preflight_new(a, h->address, facts, db_size, reterr);
        if (r < 0)
                return r;

        digest = json_get_string(facts, "config_digest");
        h->config_digest = digest ? strdup(digest) : NULL;
        return digest && !h->config_digest ? -ENOMEM : 0;
}

/* The job's later nodes: never stop at two voters because of a fault that could have been seen. */
static int check_later_nodes(Addition *a, const Reference *reference, uint64_t db_size, char **reterr) {
        for (size_t i = a->index + 1; a->nodes[i]; i++) {
                _cleanup_json_ json_t *facts = NULL;
                Host *later;
                int r;

                r = addition_add_host(a, a->nodes[i], NULL, 0, NULL, NULL, 0, &later);
                if (r >= 0)
                        r = host_describe(later->client, CALL_TIMEOUT, &facts, reterr);
                if (r >= 0)
                        r = check_common(later->client, later->address, facts, reference, reterr);
                if (r >= 0)
                        r = preflight_new(a, later->address, facts, db_size, reterr);
                addition_drop_last_host(a);
                if (r < 0)
                        return fail_prefix(reterr, r, "later node %s", a->nodes[i]);
        }
        return 0;
}

/* After all have been looked at: a host that is off is called that, and not behind a firewall. */
static int check_connections(Addition *a, char **reterr) {
        int r = 0;

        FOREACH_HOST (h, a)
                if (r >= 0)
                        r = preflight_connect(a, h, reterr);
        for (size_t i = a->index + 1; a->nodes[i] && r >= 0; i++) {
                Host *later;

                r = addition_add_host(a, a->nodes[i], NULL, 0, NULL, NULL, 0, &later);
                if (r >= 0)
                        r = preflight_connect(a, later, reterr);
                addition_drop_last_host(a);
        }
        return r;
}

static int check_hosts(Addition *a, const json_t *own_facts, uint64_t db_size, char **reterr) {
        _cleanup_(reference_done) Reference reference = { .facts = own_facts };
        int r;

        r = host_admin_user(addition_this_host(a)->client, CALL_TIMEOUT, &reference.user, &reference.uid,
                            &reference.gid, reterr);
        FOREACH_HOST (h, a)
                if (r >= 0)
                        r = check_host(a, h, &reference, db_size, reterr);
        if (r >= 0)
                r = check_later_nodes(a, &reference, db_size, reterr);
        return r < 0 ? r : check_connections(a, reterr);
}

static int check_own_disk(const json_t *facts, uint64_t db_size, char **reterr) {
        uint64_t free_bytes = (uint64_t) json_get_integer(facts, "state_free_bytes", 0);
        uint64_t needed = db_size + db_size / 4 + ((uint64_t) 64 << 20);

        if (free_bytes < needed)
                return fail(reterr, -ENOSPC,
                            "this host: %s has %" PRIu64 " MiB free, %" PRIu64
                            " MiB are needed for etcd's snapshot. Make room on its file system, see \"df -h %s\"",
                            DHETCD_STATE_DIR, free_bytes >> 20, needed >> 20, DHETCD_STATE_DIR);
        return 0;
}

/* ---- all of it ---- */

static int check_cluster(Addition *a, const json_t *own_facts, uint64_t *ret_db_size, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        int r;

        r = addition_open_etcd(a, reterr);
        if (r >= 0)
                r = preflight_members(a, &members, reterr);
        if (r >= 0)
                r = preflight_wait_for_learner(a, &members, reterr);
        if (r >= 0)
                r = preflight_plan_hosts(a, members, reterr);
        if (r < 0)
                return r;

        if (!addition_this_host(a)) {
                Host *h;

                r = addition_add_this_host(a, own_facts, &h, reterr);
                if (r < 0)
                        return r;
        }
        r = addition_open_etcd(a, reterr); /* now it knows the voters */
        if (r >= 0)
                r = check_voters(a, ret_db_size, reterr);
        if (r >= 0)
                r = check_alarms(a, reterr);
        return r < 0 ? r : check_parity(a, reterr);
}

static int find_cluster_id(Addition *a, const json_t *own_facts, char **reterr) {
        _cleanup_json_ json_t *facts = json_incref((json_t *) own_facts);
        const char *id = json_get_string(facts, "cluster_id");
        const Host *member = NULL;

        FOREACH_MEMBER (h, a)
                member = member ?: h;
        if (!id) {
                int r;

                json_decref(facts);
                facts = NULL;
                r = host_describe(member->client, CALL_TIMEOUT, &facts, reterr);
                if (r < 0)
                        return r;
                id = json_get_string(facts, "cluster_id");
        }
        if (!id)
                return fail(reterr, -ENOENT, "%s: the link %s, which names the cluster, is not there", member->address,
                            DH_ETCD_LATEST);
        a->cluster_id = strdup(id);
        return a->cluster_id ? 0 : -ENOMEM;
}

int preflight_look(Addition *a, char **reterr) {
        _cleanup_(host_client_freep) HostClient *own = NULL;
        _cleanup_json_ json_t *facts = NULL;
        uint64_t db_size = 0;
        int r;

        r = host_client_new("this host", /* local= */ true, &(SshOptions){}, a->cancel_fd, &own);
        if (r >= 0)
                r = preflight_wait_for_host(a, own, &facts, reterr);
        if (r >= 0)
                r = preflight_seed_trust(a, facts, reterr);
        if (r >= 0)
                r = check_package(facts, reterr);
        if (r >= 0)
                r = check_cluster(a, facts, &db_size, reterr);
        if (r >= 0)
                r = find_cluster_id(a, facts, reterr);
        if (r >= 0)
                r = check_own_disk(facts, db_size, reterr);
        if (r >= 0)
                r = check_hosts(a, facts, db_size, reterr);
        a->db_size = db_size;
        return r < 0 ? r : window_check(a, step_lock.name, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        int r = preflight_look(a, reterr);

        return r < 0 ? r : addition_save_plan(a, reterr);
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->seconds = 1 + (unsigned) a->n_hosts;
        f->why = "nothing is changed before all of it holds";
}

const Step step_preflight = {
        .name = "preflight",
        .title = "Checking the cluster and every host",
        .asks = CHANGES_THIS_HOST | CHANGES_MEMBERS | CHANGES_NEW,
        .foresee = foresee,
        .rejects = true,
        .apply = apply,
};
