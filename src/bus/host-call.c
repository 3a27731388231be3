/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A connection is made by the first call and kept. A call whose connection is lost is repeated once on a new one, which
 * is tried for a while: the host remembers what it has done. */

#include "host-call.h"

#include <inttypes.h>
#include <poll.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "host-connection.h"
#include "host-state.h"
#include "names.h"
#include "ssh-command.h"

#define REMOTE_TEXT_MAX 2048U
/* A host that answered before: a link that is down for a moment, an sshd that is restarted. */
#define RETURN_WAIT (15 * USEC_PER_SEC)
#define RETURN_PAUSE_MSEC 1000

struct HostClient {
        char *address;
        bool local;
        char **command; /* ssh's; NULL for the local bus */
        char *holder;   /* who works on the transactions of the calls; NULL: it is not said */
        char *unusable; /* why there can be no ssh command; every call says so */
        int cancel_fd;
        HostConnection *connection;
};

/* ---- life ---- */

int host_client_new(const char *address, bool local, const SshOptions *ssh, int cancel_fd, HostClient **ret) {
        _cleanup_(host_client_freep) HostClient *h = calloc(1, sizeof(HostClient));
        int r;

        if (!h)
                return -ENOMEM;
        h->cancel_fd = cancel_fd;
        h->address = strdup(address);
        if (!h->address)
                return -ENOMEM;
        h->local = local;
        if (!local) {
                r = ssh_command(address, ssh, &h->command, &h->unusable);
                if (r < 0 && !h->unusable)
                        return r;
        }
        *ret = TAKE_PTR(h);
        return 0;
}

HostClient *host_client_free(HostClient *h) {
        if (!h)
                return NULL;
        host_client_disconnect(h);
        strv_free(h->command);
        free(h->holder);
        free(h->unusable);
        free(h->address);
        free(h);
        return NULL;
}

const char *host_client_address(const HostClient *h) {
        return h->address;
}

void host_client_disconnect(HostClient *h) {
        h->connection = host_connection_free(h->connection);
}

void host_client_set_cancel(HostClient *h, int cancel_fd) {
        h->cancel_fd = cancel_fd;
}

int host_client_set_holder(HostClient *h, const char *holder) {
        char *copy = strdup(holder);

        if (!copy)
                return -ENOMEM;
        free(h->holder);
        h->holder = copy;
        return 0;
}

static int connect_host(HostClient *h) {
        if (h->connection)
                return 0;
        return h->local ? host_connection_new_local(&h->connection)
                        : host_connection_new_ssh(h->command, &h->connection);
}

/* ---- the message ---- */

static int append_strv(sd_bus_message *m, char *const *v) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (char *const *s = v; r >= 0 && s && *s; s++)
                r = sd_bus_message_append(m, "s", *s);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_pairs(sd_bus_message *m, const char *const *pairs, size_t n) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{ss}");
        for (size_t i = 0; r >= 0 && i + 1 < n; i += 2)
                if (pairs[i + 1])
                        r = sd_bus_message_append(m, "{ss}", pairs[i], pairs[i + 1]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_txn(sd_bus_message *m, const char *txn, const char *holder) {
        _cleanup_free_ char *text = holder ? format("%s@%s", txn, holder) : strdup(txn);

        return text ? sd_bus_message_append(m, "s", text) : -ENOMEM;
}

static int append_argument(const HostClient *h, sd_bus_message *m, const CallArgument *a) {
        switch (a->type) {
        case ARGUMENT_STRING:
                return sd_bus_message_append(m, "s", a->string);
        case ARGUMENT_TXN:
                return append_txn(m, a->string, h->holder);
        case ARGUMENT_BOOL:
                return sd_bus_message_append(m, "b", (int) a->boolean);
        case ARGUMENT_UINT64:
                return sd_bus_message_append(m, "t", a->number);
        case ARGUMENT_STRV:
                return append_strv(m, a->strv);
        case ARGUMENT_BYTES:
                return sd_bus_message_append_array(m, 'y', a->bytes, a->size);
        case ARGUMENT_PAIRS:
                return append_pairs(m, a->pairs, a->size);
        }
        return -EINVAL;
}

static int make_message(HostClient *h, const Call *call, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(h->connection->bus, &m, DHETCD_SERVICE, DHETCD_PATH, DHETCD_HOST,
                                           call->method);
        if (r < 0)
                return r;
#if HAVE_SD_BUS_MESSAGE_SENSITIVE
        if (call->secret) {
                r = sd_bus_message_sensitive(m);
                if (r < 0)
                        return r;
        }
#endif
        for (size_t i = 0; i < call->n; i++) {
                r = append_argument(h, m, call->arguments + i);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- failures ---- */

/* What another host says is not trusted: not as long as it likes, and nothing that a terminal would obey. */
static int error_answer(const HostClient *h, const Call *call, const sd_bus_error *e, char **reterr) {
        _cleanup_free_ char *text = text_limit(e->message ?: "no text", REMOTE_TEXT_MAX, true);
        static const struct {
                const char *name;
                int error;
                const char *next; /* instead of the bus' own words */
        } table[] = {
                { DHETCD_ERROR_BUSY, -EBUSY, NULL },
                { DHETCD_ERROR_TAKEN_OVER, -ESTALE, NULL },
                { DHETCD_ERROR_REJECTED, -EINVAL, NULL },
                { DHETCD_ERROR_FAILED, -EREMOTEIO, NULL },
                { SD_BUS_ERROR_ACCESS_DENIED, -EACCES, NULL },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, -EACCES, NULL },
                { SD_BUS_ERROR_AUTH_FAILED, -EACCES, NULL },
                { SD_BUS_ERROR_SERVICE_UNKNOWN, -ENOPKG, "there is no dhetcdd; install dhetcd there" },
                { SD_BUS_ERROR_NAME_HAS_NO_OWNER, -ENOPKG, "there is no dhetcdd; install dhetcd there" },
                { "org.freedesktop.systemd1.NoSuchUnit", -ENOPKG,
                  "there is no dhetcdd.service; install dhetcd there again" },
                { SD_BUS_ERROR_UNKNOWN_METHOD, -ENOPKG,
                  "dhetcd there is of another version; install the same on all hosts" },
                { SD_BUS_ERROR_UNKNOWN_INTERFACE, -ENOPKG,
                  "dhetcd there is of another version; install the same on all hosts" },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, -ENOPKG,
                  "dhetcd there is of another version; install the same on all hosts" },
                { SD_BUS_ERROR_INVALID_ARGS, -ENOPKG,
                  "dhetcd there is of another version; install the same on all hosts" },
                { SD_BUS_ERROR_TIMEOUT, -ETIMEDOUT, "dhetcdd did not start in time; see there: journalctl -u dhetcdd" },
                { SD_BUS_ERROR_NO_REPLY, -EREMOTEIO,
                  "dhetcdd ended without an answer; see there: journalctl -u dhetcdd" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].name, e->name))
                        return fail(reterr, table[i].error, "%s: %s", h->address,
                                    table[i].next
                                            ?: e->message ? text ?: "no memory"
                                                          : e->name);
        return fail(reterr, -EREMOTEIO, "%s: %s failed: %s (%s)", h->address, call->method, text ?: "no memory",
                    e->name);
}

typedef struct Hint {
        const char *words, *hint;
        bool lasting; /* it says no, and will say so again */
} Hint;

/* What mends it, where ssh's words are known. */
static const Hint *hint_for(const char *words) {
        static const Hint table[] = {
                { "IDENTIFICATION HAS CHANGED",
                  "its host key is another one than is known; if that is right, take the old one "
                  "out of known_hosts, then: dhetcd trust",
                  true },
                { "Host key verification failed", "its host key is not known; look at it and trust it: dhetcd trust",
                  true },
                { "Permission denied", "its user does not have our public key in authorized_keys; try as root: ssh",
                  true },
                { "connect to host", "see whether it is up, and whether it lets us in; try: ssh", false },
                { "systemd-stdio-bridge", "install systemd's systemd-stdio-bridge on", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (strstr(words, table[i].words))
                        return table + i;
        return NULL;
}

static int not_reached(HostClient *h, char **reterr) {
        const char *words = host_connection_last_words(h->connection);
        const Hint *hint = words ? hint_for(h->connection->words) : NULL;
        int r;

        if (h->local)
                r = fail(reterr, -EHOSTUNREACH,
                         "%s: the system bus of this host does not answer; see: systemctl status dbus", h->address);
        else if (!words)
                r = fail(reterr, -EHOSTUNREACH, "%s: ssh ended without a word; try: ssh -v %s", h->address, h->address);
        else {
                if (strncmp(words, "ssh: ", 5) == 0)
                        words += 5;
                if (hint)
                        r = fail(reterr, hint->lasting ? -EACCES : -EHOSTUNREACH, "%s: ssh: %s (%s %s)", h->address,
                                 words, hint->hint, h->address);
                else
                        r = fail(reterr, -EHOSTUNREACH, "%s: ssh: %s", h->address, words);
        }
        host_client_disconnect(h);
        return r;
}

static int not_answered(HostClient *h, const Call *call, int error, char **reterr) {
        bool ready = h->connection->was_ready;
        int r;

        if (error == -ECANCELED)
                return fail(reterr, error, "%s: %s was canceled", h->address, call->method);
        if (error != -ETIMEDOUT)
                return fail(reterr, error, "%s: %s cannot be called: %s", h->address, call->method, strerror(-error));

        r = fail(reterr, -ETIMEDOUT, "%s: %s %s within %" PRIu64 " s", h->address,
                 ready ? "no answer to" : "no connection for", call->method, call->timeout / USEC_PER_SEC);
        if (!ready)
                host_client_disconnect(h);
        return r;
}

int host_client_bad_answer(const HostClient *h, const Call *call, int error, char **reterr) {
        if (error == -ENOMEM)
                return error;
        return fail(reterr, -EREMOTEIO,
                    "%s: the answer to %s is not what it should be; install the same dhetcd on all hosts", h->address,
                    call->method);
}

/* ---- the call ---- */

/* -ECONNRESET where it may be worth another try. */
static int call_once(HostClient *h, const Call *call, uint64_t deadline, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = connect_host(h);
        if (r < 0)
                return r;
        r = make_message(h, call, &m);
        if (r < 0)
                return r == -ENOTCONN || r == -ESTALE ? -ECONNRESET : r;
        return host_connection_call(h->connection, m, deadline, h->cancel_fd, ret);
}

/* The daemon at the other end went away before it answered; the bus starts it again. */
static bool daemon_is_gone(const sd_bus_message *answer) {
        const sd_bus_error *e = sd_bus_message_get_error((sd_bus_message *) answer);

        return e && sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY);
}

typedef struct Tries {
        bool daemon_gone, lost;
        uint64_t until; /* the host may be away: now_boot() */
} Tries;

static bool may_return(HostClient *h) {
        const Hint *hint;

        (void) host_connection_last_words(h->connection);
        hint = hint_for(h->connection->words);
        return !(hint && hint->lasting) && !host_goes_down();
}

static bool try_again(HostClient *h, int r, const sd_bus_message *answer, Tries *t) {
        if (r >= 0) {
                bool first = !t->daemon_gone;

                t->daemon_gone = t->daemon_gone || daemon_is_gone(answer);
                return first && t->daemon_gone;
        }
        if (r != -ECONNRESET || !h->connection)
                return false;
        if (h->connection->was_ready) {
                if (t->lost)
                        return false;
                t->lost = true;
                t->until = now_boot() + RETURN_WAIT;
        } else if (now_boot() >= t->until || !may_return(h))
                return false;
        else
                (void) poll(&(struct pollfd){ .fd = h->cancel_fd, .events = POLLIN }, 1, RETURN_PAUSE_MSEC);
        host_client_disconnect(h);
        return true;
}

int host_client_call(HostClient *h, const Call *call, sd_bus_message **ret, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        uint64_t deadline = now_boot() + call->timeout;
        const sd_bus_error *e;
        Tries tries = {};
        int r;

        if (h->unusable)
                return fail(reterr, -EINVAL, "%s: %s", h->address, h->unusable);

        do {
                answer = sd_bus_message_unref(answer);
                r = call_once(h, call, deadline, &answer);
        } while (try_again(h, r, answer, &tries));

        if (r < 0 && !h->connection)
                return fail(reterr, -EHOSTUNREACH, "%s: %s: %s", h->address,
                            h->local ? "the system bus of this host is not there" : "ssh cannot be started",
                            strerror(-r));
        if (r == -ECONNRESET)
                return not_reached(h, reterr);
        if (r < 0)
                return not_answered(h, call, r, reterr);

        e = sd_bus_message_get_error(answer);
        if (e)
                return error_answer(h, call, e, reterr);
        *ret = TAKE_PTR(answer);
        return 0;
}
