/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The configuration: /etc/dhetcd/dhetcd.conf, then the *.conf files of dhetcd.conf.d in the order of their names; a
 * later setting replaces an earlier one. All keys are in dhetcd.conf(5). */

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"

#define CONFIG_DIR "/etc/dhetcd"
#define CONFIG_FILE "dhetcd.conf"
#define CONFIG_DROPIN_DIR "dhetcd.conf.d"
#define CONFIG_IDENTITY_FILE CONFIG_DIR "/ssh/id_ed25519"
#define CONFIG_TEXTFILE_DIRECTORY "/var/lib/prometheus/node-exporter"
#define CONFIG_KNOWN_HOSTS_FILE CONFIG_DIR "/known_hosts"

typedef struct Config {
        char *ssh_user;
        char *ssh_identity_file; /* NULL: ssh's own default */
        char *ssh_known_hosts_file;
        unsigned ssh_port;
        unsigned ssh_connect_timeout_sec;

        char *etcd_ca_file; /* NULL, as the two below: found by content */
        char *etcd_cert_file;
        char *etcd_key_file;
        char *data_directory; /* where etcd's data may be, too; NULL: nowhere else */

        char *restart;        /* "needed" or "always" */
        uint64_t sync_margin; /* raft entries a learner may be behind the leader */
        uint64_t sync_timeout_usec;
        uint64_t step_timeout_usec;
        uint64_t wait_timeout_usec; /* how long a job may wait for its turn */
        bool move_data_aside;
        bool require_odd;
        uint64_t settle_budget_usec;   /* how long undo, or what follows the commit, is tried before a job is stuck */
        uint64_t retry_budget_usec;    /* the same, each time dhetcd-recover.timer tries again */
        uint64_t install_timeout_usec; /* of the vendor's installer */
        unsigned keep_jobs;
        unsigned keep_days;

        char *textfile_directory; /* of node_exporter; "": none */

        char **sources; /* of each key, "FILE:LINE", or NULL: its default; see config_each() */
} Config;

/* Reads DIR/dhetcd.conf and its drop-ins; dir NULL: CONFIG_DIR. Files that are not there are no error. A value that
 * means nothing is -EINVAL, with file and line of each in *reterr; unknown sections and keys are only noted in
 * *ret_warnings (a string vector; NULL where there are none; may itself be NULL). */
int config_load(const char *dir, Config **ret, char ***ret_warnings, char **reterr) _must_check_;
Config *config_free(Config *c);
DEFINE_CLEANUP(Config *, config_free)

/* Calls back for every key in the order of dhetcd.conf(5), with its value as a file would have it ("" where there is
 * none) and its source, "FILE:LINE" or NULL for the default. Stops at a negative errno, and returns it. */
int config_each(const Config *c,
                int (*callback)(void *userdata, const char *section, const char *name, const char *value,
                                const char *source),
                void *userdata) _must_check_;

/* "yes", "no", "true", "false", "on", "off", "1", "0" -> 1 or 0; else -EINVAL. */
int boolean_from_string(const char *s) _must_check_;
