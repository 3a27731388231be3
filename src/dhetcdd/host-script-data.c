/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* copy-data and restore-data: they may take long and move gigabytes, so that a transient unit does it, and not we.
 * Nothing but the directory that holds etcd's data can be written there, and no network is reached. */

#include <linux/capability.h>

#include "basic/fs.h"
#include "host-script-unit.h"
#include "host/config-yaml.h"
#include "host/data-directory.h"
#include "job.h"

static const char *argument(const HostOperation *op, size_t i) {
        return json_string_value(json_array_get(json_object_get(op->arguments, "arguments"), i));
}

static bool copies(const HostOperation *op) {
        return streq(op->verb, "copy-data");
}

static char *snapshot_path(const HostOperation *op) {
        return format("%s/%s/%s/etcd.snapshot", DHETCD_JOBS_DIR, argument(op, 0), argument(op, 1));
}

/* etcdctl cannot restore any more from etcd 3.6 on, and etcdutl is there from 3.5 on. NULL: neither. */
static const char *restore_program(void) {
        static const char *const programs[] = { "/usr/bin/etcdutl", "/usr/local/bin/etcdutl", "/usr/bin/etcdctl",
                                                "/usr/local/bin/etcdctl" };

        for (size_t i = 0; i < ELEMENTSOF(programs); i++)
                if (access(programs[i], X_OK) >= 0)
                        return programs[i];
        return NULL;
}

/* ---- before it ---- */

int data_script_check(HostOperation *op, const json_t *arguments) {
        const char *n = argument(op, 1);

        if (json_array_size(arguments) != 2 || !argument(op, 0) || !n ||
            strspn(argument(op, 0), "0123456789abcdef") != JOB_ID_DIGITS || strlen(argument(op, 0)) != JOB_ID_DIGITS ||
            strspn(n, "0123456789") != strlen(n) || strlen(n) < 1 || strlen(n) > 2 || *n == '0')
                return host_operation_reject(op, "restore-data takes a job and the number of its node");
        return 0;
}

static int check_source(HostOperation *op, const HostDataPaths *p) {
        _cleanup_free_ char *snapshot = NULL;

        if (copies(op))
                return path_exists(p->aside) > 0 ? 0 : host_operation_reject(op, "%s is not there", p->aside);
        if (!restore_program())
                return fail(&op->why, -ENOENT,
                            "there is neither etcdutl nor etcdctl in /usr/bin or /usr/local/bin; "
                            "install one of them");
        snapshot = snapshot_path(op);
        if (!snapshot)
                return -ENOMEM;
        return path_exists(snapshot) > 0 ? 0 : host_operation_reject(op, "%s is not there", snapshot);
}

int data_script_prepare(HostOperation *op) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step);
        _cleanup_(host_data_paths_done) HostDataPaths p = {};
        DataDirectoryState state;
        int r;

        if (!tag)
                return -ENOMEM;
        r = host_data_paths(op, &p);
        if (r >= 0 && op->was_open && !copies(op)) { /* etcdutl fills only what is empty */
                r = data_directory_make_empty(p.path, tag, &op->why);
                if (r > 0)
                        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL,
                                             "What a restore that was cut short had put into %s was moved aside",
                                             p.path);
        }
        if (r >= 0)
                r = data_directory_state(p.path, &state, &op->why);
        if (r >= 0)
                r = check_source(op, &p);
        if (r < 0)
                return r;
        /* What is half copied is ours, where we died while it was filled. */
        if (state == DATA_DIRECTORY_ABSENT || (state == DATA_DIRECTORY_IN_USE && !op->was_open))
                return host_operation_reject(op, "%s is not an empty directory", p.path);
        return 0;
}

/* ---- the unit ---- */

int data_script_settings(HostOperation *op, sd_bus_message *m) {
        const uint64_t capabilities = UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE |
                                      UINT64_C(1) << CAP_FOWNER | UINT64_C(1) << CAP_FSETID;
        _cleanup_(host_data_paths_done) HostDataPaths p = {};
        int r;

        r = host_data_paths(op, &p);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "ProtectSystem", "s", "strict", "ReadWritePaths", "as",
                                          1, p.parent, "PrivateNetwork", "b", true, "NoNewPrivileges", "b", true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "CapabilityBoundingSet", "t", capabilities,
                                          "PrivateDevices", "b", true, "PrivateTmp", "b", true, "Environment", "as", 1,
                                          "ETCDCTL_API=3");
        return r;
}

/* systemd takes "$$" for a dollar: one alone it would replace itself. */
static int append_word(char ***argv, const char *word) {
        char *text = malloc(2 * strlen(word) + 1), *p = text;
        int r;

        if (!text)
                return -ENOMEM;
        for (; *word; word++) {
                if (*word == '$')
                        *p++ = '$';
                *p++ = *word;
        }
        *p = '\0';
        r = strv_append(argv, text);
        free(text);
        return r;
}

static int append_words(char ***argv, const char *const *words) {
        int r = 0;

        for (; *words && r >= 0; words++)
                r = append_word(argv, *words);
        return r < 0 ? r : 1;
}

static int sync_command(const HostDataPaths *p, char ***argv) {
        return append_words(argv, (const char *const[]){ "/bin/sync", "--file-system", p->path, NULL });
}

static int copy_command(size_t i, const HostDataPaths *p, char ***argv) {
        switch (i) {
        case 0:
                return append_words(argv,
                                    (const char *const[]){ "/bin/cp", "--archive", "--reflink=auto",
                                                           "--no-target-directory", "--", p->aside, p->path, NULL });
        case 1:
                return sync_command(p, argv);
        default:
                return 0;
        }
}

/* A cluster of this member alone. */
static int append_restore(HostOperation *op, const HostDataPaths *p, char ***argv) {
        _cleanup_free_ char *snapshot = snapshot_path(op), *cluster = NULL;
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        int r;

        r = config_yaml_read(DH_ETCD_CONFIG, &c, &op->why);
        if (r < 0)
                return r;
        if (!c->name || !c->initial_advertise_peer_urls || !c->initial_cluster_token)
                return fail(&op->why, -ENOKEY,
                            "%s lacks name, initial-advertise-peer-urls or initial-cluster-token; mend it by hand",
                            DH_ETCD_CONFIG);
        cluster = format("%s=%s", c->name, c->initial_advertise_peer_urls);
        if (!cluster || !snapshot)
                return -ENOMEM;
        return append_words(argv, (const char *const[]){ restore_program() ?: "/usr/bin/etcdutl", "snapshot", "restore",
                                                         snapshot, "--data-dir", p->path, "--name", c->name,
                                                         "--initial-cluster", cluster, "--initial-cluster-token",
                                                         c->initial_cluster_token, "--initial-advertise-peer-urls",
                                                         c->initial_advertise_peer_urls, NULL });
}

static int restore_command(HostOperation *op, size_t i, const HostDataPaths *p, char ***argv) {
        _cleanup_free_ char *owner = NULL;

        switch (i) {
        case 0: /* etcd 3.4 refuses an empty one too; what is not empty stays, and is refused */
                return append_words(argv, (const char *const[]){ "/bin/rmdir", "--", p->path, NULL });
        case 1:
                return append_restore(op, p, argv);
        case 2:
                owner = format("%u:%u", op->admin.etcd_uid, op->admin.gid);
                if (!owner)
                        return -ENOMEM;
                return append_words(argv, (const char *const[]){ "/bin/chown", "--recursive", "--no-dereference", "--",
                                                                 owner, p->path, NULL });
        case 3:
                return sync_command(p, argv);
        default:
                return 0;
        }
}

int data_script_command(HostOperation *op, size_t i, char ***argv) {
        _cleanup_(host_data_paths_done) HostDataPaths p = {};
        int r;

        if (!op->admin.has_etcd)
                return fail(&op->why, -ESRCH, "there is no user etcd on this host; install etcd");
        r = host_data_paths(op, &p);
        if (r < 0)
                return r;
        return copies(op) ? copy_command(i, &p, argv) : restore_command(op, i, &p, argv);
}
