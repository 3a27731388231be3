/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* gRPC over libcurl: a channel is one endpoint with one kept HTTP/2 connection, on which one call at a time is made. A
 * failed transfer, a deadline, or a cancellation closes the connection; the next call opens another. Nothing is ever
 * sent in clear, through a proxy, or along a redirect. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "etcd/grpc-error.h"
#include "etcd/grpc-frame.h"

#define GRPC_MESSAGE_SIZE_MAX (16U * 1024U * 1024U)

typedef struct GrpcChannel GrpcChannel;

typedef struct GrpcTls {
        const char *ca_file;              /* NULL: the system's */
        const char *cert_file, *key_file; /* NULL: none */
} GrpcTls;

/* All strings in `tls` are borrowed and must outlive the channel. */
int grpc_channel_new(const char *endpoint, const GrpcTls *tls, GrpcChannel **ret) _must_check_;
GrpcChannel *grpc_channel_free(GrpcChannel *ch);
DEFINE_CLEANUP(GrpcChannel *, grpc_channel_free)
const char *grpc_channel_endpoint(const GrpcChannel *ch);

typedef struct GrpcCall {
        const char *method;   /* "package.Service/Method" */
        const uint8_t *frame; /* the request with its prefix */
        size_t frame_size;
        const char *token; /* NULL: none */
        uint64_t deadline; /* CLOCK_BOOTTIME; for a stream: of the first message */
        uint64_t idle;     /* 0: one message is awaited; else a stream, and this the time from message to message */
        bool fresh;        /* on a new connection: libcurl silently repeats a request that fails on a used one */
        int cancel_fd;     /* -1: none */
        GrpcOnMessage on_message;
        void *userdata;
} GrpcCall;

typedef struct GrpcStatus {
        unsigned code;
        char message[GRPC_MESSAGE_MAX];
        uint64_t messages; /* that were handed over before */
} GrpcStatus;

/* 0: gRPC was spoken, and *ret says with what result: code 0 after exactly one message (or a stream of any number).
 * Else the errors of etcd-client.h, or the handler's own, and *reterr. */
int grpc_call(GrpcChannel *ch, const GrpcCall *call, GrpcStatus *ret, char **reterr) _must_check_;

/* One GET of at most GRPC_MESSAGE_SIZE_MAX bytes, NUL-terminated. 0 only for HTTP status 200; -ENODATA for 404. */
int grpc_get(GrpcChannel *ch, const char *path, uint64_t deadline, int cancel_fd, char **ret,
             char **reterr) _must_check_;

const char *grpc_method_name(const char *method); /* after the slash */

/* For a failure that is none in the end: forgets its text. */
static inline void grpc_clear_error(char **reterr) {
        if (reterr) {
                free(*reterr);
                *reterr = NULL;
        }
}
