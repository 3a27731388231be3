/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The facts of a doctor: the cluster as "dhetcd cluster" shows it, and every host that may matter: this one, all
 * members, where there is no member list whom this host's config.yaml names, and whose job holds one of these. */

#include "basic/error.h"
#include "doctor.h"
#include "host/config-yaml.h"
#include "look.h"

#define HOSTS_MAX 32U

static int add_host(Addition *a, const char *address) {
        Host *h;

        if (!address || address_check(address) < 0 || a->n_hosts >= HOSTS_MAX)
                return 0;
        FOREACH_PLANNED (known, a)
                if (streq(known->address, address))
                        return 0;
        return addition_add_host(a, address, NULL, 0, NULL, NULL, 0, &h);
}

static int add_members(Addition *a, const json_t *cluster) {
        json_t *row;
        size_t i;

        json_array_foreach (json_object_get(cluster, "members"), i, row) {
                int r = add_host(a, json_get_string(row, "address"));

                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_configured(Addition *a, const json_t *facts) {
        const char *text = json_get_string(json_object_get(facts, "config"), "initial_cluster");
        _cleanup_(cluster_entries_freep) ClusterEntries *entries = NULL;

        if (!text || cluster_entries_parse(text, &entries, NULL) < 0)
                return 0;
        for (size_t i = 0; i < entries->n; i++) {
                char address[ADDRESS_MAX];
                uint16_t port;
                int r;

                if (address_from_url(entries->items[i].peer_url, address, &port) < 0)
                        continue;
                r = add_host(a, address);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int add_own(Addition *a, const json_t *facts, char **reterr) {
        const char *url = json_get_string(json_object_get(facts, "config"), "initial_advertise_peer_urls");
        char address[ADDRESS_MAX];
        uint16_t port;
        Host *h;
        int r;

        if (addition_this_host(a))
                return 0;
        if (url && address_from_url(url, address, &port) >= 0 && address_is_local(address) > 0)
                r = add_host(a, address);
        else
                r = addition_add_this_host(a, facts, &h, reterr);
        return r;
}

static json_t *string_or_null(int r, const char *why) {
        return r < 0 ? json_string(error_text(why, r)) : json_null();
}

static json_t *examine_host(Addition *a, Host *h) {
        _cleanup_free_ char *why = NULL, *admin_why = NULL, *user = NULL;
        _cleanup_json_ json_t *facts = NULL;
        json_t *admin = NULL;
        uint32_t uid, gid;
        int r, k = 0;

        r = host_examine(h->client, CALL_TIMEOUT, &facts, &why);
        if (r >= 0) {
                k = host_admin_user(h->client, CALL_TIMEOUT, &user, &uid, &gid, &admin_why);
                if (k >= 0)
                        admin = json_pack("{ss sI sI}", "user", user, "uid", (json_int_t) uid, "gid", (json_int_t) gid);
        }
        return json_pack("{ss sb so so so so}", "address", h->address, "this_host", (int) h->this_host, "facts",
                         facts ? json_incref(facts) : json_null(), "error", string_or_null(r, why), "admin",
                         admin ?: json_null(), "admin_error", string_or_null(k, admin_why));
}

/* Examines them in turn; the list may grow meanwhile by the holders of their locks. */
static int examine_hosts(Addition *a, json_t *hosts) {
        for (size_t i = 0; i < a->n_hosts; i++) {
                json_t *host = examine_host(a, a->hosts + i), *lock;
                int r;

                if (json_array_append_new(hosts, host) < 0)
                        return -ENOMEM;
                lock = json_object_get(json_object_get(host, "facts"), "lock");
                r = add_host(a, json_get_string(lock, "holder"));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int find_hosts(Addition *a, const json_t *cluster, char **reterr) {
        _cleanup_(host_client_freep) HostClient *own = NULL;
        _cleanup_json_ json_t *facts = NULL;
        int r;

        r = host_client_new("this host", /* local= */ true, &(SshOptions){}, a->cancel_fd, &own);
        if (r >= 0)
                r = host_describe(own, CALL_TIMEOUT, &facts, reterr);
        if (r >= 0)
                r = add_members(a, cluster);
        if (r >= 0 && !streq(json_get_string(cluster, "list"), "quorum"))
                r = add_configured(a, facts);
        return r < 0 ? r : add_own(a, facts, reterr);
}

int doctor_gather(Addition *a, json_t **ret, char **reterr) {
        _cleanup_json_ json_t *cluster = NULL, *hosts = json_array();
        _cleanup_free_ char *why = NULL;
        int r, k;

        k = look_at_cluster(a, &cluster, &why);
        if (k == -ECANCELED || k == -ENOMEM)
                return fail(reterr, k, "%s", error_text(why, k));
        r = find_hosts(a, cluster, reterr);
        if (r < 0)
                return r;
        r = examine_hosts(a, hosts);
        if (r < 0)
                return r;
        *ret = json_pack("{sI ss so so sO}", "now_usec", (json_int_t) now_real(), "own", addition_this_host(a)->address,
                         "cluster", cluster ? json_incref(cluster) : json_null(), "cluster_error",
                         string_or_null(k, why), "hosts", hosts);
        return *ret ? 0 : -ENOMEM;
}
