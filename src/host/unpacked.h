/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the vendor's scripts have made of a package: how they end says little, so what they left is looked at. Each
 * appends a sentence to *list for everything that is not right. */

#include <sys/types.h>

#include "basic/cleanup.h"

/* `client_dir`/USER/FILE is as in the package, for each user that has a directory there, of whom there is one at least.
 * Hidden files are the generator's own. Which hosts the root client is given to is the vendor's choice, and one that
 * was there before may stay as it was: of that, its password alone. */
int unpacked_check_clients(const char *package, const char *client_dir, char ***list, char **reterr) _must_check_;

/* The user can read the file at `path`, below `top`, as far as owners and modes tell: of a group that is not root's the
 * user may be a member. */
int unpacked_check_readable(const char *path, const char *top, uid_t uid, char ***list) _must_check_;
