/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* gRPC's framing: each message is preceded by one byte (1: compressed, which is refused) and its length in four bytes,
 * big endian. A GrpcFrames takes the bytes of an answer as they come, in pieces of any size, and hands over whole
 * messages. */

#include <stddef.h>
#include <stdint.h>

#include "basic/cleanup.h"

#define GRPC_PREFIX_SIZE 5U

/* One whole message; borrowed. A negative errno ends the call. */
typedef int (*GrpcOnMessage)(const uint8_t *data, size_t size, void *userdata);

typedef struct GrpcFrames {
        size_t max; /* of one message */
        GrpcOnMessage on_message;
        void *userdata;

        uint64_t messages; /* handed over so far */
        const char *why;   /* after -EPROTO from here: what is wrong; static */

        uint8_t prefix[GRPC_PREFIX_SIZE];
        size_t prefix_used;
        uint8_t *data;
        size_t size, used, allocated;
} GrpcFrames;

void grpc_frames_done(GrpcFrames *f); /* wiped: the message may have been a token */

/* 0, the handler's error, -ENOMEM, or -EPROTO with f->why. After an error nothing more may be fed. */
int grpc_frames_feed(GrpcFrames *f, const void *data, size_t size) _must_check_;
int grpc_frames_end(GrpcFrames *f) _must_check_; /* -EPROTO in the middle of a message */

void grpc_frame_prefix(uint8_t ret[static GRPC_PREFIX_SIZE], uint32_t size);
