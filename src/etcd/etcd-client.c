/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client itself: its options, its channels, and one call with one answer. Who may call is etcd-auth.c's. */

#include "etcd-internal.h"

#include "basic/error.h"
#include "basic/failpoint.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"

#define UNPACK_MEMORY_MAX (64U * 1024U * 1024U)
#define ENDPOINT_MAX 128U

static void free_secret(char *s) {
        if (s)
                explicit_bzero(s, strlen(s));
        free(s);
}

static int copy_option(const char *from, char **to) {
        *to = from ? strdup(from) : NULL;
        return from && !*to ? -ENOMEM : 0;
}

int etcd_client_new(const EtcdOptions *options, EtcdClient **ret, char **reterr) {
        _cleanup_(etcd_client_freep) EtcdClient *c = NULL;

        if ((options->user && !options->password) || !options->cert_file != !options->key_file)
                return fail(reterr, -EINVAL, "etcd: a user needs a password, and a client certificate its key");
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return fail(reterr, -ENOMEM, "etcd: libcurl cannot be initialised");

        c = calloc(1, sizeof(*c));
        if (!c) {
                curl_global_cleanup();
                return -ENOMEM;
        }
        c->cancel_fd = options->cancel_fd;
        if (copy_option(options->user, &c->user) < 0 || copy_option(options->password, &c->password) < 0 ||
            copy_option(options->ca_file, &c->ca_file) < 0 || copy_option(options->cert_file, &c->cert_file) < 0 ||
            copy_option(options->key_file, &c->key_file) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(c);
        return 0;
}

EtcdClient *etcd_client_free(EtcdClient *c) {
        if (!c)
                return NULL;

        etcd_client_reconnect(c);
        curl_global_cleanup();
        free_secret(c->password);
        free_secret(c->token);
        free(c->user);
        free(c->ca_file);
        free(c->cert_file);
        free(c->key_file);
        strv_free(c->voters);
        free(c);
        return NULL;
}

void etcd_client_set_cancel(EtcdClient *c, int cancel_fd) {
        c->cancel_fd = cancel_fd;
}

void etcd_client_reconnect(EtcdClient *c) {
        for (size_t i = 0; i < c->n_channels; i++)
                grpc_channel_free(c->channels[i]);
        c->n_channels = 0;
}

int etcd_client_set_voters(EtcdClient *c, char *const *endpoints) {
        char **copy = strv_copy(endpoints);

        if (!copy)
                return -ENOMEM;
        strv_free(c->voters);
        c->voters = copy;
        return 0;
}

/* Loopback is good enough for an endpoint, though for no member of a cluster. */
static bool endpoint_ok(const char *endpoint) {
        char address[ADDRESS_MAX];
        uint16_t port;
        int r;

        if (!endpoint || strlen(endpoint) > ENDPOINT_MAX)
                return false;
        r = address_from_url(endpoint, address, &port);
        return r >= 0 || r == -EADDRNOTAVAIL;
}

int etcd_channel(EtcdClient *c, const char *endpoint, GrpcChannel **ret, char **reterr) {
        const GrpcTls tls = { c->ca_file, c->cert_file, c->key_file };
        int r;

        for (size_t i = 0; i < c->n_channels; i++)
                if (streq(grpc_channel_endpoint(c->channels[i]), endpoint)) {
                        *ret = c->channels[i];
                        return 0;
                }

        if (!endpoint_ok(endpoint))
                return fail(reterr, -EINVAL, "etcd: '%s' is no endpoint; it must be https://ADDRESS:PORT",
                            endpoint ?: "");
        if (c->n_channels == ELEMENTSOF(c->channels))
                etcd_client_reconnect(c);
        r = grpc_channel_new(endpoint, &tls, ret);
        if (r < 0)
                return r;
        c->channels[c->n_channels++] = *ret;
        return 0;
}

static int pack_frame(const ProtobufCMessage *message, uint8_t **ret, size_t *ret_size) {
        size_t size = protobuf_c_message_get_packed_size(message);
        uint8_t *frame;

        if (size > GRPC_MESSAGE_SIZE_MAX)
                return -E2BIG;
        frame = malloc(GRPC_PREFIX_SIZE + size);
        if (!frame)
                return -ENOMEM;
        grpc_frame_prefix(frame, (uint32_t) size);
        protobuf_c_message_pack(message, frame + GRPC_PREFIX_SIZE);
        *ret = frame;
        *ret_size = GRPC_PREFIX_SIZE + size;
        return 0;
}

int etcd_request_once(EtcdClient *c, const EtcdRequest *q, const char *token, const GrpcError **ret_why,
                      uint64_t *ret_messages, char **reterr) {
        GrpcCall call = {
                .method = q->method,
                .token = token,
                .deadline = q->deadline,
                .idle = q->idle,
                .fresh = q->changes_cluster,
                .cancel_fd = c->cancel_fd,
                .on_message = q->on_message,
                .userdata = q->userdata,
        };
        GrpcStatus status = {};
        GrpcChannel *channel;
        const GrpcError *why;
        uint8_t *frame;
        int r;

        *ret_why = NULL;
        *ret_messages = 0;
        r = etcd_channel(c, q->endpoint, &channel, reterr);
        if (r < 0)
                return r;
        r = pack_frame(q->message, &frame, &call.frame_size);
        if (r < 0)
                return r;

        call.frame = frame;
        r = grpc_call(channel, &call, &status, reterr);
        explicit_bzero(frame, call.frame_size); /* it may hold the password */
        free(frame);
        *ret_messages = status.messages;
        if (r < 0 || status.code == GRPC_OK)
                return r;

        *ret_why = why = grpc_error_lookup(status.code, status.message);
        return fail(reterr, why->error, "%s at %s: %s (etcd says, with code %u: %s)", grpc_method_name(q->method),
                    q->endpoint, why->sentence, status.code, status.message[0] ? status.message : "nothing");
}

static void *bounded_alloc(void *userdata, size_t size) {
        size_t *left = userdata;

        if (size > *left)
                return NULL;
        *left -= size;
        return malloc(size);
}

static void bounded_free(void *userdata, void *p) {
        free(p);
}

int etcd_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size, void *ret) {
        size_t left = UNPACK_MEMORY_MAX;
        ProtobufCAllocator allocator = { bounded_alloc, bounded_free, &left };
        ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, size, data);

        if (!message)
                return -EPROTO;
        *(ProtobufCMessage **) ret = message;
        return 0;
}

typedef struct Unary {
        const ProtobufCMessageDescriptor *descriptor;
        ProtobufCMessage *message;
        bool malformed;
} Unary;

static int on_unary(const uint8_t *data, size_t size, void *userdata) {
        Unary *u = userdata;
        int r = etcd_unpack(u->descriptor, data, size, &u->message);

        u->malformed = r == -EPROTO;
        return r;
}

int etcd_unary(EtcdClient *c, EtcdRequest q, const ProtobufCMessageDescriptor *descriptor, void *ret, char **reterr) {
        Unary u = { .descriptor = descriptor };
        _cleanup_message_ ProtobufCMessage *message = NULL;
        int r;

        q.on_message = on_unary;
        q.userdata = &u;
        r = etcd_request(c, &q, reterr);
        message = u.message;
        if (u.malformed)
                return etcd_malformed(q.endpoint, q.method, "a message that cannot be read", reterr);
        if (r >= 0 && q.changes_cluster && FAILPOINT_LOSES(grpc_method_name(q.method)))
                r = fail(reterr, -ETIMEDOUT, "%s at %s: the answer was lost", grpc_method_name(q.method), q.endpoint);
        if (r < 0)
                return r;
        *(ProtobufCMessage **) ret = TAKE_PTR(message);
        return 0;
}

bool etcd_text_ok(const char *s, size_t max) {
        if (strlen(s) > max)
                return false;
        for (; *s; s++)
                if (*s < 0x20 || *s > 0x7e)
                        return false;
        return true;
}

int etcd_malformed(const char *endpoint, const char *method, const char *what, char **reterr) {
        return fail(reterr, -EPROTO, "%s at %s: the answer has %s", grpc_method_name(method), endpoint, what);
}
