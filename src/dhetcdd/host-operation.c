/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-operation.h"

#include <stdarg.h>

#include "basic/fs.h"
#include "host-arguments.h"

typedef struct HostTransaction HostTransaction;

struct HostTransaction {
        char *txn;
        HostRecord *record;
        HostTransaction *next;
};

/* ---- records ---- */

static void transaction_free(HostTransaction *t) {
        host_record_free(t->record);
        free(t->txn);
        free(t);
}
DEFINE_CLEANUP(HostTransaction *, transaction_free)

/* A record stays open: its lock says that one daemon alone writes it. */
static int open_record(Host *h, const char *txn, HostRecord **ret, char **reterr) {
        _cleanup_(transaction_freep) HostTransaction *t = NULL;
        _cleanup_free_ char *dir = host_transaction_dir(txn);
        int r;

        for (HostTransaction *i = h->transactions; i; i = i->next)
                if (streq(i->txn, txn)) {
                        *ret = i->record;
                        return 0;
                }

        t = calloc(1, sizeof(HostTransaction));
        if (!t || !dir)
                return -ENOMEM;
        t->txn = strdup(txn);
        if (!t->txn)
                return -ENOMEM;
        r = host_record_open(dir, &t->record, reterr);
        if (r < 0)
                return r;
        t->next = h->transactions;
        h->transactions = t;
        *ret = TAKE_PTR(t)->record;
        return 0;
}

/* NULL: all of them. */
int host_forget_record(Host *h, const char *txn) {
        int n = 0;

        for (HostTransaction **i = &h->transactions; *i;) {
                HostTransaction *t = *i;

                if (txn && !streq(t->txn, txn)) {
                        i = &t->next;
                        continue;
                }
                *i = t->next;
                transaction_free(t);
                n++;
        }
        return n;
}

char *host_transaction_dir(const char *txn) {
        return format("%s/%s", DHETCD_HOST_DIR, txn);
}

char *host_snapshot_name(const char *txn, const char *step) {
        return format("%s.%s", txn, step);
}

static HostKey key_of(const HostOperation *op) {
        return (HostKey){ .step = op->step, .operation = op->method->name, .verb = op->verb, .arguments = op->digest };
}

int host_operation_open_record(HostOperation *op) {
        return open_record(op->host, op->txn, &op->record, &op->why);
}

int host_operation_intent(HostOperation *op, json_t *extra) {
        HostKey key = key_of(op);
        int r;

        HOST_FAILPOINT(op, "before-intent");
        r = host_record_intent(op->record, &key, extra, &op->why);
        json_decref(extra);
        if (r < 0)
                return r;
        op->intended = true;
        HOST_FAILPOINT(op, "after-intent");
        return 0;
}

/* ---- life ---- */

HostOperation *host_operation_free(HostOperation *op) {
        if (!op)
                return NULL;
        for (size_t i = 0; i < op->n_callers; i++)
                sd_bus_message_unref(op->callers[i]);
        unit_query_free(op->query);
        unit_state_done(&op->unit);
        unit_job_free(op->unit_job);
        sd_event_source_unref(op->timer);
        if (op->free_own)
                op->free_own(op->own);
        json_decref(op->arguments);
        json_decref(op->answer);
        free(op->job_result);
        free(op->job_why);
        free(op->admin.name);
        closep(&op->output_fd);
        free(op->why);
        free(op);
        return NULL;
}

int host_operation_new(Host *h, const HostMethod *method, sd_bus_message *m, HostOperation **ret, char **reterr) {
        _cleanup_(host_operation_freep) HostOperation *op = calloc(1, sizeof(HostOperation));
        int r;

        if (!op)
                return -ENOMEM;
        *op = (HostOperation){ .host = h, .method = method, .output_fd = -EBADF };
        r = host_arguments_read(op, m, reterr);
        if (r < 0)
                return r;
        if (method->check) {
                r = method->check(op);
                if (r < 0) {
                        if (reterr)
                                *reterr = TAKE_PTR(op->why);
                        return r;
                }
        }
        *ret = TAKE_PTR(op);
        return 0;
}

static void unlink_operation(HostOperation *op) {
        for (HostOperation **i = &op->host->operations; *i; i = &(*i)->next)
                if (*i == op) {
                        *i = op->next;
                        return;
                }
}

/* ---- answers ---- */

static int send_answer(const HostOperation *op, sd_bus_message *caller, const json_t *answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_return(caller, &m);
        if (r < 0)
                return r;
#if HAVE_SD_BUS_MESSAGE_SENSITIVE
        r = sd_bus_message_sensitive(m);
        if (r < 0)
                return r;
#endif
        r = host_answer_append(m, op->method->answer, answer);
        return r < 0 ? r : sd_bus_send(NULL, m, NULL);
}

static void answer_all(HostOperation *op, int r) {
        const char *name = op->error_name ?: DHETCD_ERROR_FAILED;

        for (size_t i = 0; i < op->n_callers; i++) {
                int k = r >= 0 ? send_answer(op, op->callers[i], op->answer) : r;

                if (k >= 0)
                        continue;
                /* A text that is no UTF-8 cannot be sent, and a caller without an answer waits for ever. */
                if (sd_bus_reply_method_errorf(op->callers[i], name, "%s", error_text(op->why, k)) < 0)
                        (void) sd_bus_reply_method_errorf(op->callers[i], name, "%s failed: %s", op->method->name,
                                                          strerror(-k));
        }
}

static void end(HostOperation *op, int r) {
        HostKey key = key_of(op);

        unlink_operation(op);
        if (r > 0 && !op->answer) /* a mistake of ours must never look like success */
                r = -ENOTRECOVERABLE;
        if (op->intended)
                HOST_FAILPOINT(op, "before-done");
        if (r > 0 && op->intended)
                r = host_record_done(op->record, &key, op->answer, &op->why);
        else if (r < 0 && op->intended)
                (void) (host_record_failed(op->record, &key, error_text(op->why, r), NULL) < 0);
        if (r < 0 && op->method->recorded)
                host_operation_event(op, EVENT_WARNING, LOG_WARNING, NULL, NULL, "%s failed: %s", op->method->name,
                                     error_text(op->why, r));
        HOST_FAILPOINT(op, "after-done");
        answer_all(op, r);
        host_operation_free(op);
}

static void go_on(HostOperation *op, int r) {
        if (r != 0)
                end(op, r);
}

int host_operation_answer(HostOperation *op, json_t *answer) {
        if (!answer)
                return -ENOMEM;
        json_decref(op->answer);
        op->answer = answer;
        return 1;
}

int host_operation_reject(HostOperation *op, const char *fmt, ...) {
        va_list ap;

        free(op->why);
        va_start(ap, fmt);
        if (vasprintf(&op->why, fmt, ap) < 0)
                op->why = NULL;
        va_end(ap);
        op->error_name = DHETCD_ERROR_REJECTED;
        return -EINVAL;
}

/* ---- beginning ---- */

static int join(HostOperation *running, sd_bus_message *m, sd_bus_error *reterr) {
        if (running->n_callers >= CALLERS_MAX)
                return sd_bus_error_setf(reterr, DHETCD_ERROR_BUSY, "too many callers wait for the same %s",
                                         running->method->name);
        running->callers[running->n_callers++] = sd_bus_message_ref(m);
        return 1;
}

/* 1: the record has the answer. */
static int look_into_record(HostOperation *op) {
        HostKey key = key_of(op);
        const json_t *found;
        int r;

        r = host_operation_open_record(op);
        if (r < 0)
                return r;

        switch (host_record_find(op->record, &key, &found)) {
        case HOST_RECORD_DONE:
                if (!op->method->replayed || op->fresh)
                        break;
                op->answer = json_incref((json_t *) found);
                return 1;
        case HOST_RECORD_OPEN:
                op->was_open = true;
                op->extra = found;
                break;
        case HOST_RECORD_NONE:
                break;
        }

        if (op->method->forward && host_record_is_restored(op->record, op->step))
                return host_operation_reject(op, "step \"%s\" of %s was taken back here; it cannot be done any more",
                                             op->step, op->txn);
        return 0;
}

static int prepare(HostOperation *op) {
        int r;

        if (op->method->locked) {
                r = host_lock_check(op);
                if (r < 0)
                        return r;
        }
        return op->method->recorded ? look_into_record(op) : 0;
}

int host_operation_start(HostOperation *op, sd_bus_message *m, sd_bus_error *reterr) {
        int r;

        for (HostOperation *i = op->host->operations; i; i = i->next)
                if (i->method == op->method && streq(i->digest, op->digest)) {
                        r = join(i, m, reterr);
                        host_operation_free(op);
                        return r;
                }

        op->callers[op->n_callers++] = sd_bus_message_ref(m);
        op->next = op->host->operations;
        op->host->operations = op;

        if (!op->method->recorded)
                HOST_FAILPOINT(op, "begin");
        r = prepare(op);
        go_on(op, r == 0 ? op->method->begin(op) : r);
        return 1;
}

/* ---- waits ---- */

static void on_unit_state(void *userdata, int r, UnitState *state, const char *why) {
        HostOperation *op = userdata;

        op->query = unit_query_free(op->query);
        if (r < 0) {
                go_on(op, fail(&op->why, r, "%s", error_text(why, r)));
                return;
        }
        unit_state_done(&op->unit);
        op->unit = *state;
        go_on(op, op->then(op));
}

int host_operation_query(HostOperation *op, const char *unit, HostNext then) {
        int r;

        op->then = then;
        r = unit_query_new(op->host->bus, unit, on_unit_state, op, &op->query);
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked about %s: %s", unit, strerror(-r)) : 0;
}

static void on_job_end(void *userdata, int r, const char *result, const char *why) {
        HostOperation *op = userdata;

        op->job_error = r;
        free(op->job_result);
        free(op->job_why);
        op->job_result = result ? strdup(result) : NULL;
        op->job_why = why ? strdup(why) : NULL;
        op->unit_job = unit_job_free(op->unit_job);
        go_on(op, op->then(op));
}

int host_operation_job(HostOperation *op, HostNext then, UnitJob **ret) {
        int r;

        op->then = then;
        op->unit_job = unit_job_free(op->unit_job);
        r = unit_job_new(op->host->bus, on_job_end, op, &op->unit_job);
        if (r < 0)
                return r;
        *ret = op->unit_job;
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        HostOperation *op = userdata;

        op->timer = sd_event_source_unref(op->timer);
        go_on(op, op->then(op));
        return 0;
}

int host_operation_sleep(HostOperation *op, uint64_t usec, HostNext then) {
        op->then = then;
        op->timer = sd_event_source_unref(op->timer);
        return sd_event_add_time(op->host->event, &op->timer, CLOCK_BOOTTIME, now_boot() + usec, USEC_PER_MSEC,
                                 on_timer, op);
}

/* ---- telling ---- */

void host_operation_event(HostOperation *op, EventKind kind, int priority, const char *before, const char *after,
                          const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        char address[256];
        EventContext context = {
                .job = op->txn ? op->job : NULL,
                .txn = op->txn,
                .step = op->step,
                .host = host_own_address(address),
                .unit = op->unit_name,
                .before = before,
                .after = after,
        };
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        log_event(kind, priority, &context, "%s", text ?: fmt);
}
