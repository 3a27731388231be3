/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A question to polkit keeps the message it is about. When the answer comes the handler runs again on the message from
 * its beginning and calls polkit_check() again, which then finds the answer. The subject is the sender's name on the
 * bus: a process id could be another process' by the time polkit looks at it. */

#include "polkit.h"

#include "basic/event.h"
#include "basic/string-util.h"

#define QUESTIONS_MAX 64U
#define QUESTIONS_OF_USER_MAX 8U /* each keeps its message; and one user must not keep all others waiting */
#define ANSWER_TIMEOUT (30 * USEC_PER_SEC)
#define ANSWER_TIMEOUT_INTERACTIVE (300 * USEC_PER_SEC) /* somebody types a password */

typedef struct Question Question;

struct Question {
        Polkit *polkit; /* weak */
        sd_bus_message *message;
        sd_bus_message_handler_t handler;
        void *userdata;
        uid_t uid;
        char *action;
        sd_bus_slot *slot;
        bool answered, authorized, challenge;
        Question *next;
};

struct Polkit {
        sd_bus *bus;
        Question *questions;
        size_t n;
};

static void question_free(Question *q) {
        Polkit *p = q->polkit;

        for (Question **i = &p->questions; *i; i = &(*i)->next)
                if (*i == q) {
                        *i = q->next;
                        p->n--;
                        break;
                }
        sd_bus_slot_unref(q->slot);
        sd_bus_message_unref(q->message);
        free(q->action);
        free(q);
}
DEFINE_CLEANUP(Question *, question_free)

int polkit_new(sd_bus *bus, Polkit **ret) {
        Polkit *p = calloc(1, sizeof(Polkit));

        if (!p)
                return -ENOMEM;
        p->bus = sd_bus_ref(bus);
        *ret = p;
        return 0;
}

Polkit *polkit_free(Polkit *p) {
        if (!p)
                return NULL;
        while (p->questions)
                question_free(p->questions);
        sd_bus_unref(p->bus);
        free(p);
        return NULL;
}

bool polkit_is_idle(const Polkit *p) {
        return p->n == 0;
}

int polkit_caller_uid(sd_bus_message *m, uid_t *ret) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        int r;

        r = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);
        if (r < 0)
                return r;
        /* Augmented is what /proc says of a process id, not what the bus says of the sender. */
        if (sd_bus_creds_get_augmented_mask(creds) & SD_BUS_CREDS_EUID)
                return -EPERM;
        return sd_bus_creds_get_euid(creds, ret);
}

/* What /proc says of the sender's process. Asked for one by one: what cannot be told must not hide the other. */
static sd_bus_creds *ask_creds(const Question *q, uint64_t what) {
        sd_bus_creds *creds = NULL;

        return sd_bus_query_sender_creds(q->message, SD_BUS_CREDS_PID | SD_BUS_CREDS_AUGMENT | what, &creds) < 0
                       ? NULL
                       : creds;
}

/* Who it was, as far as that is known: the user as the bus says, program and unit. */
static void log_denial(const Question *q) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *program = ask_creds(q, SD_BUS_CREDS_COMM);
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *cgroup = ask_creds(q, SD_BUS_CREDS_UNIT);
        const char *comm = NULL, *unit = NULL;
        char number[16] = "unknown";
        uid_t uid;

        if (polkit_caller_uid(q->message, &uid) >= 0)
                snprintf(number, sizeof(number), "%u", (unsigned) uid);
        if (program)
                (void) sd_bus_creds_get_comm(program, &comm);
        if (cgroup)
                (void) sd_bus_creds_get_unit(cgroup, &unit);
        log_event(EVENT_ACCESS_DENIED, LOG_WARNING,
                  &(EventContext){ .error = -EACCES,
                                   .action = q->action,
                                   .caller_uid = number,
                                   .caller_comm = comm,
                                   .caller_unit = unit },
                  "User id %s (program '%s' in %s) may not call %s: polkit does not allow %s", number,
                  comm ?: "unknown", unit ?: "an unknown unit", sd_bus_message_get_member(q->message), q->action);
}

static int deny(const Question *q, sd_bus_error *reterr) {
        const char *member = sd_bus_message_get_member(q->message);

        log_denial(q);
        if (q->challenge)
                return sd_bus_error_setf(
                        reterr, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                        "%s needs a password that nobody was there to type; allow %s to this user by a "
                        "rule in /etc/polkit-1/rules.d",
                        member, q->action);
        return sd_bus_error_setf(reterr, SD_BUS_ERROR_ACCESS_DENIED,
                                 "%s is not allowed: polkit refuses %s to this user", member, q->action);
}

/* Runs the handler as sd-bus would: an error goes to the caller, once. */
static void run_again(Question *q) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_message_rewind(q->message, /* complete= */ true);
        if (r >= 0)
                r = q->handler(q->message, q->userdata, &error);
        if (sd_bus_error_is_set(&error))
                (void) sd_bus_reply_method_error(q->message, &error);
        else if (r < 0)
                (void) sd_bus_reply_method_errno(q->message, r, NULL);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Question *q = userdata;
        int authorized = 0, challenge = 0;

        /* No polkit, or one that answers with an error: not authorized. */
        if (!sd_bus_message_is_method_error(m, NULL)) {
                if (sd_bus_message_enter_container(m, 'r', "bba{ss}") < 0 ||
                    sd_bus_message_read(m, "bb", &authorized, &challenge) < 0)
                        authorized = challenge = 0;
        }

        q->answered = true;
        q->authorized = authorized;
        q->challenge = !authorized && challenge;
        run_again(q);
        question_free(q);
        return 0;
}

static int append_details(sd_bus_message *m, const char *const *details) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{ss}");
        for (const char *const *d = details; r >= 0 && d && d[0] && d[1]; d += 2)
                r = sd_bus_message_append(m, "{ss}", d[0], d[1]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_question(Question *q, const char *const *details) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(q->message) > 0;
        int r;

        r = sd_bus_message_new_method_call(q->polkit->bus, &m, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(q->message), q->action);
        if (r >= 0)
                r = append_details(m, details);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", interactive ? UINT32_C(1) : UINT32_C(0), /* cancellation_id= */ "");
        if (r < 0)
                return r;
        return sd_bus_call_async(q->polkit->bus, &q->slot, m, on_answer, q,
                                 interactive ? ANSWER_TIMEOUT_INTERACTIVE : ANSWER_TIMEOUT);
}

static int question_new(Polkit *p, sd_bus_message *m, uid_t uid, const char *action, const char *const *details,
                        sd_bus_message_handler_t handler, void *userdata) {
        _cleanup_(question_freep) Question *q = calloc(1, sizeof(Question));
        int r;

        if (!q)
                return -ENOMEM;
        *q = (Question){
                .polkit = p,
                .message = sd_bus_message_ref(m),
                .handler = handler,
                .userdata = userdata,
                .uid = uid,
                .action = strdup(action),
                .next = p->questions,
        };
        p->questions = q;
        p->n++;
        if (!q->action)
                return -ENOMEM;
        r = send_question(q, details);
        if (r < 0)
                return r;
        TAKE_PTR(q); /* the list's now */
        return 0;
}

static bool may_ask(const Polkit *p, uid_t uid) {
        size_t own = 0;

        for (const Question *q = p->questions; q; q = q->next)
                own += q->uid == uid;
        return p->n < QUESTIONS_MAX && own < QUESTIONS_OF_USER_MAX;
}

int polkit_check(Polkit *p, sd_bus_message *m, const char *action, const char *const *details,
                 sd_bus_message_handler_t handler, void *userdata, sd_bus_error *reterr) {
        uid_t uid;
        int r;

        for (Question *q = p->questions; q; q = q->next)
                if (q->message == m && q->answered && streq(q->action, action))
                        return q->authorized ? 1 : deny(q, reterr);

        r = polkit_caller_uid(m, &uid);
        if (r < 0)
                return sd_bus_error_set_errnof(reterr, r, "it is not known who calls %s", sd_bus_message_get_member(m));
        if (uid == 0)
                return 1;
        if (!may_ask(p, uid))
                return sd_bus_error_setf(reterr, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                         "too many calls wait for polkit; try again");
        r = question_new(p, m, uid, action, details, handler, userdata);
        if (r < 0)
                return sd_bus_error_set_errnof(reterr, r, "polkit cannot be asked: %s", strerror(-r));
        return 0;
}
