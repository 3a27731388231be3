/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The configuration package, dh_etcd_config.tgz: an archive whose documented contents are dh-etcd/client/USER/password;
 * everything else in it is the vendor's. Read and rewritten in memory with libarchive, never extracted by us: the
 * vendor's own script unpacks it.
 *
 * What we accept (else -EBADMSG, with the entry's name): gzip'd tar of one gzip member with a right checksum; regular
 * files, directories, and relative symlinks that stay inside dh-etcd/; no absolute path, no "..", no hard link, no
 * device, nothing setuid, no setgid file, nothing below a symlink; names in plain ASCII; at most 4,096 entries, 16 MiB
 * packed, 64 MiB unpacked, depth 16; no entry twice. A "./" in front of dh-etcd/ is fine. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/digest.h"

#define PACKAGE_SIZE_MAX (16U * 1024U * 1024U)

typedef struct PackageInfo {
        char digest[DIGEST_HEX_SIZE]; /* of the file */
        char **users;                 /* users under client/, sorted */
        char **nodes;                 /* addresses in the order of initial-cluster of its config.yaml files (which must
                                       * agree with each other); empty where it has no config.yaml */
        char **names;                 /* member names, in the same order */
        char **configured;            /* member names that have a config.yaml of their own in it */
        char *cluster_id;             /* initial-cluster-token, or NULL */
        char *authorities;            /* PEM of every distinct CA certificate in it */
} PackageInfo;

PackageInfo *package_info_free(PackageInfo *p);
DEFINE_CLEANUP(PackageInfo *, package_info_free)

int package_inspect(const char *path, PackageInfo **ret, char **reterr) _must_check_;

/* Rewrites the package atomically and durably (owner, mode and xattrs of the file kept, entries in their order with all
 * their metadata):
 *  - the password of each user under `client_dir`/USER/password replaces the one of the same user in the package; users
 *    only on one side are left alone; symlinks, empty files and files above 4 KiB are refused;
 *  - every file in it that holds CA certificates gets those of `authorities` (PEM; may be NULL) that it does not have,
 *    after its own, so that the old and the new CA are both trusted.
 * The result is read again and compared before it replaces the file. 1 when changed, 0 when it already was so. */
int package_merge(const char *path, const char *client_dir, const char *authorities, char **reterr) _must_check_;
