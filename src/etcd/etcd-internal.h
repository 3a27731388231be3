/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the files behind etcd-client.h; nobody else includes it. */

#include "basic/cleanup.h"
#include "etcd/etcd-client.h"
#include "etcd/etcd.pb-c.h"
#include "etcd/grpc.h"

#define ETCD_MEMBERS_MAX 64U

struct EtcdClient {
        char *user, *password;
        char *ca_file, *cert_file, *key_file;
        int cancel_fd;

        char **voters;
        char *token;   /* NULL: not logged in */
        bool auth_off; /* the cluster said so: no login, until it asks for one */

        GrpcChannel *channels[ETCD_MEMBERS_MAX];
        size_t n_channels;
};

typedef enum EtcdLogin {
        ETCD_LOGIN_ALWAYS,
        ETCD_LOGIN_WHEN_REFUSED,
        ETCD_LOGIN_NEVER,
} EtcdLogin;

/* One call as etcd-auth.c makes it: logging in first, or again, as needed. */
typedef struct EtcdRequest {
        const char *endpoint;
        const char *method;
        const ProtobufCMessage *message;
        EtcdLogin login;
        bool changes_cluster; /* must not be sent twice unseen */
        uint64_t deadline;
        uint64_t idle; /* as in GrpcCall: > 0 makes it a stream */
        GrpcOnMessage on_message;
        void *userdata;
} EtcdRequest;

int etcd_request(EtcdClient *c, const EtcdRequest *q, char **reterr) _must_check_;

/* One try of a request with this token (NULL: none). *ret_why is what etcd's status means, NULL unless it sent an
 * error. */
int etcd_request_once(EtcdClient *c, const EtcdRequest *q, const char *token, const GrpcError **ret_why,
                      uint64_t *ret_messages, char **reterr) _must_check_;

/* A request with one answer, unpacked to *ret (of the type of `descriptor`), for protobuf_c_message_free_unpacked(). */
int etcd_unary(EtcdClient *c, EtcdRequest q, const ProtobufCMessageDescriptor *descriptor, void *ret,
               char **reterr) _must_check_;

/* Unpacks with a bound on memory, as a small message can ask for a large tree. -EPROTO where it is malformed. */
int etcd_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size, void *ret) _must_check_;

static inline void etcd_message_freep(void *p) {
        ProtobufCMessage *m = *(ProtobufCMessage **) p;

        if (m)
                protobuf_c_message_free_unpacked(m, NULL);
}
#define _cleanup_message_ _cleanup_(etcd_message_freep)

int etcd_channel(EtcdClient *c, const char *endpoint, GrpcChannel **ret, char **reterr) _must_check_;

/* Text of etcd's that we keep: printable ASCII, at most `max` bytes. */
bool etcd_text_ok(const char *s, size_t max);

/* -EPROTO, with endpoint, call, and what the answer lacks. */
int etcd_malformed(const char *endpoint, const char *method, const char *what, char **reterr) _must_check_;

#define ETCD_CLUSTER "etcdserverpb.Cluster/"
#define ETCD_MAINTENANCE "etcdserverpb.Maintenance/"
#define ETCD_KV "etcdserverpb.KV/"
