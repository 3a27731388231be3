/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Paths that a user who is not root may have a hand in: what is checked is what is opened. */

#include <limits.h>
#include <sys/types.h>

#include "cleanup.h"

/* The path without symlinks. Those of root (or of our own user) are followed, one of somebody else is -EPERM. What is
 * not there yet is kept as it is given. Caller frees. */
int trusted_path_resolve(const char *path, char **ret, char **reterr) _must_check_;

/* Opens the directory at an absolute path that has no symlink: -ELOOP or -ENOTDIR where somebody has put one there. A
 * descriptor or a negative errno. */
int trusted_path_open(const char *path) _must_check_;

/* Makes the directory at such a path and all that is missing above it, and removes an empty one; durably. */
int trusted_path_make(const char *path, mode_t mode) _must_check_;
int trusted_path_remove(const char *path) _must_check_;

/* The directory of `path`, all symlinks followed, which must be `root` (as it is after its own symlinks) or below it,
 * else -EXDEV. With file_at(), what is done then stays in that directory, whoever exchanges what leads to it. */
int trusted_path_open_below(const char *path, const char *root) _must_check_;

/* What the last component of `path` is called in the open directory; `path` itself where dir_fd is AT_FDCWD. */
const char *file_at(int dir_fd, const char *path, char buffer[static PATH_MAX]);
