/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What surrounds the steps of an addition: snapshots before each, and the journal. */

#include <systemd/sd-daemon.h>

#include "addition.h"
#include "quorum.h"
#include "window.h"
#include "basic/error.h"
#include "bus/host-state.h"

#define STUCK_NEXT                                                                                                     \
        "It is tried again every 5 minutes by dhetcd-recover.timer; when the cause is mended, \"dhetcd settle %s\" "   \
        "does it now"

static int snapshot_hosts(void *world, const Step *step, json_t *digests, char **reterr) {
        Addition *a = world;

        FOREACH_HOST (h, a) {
                char digest[DIGEST_HEX_SIZE];
                EventContext context;
                int r;

                if (!addition_changes(step, h))
                        continue;
                r = host_snapshot(h->client, a->txn, step->name, CALL_TIMEOUT, digest, reterr);
                if (r < 0)
                        return fail_prefix(reterr, r, "no snapshot before \"%s\"", step->name);
                if (json_object_set_new(digests, h->address, json_string(digest)) < 0)
                        return -ENOMEM;

                context = (EventContext){ .job = a->job,
                                          .txn = a->txn,
                                          .step = step->name,
                                          .step_index = a->step_index,
                                          .step_count = a->step_count,
                                          .host = h->address,
                                          .before = digest };
                log_event(EVENT_SNAPSHOT_TAKEN, LOG_DEBUG, &context, "Snapshot of %s before \"%s\": %.16s…", h->address,
                          step->name, digest);
        }

        return 0;
}

static const struct {
        const char *phase;
        EventKind event;
        int priority;
} phases[] = {
        [TXN_PHASE_INTENT] = { "intent", EVENT_STEP_STARTED, LOG_INFO },
        [TXN_PHASE_DONE] = { "done", EVENT_STEP_DONE, LOG_INFO },
        [TXN_PHASE_SKIPPED] = { "skipped", EVENT_STEP_SKIPPED, LOG_INFO },
        [TXN_PHASE_FAILED] = { "failed", EVENT_STEP_FAILED, LOG_ERR },
        [TXN_PHASE_UNDO] = { "undo", EVENT_STEP_UNDOING, LOG_NOTICE },
        [TXN_PHASE_UNDONE] = { "undone", EVENT_STEP_UNDONE, LOG_NOTICE },
        [TXN_PHASE_UNDO_FAILED] = { "undo-failed", EVENT_UNDO_FAILED, LOG_ERR },
        [TXN_PHASE_RETRY] = { "retry", EVENT_WARNING, LOG_WARNING },
};

static void report_step(Addition *a, const TxnReport *report) {
        const Step *s = report->step;
        _cleanup_free_ char *why = report->why ? format(": %s", report->why) : NULL;
        EventContext context;
        const char *what;

        a->step = s;
        a->step_index = report->index;
        a->step_count = report->count;
        a->phase = phases[report->phase].phase;
        context = (EventContext){ .job = a->job,
                                  .txn = a->txn,
                                  .step = s->name,
                                  .step_index = report->index,
                                  .step_count = report->count,
                                  .node = a->nodes[a->index],
                                  .phase = phases[report->phase].phase,
                                  .error = report->error };

        switch (report->phase) {
        case TXN_PHASE_INTENT:
                what = s->title;
                break;
        case TXN_PHASE_UNDO:
                what = "undoing it";
                break;
        case TXN_PHASE_RETRY:
                what = "failed and is tried again";
                break;
        default:
                what = phases[report->phase].phase;
        }

        log_event(phases[report->phase].event, report->again ? LOG_DEBUG : phases[report->phase].priority, &context,
                  "[%u/%u] %s: %s%s", report->index, report->count, s->name, what, why ?: "");
        (void) sd_notifyf(0, "STATUS=Step %u/%u, %s: %s%s", report->index, report->count, s->name, what, why ?: "");
}

static void report_end(Addition *a, const TxnReport *report) {
        EventContext context = { .job = a->job, .txn = a->txn, .node = a->nodes[a->index] };
        const char *node = a->nodes[a->index], *why = report->why ?: "no reason was recorded";
        const JobWords *words = job_words(a->kind);

        context.phase = txn_state_to_string(report->state);
        switch (report->state) {
        case TXN_COMMITTED:
                log_event(EVENT_TXN_COMMITTED, LOG_NOTICE, &context, "Node %s %s.", node, words->node_is);
                break;
        case TXN_REJECTED:
                log_event(EVENT_TXN_REJECTED, LOG_ERR, &context, "Node %s was not %s, and nothing was changed: %s",
                          node, words->added, why);
                break;
        case TXN_ROLLED_BACK:
                if (report->reverted)
                        log_event(EVENT_TXN_ROLLED_BACK, LOG_WARNING, &context,
                                  "Node %s was taken out again, and everything is as it was before: %s", node, why);
                else
                        log_event(EVENT_TXN_ROLLED_BACK, LOG_WARNING, &context,
                                  "Node %s was not %s, and everything is as it was before: %s", node, words->added,
                                  why);
                break;
        default:
                log_event(EVENT_TXN_STUCK, report->again ? LOG_INFO : LOG_CRIT, &context,
                          "The %s of node %s is stuck: %s. " STUCK_NEXT, words->addition, node, why, a->job);
        }
        (void) sd_notifyf(0, "STATUS=Ended: %s%s%s", txn_state_to_string(report->state), report->why ? ": " : "",
                          report->why ?: "");
}

static void report(void *world, const TxnReport *r) {
        Addition *a = world;

        if (r->phase == TXN_PHASE_END)
                report_end(a, r);
        else
                report_step(a, r);
}

static void pause_before_retry(void *world, uint64_t usec) {
        int r = addition_sleep(world, usec);

        (void) r; /* nothing cancels any more */
}

static bool going_down(void *world) {
        return host_goes_down();
}

static int may_begin(void *world, const Step *step, char **reterr) {
        return window_check(world, step->name, reterr);
}

static char *canceled(void *world) {
        return window_canceled(world);
}

static char *advice(void *world) {
        return quorum_advice(world);
}

const TxnOps addition_ops = {
        .snapshot = snapshot_hosts,
        .no_cancel = addition_no_cancel,
        .report = report,
        .pause = pause_before_retry,
        .going_down = going_down,
        .advice = advice,
        .may_begin = may_begin,
        .canceled = canceled,
};
