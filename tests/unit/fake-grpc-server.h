/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small HTTP/2 server over TLS, a process of its own on loopback: one connection at a time, each request on it
 * answered as the scenario says. */

#include <stdbool.h>
#include <sys/types.h>

#include "test-util.h"

enum {
        RESET_STREAM = 1 << 0,  /* after the data */
        STALL = 1 << 1,         /* after the data */
        HANG_UP = 1 << 2,       /* after the data */
        HTTP1 = 1 << 3,         /* ALPN offers nothing else */
        TRAILERS_ONLY = 1 << 4, /* status in the headers, no body */
};

typedef struct Scenario {
        const char *name, *status, *type;
        const char *body;
        size_t body_size, piece;
        const char *grpc_status, *grpc_message;
        unsigned flags;
        /* What the server does not look at: the call, and what must come of it. */
        bool stream;
        int want;
        unsigned want_code;
        const char *want_text;
} Scenario;

#define GRPC "application/grpc"
#define BODY(b) .body = (b), .body_size = sizeof(b) - 1

/* Set up and tear down a group of tests: the server's certificate, which is its own authority, in `ca_file`. */
extern char ca_file[];
int make_certificate(void **state);
int drop_certificate(void **state);

/* *ret_endpoint is to be freed. */
pid_t start_server(const Scenario *s, char **ret_endpoint);
void stop_server(pid_t pid);
