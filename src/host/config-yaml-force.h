/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* etcd's force-new-cluster in config.yaml: for one start alone, the last resort where the quorum is lost. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

/* Sets the top-level key to true, or takes that back. A key that is not there is added as a line of its own at the end,
 * which is removed again; one that is there has its value changed. Every other byte stays. The result is parsed again
 * before it is returned. -EBADMSG for bad YAML and for values that cannot be edited. 1 when anything changed, 0 when
 * the text is the same; *ret is set in both cases. */
int config_yaml_force(const char *text, size_t size, bool force, char **ret, size_t *ret_size,
                      char **reterr) _must_check_;

/* The same on a file: atomic, durable, owner, mode and xattrs kept. dir_fd: see config_yaml_edit_file(). */
int config_yaml_force_file(int dir_fd, const char *path, bool force, char **reterr) _must_check_;
