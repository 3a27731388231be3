/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "fake-grpc-server.h"

#include "basic/string-util.h"

static EVP_PKEY *key;
static X509 *certificate;
char ca_file[] = "/tmp/test-grpc-ca-XXXXXX";

int make_certificate(void **state) {
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

int drop_certificate(void **state) {
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

pid_t start_server(const Scenario *s, char **ret_endpoint) {
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

void stop_server(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}
