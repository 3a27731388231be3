/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files that survive a power cut. Everything here that changes a file fsyncs it and its parent before it
 * returns 0. All functions return 0 or a negative errno and never log. */

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "cleanup.h"

/* Reads a regular file of at most `max` bytes (-EFBIG above). *ret is NUL-terminated (the NUL is not counted
 * in *ret_size, which may be NULL); the caller frees it. Follows no symlink in the last component unless
 * `follow`. */
int read_file(const char *path, size_t max, bool follow, char **ret, size_t *ret_size) _must_check_;

/* Replaces (or makes) the file atomically and durably: temporary file beside it (PATH.dhetcd-XXXXXX), fsync, rename,
 * fsync of the parent. What a writer of the same path that died left beside it is removed. uid and gid may be -1 for
 * the process' own. */
int write_file_durable(const char *path, const void *data, size_t size, mode_t mode, uid_t uid, gid_t gid) _must_check_;

/* The same, keeping mode, owner, and extended attributes (ACLs with them) of the file that is there. */
int replace_file_durable(const char *path, const void *data, size_t size) _must_check_;

/* mkdir -p, every new directory made with `mode`, each new entry fsynced into its parent. 1 when anything was
 * made, 0 when all was there. */
int mkdir_durable(const char *path, mode_t mode) _must_check_;

/* rename(), then fsync of both parents. */
int rename_durable(const char *from, const char *to) _must_check_;

/* Exchanges two paths atomically (renameat2 RENAME_EXCHANGE), then fsyncs both parents. */
int exchange_durable(const char *a, const char *b) _must_check_;

/* unlink() of one file and of what writers of it that died left beside it, then fsync of the parent. 0 when it was not
 * there. */
int unlink_durable(const char *path) _must_check_;

/* Removes from a directory (not from what is below it) what writers of any of its files that died left beside them. How
 * many; 0 where there is no such directory. */
int remove_unfinished(const char *dir) _must_check_;

/* Removes a tree without following symlinks; the parent is fsynced. 0 when it was not there. Depth at most 64. */
int remove_tree(const char *path) _must_check_;

/* fsync of the directory that holds `path`. */
int fsync_parent(const char *path) _must_check_;
int fsync_path(const char *path) _must_check_;

/* A stream of an open directory's entries, with a position of its own; close it with closedir(). */
int open_directory(int dir_fd, DIR **ret) _must_check_;

/* Whether something (a dangling symlink too) is at the path: > 0 yes, 0 no. */
int path_exists(const char *path) _must_check_;

/* > 0 when the directory has no entries, -ENOENT where there is none. */
int dir_is_empty(const char *path) _must_check_;

/* Writes all of it, over short writes and EINTR. */
int write_all(int fd, const void *data, size_t size) _must_check_;
