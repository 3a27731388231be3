/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the bytes of a snapshot go: into a file, and, but for the last 32, through a SHA-256, which the last 32 must
 * be. */

#include <stddef.h>
#include <stdint.h>

#include "basic/cleanup.h"
#include "basic/digest.h"

typedef struct SnapshotSink {
        int fd; /* borrowed */
        void *digest;
        uint8_t tail[DIGEST_SIZE]; /* the last bytes so far, not digested yet */
        size_t tail_size;
        uint64_t bytes;
} SnapshotSink;

int snapshot_sink_init(SnapshotSink *s, int fd) _must_check_;
void snapshot_sink_done(SnapshotSink *s);
int snapshot_sink_feed(SnapshotSink *s, const void *data, size_t size) _must_check_;

/* -EBADMSG where the hash is missing or wrong. */
int snapshot_sink_end(SnapshotSink *s, char ret_hex[static DIGEST_HEX_SIZE]) _must_check_;
