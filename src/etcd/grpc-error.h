/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a gRPC status means here. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

#define GRPC_MESSAGE_MAX 512U

enum {
        GRPC_OK = 0,
        GRPC_CANCELLED = 1,
        GRPC_UNKNOWN = 2,
        GRPC_INVALID_ARGUMENT = 3,
        GRPC_DEADLINE_EXCEEDED = 4,
        GRPC_NOT_FOUND = 5,
        GRPC_PERMISSION_DENIED = 7,
        GRPC_RESOURCE_EXHAUSTED = 8,
        GRPC_FAILED_PRECONDITION = 9,
        GRPC_UNIMPLEMENTED = 12,
        GRPC_UNAVAILABLE = 14,
        GRPC_UNAUTHENTICATED = 16,
};

typedef struct GrpcError {
        int error;            /* negative errno */
        const char *sentence; /* without endpoint and call */
        bool login;           /* a new token may help */
        bool auth_off;        /* the cluster has authentication off */
} GrpcError;

/* Never NULL, and its error never 0 or more, whatever the status: 0 here is a mistake of the caller. */
const GrpcError *grpc_error_lookup(unsigned code, const char *message);

/* Copies text that came over the network for a log: printable ASCII stays, control characters go, other bytes become
 * '?'. With `percent`, %XX is decoded first (what is no valid escape stays as it is). Cut at size - 1. */
void grpc_text_clean(const char *text, size_t length, bool percent, char *ret, size_t size);
