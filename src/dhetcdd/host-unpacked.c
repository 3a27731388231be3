/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* CheckUnpacked: whether the package that was delivered is what this host has now, and etcd can read its part. */

#include "host-operation.h"
#include "host/config-yaml.h"
#include "host/unpacked.h"

static int check_etcd_files(const HostOperation *op, char ***list) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        const char *paths[7] = { DH_ETCD_CONFIG };
        int r = 0;

        if (config_yaml_read(DH_ETCD_CONFIG, &c, NULL) >= 0) {
                const ConfigTls *tls[] = { &c->client, &c->peer };

                for (size_t i = 0; i < ELEMENTSOF(tls); i++) {
                        paths[1 + 3 * i] = tls[i]->cert_file;
                        paths[2 + 3 * i] = tls[i]->key_file;
                        paths[3 + 3 * i] = tls[i]->trusted_ca_file;
                }
        }
        for (size_t i = 0; i < ELEMENTSOF(paths) && r >= 0; i++)
                if (paths[i] && op->admin.has_etcd)
                        r = unpacked_check_readable(paths[i], DH_ETCD_DIR, op->admin.etcd_uid, list);
        return r;
}

static int check_with_user(HostOperation *op) {
        _cleanup_free_ char *dir = host_transaction_dir(op->txn), *package = NULL;
        _cleanup_strv_ char **list = NULL;
        json_t *answer;
        int r;

        package = dir ? format("%s/package/dh_etcd_config.tgz", dir) : NULL;
        if (!package)
                return -ENOMEM;
        r = unpacked_check_clients(package, DH_CLIENT_DIR, &list, &op->why);
        if (r >= 0)
                r = check_etcd_files(op, &list);
        if (r < 0)
                return r;
        answer = json_from_strv(list);
        return answer ? host_operation_answer(op, json_pack("[o]", answer)) : -ENOMEM;
}

int begin_check_unpacked(HostOperation *op) {
        return host_operation_admin_user(op, check_with_user);
}
