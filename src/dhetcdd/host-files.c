/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* EditConfig, TrustAuthorities, Deliver: small local work, done at once. */

#include <limits.h>

#include "basic/fs.h"
#include "basic/trusted-path.h"
#include "host-operation.h"
#include "host/authorities.h"
#include "host/config-yaml-force.h"
#include "host/config-yaml.h"
#include "host/package.h"

#define NAME_SIZE_MAX 64U
#define FORCE_KEY "force-new-cluster"
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

/* ---- EditConfig ---- */

static int check_initial_cluster(HostOperation *op, const char *value) {
        _cleanup_(cluster_entries_freep) ClusterEntries *entries = NULL;
        int r;

        r = cluster_entries_parse(value, &entries, &op->why);
        if (r < 0) {
                op->error_name = DHETCD_ERROR_REJECTED;
                return r;
        }
        for (size_t i = 0; i < entries->n; i++) {
                const ClusterEntry *e = entries->items + i;
                char address[ADDRESS_MAX];
                uint16_t port;

                if (strlen(e->name) > NAME_SIZE_MAX || strspn(e->name, NAME_CHARACTERS) != strlen(e->name))
                        return host_operation_reject(op, "'%.80s' is not the name of a member", e->name);
                if (address_from_url(e->peer_url, address, &port) < 0)
                        return host_operation_reject(op, "'%.80s' is not https://ADDRESS:PORT", e->peer_url);
        }
        return 0;
}

static int check_value(HostOperation *op, const char *key, const char *value) {
        if (streq(key, "initial-cluster"))
                return check_initial_cluster(op, value);
        if (streq(key, "initial-cluster-state")) {
                if (!streq(value, "new") && !streq(value, "existing"))
                        return host_operation_reject(op, "%s is \"new\" or \"existing\", not '%.80s'", key, value);
                return 0;
        }
        if (streq(key, "initial-cluster-token")) {
                if (*value == '\0' || strlen(value) > NAME_SIZE_MAX || strspn(value, NAME_CHARACTERS) != strlen(value))
                        return host_operation_reject(op, "'%.80s' is not the ID of a cluster", value);
                return 0;
        }
        if (streq(key, FORCE_KEY)) {
                if (!streq(value, "true") && !streq(value, "false"))
                        return host_operation_reject(op, "%s is \"true\" or \"false\", not '%.80s'", key, value);
                return 0;
        }
        return host_operation_reject(op, "'%.80s' is not a key of config.yaml that is edited here", key);
}

int check_edit_config(HostOperation *op) {
        json_t *values = json_object_get(op->arguments, "values"), *value;
        const char *key;
        int r;

        if (json_object_size(values) == 0)
                return host_operation_reject(op, "there is nothing to edit");
        json_object_foreach (values, key, value) {
                r = check_value(op, key, json_string_value(value));
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Digest of the configuration, or NULL. */
static const char *config_digest(char hex[static DIGEST_HEX_SIZE]) {
        return digest_file(DH_ETCD_CONFIG, hex) < 0 ? NULL : hex;
}

static int edit_file(HostOperation *op) {
        json_t *values = json_object_get(op->arguments, "values"), *value;
        const char *key, *force = json_get_string(values, FORCE_KEY);
        _cleanup_close_ int fd = -EBADF;
        ConfigEdit edits[3];
        size_t n = 0;
        int r, changed = 0;

        fd = trusted_path_open_below(DH_ETCD_CONFIG, DH_ETCD_DIR);
        if (fd < 0)
                return fail(&op->why, fd, "%s cannot be reached, or leads out of %s: %s", DH_ETCD_CONFIG, DH_ETCD_DIR,
                            strerror(-fd));
        json_object_foreach (values, key, value)
                if (!streq(key, FORCE_KEY))
                        edits[n++] = (ConfigEdit){ key, json_string_value(value) };
        if (n > 0)
                changed = config_yaml_edit_file(fd, DH_ETCD_CONFIG, edits, n, &op->why);
        if (changed < 0 || !force)
                return changed;
        r = config_yaml_force_file(fd, DH_ETCD_CONFIG, streq(force, "true"), &op->why);
        return r < 0 ? r : changed || r;
}

int begin_edit_config(HostOperation *op) {
        char before_hex[DIGEST_HEX_SIZE], after_hex[DIGEST_HEX_SIZE];
        const char *before;
        int r;

        before = config_digest(before_hex);
        r = host_operation_intent(op, NULL);
        if (r >= 0)
                r = edit_file(op);
        if (r < 0)
                return r;
        if (r > 0)
                host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, before, config_digest(after_hex),
                                     "%s was edited", DH_ETCD_CONFIG);
        return host_operation_answer(op, json_pack("[b]", r > 0 || op->was_open));
}

/* ---- TrustAuthorities ---- */

int check_trust_authorities(HostOperation *op) {
        _cleanup_free_ char *found = NULL;

        if (authorities_of(host_operation_string(op, "pem"), &found, &op->why) < 0) {
                op->error_name = DHETCD_ERROR_REJECTED;
                return -EINVAL;
        }
        return *found ? 0 : host_operation_reject(op, "there is no CA certificate in what was given");
}

/* Only what a snapshot holds is changed: nothing else could be put back. The directory is held open, since the user
 * etcd may exchange what leads to it. */
static int trust_in_file(HostOperation *op, const char *path) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *real = NULL;

        if (!path)
                return 0;
        real = realpath(path, NULL);
        if (!real)
                return fail(&op->why, -errno, "%s, trusted-ca-file of %s, is not there: %s", path, DH_ETCD_CONFIG,
                            strerror(errno));
        fd = trusted_path_open_below(real, DH_ETCD_DIR);
        if (fd == -EXDEV || fd == -ENOENT)
                fd = trusted_path_open_below(real, DH_SYSCONFIG_DIR);
        if (fd == -EXDEV || fd == -ENOENT)
                return fail(&op->why, -EXDEV, "%s, trusted-ca-file of %s, is in neither %s nor %s and is not changed",
                            real, DH_ETCD_CONFIG, DH_ETCD_DIR, DH_SYSCONFIG_DIR);
        if (fd < 0)
                return fail(&op->why, fd, "the directory of %s cannot be opened: %s", real, strerror(-fd));
        return authorities_add_file(fd, real, host_operation_string(op, "pem"), &op->why);
}

int begin_trust_authorities(HostOperation *op) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        int r, changed;

        r = config_yaml_read(DH_ETCD_CONFIG, &c, &op->why);
        if (r >= 0)
                r = host_operation_intent(op, NULL);
        if (r >= 0)
                r = trust_in_file(op, c->peer.trusted_ca_file);
        if (r < 0)
                return r;
        changed = r;
        HOST_FAILPOINT(op, "first");
        r = trust_in_file(op, c->client.trusted_ca_file);
        if (r < 0)
                return r;
        changed = changed || r;

        if (changed)
                host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL,
                                     "CA certificates were added to the trusted ones of %s", DH_ETCD_CONFIG);
        return host_operation_answer(op, json_pack("[b]", changed || op->was_open));
}

/* ---- Deliver ---- */

int check_deliver(HostOperation *op) {
        if (op->size == 0 || op->size > PACKAGE_SIZE_MAX)
                return host_operation_reject(op, "a package has 1 to %u bytes, this has %zu", PACKAGE_SIZE_MAX,
                                             op->size);
        return 0;
}

/* It is of some size: not before it is known that the caller may send it. */
static int check_package(HostOperation *op) {
        char hex[DIGEST_HEX_SIZE];

        if (digest_bytes(op->data, op->size, hex) < 0 || !streq(hex, host_operation_string(op, "digest")))
                return host_operation_reject(op,
                                             "the package did not arrive as it was sent: its SHA-256 is another one");
        return 0;
}

int begin_deliver(HostOperation *op) {
        _cleanup_free_ char *dir = NULL, *path = NULL, *txn_dir = host_transaction_dir(op->txn);
        int r;

        dir = txn_dir ? format("%s/package", txn_dir) : NULL;
        path = dir ? format("%s/dh_etcd_config.tgz", dir) : NULL;
        if (!path)
                return -ENOMEM;

        r = check_package(op);
        if (r >= 0)
                r = host_operation_intent(op, NULL);
        if (r < 0)
                return r;
        r = mkdir_durable(dir, 0700);
        if (r >= 0)
                r = write_file_durable(path, op->data, op->size, 0600, (uid_t) -1, (gid_t) -1);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be written: %s", path, strerror(-r));
        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, host_operation_string(op, "digest"),
                             "The configuration package has arrived");
        return host_operation_answer(op, json_array());
}
