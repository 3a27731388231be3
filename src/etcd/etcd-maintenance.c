/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a member tells about itself, and a key that is written, read, and deleted. */

#include "etcd-internal.h"

#include <inttypes.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"

#define TEXTS_MAX 16U

void etcd_status_done(EtcdStatus *s) {
        free(s->errors);
        s->errors = NULL;
}

/* The texts of a remote list, cleaned and joined; NULL where there are none. */
static int join_texts(char *const *texts, size_t n, char **ret) {
        _cleanup_strv_ char **clean = NULL;

        for (size_t i = 0; i < n && i < TEXTS_MAX; i++) {
                char text[GRPC_MESSAGE_MAX];
                int r;

                grpc_text_clean(texts[i], strlen(texts[i]), /* percent= */ false, text, sizeof(text));
                r = strv_append(&clean, text);
                if (r < 0)
                        return r;
        }
        *ret = clean ? strv_join(clean, "; ") : NULL;
        return clean && !*ret ? -ENOMEM : 0;
}

int etcd_status(EtcdClient *c, const char *endpoint, uint64_t timeout, EtcdStatus *ret, char **reterr) {
        Pb__StatusRequest request = PB__STATUS_REQUEST__INIT;
        _cleanup_message_ Pb__StatusResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_MAINTENANCE "Status",
                .message = &request.base,
                .login = ETCD_LOGIN_WHEN_REFUSED,
                .deadline = deadline_after(timeout),
        };
        EtcdStatus s;
        int r;

        r = etcd_unary(c, q, &pb__status_response__descriptor, &answer, reterr);
        if (r < 0)
                return r;
        if (!answer->header || answer->db_size < 0 || !*answer->version ||
            !etcd_text_ok(answer->version, sizeof(s.version) - 1) || strchr(answer->version, ' '))
                return etcd_malformed(endpoint, q.method, "a status that makes no sense", reterr);

        s = (EtcdStatus){
                .cluster_id = answer->header->cluster_id,
                .member_id = answer->header->member_id,
                .leader = answer->leader,
                .raft_term = answer->raft_term,
                .raft_index = answer->raft_index,
                .raft_applied_index = answer->raft_applied_index,
                .db_size = (uint64_t) answer->db_size,
                .revision = answer->header->revision,
                .learner = answer->is_learner,
        };
        strcpy(s.version, answer->version);
        r = join_texts(answer->errors, answer->n_errors, &s.errors);
        if (r < 0)
                return r;
        *ret = s;
        return 0;
}

int etcd_move_leader(EtcdClient *c, const char *endpoint, uint64_t target, uint64_t timeout, char **reterr) {
        Pb__MoveLeaderRequest request = PB__MOVE_LEADER_REQUEST__INIT;
        _cleanup_message_ Pb__MoveLeaderResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_MAINTENANCE "MoveLeader",
                .message = &request.base,
                .changes_cluster = true,
                .deadline = deadline_after(timeout),
        };

        request.target_id = target;
        return etcd_unary(c, q, &pb__move_leader_response__descriptor, &answer, reterr);
}

int etcd_hash_kv(EtcdClient *c, const char *endpoint, int64_t revision, uint64_t timeout, EtcdHash *ret,
                 char **reterr) {
        Pb__HashKVRequest request = PB__HASH_KVREQUEST__INIT;
        _cleanup_message_ Pb__HashKVResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_MAINTENANCE "HashKV",
                .message = &request.base,
                .deadline = deadline_after(timeout),
        };
        int r;

        request.revision = revision;
        r = etcd_unary(c, q, &pb__hash_kvresponse__descriptor, &answer, reterr);
        if (r < 0)
                return r;
        if (!answer->header)
                return etcd_malformed(endpoint, q.method, "no header", reterr);
        *ret = (EtcdHash){
                .hash = answer->hash,
                .compact_revision = answer->compact_revision,
                .hash_revision = answer->hash_revision,
                .revision = answer->header->revision,
        };
        return 0;
}

static int append_alarm(char ***list, const Pb__AlarmMember *alarm) {
        _cleanup_free_ char *text = NULL;
        const char *name = alarm->alarm == PB__ALARM_TYPE__ALARM_NOSPACE   ? "NOSPACE"
                           : alarm->alarm == PB__ALARM_TYPE__ALARM_CORRUPT ? "CORRUPT"
                                                                           : NULL;

        text = name ? format("%s at %" PRIx64, name, alarm->member_id)
                    : format("alarm %d at %" PRIx64, (int) alarm->alarm, alarm->member_id);
        return text ? strv_append(list, text) : -ENOMEM;
}

int etcd_alarms(EtcdClient *c, const char *endpoint, uint64_t timeout, char **ret, char **reterr) {
        Pb__AlarmRequest request = PB__ALARM_REQUEST__INIT;
        _cleanup_message_ Pb__AlarmResponse *answer = NULL;
        _cleanup_strv_ char **list = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_MAINTENANCE "Alarm",
                .message = &request.base,
                .deadline = deadline_after(timeout),
        };
        char *joined = NULL;
        int r;

        r = etcd_unary(c, q, &pb__alarm_response__descriptor, &answer, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < answer->n_alarms && i < ETCD_MEMBERS_MAX; i++) {
                r = append_alarm(&list, answer->alarms[i]);
                if (r < 0)
                        return r;
        }
        if (list && !(joined = strv_join(list, "; ")))
                return -ENOMEM;
        *ret = joined;
        return joined ? 1 : 0;
}

static ProtobufCBinaryData binary(const char *s) {
        return (ProtobufCBinaryData){ .len = strlen(s), .data = (uint8_t *) s };
}

static bool binary_is(ProtobufCBinaryData b, const char *s) {
        return b.len == strlen(s) && memcmp(b.data ?: (const uint8_t *) "", s, b.len) == 0;
}

static int put(EtcdClient *c, const char *endpoint, const char *key, const char *value, uint64_t deadline,
               char **reterr) {
        Pb__PutRequest request = PB__PUT_REQUEST__INIT;
        _cleanup_message_ Pb__PutResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_KV "Put",
                .message = &request.base,
                .deadline = deadline,
        };

        request.key = binary(key);
        request.value = binary(value);
        return etcd_unary(c, q, &pb__put_response__descriptor, &answer, reterr);
}

int etcd_put_and_read(EtcdClient *c, const char *endpoint, const char *key, const char *value, uint64_t timeout,
                      char **reterr) {
        Pb__RangeRequest request = PB__RANGE_REQUEST__INIT;
        _cleanup_message_ Pb__RangeResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_KV "Range",
                .message = &request.base,
                .deadline = deadline_after(timeout),
        };
        int r;

        r = put(c, endpoint, key, value, q.deadline, reterr);
        if (r < 0)
                return r;

        request.key = binary(key);
        r = etcd_unary(c, q, &pb__range_response__descriptor, &answer, reterr);
        if (r < 0)
                return r;
        if (answer->n_kvs != 1 || !binary_is(answer->kvs[0]->key, key) || !binary_is(answer->kvs[0]->value, value))
                return fail(reterr, -EREMOTEIO, "Range at %s: '%s' does not give back what was just written to it",
                            endpoint, key);
        return 0;
}

int etcd_delete(EtcdClient *c, const char *endpoint, const char *key, uint64_t timeout, char **reterr) {
        Pb__DeleteRangeRequest request = PB__DELETE_RANGE_REQUEST__INIT;
        _cleanup_message_ Pb__DeleteRangeResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_KV "DeleteRange",
                .message = &request.base,
                .deadline = deadline_after(timeout),
        };

        request.key = binary(key);
        return etcd_unary(c, q, &pb__delete_range_response__descriptor, &answer, reterr);
}

/* A gauge of ENDPOINT/metrics: 0, or 1 for anything else. `name` ends with a space. */
static int read_metric(EtcdClient *c, const char *endpoint, const char *name, uint64_t timeout, char **reterr) {
        _cleanup_free_ char *text = NULL;
        GrpcChannel *channel;
        int r;

        r = etcd_channel(c, endpoint, &channel, reterr);
        if (r < 0)
                return r;
        r = grpc_get(channel, "/metrics", deadline_after(timeout), c->cancel_fd, &text, reterr);
        if (r < 0)
                return r;

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, name, strlen(name)) == 0)
                        return strtod(line + strlen(name), NULL) != 0;
        }
        return fail(reterr, -ENODATA, "/metrics at %s: no %.*s there", endpoint, (int) strlen(name) - 1, name);
}

int etcd_is_learner_metric(EtcdClient *c, const char *endpoint, uint64_t timeout, char **reterr) {
        return read_metric(c, endpoint, "etcd_server_is_learner ", timeout, reterr);
}

int etcd_has_leader_metric(EtcdClient *c, const char *endpoint, uint64_t timeout, char **reterr) {
        return read_metric(c, endpoint, "etcd_server_has_leader ", timeout, reterr);
}
