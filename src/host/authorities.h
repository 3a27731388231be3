/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* X.509 in PEM: certificate authorities, bundles of them, and certificates' dates. Content decides, never a file's
 * name. */

#include <stdint.h>

#include "basic/cleanup.h"

#define PEM_SIZE_MAX (1024U * 1024U)

/* The CA certificates (basicConstraints CA, or self-signed v1) in a PEM text, each once, as PEM; "" where none.
 * Anything that is not a certificate (keys, comments) is passed over. -EBADMSG where a certificate block does not
 * parse. */
int authorities_of(const char *pem, char **ret_pem, char **reterr) _must_check_;

/* The CA certificates of `add` that are not in `pem`, as PEM; "" where none: then everything is trusted already. */
int authorities_missing(const char *pem, const char *add, char **ret_pem, char **reterr) _must_check_;

/* Appends to the file those of `add` it does not have, durably, metadata kept. 1 when changed, 0 when not. -ELOOP for a
 * symlink. dir_fd: AT_FDCWD, or the open directory that it is in, see file_at(). */
int authorities_add_file(int dir_fd, const char *path, const char *add, char **reterr) _must_check_;

/* The validity of the first certificate in a PEM text, microseconds since the epoch. -ENODATA where there is none. */
int certificate_validity(const char *pem, uint64_t *ret_not_before, uint64_t *ret_not_after,
                         char **reterr) _must_check_;

/* Looks through the files of a directory (not below it) for what a TLS client needs: a bundle of CA certificates (all
 * found), and a certificate that is no CA with the private key that fits it. Paths are NULL, the bundle "", where none;
 * the caller frees all three. */
int client_credentials_find(const char *dir, char **ret_authorities, char **ret_cert_path, char **ret_key_path,
                            char **reterr) _must_check_;
