/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where etcd's data may be. config.yaml names the directory and belongs to the user etcd: root moves and owns only what
 * root has set aside for it. */

#include "basic/cleanup.h"

#define DATA_ROOT "/var/lib/etcd"

/* The data directory without symlinks: a plain path below DATA_ROOT, or below `elsewhere` (root's configuration; may
 * be NULL). A symlink that root made may lead anywhere but into the system, one of somebody else is -EPERM. Caller
 * frees. */
int data_path_find(const char *path, const char *elsewhere, char **ret, char **reterr) _must_check_;

/* The same, with what dhetcd.conf says. */
int data_path_find_configured(const char *path, char **ret, char **reterr) _must_check_;

/* Whether it could be made and filled here: -EROFS on a read-only file system, as systemd makes for us what root has
 * not set aside. `path` is without symlinks. */
int data_path_check_writable(const char *path, char **reterr) _must_check_;
