/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "manager.h"

#include <dirent.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "manager-internal.h"

/* With the job. */
#define STUCK_NEXT                                                                                                     \
        "It is tried again every 5 minutes by dhetcd-recover.timer; when the cause is mended, \"dhetcd settle %s\" "   \
        "does it now"

static void dispatch(Manager *m);

static const struct {
        EventKind kind;
        int priority;
        const char *words;
} endings[_JOB_STATE_MAX] = {
        [JOB_COMMITTED] = { EVENT_JOB_COMMITTED, LOG_NOTICE, "is done" },
        [JOB_REJECTED] = { EVENT_JOB_REJECTED, LOG_ERR, "was refused" },
        [JOB_ROLLED_BACK] = { EVENT_JOB_ROLLED_BACK, LOG_WARNING, "was rolled back" },
        [JOB_STUCK] = { EVENT_JOB_STUCK, LOG_CRIT, "is stuck" },
        [JOB_CANCELED] = { EVENT_JOB_CANCELED, LOG_NOTICE, "was canceled" },
        [JOB_RESCUED] = { EVENT_JOB_RESCUED, LOG_NOTICE, "was ended by a rescue" },
};

/* A host that was not booted since dhetcd was installed has not started it yet. */
static void start_timer(Manager *m) {
        (void) sd_bus_call_method_async(m->bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                        "org.freedesktop.systemd1.Manager", "StartUnit", NULL, NULL, "ss",
                                        "dhetcd-recover.timer", "replace");
}

void manager_end_job(Manager *m, Job *j, JobState state, const char *text) {
        /* A timer that tried in vain does not cry each time. */
        bool again = state == JOB_STUCK && streq(text, j->stuck_text);

        if (state == JOB_STUCK)
                start_timer(m);
        j->ended_usec = now_real();
        /* In the journal before the signal: who follows both has the last line when told of the end. */
        log_event(endings[state].kind, again ? LOG_INFO : endings[state].priority, &(EventContext){ .job = j->id },
                  "Job %s %s: %s", j->id, endings[state].words, text);
        manager_set_job(m, j, state, text);
        manager_kick(m);
}

int manager_add_job(Manager *m, Job *j, char **reterr) {
        _cleanup_free_ char *nodes = strv_join(j->nodes, ", ");
        int r, k;

        if (!nodes)
                return -ENOMEM;
        if (job_queue_open(&m->queue) >= JOB_QUEUE_OPEN_MAX)
                return fail(reterr, -EXFULL, "%u jobs wait already; see \"dhetcd list\"", JOB_QUEUE_OPEN_MAX);
        r = job_set_text(j, "queued");
        if (r < 0)
                return r;
        r = job_save(j, m->jobs_dir, reterr);
        if (r < 0) { /* who asks is told that there is no such job: none may turn up later */
                k = job_remove_refused(m->jobs_dir, j->id);
                if (k < 0)
                        log_event(EVENT_WARNING, LOG_ERR, &(EventContext){ .job = j->id, .error = k },
                                  "Job %s was not taken, and %s/%s cannot be removed (%s): the next start of dhetcdd "
                                  "may run it. Remove it: rm -r %s/%s",
                                  j->id, m->jobs_dir, j->id, strerror(-k), m->jobs_dir, j->id);
                return r;
        }
        r = job_queue_add(&m->queue, j);
        if (r < 0)
                return r;

        log_event(EVENT_JOB_QUEUED, LOG_INFO, &(EventContext){ .job = j->id },
                  "Job %s: %s etcd node%s %s, asked for by user %u", j->id, job_words(j->kind)->name,
                  strv_length(j->nodes) > 1 ? "s" : "", nodes, j->uid);
        manager_tell_job(m, j);
        manager_kick(m);
        return 0;
}

void manager_cancel_job(Manager *m, Job *j) {
        _cleanup_free_ char *text = NULL;

        if (j->state == JOB_QUEUED)
                return manager_end_job(m, j, JOB_CANCELED, "canceled while it waited; nothing was changed");

        j->cancel = true;
        text = format("canceling: %s", j->text);
        manager_set_job(m, j, JOB_RUNNING, text ?: "canceling");
        if (m->run && txn_run_job(m->run) == j)
                txn_run_cancel(m->run);
}

static void take_up(Manager *m, Job *j, bool retry) {
        free(j->stuck_text);
        j->stuck_text = strdup(j->text);
        j->retry = retry;
        j->settle = true;
        j->attempts = 0;
        j->ended_usec = 0;
        manager_set_job(m, j, JOB_RUNNING, "settling");
        manager_kick(m);
}

void manager_settle_job(Manager *m, Job *j) {
        take_up(m, j, /* retry= */ false);
}

void manager_retry_job(Manager *m, Job *j) {
        take_up(m, j, /* retry= */ true);
}

/* While a job is settled after it was stuck, there may be two in state "running"; this is the one that moves. */
Job *manager_running_job(const Manager *m) {
        return m->run ? txn_run_job(m->run) : job_queue_running(&m->queue);
}

static char *join_from_to(char *const *nodes, size_t from, size_t to) {
        _cleanup_strv_ char **part = NULL;

        for (size_t i = from; i < to; i++)
                if (strv_append(&part, nodes[i]) < 0)
                        return NULL;
        return strv_join(part, ", ");
}

/* What the cluster of a job that stops short, and keeps what it has added, bears. */
static char *describe_members(const Manager *m, const Job *j, size_t n) {
        size_t members = job_members(j, m->jobs_dir, n);

        if (members == 0)
                return strdup("");
        return format(". The cluster has %zu members and bears the loss of %zu", members, (members - 1) / 2);
}

/* A job ends before all of its nodes are added, and those added before stay. */
static void end_short(Manager *m, Job *j, size_t n, JobState state, const char *reason) {
        _cleanup_free_ char *kept = join_from_to(j->nodes, 0, n - 1), *members = describe_members(m, j, n);
        _cleanup_free_ char *left = join_from_to(j->nodes, n, strv_length(j->nodes));
        _cleanup_free_ char *text = NULL;

        if (kept && left && members)
                text = format("%s: %s%s%s%s%s%s", j->nodes[n - 1], reason,
                              *kept ? ". Added before it, and members of the cluster now: " : "", kept,
                              *kept ? members : "", *left ? ". Not begun: " : "", left);
        manager_end_job(m, j, state, text ?: reason);
}

/* Node n was not added. Policy "all", the default: those added before it are taken out again, newest first. Not after
 * a takeover: this host's part of it is not all that there is. */
static void end_without(Manager *m, Job *j, size_t n, JobState state, const char *reason) {
        _cleanup_free_ char *why = NULL;

        if (n == 1 || streq(json_get_string(j->options, "policy"), "keep") || job_txn_was_taken_over(j, m->jobs_dir, n))
                return end_short(m, j, n, state, reason);
        why = format("%s: %s", j->nodes[n - 1], reason);
        if (!why || manager_revert_job(m, j, why) < 0)
                end_short(m, j, n, JOB_STUCK, reason);
}

/* ---- taking back ---- */

int manager_revert_job(Manager *m, Job *j, const char *why) {
        _cleanup_free_ char *copy = text_limit(why, JOB_TEXT_MAX, false), *text = format("taking back: %s", why);

        if (!copy || !text)
                return -ENOMEM;
        free(j->why_revert);
        j->why_revert = TAKE_PTR(copy);
        j->revert = true;
        j->attempts = 0;
        j->ended_usec = 0;
        log_event(EVENT_JOB_REVERTING, LOG_WARNING, &(EventContext){ .job = j->id }, "Job %s is taken back: %s", j->id,
                  why);
        manager_set_job(m, j, JOB_RUNNING, text);
        manager_kick(m);
        return 0;
}

/* What was committed of it stays so. */
static void revert_refused(Manager *m, Job *j, const char *reason) {
        _cleanup_free_ char *text = NULL, *unused = NULL, *error = NULL;
        TxnState state = TXN_EMPTY;
        size_t n;

        j->revert = false;
        if (job_current_txn(j, m->jobs_dir, &n, &state, &unused, &error) >= 0 && n > strv_length(j->nodes)) {
                text = format("it stays as it is; taking it back was refused: %s", reason);
                return manager_end_job(m, j, JOB_COMMITTED, text ?: "taking it back was refused");
        }
        text = format(
                "%s; what was added before could not be taken back: %s; when that is mended, run \"dhetcd rollback "
                "%s\"; to let it stay, \"dhetcd cancel %s\"",
                j->why_revert ?: "a node failed", reason, j->id, j->id);
        manager_end_job(m, j, JOB_STUCK, text ?: "it could not be taken back");
}

bool manager_let_stay(Manager *m, Job *j) {
        _cleanup_free_ char *reason = NULL, *error = NULL;
        TxnState state = TXN_EMPTY;
        size_t n;

        if (job_current_txn(j, m->jobs_dir, &n, &state, &reason, &error) < 0 || n < 2 || n > strv_length(j->nodes))
                return false;
        if (state != TXN_ROLLED_BACK && state != TXN_REJECTED)
                return false;
        end_short(m, j, n, state == TXN_REJECTED ? JOB_REJECTED : JOB_ROLLED_BACK, reason ?: "it was not added");
        return true;
}

static void revert_txn_ended(Manager *m, Job *j, TxnState state, const char *reason) {
        _cleanup_free_ char *text = NULL;

        switch (state) {
        case TXN_ROLLED_BACK:
                j->attempts = 0;
                return manager_kick(m); /* the one before it, or the end of the job */
        case TXN_COMMITTED:
                return revert_refused(m, j, reason ?: "see its journal");
        default:
                text = format("%s; when the cause is mended, run \"dhetcd settle %s\"", reason ?: "stuck", j->id);
                return manager_end_job(m, j, JOB_STUCK, text ?: "stuck");
        }
}

void manager_txn_ended(Manager *m, Job *j, size_t n, TxnState state, const char *reason) {
        _cleanup_free_ char *text = NULL;

        if (j->revert)
                return revert_txn_ended(m, j, state, reason);
        switch (state) {
        case TXN_COMMITTED:
                j->attempts = 0;
                return manager_kick(m); /* the next node, or the end of the job */
        case TXN_ROLLED_BACK:
                return end_without(m, j, n, JOB_ROLLED_BACK, reason ?: "rolled back");
        case TXN_REJECTED:
                if (j->cancel) {
                        text = format("canceled before anything of it was changed (%s)", reason ?: "see its journal");
                        return end_without(m, j, n, JOB_CANCELED, text ?: "canceled; nothing of it was changed");
                }
                return end_without(m, j, n, JOB_REJECTED, reason ?: "refused by a check; nothing was changed");
        case TXN_EMPTY:
                if (j->cancel)
                        return end_without(m, j, n, JOB_CANCELED,
                                           "canceled before it began; nothing of it was changed");
                text = format("the worker ended before it did anything, nothing was changed (%s)",
                              reason ?: "see \"journalctl -u dhetcdd\"");
                return end_without(m, j, n, JOB_REJECTED, text ?: "nothing was changed");
        case TXN_STUCK:
                text = format("%s. " STUCK_NEXT, reason ?: "stuck", j->id);
                return end_short(m, j, n, JOB_STUCK, text ?: "stuck");
        default: /* still open, and settling it ended too */
                text = format("it could not be settled (%s). " STUCK_NEXT, reason ?: "the worker ended", j->id);
                return end_short(m, j, n, JOB_STUCK, text ?: "stuck");
        }
}

/* What everyone who waits is told, with an event only when the job that holds them up is another one. */
static void tell_waiting(Manager *m) {
        const Job *holder = manager_running_job(m);

        for (size_t i = 0; holder && i < m->queue.n; i++) {
                Job *j = m->queue.jobs[i];
                _cleanup_free_ char *nodes = strv_join(holder->nodes, ", "), *text = NULL;

                if (j->state != JOB_QUEUED)
                        continue;
                text = format("waiting for job %s, which %s %s; place %u in the queue", holder->id,
                              job_words(holder->kind)->adds, nodes ?: "nodes", job_queue_position(&m->queue, j));
                if (!text || streq(j->text, text))
                        continue;
                log_event(EVENT_JOB_WAITING, LOG_INFO, &(EventContext){ .job = j->id }, "Job %s: %s", j->id, text);
                manager_set_job(m, j, JOB_QUEUED, text);
        }
}

static const char *words_for(const Job *j) {
        if (j->revert)
                return "taking back";
        return j->settle ? "settling" : j->cancel ? "canceling" : job_words(j->kind)->adding;
}

/* Lets the worker of transaction n do what is due, after a look at its log. */
static int begin_txn(Manager *m, Job *j, size_t n, char **reterr) {
        _cleanup_free_ char *dir = job_txn_dir(j, m->jobs_dir, n), *text = NULL;
        int r;

        text = format("%s etcd node %s (%zu of %zu)", words_for(j), j->nodes[n - 1], n, strv_length(j->nodes));
        r = dir && text ? mkdir_durable(dir, 0700) : -ENOMEM;
        if (r >= 0) {
                manager_set_job(m, j, JOB_RUNNING, text);
                r = txn_run_begin(m, j, n);
        }
        return r < 0 ? fail(reterr, r, "the transaction in %s could not be begun: %s", dir ?: "memory", strerror(-r))
                     : 0;
}

/* Takes the newest of its additions back that is still there, or ends the job when there is none. */
static void advance_back(Manager *m, Job *j) {
        _cleanup_free_ char *error = NULL, *nodes = NULL, *text = NULL;
        size_t n;
        int r;

        r = job_revert_txn(j, m->jobs_dir, &n, &error);
        if (r >= 0 && n == 0) {
                nodes = strv_join(j->nodes, ", ");
                text = format("%s; nothing of it is left: %s", j->why_revert ?: "taken back", nodes ?: "");
                return manager_end_job(m, j, JOB_ROLLED_BACK, text ?: "taken back");
        }
        if (r >= 0)
                r = begin_txn(m, j, n, &error);
        if (r < 0 && manager_has_bus(m))
                manager_end_job(m, j, JOB_STUCK, error_text(error, r));
}

/* A stuck job holds its hosts, and is not tried again while another one is at work: neither would come to an end. */
static bool end_behind_stuck(Manager *m, Job *j, size_t n) {
        const Job *stuck = j->kind == JOB_ADD ? job_queue_stuck(&m->queue) : NULL;
        _cleanup_free_ char *text = NULL;

        if (!stuck)
                return false;
        text = format("job %s is stuck and holds its hosts; end it first: dhetcd settle %s", stuck->id, stuck->id);
        end_without(m, j, n, JOB_REJECTED, text ?: "another job is stuck");
        return true;
}

/* Begins the next transaction of a job, or ends the job when there is none. */
static void advance(Manager *m, Job *j) {
        _cleanup_free_ char *reason = NULL, *error = NULL, *text = NULL, *nodes = NULL;
        TxnState state = TXN_EMPTY;
        size_t n = 1;
        int r;

        if (j->revert)
                return advance_back(m, j);
        r = job_current_txn(j, m->jobs_dir, &n, &state, &reason, &error);
        if (r < 0)
                return end_short(m, j, n, JOB_STUCK, error_text(error, r));
        if (n > strv_length(j->nodes)) {
                nodes = strv_join(j->nodes, ", ");
                text = format("%s: %s", nodes ?: "nodes", job_words(j->kind)->job_did);
                manager_end_rescued(m, j);
                manager_schedule_done(m, j);
                return manager_end_job(m, j, JOB_COMMITTED, text ?: job_words(j->kind)->job_did);
        }
        if (state == TXN_EMPTY && n > 1 && job_txn_was_taken_over(j, m->jobs_dir, n - 1))
                return end_short(m, j, n, JOB_CANCELED, "not begun, since the job was taken over by another host");
        if (j->cancel && state == TXN_EMPTY && n > 1)
                return end_without(m, j, n, JOB_CANCELED, "canceled before it began");
        if (state == TXN_EMPTY && end_behind_stuck(m, j, n))
                return;

        r = begin_txn(m, j, n, &error);
        if (r < 0 && !manager_has_bus(m))
                return;
        if (r < 0 && state == TXN_EMPTY)
                end_without(m, j, n, JOB_REJECTED, error_text(error, r));
        else if (r < 0)
                end_short(m, j, n, JOB_STUCK, error_text(error, r));
}

static void prune(Manager *m) {
        _cleanup_(config_freep) Config *config = NULL;
        Job *j;

        if (config_load(NULL, &config, NULL, NULL) < 0)
                return; /* the next order is refused for it, with its text */
        while ((j = job_queue_prunable(&m->queue, config->keep_jobs, config->keep_days, now_real()))) {
                int r = job_remove(m->jobs_dir, j->id);

                if (r < 0)
                        log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = j->id, .error = r },
                                  "The records of job %s could not be removed: %s", j->id, strerror(-r));
                job_queue_remove(&m->queue, j);
        }
}

static int on_wait_over(sd_event_source *source, uint64_t usec, void *userdata) {
        dispatch(userdata);
        return 0;
}

static void end_expired(Manager *m) {
        uint64_t next;
        Job *j;

        while ((j = job_queue_expired(&m->queue, now_real(), &next))) {
                _cleanup_free_ char *text = format("its time to wait (%llu s) is over; nothing was changed. It was %s",
                                                   (unsigned long long) (j->wait_timeout_usec / USEC_PER_SEC), j->text);

                manager_end_job(m, j, JOB_REJECTED, text ?: "its time to wait is over");
        }
        m->wait_source = sd_event_source_unref(m->wait_source);
        if (next != UINT64_MAX)
                (void) sd_event_add_time(m->event, &m->wait_source, CLOCK_REALTIME, next, 0, on_wait_over, m);
}

/* "grow" waits for its job, and runs no installer meanwhile. */
static bool has_job_of(const Manager *m, const char *install) {
        for (size_t i = 0; i < m->queue.n; i++)
                if (m->queue.jobs[i]->state == JOB_QUEUED &&
                    streq(json_get_string(m->queue.jobs[i]->options, "grow"), install))
                        return true;
        return false;
}

/* The installer changes what a job would read: no job is begun as long as it runs, and what waits looks again. */
static bool held_by_installer(Manager *m) {
        const Job *next = job_queue_next(&m->queue);
        char id[JOB_ID_DIGITS + 1];

        if (!next || next->state != JOB_QUEUED || manager_install_runs(m, id) <= 0 || has_job_of(m, id))
                return false;
        m->install_source = sd_event_source_unref(m->install_source);
        if (sd_event_add_time(m->event, &m->install_source, CLOCK_BOOTTIME, now_boot() + USEC_PER_SEC, 0, on_wait_over,
                              m) < 0)
                return false;
        for (size_t i = 0; i < m->queue.n; i++) {
                _cleanup_free_ char *text = format("waiting for the installer (%s)", id);
                Job *j = m->queue.jobs[i];

                if (j->state == JOB_QUEUED && text && !streq(j->text, text)) {
                        log_event(EVENT_JOB_WAITING, LOG_INFO, &(EventContext){ .job = j->id }, "Job %s: %s", j->id,
                                  text);
                        manager_set_job(m, j, JOB_QUEUED, text);
                }
        }
        return true;
}

static void dispatch(Manager *m) {
        Job *j;

        end_expired(m);
        while (!m->run && manager_has_bus(m) && !held_by_installer(m) && !manager_gathers(m) &&
               (j = job_queue_next(&m->queue)))
                advance(m, j);
        if (m->run)
                manager_inhibit(m);
        else
                manager_uninhibit(m);
        tell_waiting(m);
        prune(m);
}

static int on_dispatch(sd_event_source *source, void *userdata) {
        dispatch(userdata);
        return 0;
}

void manager_kick(Manager *m) {
        (void) sd_event_source_set_enabled(m->dispatch_source, SD_EVENT_ONESHOT);
}

/* One job's record that cannot be read does not keep the others from going on. */
static int load_job(Manager *m, const char *id) {
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        r = job_remove_untaken(m->jobs_dir, id);
        if (r > 0)
                return 0;
        r = job_load(m->jobs_dir, id, &j, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                log_event(EVENT_WARNING, LOG_ERR, &(EventContext){ .job = id, .error = r },
                          "Job %s is not known any more: %s", id, error_text(error, r));
                return 0;
        }
        (void) (job_unmark(j, m->jobs_dir) < 0);
        r = job_queue_load(&m->queue, j);
        if (r < 0)
                return r;
        TAKE_PTR(j);
        return 0;
}

static int load_jobs(Manager *m) {
        _cleanup_(closedirp) DIR *d = NULL;
        struct dirent *e;
        int r;

        r = mkdir_durable(m->jobs_dir, 0700);
        if (r < 0)
                return r;
        d = opendir(m->jobs_dir);
        if (!d)
                return -errno;
        while ((errno = 0, e = readdir(d))) {
                r = job_id_is_valid(e->d_name) ? load_job(m, e->d_name) : 0;
                if (r < 0)
                        return r;
        }
        return -errno;
}

static int on_subscribed(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        return 0; /* without it, the polling of manager-txn.c is what is left */
}

int manager_new(sd_event *event, sd_bus *bus, Manager **ret) {
        _cleanup_(manager_freep) Manager *m = calloc(1, sizeof(Manager));
        int r;

        if (!m)
                return -ENOMEM;
        *m = (Manager){ .event = sd_event_ref(event),
                        .bus = sd_bus_ref(bus),
                        .jobs_dir = strdup(DHETCD_JOBS_DIR),
                        .inhibit_fd = -EBADF };
        if (!m->jobs_dir)
                return -ENOMEM;
        r = polkit_new(bus, &m->polkit);
        if (r < 0)
                return r;
        r = load_jobs(m);
        if (r < 0)
                return r;
        r = sd_event_add_defer(event, &m->dispatch_source, on_dispatch, m);
        if (r < 0)
                return r;
        r = manager_bus_register(m);
        if (r < 0)
                return r;
        /* systemd sends signals of units and jobs only while somebody has subscribed. */
        r = sd_bus_call_method_async(bus, &m->subscribe_slot, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                     "org.freedesktop.systemd1.Manager", "Subscribe", on_subscribed, m, NULL);
        if (r < 0)
                return r;
        manager_schedule_sweep(m);
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        m->run = txn_run_free(m->run);
        looks_free(m->looks);
        m->schedule = schedule_run_free(m->schedule);
        m->gather = gather_free(m->gather);
        m->install = install_start_free(m->install);
        manager_uninhibit(m);
        strv_free(m->swept_names);
        sd_bus_slot_unref(m->vtable_slot);
        sd_bus_slot_unref(m->subscribe_slot);
        sd_event_source_unref(m->dispatch_source);
        sd_event_source_unref(m->wait_source);
        sd_event_source_unref(m->save_source);
        sd_event_source_unref(m->install_source);
        polkit_free(m->polkit);
        job_queue_done(&m->queue);
        sd_event_unref(m->event);
        sd_bus_unref(m->bus);
        free(m->jobs_dir);
        free(m);
        return NULL;
}

bool manager_is_asked(const Manager *m) {
        return m->looks || m->schedule || m->install || !polkit_is_idle(m->polkit);
}

bool manager_is_idle(const Manager *m) {
        return !m->run && !m->save_source && job_queue_open(&m->queue) == 0 && !manager_is_asked(m);
}
