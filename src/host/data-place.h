/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A directory of etcd's data itself, whatever is in it: its presence, owner and mode, as they were and back. */

#include <stdbool.h>
#include <sys/types.h>

#include "basic/json-util.h"

#define DATA_PATH_LENGTH_MAX 1024U

typedef struct DataPlace {
        char path[DATA_PATH_LENGTH_MAX + 1], parent[DATA_PATH_LENGTH_MAX + 1];
} DataPlace;

/* A plain absolute path, at least two deep. A symlink that root made is followed, another one is -EPERM. */
int data_place_find(const char *path, DataPlace *ret, char **reterr) _must_check_;

/* {"uid", "gid", "mode"}, or null where it is not there. */
json_t *data_place_owner(const char *path);
int data_place_set_owner(const char *path, uid_t uid, gid_t gid, mode_t mode, char **reterr) _must_check_;

/* The place as it is: {"path", "state" (a DataDirectoryState), "owner", "parent"}; NULL where it is none. `parent`: it
 * holds data directories and is none itself. */
json_t *data_place_look(const char *path, bool parent);

/* Makes it what it was: one that was not there is removed while it is empty, an empty one is made again, owner and mode
 * are set. What is in it is never touched. 1 when anything was changed. */
int data_place_restore(const json_t *was, char **reterr) _must_check_;
bool data_place_is_restored(const json_t *was);

/* Of that, only owner and mode of one that was there. */
int data_place_keep(const json_t *was, char **reterr) _must_check_;

/* What is different now, as a sentence; NULL where nothing is. A parent may have come to be there while all that is in
 * it was moved aside by us; and where `foreign` is set, what is in use now may be somebody else's. Caller frees. */
char *data_place_difference(const json_t *was, bool foreign);
