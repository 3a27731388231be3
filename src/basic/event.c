/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "event.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <systemd/sd-journal.h>

#define FIELDS_MAX 24U

const char *event_message_id(EventKind kind) {
        static const char *const ids[_EVENT_KIND_MAX] = {
#define X(name, id) [EVENT_##name] = id,
                EVENT_KINDS(X)
#undef X
        };

        return ids[kind];
}

typedef struct Fields {
        struct iovec iov[FIELDS_MAX];
        size_t n;
} Fields;

static void fields_add(Fields *f, const char *name, const char *format, ...) _printf_(3, 4);

static void fields_add(Fields *f, const char *name, const char *format, ...) {
        _cleanup_free_ char *value = NULL;
        char *field = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&value, format, ap) < 0)
                value = NULL;
        va_end(ap);

        if (f->n >= FIELDS_MAX || !value || asprintf(&field, "%s=%s", name, value) < 0)
                return;
        f->iov[f->n++] = (struct iovec){ field, strlen(field) };
}

static void fields_add_string(Fields *f, const char *name, const char *value) {
        if (value)
                fields_add(f, name, "%s", value);
}

static void fields_add_context(Fields *f, const EventContext *c) {
        fields_add_string(f, "DHETCD_JOB", c->job);
        fields_add_string(f, "DHETCD_TXN", c->txn);
        fields_add_string(f, "DHETCD_STEP", c->step);
        if (c->step_index > 0)
                fields_add(f, "DHETCD_STEP_INDEX", "%u", c->step_index);
        if (c->step_count > 0)
                fields_add(f, "DHETCD_STEP_COUNT", "%u", c->step_count);
        fields_add_string(f, "DHETCD_NODE", c->node);
        fields_add_string(f, "DHETCD_HOST", c->host);
        fields_add_string(f, "DHETCD_PHASE", c->phase);
        fields_add_string(f, "DHETCD_UNIT", c->unit);
        if (c->member_id > 0)
                fields_add(f, "DHETCD_MEMBER_ID", "%" PRIx64, c->member_id);
        fields_add_string(f, "DHETCD_HASH_BEFORE", c->before);
        fields_add_string(f, "DHETCD_HASH_AFTER", c->after);
        if (c->what) {
                fields_add_string(f, "DHETCD_WHAT", c->what);
                fields_add(f, "DHETCD_DONE", "%" PRIu64, c->done);
                fields_add(f, "DHETCD_TOTAL", "%" PRIu64, c->total);
                if (c->rate > 0)
                        fields_add(f, "DHETCD_RATE", "%" PRIu64, c->rate);
        }
        fields_add_string(f, "DHETCD_ACTION", c->action);
        fields_add_string(f, "DHETCD_CALLER_UID", c->caller_uid);
        fields_add_string(f, "DHETCD_CALLER_COMM", c->caller_comm);
        fields_add_string(f, "DHETCD_CALLER_UNIT", c->caller_unit);
        if (c->error != 0)
                fields_add(f, "ERRNO", "%d", c->error < 0 ? -c->error : c->error);
}

void log_event(EventKind kind, int priority, const EventContext *context, const char *format, ...) {
        static const EventContext nothing = {};
        _cleanup_free_ char *message = NULL;
        Fields f = {};
        va_list ap;
        int r;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);

        fields_add(&f, "MESSAGE", "%s", message ?: format);
        fields_add(&f, "MESSAGE_ID", "%s", event_message_id(kind));
        fields_add(&f, "PRIORITY", "%d", priority);
        fields_add_context(&f, context ?: &nothing);

        r = sd_journal_sendv(f.iov, (int) f.n);
        if (r < 0 || isatty(STDERR_FILENO))
                fprintf(stderr, "%s\n", message ?: format);

        for (size_t i = 0; i < f.n; i++)
                free(f.iov[i].iov_base);
}
