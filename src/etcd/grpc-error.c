/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "grpc-error.h"

#include <string.h>

#define ANY_CODE (-1)

typedef struct Row {
        int code;         /* ANY_CODE: the text alone decides */
        const char *text; /* contained in the message; NULL: any message */
        GrpcError error;
} Row;

/* The first row that fits wins: texts before codes, longer texts before those they contain. etcd sends some of these
 * with different codes from version to version, so the text alone decides wherever it is specific. */
static const Row rows[] = {
        { ANY_CODE, "not supported for learner", { -EOPNOTSUPP, "a learner does not serve this call" } },
        { ANY_CODE,
          "authentication is not enabled",
          { -EOPNOTSUPP, "authentication is off in this cluster", .auth_off = true } },
        { ANY_CODE, "authentication failed", { -EACCES, "user or password is wrong" } },
        { ANY_CODE, "invalid auth token", { -EACCES, "the login is no longer valid", .login = true } },
        { ANY_CODE, "user name is empty", { -EACCES, "the call needs a login", .login = true } },
        { ANY_CODE, "revision of auth store is old", { -EACCES, "the login is outdated", .login = true } },
        { ANY_CODE, "user name not found", { -EACCES, "the user does not exist" } },
        { ANY_CODE, "permission denied", { -EACCES, "the user may not do this" } },

        { ANY_CODE, "which is in sync with leader", { -EAGAIN, "the learner is not in sync with the leader yet" } },
        { ANY_CODE, "can only promote a learner", { -EREMOTEIO, "the member is no learner" } },
        { ANY_CODE, "too many learner", { -EBUSY, "the cluster has another learner, and takes no second" } },
        { ANY_CODE, "Peer URLs already exists", { -EEXIST, "a member with this peer URL exists" } },
        { ANY_CODE, "member ID already exist", { -EEXIST, "a member with this ID exists" } },
        { ANY_CODE, "member not found", { -ENOENT, "there is no such member" } },
        { ANY_CODE,
          "not enough started members",
          { -EHOSTDOWN, "too few members are started; start the member that is down, then try again" } },

        { ANY_CODE, "request timed out", { -ETIMEDOUT, "the cluster did not agree in time" } },
        { ANY_CODE,
          "unhealthy cluster",
          { -EHOSTDOWN, "a member is down, or was connected less than 5 s ago; try again, or look at its unit" } },
        { ANY_CODE, "no leader", { -EHOSTDOWN, "the cluster has no leader" } },
        { ANY_CODE, "leader changed", { -EHOSTDOWN, "the leader changed meanwhile" } },
        { ANY_CODE, "server stopped", { -EHOSTDOWN, "the member is stopping" } },
        { ANY_CODE, "raft proposal dropped", { -EHOSTDOWN, "the cluster has no leader" } },
        { ANY_CODE, "too many requests", { -EHOSTDOWN, "the member is overloaded" } },
        { ANY_CODE, "not leader", { -EREMOTEIO, "only the leader serves this call, and the member is not it" } },
        { ANY_CODE, "bad leader transferee", { -EREMOTEIO, "the member that is to lead is no voter" } },
        { ANY_CODE,
          "database space exceeded",
          { -EREMOTEIO, "the database is full: compact, defragment, then disarm the alarm" } },
        { GRPC_UNKNOWN, "context deadline exceeded", { -ETIMEDOUT, "the deadline passed" } },

        { GRPC_CANCELLED, NULL, { -ECONNRESET, "the member gave the call up" } },
        { GRPC_DEADLINE_EXCEEDED, NULL, { -ETIMEDOUT, "the deadline passed" } },
        { GRPC_PERMISSION_DENIED, NULL, { -EACCES, "the user may not do this" } },
        { GRPC_UNIMPLEMENTED, NULL, { -EOPNOTSUPP, "this etcd does not have this call" } },
        { GRPC_UNAVAILABLE, NULL, { -EHOSTDOWN, "the member cannot serve the call now" } },
        { GRPC_UNAUTHENTICATED, NULL, { -EACCES, "the call needs a login", .login = true } },
};

static const GrpcError other = { -EREMOTEIO, "the call failed" };

const GrpcError *grpc_error_lookup(unsigned code, const char *message) {
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                if (rows[i].code != ANY_CODE && (unsigned) rows[i].code != code)
                        continue;
                if (!rows[i].text || strstr(message, rows[i].text))
                        return &rows[i].error;
        }
        return &other;
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

void grpc_text_clean(const char *text, size_t length, bool percent, char *ret, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < length && n + 1 < size; i++) {
                unsigned char c = (unsigned char) text[i];

                if (percent && c == '%' && length - i > 2 && hex_digit(text[i + 1]) >= 0 &&
                    hex_digit(text[i + 2]) >= 0) {
                        c = (unsigned char) (hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
                        i += 2;
                }
                if (c >= 0x80)
                        c = '?';
                if (c >= 0x20 && c != 0x7f)
                        ret[n++] = (char) c;
        }
        ret[n] = '\0';
}
