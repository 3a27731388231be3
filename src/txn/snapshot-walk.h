/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Looking at the roots as they are now. Private to snapshot*.c. */

#include <stdbool.h>

#include "snapshot-manifest.h"
#include "snapshot.h"

#define SNAPSHOT_NO_STORE (-1)

/* Fills a new manifest of `roots` and seals it; contents go to the store unless objects_fd is SNAPSHOT_NO_STORE. */
int snapshot_walk(char *const *roots, int objects_fd, SnapshotManifest **ret, char **reterr) _must_check_;

/* The directory that holds a root, opened, and the root's name in it (borrowed from `root`). */
int snapshot_open_parent(const char *root, int *ret_fd, const char **ret_name) _must_check_;

/* -EBUSY when a file system is mounted below the root: it is no part of the root, and would go when the root is
 * exchanged. */
int snapshot_refuse_mounts(const char *root, char **reterr) _must_check_;

/* Where the kernel finds (directory, name), for the calls that know no directory descriptors. */
#define SNAPSHOT_FD_PATH_MAX 300U
void snapshot_fd_path(int dir_fd, const char *name, char ret[static SNAPSHOT_FD_PATH_MAX]);
