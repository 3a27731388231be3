/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cleanup.h"

#define DIGEST_SIZE 32U
#define DIGEST_HEX_SIZE (2U * DIGEST_SIZE + 1U)
#define DIGEST_FILE_SIZE_MAX (64U * 1024U * 1024U)

/* SHA-256 as lowercase hexadecimal, NUL-terminated. 0 or a negative errno. */
int digest_bytes(const void *data, size_t size, char ret_hex[static DIGEST_HEX_SIZE]) _must_check_;
int digest_fd(int fd, char ret_hex[static DIGEST_HEX_SIZE]) _must_check_; /* from its offset to its end */
/* Of a regular file (-EBADFD) of no more than DIGEST_FILE_SIZE_MAX bytes (-EFBIG); never waits. */
int digest_file(const char *path, char ret_hex[static DIGEST_HEX_SIZE]) _must_check_;

void hex_encode(const uint8_t *data, size_t size, char *ret_hex); /* 2 * size + 1 bytes */
