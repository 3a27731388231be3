/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Framing, texts, the meaning of errors, the hash of a snapshot; then whole calls against a small HTTP/2 server of our
 * own, which misbehaves in every way a scenario asks for. */

#include <fcntl.h>

#include <curl/curl.h>
#include <openssl/sha.h>

#include "fake-grpc-server.h"

#include "basic/string-util.h"
#include "etcd/etcd-client.h"
#include "etcd/grpc-transport.h"
#include "etcd/snapshot-sink.h"

/* Framing */

typedef struct Collected {
        char text[256];
        size_t used;
        unsigned n;
        int error; /* to return */
} Collected;

static int collect(const uint8_t *data, size_t size, void *userdata) {
        Collected *c = userdata;

        assert_true(c->used + size + 1 < sizeof(c->text));
        if (size > 0)
                memcpy(c->text + c->used, data, size);
        c->used += size;
        c->text[c->used++] = '|';
        c->text[c->used] = '\0';
        c->n++;
        return c->error;
}

#define THREE "\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\1x"
#define THREE_SIZE (sizeof(THREE) - 1)

static int feed_in_parts(const char *data, size_t size, size_t first, size_t second, Collected *ret) {
        GrpcFrames f = { .max = 1024, .on_message = collect, .userdata = ret };
        int r = grpc_frames_feed(&f, data, first);

        if (r >= 0)
                r = grpc_frames_feed(&f, data + first, second - first);
        if (r >= 0)
                r = grpc_frames_feed(&f, data + second, size - second);
        if (r >= 0)
                r = grpc_frames_end(&f);
        assert_true(r != -EPROTO || f.why);
        grpc_frames_done(&f);
        return r;
}

static void test_frames_split_anywhere(void **state) {
        for (size_t first = 0; first <= THREE_SIZE; first++)
                for (size_t second = first; second <= THREE_SIZE; second++) {
                        Collected c = {};

                        assert_int_equal(feed_in_parts(THREE, THREE_SIZE, first, second, &c), 0);
                        assert_string_equal(c.text, "hello||x|");
                        assert_int_equal(c.n, 3);
                }
}

static void test_frames_byte_by_byte(void **state) {
        Collected c = {};
        GrpcFrames f = { .max = 1024, .on_message = collect, .userdata = &c };

        for (size_t i = 0; i < THREE_SIZE; i++)
                assert_int_equal(grpc_frames_feed(&f, &THREE[i], 1), 0);
        assert_int_equal(grpc_frames_end(&f), 0);
        assert_string_equal(c.text, "hello||x|");
        grpc_frames_done(&f);
}

static void test_frames_truncated(void **state) {
        for (size_t size = 0; size <= THREE_SIZE; size++) {
                Collected c = {};
                bool whole = size == 0 || size == 10 || size == 15 || size == THREE_SIZE;

                assert_int_equal(feed_in_parts(THREE, size, 0, size, &c), whole ? 0 : -EPROTO);
        }
}

static void test_frames_refused(void **state) {
        Collected c = {};

        assert_int_equal(feed_in_parts("\1\0\0\0\1x", 6, 3, 5, &c), -EPROTO); /* compressed */
        assert_int_equal(feed_in_parts("\2\0\0\0\1x", 6, 3, 5, &c), -EPROTO); /* no such flag */
        assert_int_equal(feed_in_parts("\0\0\0\4\1", 5, 3, 5, &c), -EPROTO);  /* 1025 bytes */
        assert_int_equal(feed_in_parts("\0\xff\xff\xff\xff", 5, 0, 1, &c),
                         -EPROTO);                                           /* 4 GiB, refused before it comes */
        assert_int_equal(feed_in_parts("\0\0\0\4\0", 5, 3, 5, &c), -EPROTO); /* 1024 bytes are fine, but missing */
        assert_int_equal(c.n, 0);
        c.error = -ENOSPC;
        assert_int_equal(feed_in_parts(THREE, THREE_SIZE, 1, 2, &c), -ENOSPC);
        assert_int_equal(c.n, 1);
}

static int count(const uint8_t *data, size_t size, void *userdata) {
        for (size_t i = 0; i < size; i++)
                assert_int_equal(data[i], (uint8_t) i);
        *(size_t *) userdata += size;
        return 0;
}

static void test_frames_large(void **state) {
        size_t size = 300000, total = 0;
        _cleanup_free_ uint8_t *data = malloc(GRPC_PREFIX_SIZE + size);
        GrpcFrames f = { .max = size, .on_message = count, .userdata = &total };

        grpc_frame_prefix(data, (uint32_t) size);
        for (size_t i = 0; i < size; i++)
                data[GRPC_PREFIX_SIZE + i] = (uint8_t) i;
        for (unsigned turn = 0; turn < 2; turn++)
                for (size_t at = 0; at < GRPC_PREFIX_SIZE + size; at += 4099) {
                        size_t left = GRPC_PREFIX_SIZE + size - at;

                        assert_int_equal(grpc_frames_feed(&f, data + at, left < 4099 ? left : 4099), 0);
                }
        assert_int_equal(total, 2 * size);
        grpc_frames_done(&f);
}

/* Texts and errors */

static void test_text_clean(void **state) {
        static const struct {
                const char *in, *plain, *decoded;
        } table[] = {
                { "", "", "" },
                { "etcdserver: member not found", "etcdserver: member not found", "etcdserver: member not found" },
                { "a%20b%3A%3a", "a%20b%3A%3a", "a b::" },
                { "100%", "100%", "100%" },
                { "%2", "%2", "%2" },
                { "%zz%4", "%zz%4", "%zz%4" },
                { "%%41", "%%41", "%A" },
                { "%1b[31mred%0a%0D%00%7f.", "%1b[31mred%0a%0D%00%7f.", "[31mred." },
                { "\x1b[2Jx\n", "[2Jx", "[2Jx" },
                { "gr\xc3\xbc\xc3\x9f", "gr????", "gr????" },
                { "gr%C3%BC\x9b", "gr%C3%BC?", "gr???" },
        };
        char text[64], tiny[4];

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                grpc_text_clean(table[i].in, strlen(table[i].in), false, text, sizeof(text));
                assert_string_equal(text, table[i].plain);
                grpc_text_clean(table[i].in, strlen(table[i].in), true, text, sizeof(text));
                assert_string_equal(text, table[i].decoded);
        }
        grpc_text_clean("%41%42%43%44%45", 15, true, tiny, sizeof(tiny));
        assert_string_equal(tiny, "ABC");
}

static void test_error_table(void **state) {
        static const struct {
                unsigned code;
                const char *message;
                int error;
                bool login;
        } table[] = {
                { 14, "etcdserver: rpc not supported for learner", -EOPNOTSUPP },
                { 12, "unknown service etcdserverpb.Cluster", -EOPNOTSUPP },
                { 3, "etcdserver: authentication failed, invalid user ID or password", -EACCES },
                { 16, "etcdserver: invalid auth token", -EACCES, true },
                { 3, "etcdserver: user name is empty", -EACCES, true },
                { 3, "etcdserver: revision of auth store is old", -EACCES, true },
                { 16, "", -EACCES, true },
                { 7, "etcdserver: permission denied", -EACCES },
                { 2, "etcdserver: permission denied", -EACCES },
                { 9, "etcdserver: authentication is not enabled", -EOPNOTSUPP },
                { 9, "etcdserver: can only promote a learner member which is in sync with leader", -EAGAIN },
                { 9, "etcdserver: can only promote a learner member", -EREMOTEIO },
                { 9, "etcdserver: too many learner members in cluster", -EBUSY },
                { 9, "etcdserver: Peer URLs already exists", -EEXIST },
                { 9, "etcdserver: member ID already exist", -EEXIST },
                { 5, "etcdserver: member not found", -ENOENT },
                { 5, "etcdserver: requested lease not found", -EREMOTEIO },
                { 9, "etcdserver: re-configuration failed due to not enough started members", -EHOSTDOWN },
                { 14, "etcdserver: unhealthy cluster", -EHOSTDOWN },
                { 14, "etcdserver: no leader", -EHOSTDOWN },
                { 14, "etcdserver: leader changed", -EHOSTDOWN },
                { 14, "etcdserver: request timed out", -ETIMEDOUT },
                { 14, "etcdserver: request timed out, possibly due to connection lost", -ETIMEDOUT },
                { 14, "transport is closing", -EHOSTDOWN },
                { 9, "etcdserver: not leader", -EREMOTEIO },
                { 9, "etcdserver: bad leader transferee", -EREMOTEIO },
                { 8, "etcdserver: mvcc: database space exceeded", -EREMOTEIO },
                { 4, "context deadline exceeded", -ETIMEDOUT },
                { 2, "context deadline exceeded", -ETIMEDOUT },
                { 1, "context canceled", -ECONNRESET },
                { 2, "something new", -EREMOTEIO },
                { 13, "", -EREMOTEIO },
                { 4711, "no such code", -EREMOTEIO },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const GrpcError *e = grpc_error_lookup(table[i].code, table[i].message);

                assert_int_equal(e->error, table[i].error);
                assert_int_equal(e->login, table[i].login);
                assert_non_null(e->sentence);
        }
        assert_true(grpc_error_lookup(9, "etcdserver: authentication is not enabled")->auth_off);
        for (unsigned code = 0; code < 100; code++)
                assert_true(grpc_error_lookup(code, "")->error < 0);
}

static void test_curl_errors(void **state) {
        assert_int_equal(curl_error_to_errno(CURLE_COULDNT_CONNECT, EHOSTUNREACH, ""), -EHOSTUNREACH);
        assert_int_equal(curl_error_to_errno(CURLE_COULDNT_CONNECT, 0, ""), -ECONNREFUSED);
        assert_int_equal(curl_error_to_errno(CURLE_SSL_CONNECT_ERROR, 0, "tlsv1 alert bad certificate"), -EKEYREJECTED);
        assert_int_equal(curl_error_to_errno(CURLE_SSL_CONNECT_ERROR, 0, "SSL_ERROR_SYSCALL"), -ECONNRESET);
        assert_int_equal(curl_error_to_errno(CURLE_RECV_ERROR, 0, "tlsv13 alert certificate required"), -EKEYREJECTED);
        assert_int_equal(curl_error_to_errno(CURLE_RECV_ERROR, 0, "Connection reset by peer"), -ECONNRESET);
        for (int code = 1; code < 120; code++)
                assert_true(curl_error_to_errno((CURLcode) code, 0, "") < 0);
}

/* The sink of a snapshot */

static int sink_all(const uint8_t *data, size_t size, size_t piece, char ret_hex[static DIGEST_HEX_SIZE]) {
        _cleanup_close_ int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        SnapshotSink s;
        int r = snapshot_sink_init(&s, fd);

        for (size_t at = 0; r >= 0 && at < size; at += piece)
                r = snapshot_sink_feed(&s, data + at, size - at < piece ? size - at : piece);
        if (r >= 0)
                r = snapshot_sink_end(&s, ret_hex);
        assert_int_equal(s.bytes, size);
        assert_int_equal(lseek(fd, 0, SEEK_END), size);
        snapshot_sink_done(&s);
        return r;
}

static void test_snapshot_sink(void **state) {
        uint8_t data[1000 + DIGEST_SIZE];
        char hex[DIGEST_HEX_SIZE], want[DIGEST_HEX_SIZE];

        for (size_t i = 0; i < 1000; i++)
                data[i] = (uint8_t) (i * 7);
        SHA256(data, 1000, data + 1000);
        hex_encode(data + 1000, DIGEST_SIZE, want);

        for (size_t piece = 1; piece <= sizeof(data); piece++) {
                assert_int_equal(sink_all(data, sizeof(data), piece, hex), 0);
                assert_string_equal(hex, want);
        }
        assert_int_equal(sink_all(data, 1000, 33, hex), -EBADMSG);              /* no hash */
        assert_int_equal(sink_all(data, sizeof(data) - 1, 100, hex), -EBADMSG); /* cut */
        assert_int_equal(sink_all(data, 0, 1, hex), -EBADMSG);
        assert_int_equal(sink_all(data, DIGEST_SIZE, 1, hex), -EBADMSG);
        for (size_t i = 0; i < sizeof(data); i += 31) {
                data[i] ^= 1;
                assert_int_equal(sink_all(data, sizeof(data), 64, hex), -EBADMSG);
                data[i] ^= 1;
        }
}

/* Whole calls */

#define ONE "\0\0\0\0\5hello"

static const Scenario scenarios[] = {
        { "one message", "200", GRPC, BODY(ONE), .grpc_status = "0" },
        { "content type with a suffix", "200", GRPC "+proto", BODY(ONE), .grpc_status = "0" },
        { "one byte a frame", "200", GRPC, BODY(ONE), .piece = 1, .grpc_status = "0" },
        { "a stream of three", "200", GRPC, BODY(THREE), .piece = 3, .grpc_status = "0", .stream = true },
        { "an empty stream", "200", GRPC, .grpc_status = "0", .stream = true },
        { "an error", "200", GRPC, .grpc_status = "5", .grpc_message = "not%20%1bfound", .flags = TRAILERS_ONLY,
          .want_code = 5, .want_text = "not found" },
        { "an error in trailers", "200", GRPC, BODY(ONE), .grpc_status = "14", .grpc_message = "down", .want_code = 14,
          .want_text = "down" },
        { "two messages", "200", GRPC, BODY(THREE), .grpc_status = "0", .want = -EPROTO, .want_text = "more than one" },
        { "no message", "200", GRPC, .grpc_status = "0", .want = -EPROTO, .want_text = "no message" },
        { "no status", "200", GRPC, BODY(ONE), .grpc_message = "?", .want = -EPROTO, .want_text = "no status" },
        { "a status that is no number", "200", GRPC, BODY(ONE), .grpc_status = "0x0", .want = -EPROTO,
          .want_text = "status" },
        { "an empty status", "200", GRPC, BODY(ONE), .grpc_status = "", .want = -EPROTO, .want_text = "status" },
        { "a truncated message", "200", GRPC, BODY("\0\0\0\0\5hel"), .grpc_status = "0", .want = -EPROTO,
          .want_text = "middle" },
        { "a truncated prefix", "200", GRPC, BODY("\0\0"), .grpc_status = "0", .want = -EPROTO, .want_text = "middle" },
        { "a compressed message", "200", GRPC, BODY("\1\0\0\0\1x"), .grpc_status = "0", .want = -EPROTO,
          .want_text = "compressed" },
        { "a huge message", "200", GRPC, BODY("\0\1\0\0\1x"), .grpc_status = "0", .want = -EPROTO,
          .want_text = "size limit" },
        { "HTTP 503", "503", "text/html", BODY("<html>"), .want = -EPROTO, .want_text = "503" },
        { "a redirect", "302", "text/html", BODY("<html>"), .want = -EPROTO, .want_text = "302" },
        { "a web page", "200", "text/html", BODY("<html>"), .grpc_status = "0", .want = -EPROTO,
          .want_text = "not gRPC" },
        { "a stream that is reset", "200", GRPC, BODY(ONE), .flags = RESET_STREAM, .want = -ECONNRESET },
        { "a peer that hangs up", "200", GRPC, BODY(ONE), .flags = HANG_UP, .want = -ECONNRESET },
        { "a call that stalls", "200", GRPC, BODY(ONE), .flags = STALL, .want = -ETIMEDOUT, .want_text = "in time" },
        { "a stream that stalls", "200", GRPC, BODY(ONE), .flags = STALL, .stream = true, .want = -ETIMEDOUT },
        { "HTTP/1.1", .flags = HTTP1, .want = -EPROTO, .want_text = "HTTP/2" },
};

static int call_server(GrpcChannel *ch, const Scenario *s, Collected *ret, GrpcStatus *status, char **reterr) {
        static const uint8_t frame[] = "\0\0\0\0\2hi";
        uint64_t patience = s->flags & STALL ? 300 * USEC_PER_MSEC : 20 * USEC_PER_SEC;
        GrpcCall call = {
                .method = "test.Service/Call",
                .frame = frame,
                .frame_size = sizeof(frame) - 1,
                .token = "secret",
                .deadline = deadline_after(patience),
                .idle = s->stream ? patience : 0,
                .cancel_fd = -1,
                .on_message = collect,
                .userdata = ret,
        };

        return grpc_call(ch, &call, status, reterr);
}

static void test_scenarios(void **state) {
        const GrpcTls tls = { .ca_file = ca_file };

        for (size_t i = 0; i < ELEMENTSOF(scenarios); i++) {
                const Scenario *s = &scenarios[i];
                _cleanup_(grpc_channel_freep) GrpcChannel *ch = NULL;
                _cleanup_free_ char *endpoint = NULL;
                pid_t pid = start_server(s, &endpoint);

                assert_int_equal(grpc_channel_new(endpoint, &tls, &ch), 0);
                /* Twice: after an error the channel must be as good as new. */
                for (unsigned turn = 0; turn < (s->flags & HANG_UP ? 1 : 2); turn++) {
                        _cleanup_free_ char *why = NULL;
                        GrpcStatus status = {};
                        Collected c = {};
                        int r = call_server(ch, s, &c, &status, &why);

                        print_message("%s: %d, status %u %s%s\n", s->name, r, status.code, status.message, why ?: "");
                        assert_int_equal(r, s->want);
                        assert_int_equal(status.code, s->want_code);
                        assert_true(!why == (r >= 0));
                        if (s->want_text)
                                assert_non_null(strstr(why ?: status.message, s->want_text));
                        if (r >= 0 && s->want_code == 0)
                                assert_string_equal(c.text, s->stream && !s->body ? ""
                                                            : s->stream           ? "hello||x|"
                                                                                  : "hello|");
                }
                stop_server(pid);
        }
}

/* A token that would write headers of its own. */
static void test_hostile_token(void **state) {
        static const Scenario s = { "hostile token", "200", GRPC, BODY("\0\0\0\0\x08\x12\6ab\r\nc:"),
                                    .grpc_status = "0" };
        static const Scenario bomb = { "malformed", "200", GRPC, BODY("\0\0\0\0\3\x12\7a"), .grpc_status = "0" };
        const Scenario *each[] = { &s, &bomb };

        for (size_t i = 0; i < ELEMENTSOF(each); i++) {
                _cleanup_(etcd_client_freep) EtcdClient *c = NULL;
                _cleanup_free_ char *endpoint = NULL, *why = NULL;
                EtcdMembers *members = NULL;
                pid_t pid = start_server(each[i], &endpoint);

                assert_int_equal(etcd_client_new(&(EtcdOptions){ .user = "root",
                                                                 .password = "geheim",
                                                                 .ca_file = ca_file,
                                                                 .cancel_fd = -1 },
                                                 &c, &why),
                                 0);
                assert_int_equal(etcd_member_list(c, endpoint, true, 20 * USEC_PER_SEC, &members, &why), -EPROTO);
                assert_non_null(strstr(why, "Authenticate"));
                assert_null(strstr(why, "geheim"));
                stop_server(pid);
        }
}

/* Answers to MemberList that must not be believed: no header, no peer URL, a bad URL, a doubled ID, a control
 * character. */
static void test_hostile_members(void **state) {
        static const Scenario table[] = {
                { "no header", "200", GRPC, BODY("\0\0\0\0\x0f\x12\x0d\x08\1\x1a\x09http://a:"), .grpc_status = "0" },
                { "no URL", "200", GRPC, BODY("\0\0\0\0\6\x0a\0\x12\2\x08\1"), .grpc_status = "0" },
                { "bad URL", "200", GRPC, BODY("\0\0\0\0\x0c\x0a\0\x12\x08\x08\1\x1a\4file"), .grpc_status = "0" },
                { "doubled", "200", GRPC,
                  BODY("\0\0\0\0\x20\x0a\0\x12\x0d\x08\1\x1a\x09http://a:\x12\x0d\x08\1\x1a\x09http://b:"),
                  .grpc_status = "0" },
                { "control", "200", GRPC, BODY("\0\0\0\0\x14\x0a\0\x12\x10\x08\1\x12\1\n\x1a\x09http://a:"),
                  .grpc_status = "0" },
                { "good", "200", GRPC, BODY("\0\0\0\0\x14\x0a\0\x12\x10\x08\1\x12\1n\x1a\x09http://a:"),
                  .grpc_status = "0" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
                _cleanup_(etcd_client_freep) EtcdClient *c = NULL;
                _cleanup_free_ char *endpoint = NULL, *why = NULL;
                pid_t pid = start_server(&table[i], &endpoint);
                int r;

                assert_int_equal(etcd_client_new(&(EtcdOptions){ .ca_file = ca_file, .cancel_fd = -1 }, &c, &why), 0);
                r = etcd_member_list(c, endpoint, true, 20 * USEC_PER_SEC, &members, &why);
                print_message("%s: %s\n", table[i].name, why ?: "accepted");
                assert_int_equal(r, streq(table[i].name, "good") ? 0 : -EPROTO);
                stop_server(pid);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_frames_split_anywhere), cmocka_unit_test(test_frames_byte_by_byte),
                cmocka_unit_test(test_frames_truncated),      cmocka_unit_test(test_frames_refused),
                cmocka_unit_test(test_frames_large),          cmocka_unit_test(test_text_clean),
                cmocka_unit_test(test_error_table),           cmocka_unit_test(test_curl_errors),
                cmocka_unit_test(test_snapshot_sink),         cmocka_unit_test(test_scenarios),
                cmocka_unit_test(test_hostile_token),         cmocka_unit_test(test_hostile_members),
        };

        return cmocka_run_group_tests(tests, make_certificate, drop_certificate);
}
