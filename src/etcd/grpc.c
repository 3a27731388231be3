/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "grpc.h"

#include <inttypes.h>
#include <strings.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"

#define CONTENT_TYPE "application/grpc"
#define TIMEOUT_MSEC_MAX 99999999U /* the header takes eight digits */

const char *grpc_method_name(const char *method) {
        const char *slash = strrchr(method, '/');

        return slash ? slash + 1 : method;
}

static void free_headers(struct curl_slist *list) {
        for (struct curl_slist *i = list; i; i = i->next)
                explicit_bzero(i->data, strlen(i->data)); /* one of them is the token */
        curl_slist_free_all(list);
}
DEFINE_CLEANUP(struct curl_slist *, free_headers)

static int add_header(struct curl_slist **list, const char *header) {
        struct curl_slist *longer = curl_slist_append(*list, header);

        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

static int add_token(struct curl_slist **list, const char *token) {
        char *header = format("authorization: %s", token);
        int r;

        if (!header)
                return -ENOMEM;
        r = add_header(list, header);
        explicit_bzero(header, strlen(header));
        free(header);
        return r;
}

static int add_timeout(struct curl_slist **list, uint64_t deadline) {
        uint64_t now = now_boot(), msec = deadline > now ? (deadline - now) / USEC_PER_MSEC + 1 : 1;
        char header[64];

        if (msec > TIMEOUT_MSEC_MAX)
                return 0;
        snprintf(header, sizeof(header), "grpc-timeout: %" PRIu64 "m", msec);
        return add_header(list, header);
}

static int call_headers(const GrpcCall *call, struct curl_slist **ret) {
        static const char *const fixed[] = { ("content-type: " CONTENT_TYPE), "te: trailers", "expect:", "accept:" };
        _cleanup_(free_headersp) struct curl_slist *list = NULL;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(fixed); i++) {
                r = add_header(&list, fixed[i]);
                if (r < 0)
                        return r;
        }
        /* A stream may rightly take longer than any one of its messages. */
        if (call->idle == 0) {
                r = add_timeout(&list, call->deadline);
                if (r < 0)
                        return r;
        }
        if (call->token) {
                r = add_token(&list, call->token);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(list);
        return 0;
}

/* What a call has seen of its answer. */
typedef struct Answer {
        const GrpcCall *call;
        Transfer *transfer;
        GrpcFrames frames;
        bool is_grpc;
        int status; /* negative: not come yet */
        char message[GRPC_MESSAGE_MAX];
} Answer;

static int on_message(const uint8_t *data, size_t size, void *userdata) {
        Answer *a = userdata;
        int r;

        if (a->call->idle == 0 && a->frames.messages > 1) {
                a->frames.why = "more than one message";
                return -EPROTO;
        }
        r = a->call->on_message(data, size, a->call->userdata);
        if (a->call->idle > 0)
                a->transfer->deadline = deadline_after(a->call->idle);
        return r;
}

static int on_data(const void *data, size_t size, void *userdata) {
        Answer *a = userdata;

        /* The body of an answer that is not gRPC is not looked at; its status is told in the end. */
        return a->is_grpc ? grpc_frames_feed(&a->frames, data, size) : 0;
}

static int parse_status(const char *value, size_t length) {
        int status = 0;

        if (length == 0 || length > 4)
                return -EPROTO;
        for (size_t i = 0; i < length; i++) {
                if (value[i] < '0' || value[i] > '9')
                        return -EPROTO;
                status = status * 10 + (value[i] - '0');
        }
        return status;
}

static bool name_is(const char *name, size_t length, const char *want) {
        return length == strlen(want) && strncasecmp(name, want, length) == 0;
}

static int on_header(const char *name, size_t name_length, const char *value, size_t length, void *userdata) {
        Answer *a = userdata;

        if (name_is(name, name_length, "content-type"))
                a->is_grpc =
                        length >= strlen(CONTENT_TYPE) && strncasecmp(value, CONTENT_TYPE, strlen(CONTENT_TYPE)) == 0;
        else if (name_is(name, name_length, "grpc-message"))
                grpc_text_clean(value, length, /* percent= */ true, a->message, sizeof(a->message));
        else if (name_is(name, name_length, "grpc-status")) {
                int status = parse_status(value, length);

                if (status < 0 || (a->status >= 0 && a->status != status)) {
                        a->frames.why = "a malformed status";
                        return -EPROTO;
                }
                a->status = status;
        }
        return 0;
}

/* What is wrong with an answer whose transfer succeeded: a text, or NULL. */
static const char *check_answer(const GrpcCall *call, Answer *a, char *buffer, size_t size) {
        if (a->transfer->http_status != 200) {
                snprintf(buffer, size, "HTTP status %ld, which is not gRPC", a->transfer->http_status);
                return buffer;
        }
        if (!a->is_grpc)
                return "something that is not gRPC";
        if (a->status < 0)
                return "no status";
        if (a->status == GRPC_OK && grpc_frames_end(&a->frames) < 0)
                return a->frames.why;
        if (a->status == GRPC_OK && call->idle == 0 && a->frames.messages != 1)
                return "success, but no message";
        return NULL;
}

/* In TLS 1.3 a server that refuses our certificate closes after the handshake, and the alert that tells why is lost
 * when the reset overtakes it. In TLS 1.2 the verdict is part of the handshake. So a reset without an answer is looked
 * at once more in TLS 1.2; not where a request must not be sent twice, and not believed from a server that speaks 1.3
 * only. */
static int transfer_twice(GrpcChannel *ch, const GrpcCall *call, Transfer *t, char **reterr) {
        _cleanup_free_ char *why = NULL;
        int first, r;

        first = grpc_channel_transfer(ch, t, reterr);
        if (first != -ECONNRESET || t->answered || call->fresh)
                return first;

        t->tls12 = true;
        r = grpc_channel_transfer(ch, t, &why);
        if (r == -EKEYREJECTED && why && strstr(why, "protocol version"))
                return first;
        if (r < 0)
                return fail(reterr, r, "%s", error_text(why, r));
        grpc_clear_error(reterr);
        return r;
}

static int exchange(GrpcChannel *ch, const GrpcCall *call, Answer *a, char **reterr) {
        _cleanup_(free_headersp) struct curl_slist *headers = NULL;
        Transfer transfer = {
                .what = grpc_method_name(call->method),
                .path = call->method,
                .body = call->frame,
                .body_size = call->frame_size,
                .deadline = call->deadline,
                .cancel_fd = call->cancel_fd,
                .on_header = on_header,
                .on_data = on_data,
                .userdata = a,
        };
        char buffer[64];
        const char *why;
        int r;

        r = call_headers(call, &headers);
        if (r < 0)
                return r;
        transfer.headers = headers;
        a->transfer = &transfer;

        if (call->fresh)
                grpc_channel_disconnect(ch);
        r = transfer_twice(ch, call, &transfer, reterr);
        if (r == -EPROTO && a->frames.why)
                return fail(reterr, r, "%s at %s: the answer has %s", transfer.what, grpc_channel_endpoint(ch),
                            a->frames.why);
        if (r < 0)
                return r;

        why = check_answer(call, a, buffer, sizeof(buffer));
        if (why)
                return fail(reterr, -EPROTO, "%s at %s: answered with %s", transfer.what, grpc_channel_endpoint(ch),
                            why);
        return 0;
}

int grpc_call(GrpcChannel *ch, const GrpcCall *call, GrpcStatus *ret, char **reterr) {
        Answer a = { .call = call, .status = -1 };
        int r;

        a.frames = (GrpcFrames){ .max = GRPC_MESSAGE_SIZE_MAX, .on_message = on_message, .userdata = &a };
        r = exchange(ch, call, &a, reterr);
        ret->messages = a.frames.messages;
        if (r >= 0) {
                ret->code = (unsigned) a.status;
                memcpy(ret->message, a.message, sizeof(ret->message));
        }
        grpc_frames_done(&a.frames);
        return r;
}

typedef struct Text {
        char *data;
        size_t size;
} Text;

static int on_text(const void *data, size_t size, void *userdata) {
        Text *t = userdata;
        char *grown;

        if (size > GRPC_MESSAGE_SIZE_MAX - t->size)
                return -EPROTO;
        grown = realloc(t->data, t->size + size + 1);
        if (!grown)
                return -ENOMEM;
        memcpy(grown + t->size, data, size);
        t->data = grown;
        t->size += size;
        t->data[t->size] = '\0';
        return 0;
}

int grpc_get(GrpcChannel *ch, const char *path, uint64_t deadline, int cancel_fd, char **ret, char **reterr) {
        Text text = {};
        Transfer transfer = {
                .what = path,
                .path = path,
                .deadline = deadline,
                .cancel_fd = cancel_fd,
                .on_data = on_text,
                .userdata = &text,
        };
        int r = grpc_channel_transfer(ch, &transfer, reterr);

        if (r >= 0 && transfer.http_status != 200)
                r = fail(reterr, transfer.http_status == 404 ? -ENODATA : -EPROTO,
                         "%s at %s: answered with HTTP status %ld", path, grpc_channel_endpoint(ch),
                         transfer.http_status);
        if (r >= 0 && !text.data)
                r = on_text("", 0, &text);
        if (r < 0) {
                free(text.data);
                return r;
        }
        *ret = text.data;
        return 0;
}
