/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "grpc-transport.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "basic/error.h"
#include "basic/string-util.h"

#if LIBCURL_VERSION_NUM < 0x074200 /* 7.66 */
#define curl_multi_poll curl_multi_wait
#endif

#define WAIT_MSEC_MAX 1000U
#define READ_BUFFER (128L * 1024L)

struct GrpcChannel {
        char *endpoint;
        GrpcTls tls;
        CURLM *multi; /* owns the connection; NULL: not connected */
        CURL *easy;
        char error[CURL_ERROR_SIZE];
};

uint64_t deadline_after(uint64_t usec) {
        uint64_t now = now_boot();

        return usec > UINT64_MAX - now ? UINT64_MAX : now + usec;
}

int grpc_channel_new(const char *endpoint, const GrpcTls *tls, GrpcChannel **ret) {
        GrpcChannel *ch = calloc(1, sizeof(*ch));

        if (!ch)
                return -ENOMEM;
        ch->tls = *tls;
        ch->endpoint = strdup(endpoint);
        if (!ch->endpoint) {
                grpc_channel_free(ch);
                return -ENOMEM;
        }
        *ret = ch;
        return 0;
}

GrpcChannel *grpc_channel_free(GrpcChannel *ch) {
        if (!ch)
                return NULL;
        grpc_channel_disconnect(ch);
        free(ch->endpoint);
        free(ch);
        return NULL;
}

const char *grpc_channel_endpoint(const GrpcChannel *ch) {
        return ch->endpoint;
}

void grpc_channel_disconnect(GrpcChannel *ch) {
        if (ch->easy)
                curl_easy_cleanup(ch->easy);
        if (ch->multi)
                curl_multi_cleanup(ch->multi);
        ch->easy = NULL;
        ch->multi = NULL;
}

static size_t on_curl_data(char *data, size_t size, size_t n, void *userdata) {
        Transfer *t = userdata;

        t->handler_error = t->on_data(data, size * n, t->userdata);
        return t->handler_error < 0 ? 0 : size * n;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t on_curl_header(char *line, size_t size, size_t n, void *userdata) {
        Transfer *t = userdata;
        size_t all = size * n, length = all;
        const char *colon = memchr(line, ':', length), *value;

        t->answered = true;
        if (!t->on_header || !colon)
                return all;

        value = colon + 1;
        while (length > 0 && is_blank(line[length - 1]))
                length--;
        while (value < line + length && is_blank(*value))
                value++;
        if (value > line + length)
                value = line + length;

        t->handler_error =
                t->on_header(line, (size_t) (colon - line), value, (size_t) (line + length - value), t->userdata);
        return t->handler_error < 0 ? 0 : all;
}

#define SET(easy, option, value)                                                                                       \
        do {                                                                                                           \
                CURLcode _code = curl_easy_setopt((easy), (option), (value));                                          \
                if (_code != CURLE_OK)                                                                                 \
                        return _code;                                                                                  \
        } while (false)

/* What is the same for all transfers of a channel. */
static CURLcode set_channel(GrpcChannel *ch, const Transfer *t) {
        SET(ch->easy, CURLOPT_ERRORBUFFER, ch->error);
        SET(ch->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
        SET(ch->easy, CURLOPT_PROTOCOLS_STR, "https");
#else
        SET(ch->easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTPS);
#endif
        SET(ch->easy, CURLOPT_FOLLOWLOCATION, 0L);
        SET(ch->easy, CURLOPT_PROXY, "");
        SET(ch->easy, CURLOPT_NOPROXY, "*");
        SET(ch->easy, CURLOPT_NOSIGNAL, 1L);
        SET(ch->easy, CURLOPT_TCP_KEEPALIVE, 1L);
        SET(ch->easy, CURLOPT_BUFFERSIZE, READ_BUFFER);
        SET(ch->easy, CURLOPT_USERAGENT, "dhetcd/" DHETCD_VERSION);

        SET(ch->easy, CURLOPT_SSL_VERIFYPEER, 1L);
        SET(ch->easy, CURLOPT_SSL_VERIFYHOST, 2L);
        SET(ch->easy, CURLOPT_SSLVERSION,
            (long) CURL_SSLVERSION_TLSv1_2 | (t->tls12 ? (long) CURL_SSLVERSION_MAX_TLSv1_2 : 0L));
        SET(ch->easy, CURLOPT_SSL_SESSIONID_CACHE, 0L); /* a resumed session would not show a new certificate */
        if (ch->tls.ca_file) {
                SET(ch->easy, CURLOPT_CAINFO, ch->tls.ca_file);
                SET(ch->easy, CURLOPT_CAPATH, NULL); /* else the system's CAs are trusted too */
        }
        if (ch->tls.cert_file) {
                SET(ch->easy, CURLOPT_SSLCERT, ch->tls.cert_file);
                SET(ch->easy, CURLOPT_SSLKEY, ch->tls.key_file);
        }
        return CURLE_OK;
}

static CURLcode set_transfer(GrpcChannel *ch, Transfer *t, const char *url) {
        SET(ch->easy, CURLOPT_URL, url);
        if (t->body) {
                SET(ch->easy, CURLOPT_POST, 1L);
                SET(ch->easy, CURLOPT_POSTFIELDS, t->body); /* borrowed, not copied */
                SET(ch->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) t->body_size);
        } else
                SET(ch->easy, CURLOPT_HTTPGET, 1L);
        SET(ch->easy, CURLOPT_HTTPHEADER, t->headers);
        SET(ch->easy, CURLOPT_WRITEFUNCTION, on_curl_data);
        SET(ch->easy, CURLOPT_WRITEDATA, t);
        SET(ch->easy, CURLOPT_HEADERFUNCTION, on_curl_header);
        SET(ch->easy, CURLOPT_HEADERDATA, t);
        return CURLE_OK;
}

static int prepare(GrpcChannel *ch, Transfer *t, char **reterr) {
        _cleanup_free_ char *url = format("%s%s%s", ch->endpoint, *t->path == '/' ? "" : "/", t->path);
        bool is_new = !ch->easy;
        CURLcode code = CURLE_OK;

        if (!url)
                return -ENOMEM;
        if (is_new) {
                ch->multi = curl_multi_init();
                ch->easy = curl_easy_init();
                if (!ch->multi || !ch->easy)
                        return -ENOMEM;
                code = set_channel(ch, t);
        }
        if (code == CURLE_OK)
                code = set_transfer(ch, t, url);
        if (code == CURLE_OUT_OF_MEMORY)
                return -ENOMEM;
        if (code != CURLE_OK)
                return fail(reterr, -EOPNOTSUPP, "%s at %s: libcurl lacks what is needed (%s)", t->what, ch->endpoint,
                            curl_easy_strerror(code));
        ch->error[0] = '\0';
        return 0;
}

/* Readable, closed, or no descriptor at all: each ends the call. */
static bool is_canceled(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Waits for the network, the cancel descriptor, or the deadline. */
static int wait_for_events(GrpcChannel *ch, const Transfer *t) {
        struct curl_waitfd extra = { .fd = t->cancel_fd, .events = CURL_WAIT_POLLIN };
        uint64_t now = now_boot(), msec;

        if (is_canceled(t->cancel_fd))
                return -ECANCELED;
        if (now >= t->deadline)
                return -ETIMEDOUT;
        msec = (t->deadline - now) / USEC_PER_MSEC + 1;
        if (curl_multi_poll(ch->multi, &extra, t->cancel_fd >= 0 ? 1 : 0,
                            (int) (msec < WAIT_MSEC_MAX ? msec : WAIT_MSEC_MAX), NULL) != CURLM_OK)
                return -EIO;
        return 0;
}

/* Until the transfer ends, whatever its result: *ret. */
static int drive(GrpcChannel *ch, const Transfer *t, CURLcode *ret) {
        for (;;) {
                const CURLMsg *message;
                int running, left, r;

                r = wait_for_events(ch, t);
                if (r < 0)
                        return r;
                if (curl_multi_perform(ch->multi, &running) != CURLM_OK)
                        return -EIO;
                while ((message = curl_multi_info_read(ch->multi, &left)))
                        if (message->msg == CURLMSG_DONE) {
                                *ret = message->data.result;
                                return 0;
                        }
                if (running == 0)
                        return -EIO;
        }
}

/* With CURLOPT_NOSIGNAL, libcurl leaves SIGPIPE to us, and older ones write with plain write(). */
static int drive_without_sigpipe(GrpcChannel *ch, const Transfer *t, CURLcode *ret) {
        sigset_t pipe_only, old, pending;
        bool was_pending;
        int r;

        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        sigpending(&pending);
        was_pending = sigismember(&pending, SIGPIPE) > 0;
        pthread_sigmask(SIG_BLOCK, &pipe_only, &old);

        r = drive(ch, t, ret);

        if (!was_pending)
                while (sigtimedwait(&pipe_only, NULL, &(struct timespec){}) < 0 && errno == EINTR)
                        ;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return r;
}

static bool contains_any(const char *text, const char *const *parts) {
        for (; *parts; parts++)
                if (strstr(text, *parts))
                        return true;
        return false;
}

int curl_error_to_errno(CURLcode code, long os_errno, const char *text) {
        /* OpenSSL's words for a connection that ended, which libcurl reports as a TLS error all the same. */
        static const char *const ended[] = { "SYSCALL", "reset by peer", "unexpected eof", "Broken pipe", NULL };
        /* In TLS 1.3 the peer's verdict on our certificate comes after the handshake, as an error of reading. */
        static const char *const refused[] = { "alert bad certificate", "alert certificate",
                                               "alert unknown ca",      "alert unsupported certificate",
                                               "alert access denied",   NULL };

        switch (code) {
        case CURLE_COULDNT_CONNECT:
                return os_errno > 0 ? (int) -os_errno : -ECONNREFUSED;
        case CURLE_COULDNT_RESOLVE_HOST:
                return -EHOSTUNREACH;
        case CURLE_OPERATION_TIMEDOUT:
                return -ETIMEDOUT;
        case CURLE_OUT_OF_MEMORY:
                return -ENOMEM;
        case CURLE_SSL_CONNECT_ERROR:
                return contains_any(text, ended) ? -ECONNRESET : -EKEYREJECTED;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_CRL_BADFILE:
        case CURLE_SSL_INVALIDCERTSTATUS:
                return -EKEYREJECTED;
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
                return contains_any(text, refused) ? -EKEYREJECTED : -ECONNRESET;
        default:
                return -EPROTO;
        }
}

static int explain_curl(GrpcChannel *ch, const Transfer *t, CURLcode code, char **reterr) {
        const char *raw = ch->error[0] ? ch->error : curl_easy_strerror(code);
        char text[CURL_ERROR_SIZE];
        long os_errno = 0;
        int r;

        (void) curl_easy_getinfo(ch->easy, CURLINFO_OS_ERRNO, &os_errno);
        grpc_text_clean(raw, strlen(raw), /* percent= */ false, text, sizeof(text));
        r = curl_error_to_errno(code, os_errno, text);
        return fail(reterr, r, "%s at %s: %s%s", t->what, ch->endpoint, r == -EKEYREJECTED ? "TLS: " : "", text);
}

static int explain(GrpcChannel *ch, const Transfer *t, int error, char **reterr) {
        if (error == -ETIMEDOUT)
                return fail(reterr, error, "%s at %s: no answer in time", t->what, ch->endpoint);
        if (error == -ECANCELED)
                return fail(reterr, error, "%s at %s: canceled", t->what, ch->endpoint);
        return fail(reterr, error, "%s at %s: %s", t->what, ch->endpoint, strerror(-error));
}

/* The transfer has ended by itself; its connection may be kept when it ended well. */
static int conclude(GrpcChannel *ch, Transfer *t, CURLcode code, char **reterr) {
        long version = 0;

        if (t->handler_error < 0)
                return explain(ch, t, t->handler_error, reterr);
        if (code != CURLE_OK)
                return explain_curl(ch, t, code, reterr);

        (void) curl_easy_getinfo(ch->easy, CURLINFO_RESPONSE_CODE, &t->http_status);
        (void) curl_easy_getinfo(ch->easy, CURLINFO_HTTP_VERSION, &version);
        if (t->body && version != CURL_HTTP_VERSION_2_0)
                return fail(reterr, -EPROTO, "%s at %s: the peer does not speak HTTP/2", t->what, ch->endpoint);
        return 0;
}

int grpc_channel_transfer(GrpcChannel *ch, Transfer *t, char **reterr) {
        CURLcode code = CURLE_OK;
        int r;

        r = prepare(ch, t, reterr);
        if (r >= 0 && curl_multi_add_handle(ch->multi, ch->easy) != CURLM_OK)
                r = -EIO;
        if (r < 0) {
                grpc_channel_disconnect(ch);
                return r;
        }

        r = drive_without_sigpipe(ch, t, &code);
        r = r < 0 ? explain(ch, t, r, reterr) : conclude(ch, t, code, reterr);
        (void) curl_multi_remove_handle(ch->multi, ch->easy);
        if (r < 0)
                grpc_channel_disconnect(ch);
        else
                (void) curl_easy_setopt(ch->easy, CURLOPT_HTTPHEADER, NULL); /* the caller frees it */
        return r;
}
