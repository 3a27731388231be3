/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whom the entries of etcd's data directory belong to. */

#include <sys/stat.h>

#include "basic/cleanup.h"

#define DATA_OWNER_ENTRIES_MAX 4096U

/* One entry: `fd` is an O_PATH descriptor of it, `path` is below the directory, "" for the directory itself. A negative
 * return ends the walk. */
typedef int (*DataOwnerEach)(int fd, const char *path, const struct stat *st, void *userdata);

/* The directory and all below it, on its file system only, following no symlink. 0, also where it is not there; -E2BIG
 * for more than DATA_OWNER_ENTRIES_MAX entries. */
int data_owner_each(const char *path, DataOwnerEach each, void *userdata, char **reterr) _must_check_;
