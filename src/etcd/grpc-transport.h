/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One HTTP/2 request and its answer over a channel's connection; what is below gRPC. */

#include <curl/curl.h>

#include "etcd/grpc.h"

typedef struct Transfer {
        const char *what; /* for messages */
        const char *path; /* with or without the first slash */
        struct curl_slist *headers;
        const uint8_t *body; /* NULL: a GET */
        size_t body_size;
        uint64_t deadline; /* CLOCK_BOOTTIME; the handlers may move it */
        int cancel_fd;
        bool tls12; /* a new connection, if one is made, is of TLS 1.2 */

        /* A negative errno ends the transfer. The value has no blanks around it; headers and trailers are one. */
        int (*on_header)(const char *name, size_t name_length, const char *value, size_t length, void *userdata);
        int (*on_data)(const void *data, size_t size, void *userdata);
        void *userdata;

        bool answered; /* at least one header came */
        long http_status;
        int handler_error; /* of a handler that failed */
} Transfer;

int grpc_channel_transfer(GrpcChannel *ch, Transfer *t, char **reterr) _must_check_;
void grpc_channel_disconnect(GrpcChannel *ch);

uint64_t deadline_after(uint64_t usec); /* from now; does not overflow */

/* What a failed transfer means: curl's code, the errno it saw (or 0), and its text. Never 0 or more. */
int curl_error_to_errno(CURLcode code, long os_errno, const char *text);
