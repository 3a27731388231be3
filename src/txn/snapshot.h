/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Snapshots of a set of paths ("roots": directories, files, symlinks or nothing at all), content-addressed: a file's
 * content is stored once, however many snapshots hold it.
 *
 *   STORE/objects/ab/cdef…        content by SHA-256, mode 0600
 *   STORE/snapshots/NAME.json     the manifest: every path with type, mode, owner, mtime, xattrs (ACLs), link target
 *
 * A root that is not there is part of the snapshot too: restoring removes it. Only regular files, directories and
 * symlinks are taken; anything else is an error, and so is a file system mounted below a root (-EBUSY). Hard links are
 * taken as files of their own. What changes while it is looked at is -EAGAIN. One process changes a store at a time
 * (-EBUSY). Everything is fsynced, with its parents, before success is returned.
 * All functions return a negative errno and set *reterr on failure, and never log. */

#include <stddef.h>
#include <stdint.h>

#include "basic/digest.h"

typedef struct SnapshotLimits {
        size_t entries; /* default 20,000 */
        size_t bytes;   /* of all contents; default 1 GiB */
        unsigned depth; /* default 32 */
} SnapshotLimits;

/* Takes NAME ([A-Za-z0-9._-], at most 128 characters) of `roots` (absolute, NULL-terminated). `note` (NULL or a short
 * text, such as the unit's state as JSON) is kept in the manifest but not in the digest. Idempotent: where NAME exists
 * it is left alone and its digest is returned. ret_digest is the digest of the canonical manifest: equal digests are
 * equal trees, byte for byte, owner, mode, mtime, links. 1 when taken now, 0 when it was there. */
int snapshot_take(const char *store, const char *name, char *const *roots, const char *note,
                  char ret_digest[static DIGEST_HEX_SIZE], char **reterr) _must_check_;

/* The digest of the roots as they are now, without storing anything. */
int snapshot_digest_now(char *const *roots, char ret_digest[static DIGEST_HEX_SIZE], char **reterr) _must_check_;

/* The digest and the note (caller frees; may be NULL for "not wanted") of a snapshot. -ENOENT where there is none. */
int snapshot_describe(const char *store, const char *name, char ret_digest[static DIGEST_HEX_SIZE], char **ret_note,
                      char **reterr) _must_check_;

/* Whether `a` was taken before `b`, whatever the clock did meanwhile: > 0 yes, 0 no. Their names must be equal up to
 * the first ".". -ENOENT where one of them is not there. */
int snapshot_is_older(const char *store, const char *a, const char *b) _must_check_;

/* Makes every root what it was: builds beside it, fsyncs, exchanges (renameat2 RENAME_EXCHANGE), fsyncs the parent,
 * removes the old one. A root that already is as it was is not touched. Contents are verified against their SHA-256
 * first; a damaged object is -EBADMSG and nothing is changed. A root that cannot be exchanged (a mount point, a
 * directory of an overlay's lower layer) is made again in place, file by file, each renamed into place. A missing
 * parent directory is made. Leftovers of an interrupted restore are removed first.
 * The number of roots changed, or a negative errno (the rest is still attempted). */
int snapshot_restore(const char *store, const char *name, char **reterr) _must_check_;

/* What differs now from the snapshot: a list of sentences, one a path (caller frees with strv_free(); at most 100).
 * The number of differences. */
int snapshot_compare(const char *store, const char *name, char ***ret_differences, char **reterr) _must_check_;

/* Forgets a snapshot; objects no other snapshot holds are removed by snapshot_prune(). */
int snapshot_remove(const char *store, const char *name, char **reterr) _must_check_;
int snapshot_prune(const char *store, char **reterr) _must_check_;
