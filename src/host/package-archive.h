/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The configuration package as a list of entries in memory. Private to package.c. All contents are wiped when freed:
 * the package holds keys and passwords. */

#include <archive_entry.h>
#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

typedef struct PackageEntry {
        struct archive_entry *metadata; /* as it was read, its size included */
        char *path;                     /* canonical: no "./" in front, no "/" at the end; "" for "./" itself */
        char *data;                     /* of a regular file, NUL-terminated; NULL for the others */
        size_t size;
} PackageEntry;

typedef struct PackageArchive {
        PackageEntry *entries; /* in the order of the archive */
        size_t n;
} PackageArchive;

PackageArchive *package_archive_free(PackageArchive *p);
DEFINE_CLEANUP(PackageArchive *, package_archive_free)

/* Takes only what package.h says is accepted; -EBADMSG with the entry's name for anything else. */
int package_archive_read(const void *packed, size_t size, PackageArchive **ret, char **reterr) _must_check_;

/* Packs the entries; -EFBIG where the result is too large. The same entries give the same bytes. */
int package_archive_write(const PackageArchive *p, char **ret, size_t *ret_size, char **reterr) _must_check_;

/* Whether two archives are the same, entry by entry: paths, types, modes, owners, times, links, xattrs, ACLs, contents.
 */
bool package_archive_equal(const PackageArchive *a, const PackageArchive *b);

const PackageEntry *package_archive_find(const PackageArchive *p, const char *path); /* borrowed; NULL where none */
int package_entry_set_data(PackageEntry *e, const void *data, size_t size) _must_check_;

static inline bool package_entry_is_file(const PackageEntry *e) {
        return e->data;
}
