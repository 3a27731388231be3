/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Making one root what it was. Private to snapshot*.c. */

#include "snapshot-manifest.h"

/* The root's content must have been proved to be in the store before. 0 or a negative errno. */
int snapshot_restore_root(int objects_fd, const SnapshotManifest *m, const char *root, char **reterr) _must_check_;

/* For a root that is as it was already: what an interrupted restore left beside it goes, and what it did not get to
 * sync is synced. 0 or a negative errno. */
int snapshot_settle_root(const char *root, char **reterr) _must_check_;

/* Builds the `n` entries of a tree, the first being its root, as `name` in the directory `parent_fd`.
 *   BUILD_NEW       nothing may be there: the tree is made whole, and is not complete before success is returned
 *   BUILD_IN_PLACE  a tree is there and stays, and becomes this one entry by entry: each file at once (renamed into
 * place), the tree as a whole not. What an interruption leaves is completed by doing it again. All of it is fsynced.
 * `m` is the manifest that the entries are a slice of. */
typedef enum BuildMode {
        BUILD_NEW,
        BUILD_IN_PLACE,
} BuildMode;

int snapshot_build(int objects_fd, const SnapshotManifest *m, const SnapshotEntry *entries, size_t n, int parent_fd,
                   const char *name, BuildMode mode, char **reterr) _must_check_;
