/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "preflight.h"

#include <inttypes.h>

#include "basic/error.h"

#define CLOCK_SKEW_MAX (60 * USEC_PER_SEC)
#define DISK_MARGIN ((uint64_t) 256 * 1024 * 1024)

static bool facts_have_address(const json_t *facts, const char *address) {
        json_t *entry;
        size_t i;

        json_array_foreach (json_object_get(facts, "addresses"), i, entry)
                if (streq(json_string_value(entry), address))
                        return true;
        return false;
}

int preflight_host(const char *address, const json_t *facts, char **reterr) {
        const char *version = json_get_string(facts, "version");
        const char *script;
        json_t *present;

        if (!streq(version, DHETCD_VERSION))
                return fail(reterr, -EUCLEAN, "%s has dhetcd %s, this host has %s. Install the same version on both",
                            address, version ?: "of an unknown version", DHETCD_VERSION);
        if (!facts_have_address(facts, address))
                return fail(reterr, -EUCLEAN, "%s: the host that answers there (%s) does not have that address itself",
                            address, json_get_string(facts, "hostname") ?: "unnamed");
        json_object_foreach (json_object_get(facts, "vendor_scripts"), script, present)
                if (!json_is_true(present))
                        return fail(reterr, -ENOENT,
                                    "%s: the vendor's %s is not there. Run the installer first (page, step 2)", address,
                                    script);
        return 0;
}

static int check_keys(const Host *h, const json_t *config, char **reterr) {
        static const struct {
                const char *fact, *key;
        } keys[] = {
                { "initial_cluster", "initial-cluster" },
                { "initial_cluster_state", "initial-cluster-state" },
                { "initial_cluster_token", "initial-cluster-token" },
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (!json_get_string(config, keys[i].fact))
                        return fail(reterr, -ENOKEY, "%s: %s has no %s. Compare it with another member's", h->address,
                                    DH_ETCD_CONFIG, keys[i].key);
        return 0;
}

static int check_certificates(const Host *h, const json_t *facts, char **reterr) {
        json_int_t now = json_get_integer(facts, "time_usec", 0);
        json_t *certificate;
        size_t i;

        json_array_foreach (json_object_get(facts, "certificates"), i, certificate) {
                const char *file = json_get_string(certificate, "file");

                if (json_get_integer(certificate, "not_before_usec", 0) > now ||
                    json_get_integer(certificate, "not_after_usec", INT64_MAX) < now)
                        return fail(reterr, -EKEYEXPIRED,
                                    "%s: the certificate %s is not valid at that host's present time", h->address,
                                    file ?: "");
        }
        return 0;
}

int preflight_member(const Addition *a, const Host *h, const json_t *facts, char **reterr) {
        const json_t *config = json_object_get(facts, "config");
        const char *error = json_get_string(facts, "config_error");
        int r;

        if (!json_is_object(config))
                return fail(reterr, -EUCLEAN, "%s: %s is not usable: %s", h->address, DH_ETCD_CONFIG,
                            error ?: "it is not there");
        r = check_keys(h, config, reterr);
        if (r < 0)
                return r;
        if (!streq(json_get_string(facts, "cluster_id"), a->cluster_id) ||
            !streq(json_get_string(config, "initial_cluster_token"), a->cluster_id))
                return fail(reterr, -EUCLEAN, "%s: %s is of cluster '%s', not '%s'", h->address, DH_ETCD_LATEST,
                            json_get_string(config, "initial_cluster_token"), a->cluster_id);
        if (!streq(json_get_string(config, "name"), h->name))
                return fail(reterr, -EUCLEAN, "%s: %s says it is '%s', the member list says '%s'", h->address,
                            DH_ETCD_CONFIG, json_get_string(config, "name") ?: "", h->name);
        if (!streq(json_get_string(config, "initial_advertise_peer_urls"), h->peer_url))
                return fail(reterr, -EUCLEAN, "%s: %s advertises %s, the member list has %s", h->address,
                            DH_ETCD_CONFIG, json_get_string(config, "initial_advertise_peer_urls") ?: "nothing",
                            h->peer_url);
        if (!json_is_true(json_object_get(config, "strict_reconfig_check")))
                return fail(
                        reterr, -EUCLEAN,
                        "%s: %s turns strict-reconfig-check off: etcd would then accept changes that cost the quorum. "
                        "Remove that line and restart %s",
                        h->address, DH_ETCD_CONFIG, DH_ETCD_UNIT);
        return check_certificates(h, facts, reterr);
}

static int check_ports(const char *address, const json_t *facts, char **reterr) {
        json_t *port;
        size_t i;

        json_array_foreach (json_object_get(facts, "listening"), i, port)
                return fail(reterr, -EADDRINUSE,
                            "%s: something listens on port %" JSON_INTEGER_FORMAT
                            " already. Find it with \"ss -lptn 'sport = :%" JSON_INTEGER_FORMAT "'\" there",
                            address, json_integer_value(port), json_integer_value(port));

        return 0;
}

int preflight_new(const Addition *a, const char *address, const json_t *facts, uint64_t db_size, char **reterr) {
        const json_t *data = json_object_get(facts, "data_directory"), *unit = json_object_get(facts, "unit");
        const char *state = json_get_string(json_object_get(facts, "data_directories"), a->cluster_id);
        uint64_t free_bytes = (uint64_t) json_get_integer(data, "free_bytes", 0);
        const char *active = json_get_string(unit, "active_state");

        if (streq(active, "active") || streq(active, "activating") || streq(active, "reloading"))
                return fail(reterr, -EBUSY, "%s: %s runs there already. Stop it with \"systemctl stop %s\"", address,
                            DH_ETCD_UNIT, DH_ETCD_UNIT);
        if (json_get_string(data, "refused"))
                return fail(reterr, -EACCES, "%s: %s", address, json_get_string(data, "refused"));
        if (streq(state, "in-use") && !a->move_data_aside)
                return fail(reterr, -ENOTEMPTY,
                            "%s: the data directory %s/%s is not empty, etcd would not join with it (page, "
                            "Troubleshooting). Look "
                            "into it, or add the node with --move-data-aside",
                            address, DH_ETCD_DATA_PARENT, a->cluster_id);
        if (free_bytes < 2 * db_size + DISK_MARGIN)
                return fail(reterr, -ENOSPC,
                            "%s: %" PRIu64 " MiB are free for etcd's data, %" PRIu64
                            " MiB are needed. Make room on the file system of " DH_ETCD_DATA_PARENT
                            ", see \"df -h\" there",
                            address, free_bytes >> 20, (2 * db_size + DISK_MARGIN) >> 20);
        return check_ports(address, facts, reterr);
}

int preflight_clock(const char *address, const json_t *local, const json_t *remote, char **reterr) {
        json_int_t skew = json_get_integer(remote, "time_usec", 0) - json_get_integer(local, "time_usec", 0);

        if (skew > (json_int_t) CLOCK_SKEW_MAX || -skew > (json_int_t) CLOCK_SKEW_MAX)
                return fail(reterr, -ETIME, "%s: its clock is %" JSON_INTEGER_FORMAT " s away from this host's",
                            address, skew / (json_int_t) USEC_PER_SEC);
        return 0;
}
