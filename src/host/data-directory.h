/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* etcd's data directory: never deleted, moved aside. Where PATH is a symlink, PATH means what it leads to. */

#include <stdint.h>

#include "basic/cleanup.h"

typedef enum DataDirectoryState {
        DATA_DIRECTORY_ABSENT,
        DATA_DIRECTORY_EMPTY,
        DATA_DIRECTORY_IN_USE, /* has entries */
} DataDirectoryState;

const char *data_directory_state_to_string(DataDirectoryState state); /* "absent", "empty", "in-use" */

int data_directory_state(const char *path, DataDirectoryState *ret, char **reterr) _must_check_;

/* The bytes that the files in it take; 0 where it is absent. */
int data_directory_size(const char *path, uint64_t *ret) _must_check_;

/* Renames the directory to PATH.dhetcd-TAG (durably) and makes an empty one of the same owner and mode in its place.
 * Idempotent by TAG ([A-Za-z0-9._-]): where PATH.dhetcd-TAG exists nothing is moved again. 1 when moved, 0 when there
 * was nothing to move (absent, empty, or moved before). */
int data_directory_move_aside(const char *path, const char *tag, char **reterr) _must_check_;

/* Undoes that: what is at PATH now goes to PATH.dhetcd-TAG-failed (removed if empty), what was moved aside comes back.
 * Where nothing had been moved aside and `was` is ABSENT or EMPTY, PATH is made that again in the same way. Where
 * -failed is there, -failed-2 and so on is used. 1 when anything was moved, 0 when not; -ENOENT where what was in use
 * is in neither place. */
int data_directory_move_back(const char *path, const char *tag, DataDirectoryState was, char **reterr) _must_check_;

/* An empty directory at PATH, whatever is there: contents go to PATH.dhetcd-TAG-failed as above. 1 when anything was
 * changed. */
int data_directory_make_empty(const char *path, const char *tag, char **reterr) _must_check_;
