/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can be wrong with one host: why its etcd does not start (page, Troubleshooting), its config.yaml, its data
 * directory, its certificates. */

#include <inttypes.h>
#include <time.h>

#include "doctor.h"
#include "host/config-yaml.h"

#define USEC_PER_DAY (24 * 3600 * USEC_PER_SEC)

static const json_t *config_of(const json_t *facts) {
        return json_object_get(facts, "config");
}

static bool is_learner(const json_t *member) {
        return streq(json_get_string(member, "role"), "learner");
}

/* ---- who is who ---- */

static void admin_unset(Doctor *d, const char *address, const json_t *facts) {
        const char *error = json_get_string(doctor_host(d, address), "admin_error");

        if (error)
                doctor_command(doctor_found(d, address, "%s", error), address,
                               "source %s; echo \"$DH_ADMIN_USER\"; id \"$DH_ADMIN_USER\"", DH_USERS_FILE);
}

static const json_t *first_admin(const Doctor *d, const char **ret_address) {
        json_t *host;
        size_t i;

        json_array_foreach ((json_t *) d->hosts, i, host)
                if (json_is_object(json_object_get(host, "admin"))) {
                        *ret_address = json_get_string(host, "address");
                        return json_object_get(host, "admin");
                }
        return NULL;
}

static void admin_differs(Doctor *d, const char *address, const json_t *facts) {
        const json_t *admin = json_object_get(doctor_host(d, address), "admin");
        const char *other = NULL;
        const json_t *first = first_admin(d, &other);

        if (!json_is_object(admin) || json_equal(admin, first))
                return;
        doctor_command(doctor_found(d, address, "%s (%lld:%lld) there, %s (%lld:%lld) on %s",
                                    json_get_string(admin, "user"), (long long) json_get_integer(admin, "uid", -1),
                                    (long long) json_get_integer(admin, "gid", -1), json_get_string(first, "user"),
                                    (long long) json_get_integer(first, "uid", -1),
                                    (long long) json_get_integer(first, "gid", -1), other),
                       address, "id %s; then give it the same ids on every host",
                       doctor_plain(json_get_string(admin, "user"), "USER"));
}

/* ---- etcd does not start ---- */

static void learner_state(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *state = json_get_string(config_of(facts), "initial_cluster_state");

        if (!is_learner(m) || doctor_is_healthy(m) || !streq(state, "new"))
                return;
        doctor_command(doctor_found(d, address, "%s: initial-cluster-state: new", DH_ETCD_CONFIG), address,
                       "systemctl stop dh-etcd; sed -i 's/^initial-cluster-state:.*/initial-cluster-state: existing/' "
                       "%s; mv %s/%s %s/%s.old; systemctl start dh-etcd",
                       DH_ETCD_CONFIG, DH_ETCD_DATA_PARENT, doctor_plain(json_get_string(facts, "cluster_id"), "ID"),
                       DH_ETCD_DATA_PARENT, doctor_plain(json_get_string(facts, "cluster_id"), "ID"));
}

static void learner_data(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const json_t *data = json_object_get(facts, "data_directory");
        const char *path = json_get_string(data, "path");

        if (!is_learner(m) || !doctor_never_started(m) || !path || !streq(json_get_string(data, "state"), "in-use"))
                return;
        doctor_command(doctor_found(d, address, "%s is not empty, but this member has never started", path), address,
                       "systemctl stop dh-etcd; mv %s %s.old; systemctl start dh-etcd", doctor_plain(path, "DATA-DIR"),
                       doctor_plain(path, "DATA-DIR"));
}

/* The newest line with that text in it, from a little before the text on; NULL where none. */
static const char *line_with(const json_t *facts, const char *text) {
        const char *found = NULL;
        json_t *line;
        size_t i;

        if (streq(json_get_string(json_object_get(facts, "unit"), "load_state"), "not-found"))
                return NULL; /* what was there once is no fault of now */
        json_array_foreach (json_object_get(facts, "journal"), i, line) {
                const char *whole = json_string_value(line), *at = whole ? strstr(whole, text) : NULL;

                if (at)
                        found = at - whole > 100 ? at - 100 : whole;
        }
        return found;
}

static void count_unequal(Doctor *d, const char *address, const json_t *facts) {
        const char *line = line_with(facts, "member count is unequal");

        if (!line || doctor_is_healthy(doctor_member(d, address)))
                return;
        doctor_command(doctor_found(d, address, "journal of dh-etcd: %.300s", line), address,
                       "leave only the members in initial-cluster of %s, then: systemctl restart dh-etcd",
                       DH_ETCD_CONFIG);
}

static void id_mismatch(Doctor *d, const char *address, const json_t *facts) {
        const char *line = line_with(facts, "cluster ID mismatch"),
                   *path = doctor_plain(json_get_string(json_object_get(facts, "data_directory"), "path"), "DATA-DIR");

        if (!line || doctor_is_healthy(doctor_member(d, address)))
                return;
        doctor_command(doctor_found(d, address, "journal of dh-etcd: %.300s", line), address,
                       "systemctl stop dh-etcd; set initial-cluster-state: existing in %s; mv %s %s.old; "
                       "systemctl start dh-etcd",
                       DH_ETCD_CONFIG, path, path);
}

/* ---- the data directory ---- */

static bool is_owned(const json_t *owner, json_int_t uid, json_int_t gid) {
        return json_get_integer(owner, "uid", -1) == uid && (gid < 0 || json_get_integer(owner, "gid", -1) == gid);
}

/* "/var/lib/etcd/dh/ID/member 0:0", of the first that is wrong; NULL where all is right. */
static char *wrong_owner(const json_t *facts, json_int_t uid, json_int_t gid) {
        const json_t *parent = json_object_get(facts, "data_parent");
        const char *path = json_get_string(json_object_get(facts, "data_directory"), "path") ?: "";
        json_t *owner;
        size_t i;

        json_array_foreach (json_object_get(facts, "data_owners"), i, owner) {
                const char *below = json_get_string(owner, "path") ?: "";

                if (!is_owned(owner, uid, *below ? -1 : gid)) /* etcd gives its files what group it runs with */
                        return format("%s%s%s belongs to %lld:%lld", path, *below ? "/" : "", below,
                                      (long long) json_get_integer(owner, "uid", -1),
                                      (long long) json_get_integer(owner, "gid", -1));
        }
        if (json_is_object(parent) && json_array_size(json_object_get(facts, "data_owners")) > 0 &&
            !is_owned(parent, uid, gid))
                return format("%s belongs to %lld:%lld", DH_ETCD_DATA_PARENT,
                              (long long) json_get_integer(parent, "uid", -1),
                              (long long) json_get_integer(parent, "gid", -1));
        return NULL;
}

static void data_owner(Doctor *d, const char *address, const json_t *facts) {
        const json_t *admin = json_object_get(doctor_host(d, address), "admin");
        json_int_t uid = json_get_integer(facts, "etcd_uid", -1), gid = json_get_integer(admin, "gid", -1);
        const char *path = json_get_string(json_object_get(facts, "data_directory"), "path");
        _cleanup_free_ char *wrong = NULL;
        json_t *f;

        if (uid < 0 || gid < 0)
                return;
        wrong = wrong_owner(facts, uid, gid);
        if (!wrong)
                return;
        f = doctor_found(d, address, "%s, not to etcd (%lld) and the group of DH_ADMIN_USER (%lld)", wrong,
                         (long long) uid, (long long) gid);
        doctor_command(f, address, "chown etcd:%lld %s; chown -R etcd:%lld %s", (long long) gid, DH_ETCD_DATA_PARENT,
                       (long long) gid, doctor_plain(path, "DATA-DIR"));
        doctor_fix(f, json_object());
}

/* ---- config.yaml ---- */

static void config_unusable(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *error = json_get_string(facts, "config_error");

        if (!facts || doctor_never_started(m) || json_is_object(config_of(facts)))
                return;
        doctor_command(doctor_found(d, address, "%s", error ?: DH_ETCD_CONFIG " is not there"), address,
                       "cd %s && %s etcd unpackage-server NODE-NUMBER", DH_SYSCONFIG_DIR, DH_CONFIG_PACKAGER);
}

static const json_t *member_at(const Doctor *d, const char *peer_url) {
        json_t *row;
        size_t i;

        json_array_foreach ((json_t *) d->members, i, row)
                if (streq(json_get_string(row, "peer_url"), peer_url))
                        return row;
        return NULL;
}

static bool lists(const ClusterEntries *entries, const json_t *member) {
        const char *name = json_get_string(member, "name");

        for (size_t i = 0; i < entries->n; i++)
                if (streq(entries->items[i].peer_url, json_get_string(member, "peer_url")))
                        return doctor_never_started(member) || streq(entries->items[i].name, name);
        return false;
}

/* What is wrong with initial-cluster: every voter must be there, and nobody who is no member. NULL: nothing. */
static char *compare_list(const Doctor *d, const char *initial_cluster) {
        _cleanup_(cluster_entries_freep) ClusterEntries *entries = NULL;
        json_t *row;
        size_t i;

        if (!initial_cluster || cluster_entries_parse(initial_cluster, &entries, NULL) < 0)
                return strdup("is not a list of members");
        json_array_foreach ((json_t *) d->members, i, row)
                if (!is_learner(row) && !lists(entries, row))
                        return format("lacks %s=%s", json_get_string(row, "name") ?: "",
                                      json_get_string(row, "peer_url") ?: "");
        for (size_t k = 0; k < entries->n; k++)
                if (!member_at(d, entries->items[k].peer_url))
                        return format("names %s=%s, who is no member", entries->items[k].name,
                                      entries->items[k].peer_url);
        return NULL;
}

/* By node number: "etcd-2=…" before "etcd-10=…", as the generator lists them. */
static int compare_entries(const void *x, const void *y) {
        const char *a = *(char *const *) x, *b = *(char *const *) y;
        size_t n = strcspn(a, "="), m = strcspn(b, "=");

        return n != m ? (n > m) - (n < m) : strcmp(a, b);
}

/* The voters; NULL where one has no name yet. */
static char *list_of_voters(const Doctor *d) {
        _cleanup_strv_ char **entries = NULL;
        json_t *row;
        size_t i;

        json_array_foreach ((json_t *) d->members, i, row) {
                _cleanup_free_ char *entry = NULL;

                if (is_learner(row))
                        continue;
                if (doctor_never_started(row) || !json_get_string(row, "peer_url"))
                        return NULL;
                entry = format("%s=%s", json_get_string(row, "name"), json_get_string(row, "peer_url"));
                if (!entry || strv_append(&entries, entry) < 0)
                        return NULL;
        }
        if (entries)
                qsort(entries, strv_length(entries), sizeof(char *), compare_entries);
        return strv_join(entries, ",");
}

/* Only what a quorum says is worth comparing with. */
static bool has_list(const Doctor *d) {
        return streq(json_get_string(d->cluster, "list"), "quorum");
}

static void config_list(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const json_t *config = config_of(facts);
        _cleanup_free_ char *wrong = NULL, *right = list_of_voters(d);
        json_t *f;

        if (!json_is_object(config) || !has_list(d))
                return;
        wrong = compare_list(d, json_get_string(config, "initial_cluster"));
        if (!wrong)
                return;
        f = doctor_found(d, address, "%s: initial-cluster %s", DH_ETCD_CONFIG, wrong);
        doctor_command(f, address, "set in %s: initial-cluster: %s", DH_ETCD_CONFIG,
                       doctor_plain(right, "the members"));
        if (right && doctor_is_healthy(m) && !is_learner(m))
                doctor_fix(f, json_pack("{ss}", "initial-cluster", right));
}

static void config_state(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *state = json_get_string(config_of(facts), "initial_cluster_state");
        json_t *f;

        if (!state || streq(state, "new") || is_learner(m) || !doctor_is_healthy(m))
                return;
        f = doctor_found(d, address, "%s: initial-cluster-state: %s", DH_ETCD_CONFIG, state);
        doctor_command(f, address, "sed -i 's/^initial-cluster-state:.*/initial-cluster-state: new/' %s",
                       DH_ETCD_CONFIG);
        doctor_fix(f, json_pack("{ss}", "initial-cluster-state", "new"));
}

static void config_own(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const json_t *config = config_of(facts);
        const char *name = json_get_string(config, "name"),
                   *url = json_get_string(config, "initial_advertise_peer_urls"),
                   *token = json_get_string(config, "initial_cluster_token"),
                   *id = json_get_string(facts, "cluster_id");
        json_t *f = NULL;

        if (!json_is_object(config) || !has_list(d))
                return;
        if (!doctor_never_started(m) && !streq(name, json_get_string(m, "name")))
                f = doctor_found(d, address, "%s: name: %s, but the member is %s", DH_ETCD_CONFIG, name ?: "",
                                 json_get_string(m, "name"));
        else if (!streq(url, json_get_string(m, "peer_url")))
                f = doctor_found(d, address, "%s: initial-advertise-peer-urls: %s, but the member has %s",
                                 DH_ETCD_CONFIG, url ?: "", json_get_string(m, "peer_url"));
        else if (!streq(token, id))
                f = doctor_found(d, address, "%s: initial-cluster-token: %s, but %s leads to %s", DH_ETCD_CONFIG,
                                 token ?: "", DH_ETCD_LATEST, id ?: "nothing");
        if (f)
                doctor_command(f, address, "correct it in %s, then: systemctl restart dh-etcd", DH_ETCD_CONFIG);
}

static void config_strict(Doctor *d, const char *address, const json_t *facts) {
        const json_t *config = config_of(facts);

        if (json_is_object(config) && json_is_false(json_object_get(config, "strict_reconfig_check")))
                doctor_command(doctor_found(d, address, "%s: strict-reconfig-check: false", DH_ETCD_CONFIG), address,
                               "sed -i '/^strict-reconfig-check:/d' %s; systemctl restart dh-etcd", DH_ETCD_CONFIG);
}

static void config_force(Doctor *d, const char *address, const json_t *facts) {
        if (json_is_true(json_object_get(config_of(facts), "force_new_cluster")))
                doctor_command(doctor_found(d, address, "%s: force-new-cluster: true", DH_ETCD_CONFIG), address,
                               "sed -i '/^force-new-cluster:/d' %s", DH_ETCD_CONFIG);
}

/* ---- certificates ---- */

static char *date_of(json_int_t usec) {
        time_t seconds = (time_t) (usec / (json_int_t) USEC_PER_SEC);
        char text[32];
        struct tm tm;

        if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%F %R UTC", &tm) == 0)
                return NULL;
        return strdup(text);
}

/* config_generator.sh makes all of them anew. */
static void renew(const Doctor *d, const json_t *facts, json_t *finding) {
        _cleanup_strv_ char **addresses = NULL;
        _cleanup_free_ char *list = NULL;
        json_t *row;
        size_t i;

        json_array_foreach ((json_t *) d->members, i, row)
                if (json_get_string(row, "address") && strv_append(&addresses, json_get_string(row, "address")) < 0)
                        return;
        list = strv_join(addresses, " ");
        doctor_command(finding, NULL,
                       "%s --self-signed --servers %s --cluster-id %s --root-user-dhadmin (page, step 3)",
                       DH_CONFIG_GENERATOR, list && *list ? list : "ADDRESS...",
                       doctor_plain(json_get_string(facts, "cluster_id"), "ID"));
}

typedef enum Validity { VALID, ENDS, ENDED, NOT_YET } Validity;

static Validity validity_of(const Doctor *d, const json_t *certificate) {
        json_int_t now = (json_int_t) d->now, until = json_get_integer(certificate, "not_after_usec", INT64_MAX);

        if (json_get_integer(certificate, "not_before_usec", 0) > now)
                return NOT_YET;
        if (until <= now)
                return ENDED;
        return until - now < DOCTOR_DAYS * (json_int_t) USEC_PER_DAY ? ENDS : VALID;
}

static void tell_certificates(Doctor *d, const char *address, const json_t *facts, const char *fact, bool ends) {
        json_t *certificate;
        size_t i;

        json_array_foreach (json_object_get(facts, fact), i, certificate) {
                Validity v = validity_of(d, certificate);
                _cleanup_free_ char *date = NULL;

                if (v == VALID || (v == ENDS) != ends)
                        continue;
                date = date_of(json_get_integer(certificate, v == NOT_YET ? "not_before_usec" : "not_after_usec", 0));
                renew(d, facts,
                      doctor_found(d, address, "%s %s %s", json_get_string(certificate, "file") ?: "",
                                   v == NOT_YET ? "begins"
                                   : v == ENDED ? "ended"
                                                : "ends",
                                   date ?: "?"));
        }
}

static void certificate_ends(Doctor *d, const char *address, const json_t *facts) {
        tell_certificates(d, address, facts, "certificates", /* ends= */ true);
        tell_certificates(d, address, facts, "authority_files", /* ends= */ true);
}

static void certificate_ended(Doctor *d, const char *address, const json_t *facts) {
        tell_certificates(d, address, facts, "certificates", /* ends= */ false);
        tell_certificates(d, address, facts, "authority_files", /* ends= */ false);
}

static const DoctorCheck checks[] = {
        { "admin-user-unset", "error", "DH_ADMIN_USER is not known", .host = admin_unset },
        { "admin-user-differs", "error", "DH_ADMIN_USER is not the same on every host", .host = admin_differs },
        { "learner-state-new", "error",
          "A learner with the state \"new\" makes a cluster of its own instead of joining; etcd hangs",
          .member = learner_state },
        { "learner-data-left", "error", "A learner does not join with data of before", .member = learner_data },
        { "member-count-unequal", "error", "initial-cluster has entries that are not members", .host = count_unequal },
        { "cluster-id-mismatch", "error", "etcd here has made, or was in, another cluster", .host = id_mismatch },
        { "data-owner", "error", "etcd cannot use its data directory", .host = data_owner },
        { "config-unusable", "error", "A member has no usable config.yaml", .member = config_unusable },
        { "config-list", "warning", "initial-cluster is not the member list", .member = config_list },
        { "config-state", "warning", "initial-cluster-state is left from the addition", .member = config_state },
        { "config-own", "error", "config.yaml is not this member's", .member = config_own },
        { "config-strict", "warning", "etcd would accept changes of members that cost the quorum",
          .host = config_strict },
        { "config-force", "error", "At its next start etcd would leave all other members", .host = config_force },
        { "certificate-ends", "warning", "A certificate is about to end", .host = certificate_ends },
        { "certificate-ended", "error", "A certificate is not valid", .host = certificate_ended },
};

const DoctorTable doctor_host_checks = { checks, ELEMENTSOF(checks) };
