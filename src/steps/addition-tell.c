/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an addition tells: the journal, and the status line of its unit. */

#include <stdarg.h>
#include <systemd/sd-daemon.h>

#include "addition.h"

static EventContext context_of(const Addition *a, const Host *h) {
        return (EventContext){
                .job = a->job,
                .txn = a->txn,
                .step = a->step ? a->step->name : NULL,
                .step_index = a->step_index,
                .step_count = a->step_count,
                .node = a->nodes ? a->nodes[a->index] : NULL,
                .host = h ? h->address : NULL,
                .phase = a->phase,
                .member_id = h ? h->member_id : 0,
        };
}

void addition_event(Addition *a, EventKind kind, int priority, const Host *h, const char *fmt, ...) {
        EventContext context = context_of(a, h);
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        if (!a->warnings)
                log_event(kind, priority, &context, "%s", text ?: fmt);
        else if (kind == EVENT_WARNING) /* a look: nothing happens that the journal could tell */
                (void) json_array_append_new(a->warnings, json_string(text ?: fmt));
}

static void tell_progress(Addition *a, EventContext context, const char *text) {
        const char *step = a->step ? a->step->name : "start";

        if (a->warnings)
                return;
        log_event(EVENT_STEP_PROGRESS, LOG_INFO, &context, "[%u/%u] %s: %s", a->step_index, a->step_count, step, text);
        (void) sd_notifyf(0, "STATUS=Step %u/%u, %s: %s", a->step_index, a->step_count, step, text);
}

void addition_progress(Addition *a, const char *fmt, ...) {
        EventContext context = context_of(a, NULL);
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);

        context.phase = "progress";
        tell_progress(a, context, text ?: fmt);
}

void addition_progress_of(Addition *a, const Host *h, const Progress *progress, const char *fmt, ...) {
        EventContext context = context_of(a, h);
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);

        context.phase = progress->phase ?: "progress";
        context.unit = progress->unit;
        context.done = progress->done;
        context.total = progress->total;
        context.rate = progress->rate;
        context.what = progress->what;
        tell_progress(a, context, text ?: fmt);
}

void addition_relay(Addition *a, const Host *h, const char *unit, char *const *lines) {
        EventContext context = context_of(a, h);

        context.unit = unit;
        STRV_FOREACH (line, lines)
                log_event(EVENT_SCRIPT_OUTPUT, LOG_INFO, &context, "%s: %s", h->address, *line);
}
