/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The manifest of a snapshot: what is (or is not) at every path below its roots. Private to snapshot*.c.
 *
 * On disk it is JSON: { "version": 1, "digest": HEX, "note": TEXT or null, "sequence": NUMBER, "tree": { "roots":
 * [PATH…], "entries": [ENTRY…] } }; the digest is that of "tree", compact and with sorted keys. Paths, link targets and
 * names of xattrs are bytes, not text: whatever is not printable ASCII, and "%" itself, is written as %XX. */

#include <stdint.h>
#include <sys/stat.h>

#include "basic/digest.h"

typedef enum SnapshotType {
        SNAPSHOT_ABSENT, /* a root that is not there */
        SNAPSHOT_FILE,
        SNAPSHOT_DIRECTORY,
        SNAPSHOT_SYMLINK,
        _SNAPSHOT_TYPE_MAX,
} SnapshotType;

typedef struct SnapshotXattr {
        char *name;
        uint8_t *value;
        size_t size;
} SnapshotXattr;

typedef struct SnapshotEntry {
        char *path; /* absolute */
        SnapshotType type;
        mode_t mode; /* permissions alone */
        uid_t uid;
        gid_t gid;
        struct timespec mtime;
        SnapshotXattr *xattrs; /* by name */
        size_t n_xattrs;
        uint64_t size;                 /* of a file */
        char content[DIGEST_HEX_SIZE]; /* of a file */
        char *target;                  /* of a symlink */
} SnapshotEntry;

typedef struct SnapshotManifest {
        char **roots;           /* sorted by snapshot_path_order() */
        SnapshotEntry *entries; /* in the same order: a directory before what is in it, a tree in one piece */
        size_t n, room;
        char *note;
        uint64_t sequence; /* in the order in which those of a group were taken; 0: from before there was one */
        char digest[DIGEST_HEX_SIZE]; /* filled in by snapshot_manifest_seal() and _read() */
} SnapshotManifest;

SnapshotManifest *snapshot_manifest_free(SnapshotManifest *m);
DEFINE_CLEANUP(SnapshotManifest *, snapshot_manifest_free)

/* Sorts and checks the roots: absolute, without "." and "..", none twice, none inside another (-EINVAL). */
int snapshot_manifest_new(char *const *roots, SnapshotManifest **ret, char **reterr) _must_check_;

/* A new entry at the end, zeroed but for its path (copied). Borrowed, and only until the next call. */
int snapshot_manifest_append(SnapshotManifest *m, const char *path, SnapshotEntry **ret) _must_check_;
int snapshot_entry_add_xattr(SnapshotEntry *e, const char *name, const void *value, size_t size) _must_check_;
void snapshot_entry_sort_xattrs(SnapshotEntry *e);

int snapshot_manifest_seal(SnapshotManifest *m) _must_check_; /* computes the digest */
int snapshot_manifest_write(const SnapshotManifest *m, const char *path, char **reterr) _must_check_;
int snapshot_manifest_read(const char *path, SnapshotManifest **ret, char **reterr) _must_check_;

/* Order of paths in which "/" comes before every other byte, so that a tree is in one piece. */
int snapshot_path_order(const char *a, const char *b);
const SnapshotEntry *snapshot_manifest_find(const SnapshotManifest *m,
                                            const char *path); /* borrowed; NULL where none */

/* The entries of one root: a slice of m->entries. */
void snapshot_manifest_slice(const SnapshotManifest *m, const char *root, const SnapshotEntry **ret, size_t *ret_n);

/* What differs between two entries of one path, as a string constant; NULL where nothing does. */
const char *snapshot_entry_difference(const SnapshotEntry *a, const SnapshotEntry *b);
const char *snapshot_type_to_string(SnapshotType t);
