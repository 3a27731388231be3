/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Framing, texts, the meaning of errors, the hash of a snapshot; then whole calls against a small HTTP/2 server of our
 * own, which misbehaves in every way a scenario asks for. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

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

/* The server: one connection, each request on it answered as the scenario says */

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
        bool stream;
        int want;
        unsigned want_code;
        const char *want_text;
} Scenario;

#define GRPC "application/grpc"
#define ONE "\0\0\0\0\5hello"
#define BODY(b) .body = (b), .body_size = sizeof(b) - 1

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

static EVP_PKEY *key;
static X509 *certificate;
static char ca_file[] = "/tmp/test-grpc-ca-XXXXXX";

static int make_certificate(void **state) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
        X509_NAME *name;
        X509_EXTENSION *san;
        FILE *f;

        assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
        assert_true(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1) > 0);
        assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
        EVP_PKEY_CTX_free(ctx);

        certificate = X509_new();
        X509_set_version(certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
        X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        X509_set_pubkey(certificate, key);
        name = X509_get_subject_name(certificate);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *) "test", -1, -1, 0);
        X509_set_issuer_name(certificate, name);
        san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
        X509_add_ext(certificate, san, -1);
        X509_EXTENSION_free(san);
        assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);

        f = fdopen(mkstemp(ca_file), "w");
        PEM_write_X509(f, certificate);
        fclose(f);
        return 0;
}

static int drop_certificate(void **state) {
        X509_free(certificate);
        EVP_PKEY_free(key);
        return unlink(ca_file);
}

static void send_frame(SSL *ssl, uint8_t type, uint8_t flags, uint32_t stream, const void *data, size_t size) {
        uint8_t frame[9 + 4096] = { (uint8_t) (size >> 16),
                                    (uint8_t) (size >> 8),
                                    (uint8_t) size,
                                    type,
                                    flags,
                                    (uint8_t) (stream >> 24),
                                    (uint8_t) (stream >> 16),
                                    (uint8_t) (stream >> 8),
                                    (uint8_t) stream };

        if (size > 0)
                memcpy(frame + 9, data, size);
        SSL_write(ssl, frame, (int) (9 + size));
}

/* HPACK in its plainest form: a literal, not indexed, not Huffman-coded. */
static size_t put_header(char *to, const char *name, const char *value) {
        return (size_t) sprintf(to, "%c%c%s%c%s", 0, (int) strlen(name), name, (int) strlen(value), value);
}

static void answer(SSL *ssl, uint32_t stream, const Scenario *s) {
        char headers[1024], trailers[1024];
        size_t n = 0, t = 0, piece = s->piece ?: s->body_size;

        n += put_header(headers + n, ":status", s->status);
        n += put_header(headers + n, "content-type", s->type);
        if (s->grpc_status)
                t += put_header(trailers + t, "grpc-status", s->grpc_status);
        if (s->grpc_message)
                t += put_header(trailers + t, "grpc-message", s->grpc_message);
        if (s->flags & TRAILERS_ONLY) {
                memcpy(headers + n, trailers, t);
                send_frame(ssl, 1, 0x4 | 0x1, stream, headers, n + t);
                return;
        }

        send_frame(ssl, 1, 0x4, stream, headers, n);
        for (size_t at = 0; at < s->body_size; at += piece)
                send_frame(ssl, 0, 0, stream, s->body + at, s->body_size - at < piece ? s->body_size - at : piece);
        if (s->flags & RESET_STREAM)
                send_frame(ssl, 3, 0, stream, "\0\0\0\2", 4);
        else if (s->flags & HANG_UP)
                _exit(0);
        else if (!(s->flags & STALL))
                send_frame(ssl, t > 0 ? 1 : 0, t > 0 ? 0x4 | 0x1 : 0x1, stream, trailers, t);
}

static bool receive(SSL *ssl, void *data, size_t size) {
        for (size_t at = 0; at < size;) {
                int n = SSL_read(ssl, (char *) data + at, (int) (size - at));

                if (n <= 0)
                        return false;
                at += (size_t) n;
        }
        return true;
}

static void serve_http2(SSL *ssl, const Scenario *s) {
        uint8_t head[9], body[65536];

        if (!receive(ssl, body, 24))
                return;
        send_frame(ssl, 4, 0, 0, NULL, 0);
        while (receive(ssl, head, sizeof(head))) {
                size_t size = (size_t) head[0] << 16 | (size_t) head[1] << 8 | head[2];
                uint32_t stream =
                        (uint32_t) head[5] << 24 | (uint32_t) head[6] << 16 | (uint32_t) head[7] << 8 | head[8];

                if (size > sizeof(body) || !receive(ssl, body, size))
                        return;
                if (head[3] == 4 && !(head[4] & 1))
                        send_frame(ssl, 4, 1, 0, NULL, 0);
                if (head[3] <= 1 && (head[4] & 1))
                        answer(ssl, stream, s);
        }
}

static int choose_http2(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in,
                        unsigned in_size, void *userdata) {
        *out = (const unsigned char *) "h2";
        *size = 2;
        return SSL_TLSEXT_ERR_OK;
}

static void serve(int fd, const Scenario *s) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        char request[4096];
        SSL *ssl;

        SSL_CTX_use_certificate(ctx, certificate);
        SSL_CTX_use_PrivateKey(ctx, key);
        if (!(s->flags & HTTP1))
                SSL_CTX_set_alpn_select_cb(ctx, choose_http2, NULL);
        for (;;) {
                ssl = SSL_new(ctx);
                SSL_set_fd(ssl, accept(fd, NULL, NULL));
                if (SSL_accept(ssl) == 1) {
                        static const char page[] =
                                "HTTP/1.1 200 OK\r\nContent-Type: " GRPC "\r\nContent-Length: 0\r\n\r\n";

                        if (!(s->flags & HTTP1))
                                serve_http2(ssl, s);
                        else if (SSL_read(ssl, request, sizeof(request)) > 0)
                                SSL_write(ssl, page, sizeof(page) - 1);
                }
                SSL_free(ssl);
        }
}

/* Starts the server; *ret_endpoint is to be freed. */
static pid_t start_server(const Scenario *s, char **ret_endpoint) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(a);
        pid_t pid;

        assert_int_equal(bind(fd, (struct sockaddr *) &a, size), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *) &a, &size), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                signal(SIGPIPE, SIG_IGN);
                alarm(60);
                serve(fd, s);
                _exit(0);
        }
        *ret_endpoint = format("https://127.0.0.1:%u", ntohs(a.sin_port));
        return pid;
}

static void stop_server(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

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
