/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "grpc-frame.h"

#include <string.h>

#define FIRST_ALLOCATION (64U * 1024U)

static void wipe_data(GrpcFrames *f) {
        if (f->data)
                explicit_bzero(f->data, f->allocated);
        free(f->data);
        f->data = NULL;
        f->allocated = 0;
}

void grpc_frames_done(GrpcFrames *f) {
        wipe_data(f);
        f->prefix_used = f->size = f->used = 0;
}

void grpc_frame_prefix(uint8_t ret[static GRPC_PREFIX_SIZE], uint32_t size) {
        ret[0] = 0;
        for (unsigned i = 0; i < 4; i++)
                ret[1 + i] = (uint8_t) (size >> (24 - 8 * i));
}

static int begin_message(GrpcFrames *f) {
        f->size = 0;
        for (unsigned i = 1; i < GRPC_PREFIX_SIZE; i++)
                f->size = f->size << 8 | f->prefix[i];
        f->used = 0;

        if (f->prefix[0] != 0) {
                f->why = f->prefix[0] == 1 ? "a compressed message" : "a malformed message prefix";
                return -EPROTO;
        }
        if (f->size > f->max) {
                f->why = "a message above the size limit";
                return -EPROTO;
        }
        return 0;
}

/* Grows with what has arrived, never with what the prefix promises. Not realloc(), which would leave unwiped copies. */
static int make_room(GrpcFrames *f, size_t more) {
        size_t need = f->used + more, allocated = f->allocated ?: FIRST_ALLOCATION;
        uint8_t *grown;

        while (allocated < need)
                allocated *= 2;
        if (allocated == f->allocated)
                return 0;

        grown = malloc(allocated);
        if (!grown)
                return -ENOMEM;
        if (f->used > 0)
                memcpy(grown, f->data, f->used);
        wipe_data(f);
        f->data = grown;
        f->allocated = allocated;
        return 0;
}

static int end_message(GrpcFrames *f) {
        f->prefix_used = 0;
        f->messages++;
        return f->on_message(f->data, f->size, f->userdata);
}

static size_t take(uint8_t *to, size_t *used, size_t want, const uint8_t *data, size_t size) {
        size_t n = want - *used < size ? want - *used : size;

        if (n > 0)
                memcpy(to + *used, data, n);
        *used += n;
        return n;
}

int grpc_frames_feed(GrpcFrames *f, const void *data, size_t size) {
        const uint8_t *p = data, *end = p + size;
        int r;

        while (p < end) {
                if (f->prefix_used < GRPC_PREFIX_SIZE) {
                        p += take(f->prefix, &f->prefix_used, GRPC_PREFIX_SIZE, p, (size_t) (end - p));
                        if (f->prefix_used < GRPC_PREFIX_SIZE)
                                break;
                        r = begin_message(f);
                        if (r < 0)
                                return r;
                }

                r = make_room(f, f->size - f->used < (size_t) (end - p) ? f->size - f->used : (size_t) (end - p));
                if (r < 0)
                        return r;
                p += take(f->data, &f->used, f->size, p, (size_t) (end - p));
                if (f->used < f->size)
                        break;

                r = end_message(f);
                if (r < 0)
                        return r;
        }

        return 0;
}

int grpc_frames_end(GrpcFrames *f) {
        if (f->prefix_used == 0)
                return 0;
        f->why = "a message that ends in the middle";
        return -EPROTO;
}
