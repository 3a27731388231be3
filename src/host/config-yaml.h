/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* etcd's config.yaml: read by libyaml, edited by byte range, so that an edit leaves every other byte alone. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

#define CONFIG_YAML_SIZE_MAX (1024U * 1024U)

typedef struct ConfigTls {
        char *cert_file, *key_file, *trusted_ca_file; /* NULL where absent or empty */
        bool client_cert_auth;
} ConfigTls;

typedef struct ConfigYaml {
        char *name, *data_dir;
        char *initial_cluster, *initial_cluster_state, *initial_cluster_token;
        char *listen_peer_urls, *listen_client_urls, *initial_advertise_peer_urls, *advertise_client_urls;
        ConfigTls client, peer;     /* client-transport-security, peer-transport-security */
        bool strict_reconfig_check; /* true where absent: etcd's default */
        bool force_new_cluster;
} ConfigYaml;

ConfigYaml *config_yaml_free(ConfigYaml *c);
DEFINE_CLEANUP(ConfigYaml *, config_yaml_free)

/* Parses a document: one mapping, keys at most once (-EEXIST), no aliases. -EBADMSG with line and column for bad
 * YAML. */
int config_yaml_parse(const char *text, size_t size, ConfigYaml **ret, char **reterr) _must_check_;
int config_yaml_read(const char *path, ConfigYaml **ret, char **reterr) _must_check_;

typedef struct ConfigEdit {
        const char *key;   /* one of initial-cluster, initial-cluster-state, initial-cluster-token */
        const char *value; /* no control characters; quoted in the style of the value that is there */
} ConfigEdit;

/* Replaces the values of top-level keys. Every byte outside those values stays (comments, quotes, odd spacing, CRLF).
 * -ENOKEY where a key is not there, -EBADMSG for bad YAML, -EINVAL for a key that is not one of the three or a value
 * that cannot be written. The result is parsed again and compared before it is returned. 1 when anything changed, 0
 * when the text is the same; *ret is set in both cases. */
int config_yaml_edit(const char *text, size_t size, const ConfigEdit *edits, size_t n_edits, char **ret,
                     size_t *ret_size, char **reterr) _must_check_;

/* The same on a file: atomic, durable, owner, mode and xattrs kept. Follows symlinks in the directory part only.
 * dir_fd: AT_FDCWD, or the open directory that it is in, see file_at(). */
int config_yaml_edit_file(int dir_fd, const char *path, const ConfigEdit *edits, size_t n_edits,
                          char **reterr) _must_check_;

/* One entry of initial-cluster: NAME=PEER-URL. */
typedef struct ClusterEntry {
        char *name, *peer_url;
} ClusterEntry;

typedef struct ClusterEntries {
        ClusterEntry *items;
        size_t n;
} ClusterEntries;

void cluster_entries_free(ClusterEntries *e);
DEFINE_CLEANUP(ClusterEntries *, cluster_entries_free)

/* Parses initial-cluster: at most 64 entries, names and URLs not empty and not twice. */
int cluster_entries_parse(const char *initial_cluster, ClusterEntries **ret, char **reterr) _must_check_;
char *cluster_entries_format(const ClusterEntries *e);
