/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The folder of the vendor's installer: cluster.cnf, Installer-VERSION.jar, master_install.sh. It is run as the user
 * who owns the folder; therefore nobody else, but root, may be able to change it. */

#include <stdbool.h>
#include <sys/types.h>

#include "basic/cleanup.h"
#include "basic/digest.h"

#define INSTALLER_SCRIPT "master_install.sh"

typedef struct Installer {
        char *dir;
        uid_t uid;
        char *user;
        char *java, *jar; /* absolute; NULL where the jar need not be run: cluster.cnf has what it generates */
        char *script;     /* absolute */
        char cnf_digest[DIGEST_HEX_SIZE];
} Installer;

void installer_done(Installer *i);

/* Only whose it is, and that nobody else can change it; see below. */
int installer_open(const char *dir, Installer *ret, char **reterr) _must_check_;

/* Looks at the folder, an absolute path without symlinks. -EINVAL with cause and command where it cannot be run. */
int installer_find(const char *dir, Installer *ret, char **reterr) _must_check_;

/* Whether a path, and everything above it, can be changed by nobody but `uid` and root; the group of that user, `gid`,
 * counts as the user, but not where it is root's. -EPERM names what is wrong. `type`: S_IFREG or S_IFDIR. */
int installer_check_path(const char *path, mode_t type, uid_t uid, gid_t gid, char **reterr) _must_check_;

/* SHA-256 of DIR/cluster.cnf. */
int installer_cnf_digest(const char *dir, char ret[static DIGEST_HEX_SIZE]) _must_check_;
