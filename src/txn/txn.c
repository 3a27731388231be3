/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "txn.h"

#include "basic/error.h"
#include "basic/failpoint.h"
#include "basic/string-util.h"

#define SHUTTING_DOWN "this host is shutting down; its next boot goes on with it"

typedef enum Progress {
        STEP_UNTOUCHED,
        STEP_SKIPPED,
        STEP_BEGUN, /* an intent, no done: whether it happened only the world knows */
        STEP_DONE,
        STEP_UNDOING,
        STEP_UNDONE,
} Progress;

struct Txn {
        TxnLog *log;
        const Step *const *steps;
        size_t n_steps;
        Progress *progress; /* of each step, as the log tells */
        bool committed;     /* and not reverted since */
        bool reverted;
        const TxnOps *ops;
        TxnLimits limits;
        void *world;
};

/* ---- what the log tells ---- */

/* A step whose undo failed at first is undone after older ones, and may bring back what they had undone: they are
 * undone once more, so that the oldest snapshot has the last word. */
static void set_progress(Txn *t, size_t i, Progress p) {
        t->progress[i] = p;
        for (size_t k = 0; p == STEP_UNDONE && k < i; k++)
                if (t->progress[k] == STEP_UNDONE)
                        t->progress[k] = STEP_BEGUN;
}

static void note_progress(Txn *t, const char *step, Progress p) {
        for (size_t i = 0; i < t->n_steps; i++)
                if (streq(t->steps[i]->name, step))
                        set_progress(t, i, p);
}

static void load_progress(Txn *t) {
        static const struct {
                const char *type;
                Progress progress;
        } table[] = {
                { "intent", STEP_BEGUN },    { "done", STEP_DONE },    { "commit", STEP_DONE },
                { "skipped", STEP_SKIPPED }, { "undo", STEP_UNDOING }, { "undone", STEP_UNDONE },
        };
        json_t *record;
        size_t i;

        json_array_foreach (txn_log_records(t->log), i, record) {
                const char *type = json_get_string(record, "type");

                if (streq(type, "commit"))
                        t->committed = true;
                if (streq(type, "revert")) {
                        t->committed = false;
                        t->reverted = true;
                }
                for (size_t k = 0; k < ELEMENTSOF(table); k++)
                        if (streq(type, table[k].type))
                                note_progress(t, json_get_string(record, "step"), table[k].progress);
        }
}

int txn_new(const char *dir, const Step *const *steps, size_t n, const TxnOps *ops, const TxnLimits *limits,
            void *world, Txn **ret, char **reterr) {
        _cleanup_(txn_freep) Txn *t = calloc(1, sizeof(Txn));
        int r;

        if (!t)
                return -ENOMEM;
        *t = (Txn){ .steps = steps, .n_steps = n, .ops = ops, .limits = *limits, .world = world };
        t->progress = calloc(n, sizeof(Progress));
        if (!t->progress)
                return -ENOMEM;

        r = txn_log_open(dir, /* create= */ true, &t->log, reterr);
        if (r < 0)
                return r;
        load_progress(t);

        *ret = TAKE_PTR(t);
        return 0;
}

Txn *txn_free(Txn *t) {
        if (!t)
                return NULL;
        txn_log_free(t->log);
        free(t->progress);
        free(t);
        return NULL;
}

int txn_remember(Txn *t, const char *key, json_t *value, char **reterr) {
        _cleanup_json_ json_t *fields = json_pack("{ss so}", "key", key, "value", value);

        return fields ? txn_log_append(t->log, "note", fields, reterr) : -ENOMEM;
}

const json_t *txn_recall(const Txn *t, const char *key) {
        return txn_noted(txn_log_records(t->log), key);
}

/* The failpoints' names begin with it. */
static _unused_ const char *phase(const Txn *t) {
        return t->committed ? "forward" : "run";
}

/* ---- writing and telling ---- */

static void tell(Txn *t, TxnPhase phase, size_t i, int error, const char *why, bool again) {
        t->ops->report(t->world, &(TxnReport){ .phase = phase,
                                               .step = t->steps[i],
                                               .index = (unsigned) i + 1,
                                               .count = (unsigned) t->n_steps,
                                               .error = error,
                                               .why = why,
                                               .again = again });
}

/* Appends a record about step i; `why` may be NULL. */
static int record(Txn *t, const char *type, size_t i, int error, const char *why, char **reterr) {
        _cleanup_json_ json_t *fields = json_pack("{ss}", "step", t->steps[i]->name);

        if (!fields || (why && json_object_set_new(fields, "why", json_string(why)) < 0) ||
            (error < 0 && json_object_set_new(fields, "errno", json_integer(-error)) < 0))
                return -ENOMEM;
        return (error < 0 ? txn_log_append_failure : txn_log_append)(t->log, type, fields, reterr);
}

/* With what it was stuck before; owned, or NULL. */
static char *last_words(const Txn *t) {
        const char *why = txn_last_words_of(txn_log_records(t->log));

        return why ? strdup(why) : NULL;
}

/* Writes the end, unless the like of it is there already; returns the state. `cause` (may be NULL) is why it did not
 * go on at first. */
static int end_for(Txn *t, TxnState state, const char *why, const char *cause, char **reterr) {
        _cleanup_json_ json_t *fields = json_pack("{ss}", "state", txn_state_to_string(state));
        _cleanup_free_ char *advice = NULL, *text = NULL;
        const json_t *records = txn_log_records(t->log);
        bool again;
        int r;

        if (state == TXN_STUCK && t->ops->advice)
                advice = t->ops->advice(t->world);
        again = state == TXN_STUCK && txn_was_stuck(records, why, advice);
        if (!fields || (why && json_object_set_new(fields, "why", json_string(why)) < 0) ||
            (cause && json_object_set_new(fields, "cause", json_string(cause)) < 0) ||
            (advice && json_object_set_new(fields, "advice", json_string(advice)) < 0))
                return -ENOMEM;
        FAILPOINT(t->committed ? "forward" : "undo", "end", "before");
        r = txn_log_append_end(t->log, again, fields, reterr);
        if (r < 0)
                return r;
        FAILPOINT(t->committed ? "forward" : "undo", "end", "after");

        if (advice)
                text = format("%s. %s", why ?: "stuck", advice);
        t->ops->report(t->world, &(TxnReport){ .phase = TXN_PHASE_END,
                                               .count = (unsigned) t->n_steps,
                                               .state = state,
                                               .reverted = t->reverted,
                                               .why = text ?: why,
                                               .again = again });
        return state;
}

static int end(Txn *t, TxnState state, const char *why, char **reterr) {
        return end_for(t, state, why, NULL, reterr);
}

/* Before something is tried again. -ESHUTDOWN: not by this worker, as its host shuts down and must not wait for it. */
static int wait_for_retry(Txn *t, char **reterr) {
        if (t->ops->going_down && t->ops->going_down(t->world))
                return fail(reterr, -ESHUTDOWN, SHUTTING_DOWN);
        t->ops->pause(t->world, t->limits.pause_usec);
        return 0;
}

/* ---- forward ---- */

static int take_snapshot(Txn *t, size_t i, char **reterr) {
        json_t *digests = json_object();
        _cleanup_json_ json_t *fields = json_pack("{ss so}", "step", t->steps[i]->name, "digests", digests);
        int r;

        if (!fields)
                return -ENOMEM;
        r = t->ops->snapshot(t->world, t->steps[i], digests, reterr);
        return r < 0 ? r : txn_log_append(t->log, "snapshot", fields, reterr);
}

static int apply_step(Txn *t, size_t i, char **reterr) {
        const Step *s = t->steps[i];
        int r;

        FAILPOINT(phase(t), s->name, "before-intent");
        r = t->progress[i] == STEP_BEGUN ? 0 : record(t, "intent", i, 0, NULL, reterr);
        if (r < 0)
                return r;
        t->progress[i] = STEP_BEGUN;
        FAILPOINT(phase(t), s->name, "after-intent");

        /* Not once more where the step is tried again: what is to be kept was there before the first try. */
        if (s->changes != 0 && !txn_is_recorded(txn_log_records(t->log), "snapshot", s->name, NULL)) {
                r = take_snapshot(t, i, reterr);
                if (r < 0)
                        return r;
        }
        r = s->apply ? s->apply(t->world, reterr) : 0;
        if (r < 0)
                return r;
        FAILPOINT(phase(t), s->name, "applied");
        return s->prove ? s->prove(t->world, reterr) : 0;
}

/* One record says both that the point of no return was passed and that all is committed: no crash comes between. */
static int finish_step(Txn *t, size_t i, char **reterr) {
        const Step *s = t->steps[i];
        int r;

        FAILPOINT(phase(t), s->name, s->point_of_no_return ? "before-commit" : "before-done");
        r = record(t, s->point_of_no_return ? "commit" : "done", i, 0, NULL, reterr);
        if (r < 0)
                return r;
        t->progress[i] = STEP_DONE;
        FAILPOINT(phase(t), s->name, s->point_of_no_return ? "after-commit" : "after-done");

        if (s->point_of_no_return) {
                t->committed = true;
                t->ops->no_cancel(t->world);
        }

        tell(t, TXN_PHASE_DONE, i, 0, NULL, false);
        return 0;
}

static int run_step(Txn *t, size_t i, char **reterr) {
        const Step *s = t->steps[i];
        _cleanup_free_ char *text = NULL;
        int r;

        if (t->ops->may_begin && !t->committed) {
                r = t->ops->may_begin(t->world, s, reterr);
                if (r < 0)
                        return r;
        }
        tell(t, TXN_PHASE_INTENT, i, 0, NULL, t->progress[i] == STEP_BEGUN);

        r = s->check ? s->check(t->world, &text) : 1;
        if (r < 0)
                return fail(reterr, r, "%s", error_text(text, r));
        if (r == 0) {
                r = record(t, "skipped", i, 0, text, reterr);
                if (r < 0)
                        return r;
                t->progress[i] = STEP_SKIPPED;
                tell(t, TXN_PHASE_SKIPPED, i, 0, text, false);
                return 0;
        }

        r = apply_step(t, i, reterr);
        return r < 0 ? r : finish_step(t, i, reterr);
}

/* ---- back ---- */

/* One step; the failure of an undo is told and recorded, and never stops the others. */
static int undo_step(Txn *t, size_t i, char **reterr) {
        const Step *s = t->steps[i];
        bool again = t->progress[i] == STEP_UNDOING;
        _cleanup_free_ char *why = NULL, *unlogged = NULL;
        int r, k;

        FAILPOINT("undo", s->name, "before-intent");
        r = again ? 0 : record(t, "undo", i, 0, NULL, reterr);
        if (r < 0)
                return r;
        FAILPOINT("undo", s->name, "after-intent");
        t->progress[i] = STEP_UNDOING;
        tell(t, TXN_PHASE_UNDO, i, 0, NULL, again);

        r = s->undo ? s->undo(t->world, &why) : 0;
        if (r >= 0) {
                FAILPOINT("undo", s->name, "applied");
                r = record(t, "undone", i, 0, NULL, reterr);
                if (r < 0)
                        return r;
                set_progress(t, i, STEP_UNDONE);
                FAILPOINT("undo", s->name, "after-done");
                tell(t, TXN_PHASE_UNDONE, i, 0, NULL, false);
                return 0;
        }

        again = txn_is_recorded(txn_log_records(t->log), "undo-failed", s->name, error_text(why, r));
        k = again ? 0 : record(t, "undo-failed", i, r, error_text(why, r), &unlogged);
        tell(t, TXN_PHASE_UNDO_FAILED, i, r, k < 0 ? unlogged : error_text(why, r), again);
        return fail(reterr, r, "%s: %s", s->name, error_text(why, r));
}

/* Newest first, past failures but for a step whose undo is the last word, and the point of no return: as long as it may
 * be in force, what it stands on stays. The first failure is returned. */
static int undo_pass(Txn *t, char **reterr) {
        int result = 0;

        for (size_t i = t->n_steps; i > 0; i--) {
                const Step *s = t->steps[i - 1];
                Progress p = t->progress[i - 1];
                int r;

                if (p != STEP_BEGUN && p != STEP_DONE && p != STEP_UNDOING)
                        continue;
                if (s->undo_last && result < 0)
                        break;
                r = undo_step(t, i - 1, result < 0 ? NULL : reterr);
                RET_GATHER(result, r);
                if (r < 0 && s->point_of_no_return)
                        break;
        }
        return result;
}

static int go_back(Txn *t, TxnState wanted, const char *why, char **reterr) {
        uint64_t deadline = now_boot() + t->limits.settle_usec;
        _cleanup_free_ char *undo_why = NULL, *text = NULL;
        int r;

        t->ops->no_cancel(t->world);
        for (;;) {
                r = undo_pass(t, &undo_why);
                if (r >= 0)
                        return end(t, wanted, why, reterr);
                if (r == -ESTALE || now_boot() >= deadline)
                        break;
                r = wait_for_retry(t, reterr);
                if (r < 0)
                        return r;
        }

        text = format("%s; the undo is not complete: %s", why, error_text(undo_why, r));
        return end_for(t, TXN_STUCK, text ?: why, why, reterr);
}

static int step_failed(Txn *t, size_t i, int error, const char *why, char **reterr) {
        _cleanup_free_ char *canceled = NULL, *text = NULL;
        int r;

        if (error == -ECANCELED && t->ops->canceled)
                canceled = t->ops->canceled(t->world);
        why = canceled ?: why;
        text = format("%s: %s", t->steps[i]->name, error_text(why, error));

        r = record(t, "failed", i, error, text, reterr);
        if (r < 0)
                return r;
        tell(t, TXN_PHASE_FAILED, i, error, error_text(why, error), false);
        return go_back(t, t->steps[i]->rejects ? TXN_REJECTED : TXN_ROLLED_BACK, text ?: t->steps[i]->name, reterr);
}

/* ---- after the commit ---- */

/* One step, as often as it takes until the deadline; *told (owned) is the failure that was told last. */
static int insist(Txn *t, size_t i, uint64_t deadline, char **told, char **reterr) {
        for (;;) {
                _cleanup_free_ char *why = NULL, *text = NULL;
                int r = run_step(t, i, &why);

                if (r >= 0)
                        return 0;
                if (r == -ESTALE || r == -ESHUTDOWN)
                        return fail(reterr, r, "%s", r == -ESHUTDOWN ? SHUTTING_DOWN : error_text(why, r));
                text = format("from here it only goes forward, but \"%s\" cannot be done: %s", t->steps[i]->title,
                              error_text(why, r));
                if (!text)
                        return -ENOMEM;
                tell(t, TXN_PHASE_RETRY, i, r, error_text(why, r), streq(text, *told));
                free(*told);
                *told = TAKE_PTR(text);
                if (now_boot() >= deadline)
                        return end(t, TXN_STUCK, *told, reterr);
                r = wait_for_retry(t, reterr);
                if (r < 0)
                        return r;
        }
}

static int go_forward(Txn *t, char **reterr) {
        uint64_t deadline = now_boot() + t->limits.settle_usec;
        _cleanup_free_ char *told = NULL;

        t->ops->no_cancel(t->world);
        told = last_words(t);
        for (size_t i = 0; i < t->n_steps; i++) {
                int r = t->progress[i] == STEP_DONE || t->progress[i] == STEP_SKIPPED
                                ? 0
                                : insist(t, i, deadline, &told, reterr);

                if (r != 0)
                        return r;
        }

        return end(t, TXN_COMMITTED, NULL, reterr);
}

/* ---- the two entries ---- */

/* Also while it is undone for the first time, as a boot may have started again what the undo had not stopped. */
static bool may_have_happened(const Txn *t, size_t i) {
        Progress p = t->progress[i];

        return t->steps[i]->point_of_no_return && !t->reverted && (p == STEP_BEGUN || p == STEP_UNDOING);
}

/* Step i failed. Where it is the point of no return, and it happened all the same (a lost reply, a failed proof), the
 * way is forward. 1: forward, 0: back, negative: nobody knows yet. */
static int happened(Txn *t, size_t i, char **reterr) {
        uint64_t deadline = now_boot() + t->limits.settle_usec;
        _cleanup_free_ char *told = NULL;

        if (!may_have_happened(t, i))
                return 0;

        t->ops->no_cancel(t->world);
        told = last_words(t);
        for (;;) {
                _cleanup_free_ char *why = NULL, *text = NULL;
                int r = t->steps[i]->happened(t->world, &why);

                if (r >= 0)
                        return r;
                text = format("whether \"%s\" happened cannot be found out: %s", t->steps[i]->title,
                              error_text(why, r));
                if (!text)
                        return -ENOMEM;
                tell(t, TXN_PHASE_RETRY, i, r, error_text(why, r), streq(text, told));
                free(told);
                told = TAKE_PTR(text);
                if (now_boot() >= deadline)
                        return fail(reterr, r, "%s", told);
                r = wait_for_retry(t, reterr);
                if (r < 0)
                        return r;
        }
}

/* Whether only steps that ask nothing of any host were begun: then nothing was changed. */
static bool nothing_asked(const Txn *t) {
        for (size_t i = 0; i < t->n_steps; i++)
                if (t->progress[i] != STEP_UNTOUCHED && !t->steps[i]->rejects)
                        return false;
        return true;
}

/* The end of a step that failed, or whose worker died in it. */
static int resolve(Txn *t, size_t i, int error, const char *why, char **reterr) {
        _cleanup_free_ char *unknown = NULL;
        int r;

        r = happened(t, i, &unknown);
        if (r == -ESHUTDOWN)
                return fail(reterr, r, "%s", unknown);
        if (r < 0)
                return end_for(t, TXN_STUCK, unknown, error_text(why, error), reterr);
        if (r == 0)
                return t->progress[i] == STEP_UNDOING ? go_back(t, TXN_ROLLED_BACK, why, reterr)
                                                      : step_failed(t, i, error, why, reterr);

        r = finish_step(t, i, reterr);
        return r < 0 ? r : go_forward(t, reterr);
}

/* One record with a sentence. */
static int note_why(Txn *t, const char *type, const char *why, char **reterr) {
        _cleanup_json_ json_t *fields = json_pack("{ss}", "why", why);

        return fields ? txn_log_append(t->log, type, fields, reterr) : -ENOMEM;
}

/* One step that the other host began, or did not. What comes after the point of no return is still to do, or undone. */
static int assume_step(Txn *t, size_t i, bool begun, bool committed, char **reterr) {
        const Step *s = t->steps[i];
        int r;

        if (!begun && !(committed && s->point_of_no_return)) {
                if (!committed)
                        return 0;
                t->progress[i] = STEP_SKIPPED;
                return record(t, "skipped", i, 0, "no host has a trace of it", reterr);
        }
        r = record(t, "intent", i, 0, NULL, reterr);
        if (r < 0)
                return r;
        t->progress[i] = STEP_BEGUN;
        if (!committed || s->point_of_no_return) /* that one is asked of the world again */
                return 0;
        t->progress[i] = STEP_DONE;
        return record(t, "done", i, 0, NULL, reterr);
}

int txn_assume(Txn *t, bool (*begun)(void *world, const Step *step), bool committed, bool reverted, const char *why,
               char **reterr) {
        bool past = false;

        for (size_t i = 0; i < t->n_steps && (!past || reverted); i++) {
                int r = assume_step(t, i, begun(t->world, t->steps[i]), committed, reterr);

                past = past || t->steps[i]->point_of_no_return;
                if (r < 0)
                        return r;
        }
        t->reverted = reverted;
        return committed && !reverted ? 0 : note_why(t, reverted ? "revert" : "failed", why, reterr);
}

int txn_end(Txn *t, TxnState state, const char *why, char **reterr) {
        return end(t, state, why, reterr);
}

int txn_run(Txn *t, char **reterr) {
        if (json_array_size(txn_log_records(t->log)) > 0)
                return fail(reterr, -EEXIST, "this transaction was begun before; it can only be settled");

        for (size_t i = 0; i < t->n_steps; i++) {
                _cleanup_free_ char *why = NULL;
                int r;

                if (t->committed)
                        return go_forward(t, reterr);
                r = run_step(t, i, &why);
                if (r == -ESTALE)
                        return fail(reterr, r, "%s", error_text(why, r));
                if (r < 0)
                        return resolve(t, i, r, why, reterr);
        }

        return end(t, TXN_COMMITTED, NULL, reterr);
}

int txn_settle(Txn *t, char **reterr) {
        TxnState state = txn_state_of(txn_log_records(t->log));
        const char *reason = txn_cause_of(txn_log_records(t->log));
        _cleanup_free_ char *why = strdup(reason ?: "the worker ended before the transaction did");

        if (!why)
                return -ENOMEM;
        if (state == TXN_COMMITTED || state == TXN_ROLLED_BACK || state == TXN_REJECTED)
                return state;
        FAILPOINT("settle", NULL, "begin");
        FAILPOINT_SETTLING();
        if (state == TXN_EMPTY)
                return end(t, TXN_REJECTED, why, reterr);
        if (t->committed)
                return go_forward(t, reterr);

        for (size_t i = t->n_steps; i > 0; i--)
                if (may_have_happened(t, i - 1))
                        return resolve(t, i - 1, -EOWNERDEAD, why, reterr);
        return go_back(t, nothing_asked(t) ? TXN_REJECTED : TXN_ROLLED_BACK, why, reterr);
}

int txn_look(Txn *t, char **reterr) {
        return txn_log_append(t->log, "look", NULL, reterr);
}

int txn_revert(Txn *t, const char *why, char **reterr) {
        int r;

        if (!t->committed)
                return fail(reterr, -EINVAL, "only a committed transaction can be taken back");
        r = note_why(t, "revert", why, reterr);
        if (r < 0)
                return r;
        t->committed = false;
        t->reverted = true;
        return go_back(t, TXN_ROLLED_BACK, why, reterr);
}

int txn_refuse_revert(Txn *t, const char *why, char **reterr) {
        return note_why(t, "revert-refused", why, reterr);
}

bool txn_is_committed(const Txn *t) {
        return t->committed;
}
