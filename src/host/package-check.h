/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which entries of a package are accepted. Private to package-archive.c. */

#include "package-archive.h"

#define PACKAGE_TOP "dh-etcd"

/* Looks at one entry as it was read and gives its canonical path. */
int package_check_entry(struct archive_entry *metadata, char **ret_path, char **reterr) _must_check_;

/* Looks at all of them together: none twice, none below something that is not a directory. */
int package_check_tree(const PackageArchive *p, char **reterr) _must_check_;
