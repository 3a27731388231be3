/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The login of a client: one token for all endpoints, got when it is first needed. A simple token dies with the server
 * that gave it, and when it is not used for a few minutes; so a call that is refused for it is repeated once with a new
 * one. */

#include "etcd-internal.h"

#include "basic/error.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"

#define TOKEN_MAX 8192U
#define AUTHENTICATE "etcdserverpb.Auth/Authenticate"

static void forget_login(EtcdClient *c) {
        if (c->token)
                explicit_bzero(c->token, strlen(c->token));
        free(c->token);
        c->token = NULL;
        c->auth_off = false;
}

static int on_token(const uint8_t *data, size_t size, void *userdata) {
        _cleanup_message_ Pb__AuthenticateResponse *answer = NULL;
        EtcdClient *c = userdata;
        int r;

        r = etcd_unpack(&pb__authenticate_response__descriptor, data, size, &answer);
        if (r < 0)
                return r;
        /* It becomes part of a header: no line ends, nothing unprintable. */
        if (!*answer->token || !etcd_text_ok(answer->token, TOKEN_MAX))
                r = -EPROTO;
        else {
                c->token = strdup(answer->token);
                r = c->token ? 0 : -ENOMEM;
        }
        explicit_bzero(answer->token, strlen(answer->token));
        return r;
}

static int authenticate(EtcdClient *c, const char *endpoint, uint64_t deadline, char **reterr) {
        Pb__AuthenticateRequest message = PB__AUTHENTICATE_REQUEST__INIT;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = AUTHENTICATE,
                .message = &message.base,
                .login = ETCD_LOGIN_NEVER,
                .deadline = deadline,
                .on_message = on_token,
                .userdata = c,
        };
        const GrpcError *why;
        uint64_t messages;
        int r;

        forget_login(c);
        message.name = c->user;
        message.password = c->password;
        r = etcd_request_once(c, &q, NULL, &why, &messages, reterr);
        if (r >= 0)
                return 0;
        forget_login(c);
        if (!why || !why->auth_off)
                return r;

        /* As etcdctl does: with authentication off, a user is one too many, and no hindrance. */
        grpc_clear_error(reterr);
        c->auth_off = true;
        return 0;
}

/* Half of the time that is left, so that there is some for the next endpoint. */
static uint64_t half_way(uint64_t deadline) {
        uint64_t now = now_boot();

        return deadline > now ? now + (deadline - now) / 2 : deadline;
}

/* Whether a voter may give what this endpoint did not. Not where the user is refused: each voter would say the same. */
static bool worth_asking_voters(int error) {
        return error == -EOPNOTSUPP || error == -EHOSTDOWN || error == -ETIMEDOUT || error == -EREMOTEIO;
}

static bool has_other_voter(char *const *voters, const char *endpoint) {
        STRV_FOREACH (v, voters)
                if (!streq(*v, endpoint))
                        return true;
        return false;
}

static int login(EtcdClient *c, const char *endpoint, uint64_t deadline, char **reterr) {
        bool others = has_other_voter(c->voters, endpoint);
        int first, r;

        if (c->token || c->auth_off)
                return 0;

        first = authenticate(c, endpoint, others ? half_way(deadline) : deadline, reterr);
        if (first >= 0 || !others || !worth_asking_voters(first))
                return first;

        STRV_FOREACH (v, c->voters) {
                _cleanup_free_ char *why = NULL;

                if (streq(*v, endpoint))
                        continue;
                r = authenticate(c, *v, half_way(deadline), &why);
                if (r >= 0) {
                        grpc_clear_error(reterr);
                        return 0;
                }
                if (r == -EACCES || r == -ECANCELED || now_boot() >= deadline)
                        return fail(reterr, r, "%s", error_text(why, r));
        }
        return first;
}

int etcd_request(EtcdClient *c, const EtcdRequest *q, char **reterr) {
        bool with_token = c->user && q->login == ETCD_LOGIN_ALWAYS, renewed = false;

        for (;;) {
                const GrpcError *why;
                bool had_login;
                uint64_t messages;
                int r;

                had_login = c->token || c->auth_off;
                if (with_token) {
                        r = login(c, q->endpoint, q->deadline, reterr);
                        if (r < 0)
                                return r;
                }

                r = etcd_request_once(c, q, with_token ? c->token : NULL, &why, &messages, reterr);
                if (r >= 0 || !why || !why->login || !c->user || messages > 0)
                        return r;
                if (with_token && (renewed || !had_login))
                        return r; /* refused although the login was new */
                if (with_token) {
                        forget_login(c);
                        renewed = true;
                }
                with_token = true;
                grpc_clear_error(reterr);
        }
}
