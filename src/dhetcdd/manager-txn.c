/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The transient unit of one transaction, from before its start until it is gone.
 *
 * Signals only wake this up; what is true is asked for each time, so that it does not matter whether
 * the unit was started now, by an earlier run of the daemon, or has been gone for hours. Only once the unit is gone,
 * its ExecStopPost= included, is the transaction's log read, and the log alone decides what comes next. All slots
 * belong to the TxnRun: freeing it silences its callbacks. */

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/unit-job.h"
#include "bus/unit-state.h"
#include "manager-internal.h"

#define POLL_USEC (20 * USEC_PER_SEC) /* should a signal ever be lost */
#define START_USEC (90 * USEC_PER_SEC)
#define EXISTS_RETRY_USEC (200 * USEC_PER_MSEC)
#define EXISTS_RETRIES_MAX 50U

struct TxnRun {
        Manager *manager; /* weak */
        Job *job;         /* weak */
        size_t n;
        char *unit;
        const char *verb; /* of the unit started last: "run", "settle" or "retry"; NULL: found running */
        char *budget;     /* of a retry, in seconds; NULL: the configuration's */
        char **without;   /* properties this systemd does not know */
        char *error;      /* why the unit could not be started */
        bool alive;       /* the unit was seen or started: its absence now means that it has ended */
        bool query_again;
        unsigned exists_retries;
        sd_bus_slot *properties_slot;
        UnitQuery *query;
        UnitJob *starter; /* a start was asked for and its job has not ended */
        sd_event_source *timer;
};

static void query(TxnRun *t);
static void start(TxnRun *t);
static void decide(TxnRun *t);

TxnRun *txn_run_free(TxnRun *t) {
        if (!t)
                return NULL;
        sd_bus_slot_unref(t->properties_slot);
        unit_query_free(t->query);
        unit_job_free(t->starter);
        sd_event_source_unref(t->timer);
        strv_free(t->without);
        free(t->error);
        free(t->budget);
        free(t->unit);
        free(t);
        return NULL;
}

DEFINE_CLEANUP(TxnRun *, txn_run_free)

/* What a killed worker was just writing: none lives any more. */
static void remove_unfinished_of(const TxnRun *t) {
        _cleanup_free_ char *dir = job_txn_dir(t->job, t->manager->jobs_dir, t->n);
        int r = dir ? remove_unfinished(dir) : -ENOMEM;

        if (r < 0)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = t->job->id, .error = r },
                          "%s cannot be tidied up: %s", dir ?: "its folder", strerror(-r));
}

/* Frees `t`: the transaction is over, as far as this daemon can take it. */
static void finish(TxnRun *t, TxnState state, const char *reason) {
        _cleanup_free_ char *copy = reason ? strdup(reason) : NULL;
        Manager *m = t->manager;
        Job *j = t->job;
        size_t n = t->n;

        remove_unfinished_of(t);
        m->run = txn_run_free(t);
        manager_txn_ended(m, j, n, state, copy);
}

/* Lets PID 1 forget the unit; a failure means that it has already done so. */
static void unref_unit(TxnRun *t) {
        (void) sd_bus_call_method_async(t->manager->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                        "UnrefUnit", NULL, NULL, "s", t->unit);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        TxnRun *t = userdata;

        if (t->exists_retries > 0 && !t->starter && !t->alive)
                start(t);
        else
                query(t);
        return 0;
}

static void arm(TxnRun *t, uint64_t delay) {
        int r;

        t->timer = sd_event_source_unref(t->timer);
        r = sd_event_add_time(t->manager->event, &t->timer, CLOCK_BOOTTIME, now_boot() + delay, 50 * USEC_PER_MSEC,
                              on_timer, t);
        if (r < 0)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = t->job->id, .unit = t->unit, .error = r },
                          "No timer for %s: only its signals will be heeded", t->unit);
}

static void begin(TxnRun *t, const char *verb) {
        t->verb = verb;
        t->job->attempts++;
        t->exists_retries = 0;
        t->alive = false;
        start(t);
}

/* What is stuck is taken up again. The timer does so for a short while only, since it comes again. */
static void begin_retry(TxnRun *t) {
        _cleanup_(config_freep) Config *config = NULL;

        free(t->budget);
        t->budget = NULL;
        if (t->job->retry && config_load(NULL, &config, NULL, NULL) >= 0)
                t->budget = format("%llu", (unsigned long long) (config->retry_budget_usec / USEC_PER_SEC));
        begin(t, "retry");
}

/* There is no unit (any more): the log says what to do. */
static void decide(TxnRun *t) {
        _cleanup_free_ char *reason = NULL, *error = NULL;
        TxnState state = TXN_EMPTY;
        Job *j = t->job;
        int r;

        if (!manager_has_bus(t->manager))
                return;
        r = job_txn_state(j, t->manager->jobs_dir, t->n, &state, &reason, &error);
        if (r < 0)
                return finish(t, TXN_STUCK, error_text(error, r));

        if (j->revert && j->attempts == 0 && state != TXN_ROLLED_BACK)
                return begin(t, "revert");
        switch (state) {
        case TXN_EMPTY:
                if (j->attempts == 0 && !j->cancel)
                        return begin(t, "run");
                if (!t->error)
                        (void) fail(&t->error, -EIO, "see \"journalctl -u %s\"", t->unit);
                break;
        case TXN_RUNNING:
        case TXN_UNDOING:
        case TXN_FORWARD:
                if (j->attempts < TXN_ATTEMPTS_MAX)
                        return begin(t, "settle");
                break;
        case TXN_STUCK:
                if (j->settle) {
                        j->settle = false;
                        return begin_retry(t);
                }
                break;
        default:
                break;
        }
        finish(t, state, reason ?: t->error);
}

/* What the unit's absence means. */
static void on_gone(TxnRun *t) {
        if (t->starter)
                return; /* its end will be told by its starter first */
        if (t->alive)
                unref_unit(t);
        t->alive = false;
        decide(t);
}

static void on_alive(TxnRun *t) {
        if (!t->alive && !t->starter) /* of an earlier daemon, whose reference went with its connection */
                (void) sd_bus_call_method_async(t->manager->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                "RefUnit", NULL, NULL, "s", t->unit);
        if (!t->alive) {
                t->alive = true;
                if (t->job->cancel)
                        txn_run_cancel(t);
        }
        arm(t, POLL_USEC);
}

static void on_query(void *userdata, int r, UnitState *state, const char *why) {
        TxnRun *t = userdata;
        bool gone;

        t->query = unit_query_free(t->query);
        if (r < 0)
                return arm(t, POLL_USEC);
        /* A queued start job waits for what the unit is ordered after: not gone, but not there yet. */
        gone = state->job == 0 && (streq(state->active_state, "inactive") || streq(state->active_state, "failed"));
        unit_state_done(state);

        if (t->query_again)
                query(t);
        else if (gone)
                on_gone(t);
        else
                on_alive(t);
}

static void query(TxnRun *t) {
        t->query_again = t->query != NULL;
        if (!t->query && unit_query_new(t->manager->bus, t->unit, on_query, t, &t->query) < 0)
                arm(t, POLL_USEC);
}

static int on_properties_changed(sd_bus_message *signal, void *userdata, sd_bus_error *unused) {
        query(userdata);
        return 0;
}

/* No job came about: nothing was started. */
static void on_start_refused(TxnRun *t, int error, const char *why) {
        if (txn_unit_learn(why, &t->without) > 0)
                return start(t);
        if (error == -EEXIST && t->exists_retries++ < EXISTS_RETRIES_MAX) {
                /* PID 1 has not let go of the one before; failed ones that nobody collects must be told to. */
                unref_unit(t);
                (void) sd_bus_call_method_async(t->manager->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                                "ResetFailedUnit", NULL, NULL, "s", t->unit);
                return arm(t, EXISTS_RETRY_USEC);
        }
        (void) fail(&t->error, error, "%s could not be started: %s", t->unit, error_text(why, error));
        decide(t);
}

static void on_started(void *userdata, int r, const char *result, const char *why) {
        TxnRun *t = userdata;
        /* `why` is the job's, which goes first. */
        _cleanup_free_ char *text = why ? strdup(why) : NULL;
        bool refused = r < 0 && !result;

        t->starter = unit_job_free(t->starter);
        if (refused)
                return on_start_refused(t, r, text);
        if (r < 0)
                (void) fail(&t->error, r, "%s could not be started: %s; see \"journalctl -u %s\"", t->unit,
                            error_text(text, r), t->unit);
        t->alive = true;
        if (t->job->cancel) /* it may have come between two tries to start it */
                txn_run_cancel(t);
        query(t);
}

static void start(TxnRun *t) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r;

        r = txn_unit_message(t->manager->bus, t->job, t->n, t->verb, streq(t->verb, "retry") ? t->budget : NULL,
                             t->without, &message);
        if (r >= 0)
                r = unit_job_new(t->manager->bus, on_started, t, &t->starter);
        if (r >= 0)
                r = unit_job_send(t->starter, message, t->unit, START_USEC);
        if (r < 0) {
                t->starter = unit_job_free(t->starter);
                (void) fail(&t->error, r, "%s could not be started: %s", t->unit, strerror(-r));
                decide(t);
        }
}

static int match(TxnRun *t) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode(SYSTEMD_PATH "/unit", t->unit, &path);
        if (r < 0)
                return r;
        return sd_bus_match_signal_async(t->manager->bus, &t->properties_slot, SYSTEMD_SERVICE, path,
                                         "org.freedesktop.DBus.Properties", "PropertiesChanged", on_properties_changed,
                                         NULL, t);
}

int txn_run_begin(Manager *m, Job *j, size_t n) {
        _cleanup_(txn_run_freep) TxnRun *t = calloc(1, sizeof(TxnRun));
        int r;

        if (!t)
                return -ENOMEM;
        *t = (TxnRun){ .manager = m, .job = j, .n = n, .unit = txn_unit_name(j, n) };
        if (!t->unit)
                return -ENOMEM;
        r = match(t); /* before anything is asked: no change can be missed */
        if (r < 0)
                return r;

        m->run = TAKE_PTR(t);
        query(m->run);
        return 0;
}

Job *txn_run_job(const TxnRun *t) {
        return t->job;
}

void txn_run_cancel(TxnRun *t) {
        _cleanup_free_ char *reason = NULL;
        TxnState state = TXN_EMPTY;

        /* What goes back already is not disturbed, and what is beyond the commit only goes forward. */
        if (job_txn_state(t->job, t->manager->jobs_dir, t->n, &state, &reason, NULL) >= 0 &&
            (state == TXN_UNDOING || state == TXN_FORWARD || state >= TXN_COMMITTED))
                return;
        if (!t->alive && !t->starter)
                return; /* decide() heeds it */
        if (streq(t->verb, "settle") || streq(t->verb, "retry") || t->job->revert)
                return;
        (void) sd_bus_call_method_async(t->manager->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                        "StopUnit", NULL, NULL, "ss", t->unit, "replace");
}
