/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* TakeOver: a job of another host, which never comes back, becomes a job of this one, made from this host's copy of its
 * plan. Whether the other host is really gone the worker finds out, before it does anything. */

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host-history.h"
#include "host-operation.h"
#include "manager-internal.h"
#include "txn/txn-log.h"

#define PLAN_SIZE_MAX (2U * 1024U * 1024U)

/* What is taken over. */
typedef struct Takeover {
        size_t n; /* the transaction */
        json_t *plan;
        char *from; /* the job's host */
} Takeover;

static void takeover_done(Takeover *t) {
        json_decref(t->plan);
        free(t->from);
}

/* ---- what this host knows ---- */

/* The transaction that holds this host: a job that is taken back is at an older one than its newest. Else the newest of
 * the job that this host has a plan of; 0 where none. */
static size_t find_transaction(const char *job) {
        _cleanup_(host_lock_done) HostLock lock = {};
        size_t length = strlen(job);

        if (host_lock_read(&lock, NULL) > 0 && streq(lock.job, job) && lock.txn && txn_is_valid(lock.txn))
                return strtoul(lock.txn + length + 1, NULL, 10);
        for (size_t n = JOB_NODES_MAX; n > 0; n--) {
                _cleanup_free_ char *txn = format("%s-%zu", job, n), *path = txn ? host_plan_path(txn) : NULL;

                if (path && path_exists(path) > 0)
                        return n;
        }
        return 0;
}

static int read_plan(const char *job, size_t n, json_t **ret, char **reterr) {
        _cleanup_free_ char *txn = format("%s-%zu", job, n), *path = txn ? host_plan_path(txn) : NULL, *text = NULL;
        _cleanup_json_ json_t *plan = NULL;
        int r;

        r = path ? read_file(path, PLAN_SIZE_MAX, false, &text, NULL) : -ENOMEM;
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path ?: job, strerror(-r));
        plan = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (json_get_integer(plan, "format", 0) != 1 || !streq(json_get_string(plan, "txn"), txn) ||
            !json_is_object(json_object_get(plan, "job")) || !json_is_object(json_object_get(plan, "plan")) ||
            !json_get_string(plan, "authorities"))
                return fail(reterr, -EBADMSG, "%s is damaged; try it on another host of the job", path);
        *ret = TAKE_PTR(plan);
        return 0;
}

/* -ENOENT: nothing is known of the job. */
static int find_plan(const char *job, size_t *ret_n, json_t **ret, char **reterr) {
        *ret_n = find_transaction(job);
        if (*ret_n == 0)
                return fail(reterr, -ENOENT,
                            "This host has no record of a job '%.64s'. Run it on a host that the job changes: a member "
                            "of the cluster, or the new node",
                            job);
        return read_plan(job, *ret_n, ret, reterr);
}

/* The nodes of the job, for polkit. */
static int find_nodes(const Manager *m, const char *job, char **ret, char **reterr) {
        const Job *known = job_queue_find(&m->queue, job);
        _cleanup_strv_ char **nodes = NULL;
        _cleanup_json_ json_t *plan = NULL;
        json_t *v;
        size_t n, i;
        int r = 0;

        if (!known)
                r = find_plan(job, &n, &plan, reterr);
        json_array_foreach (json_object_get(json_object_get(plan, "job"), "nodes"), i, v)
                if (r >= 0 && json_is_string(v))
                        r = strv_append(&nodes, json_string_value(v));
        if (r < 0)
                return r;
        *ret = strv_join(known ? known->nodes : nodes, " ");
        return *ret ? 0 : -ENOMEM;
}

/* As find_plan(). -EINVAL: it needs no end here. */
static int look_for(const char *job, Takeover *ret, char **reterr) {
        _cleanup_(host_lock_done) HostLock lock = {};
        int r;

        r = find_plan(job, &ret->n, &ret->plan, reterr);
        if (r >= 0)
                r = host_lock_read(&lock, reterr);
        if (r < 0)
                return r;
        if (r == 0 || !streq(lock.job, job))
                return fail(reterr, -EINVAL,
                            "Job %s does not hold this host: it has ended here. See \"dhetcd show %s\" on %s", job, job,
                            json_get_string(ret->plan, "holder") ?: "its own host");
        ret->from = TAKE_PTR(lock.holder);
        return 0;
}

/* ---- the job ---- */

static int make_job(const char *id, const Takeover *t, Job **ret, char **reterr) {
        _cleanup_json_ json_t *v = json_deep_copy(json_object_get(t->plan, "job"));
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_free_ char *text = format("taking it over from %s", t->from);
        _cleanup_json_ json_t *more = NULL;
        int r;

        more = json_pack("{ss ss ss* sI sb ss}", "job", id, "state", "running", "text", text, "ended_usec",
                         (json_int_t) 0, "cancel", 0, "taken_over_from", t->from);
        if (!v || !more || json_object_update(v, more) < 0)
                return -ENOMEM;
        r = job_from_json(v, &j, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "the plan of job %s is damaged", id);
        if (t->n > strv_length(j->nodes))
                return fail(reterr, -EBADMSG, "the plan of job %s is damaged: it has no node %zu", id, t->n);
        *ret = TAKE_PTR(j);
        return 0;
}

static int write_text(const char *dir, const char *name, const char *text) {
        _cleanup_free_ char *path = format("%s/%s", dir, name);

        if (!path || !text)
                return -ENOMEM;
        return write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
}

/* The log says that it is a takeover; of the nodes before, which are members, that they are done. */
static int write_log(const char *dir, const char *from, bool committed) {
        _cleanup_json_ json_t *note = NULL, *end = json_pack("{ss}", "state", txn_state_to_string(TXN_COMMITTED));
        _cleanup_(txn_log_freep) TxnLog *log = NULL;
        int r;

        note = json_pack("{ss s{ss}}", "key", JOB_TAKEOVER_NOTE, "value", "from", from);
        if (!note || !end)
                return -ENOMEM;
        r = txn_log_open(dir, /* create= */ true, &log, NULL);
        if (r >= 0)
                r = txn_log_append(log, "note", note, NULL);
        if (r >= 0 && committed)
                r = txn_log_append(log, "end", end, NULL);
        return r;
}

static int write_transaction(const Manager *m, const Job *j, size_t n, const Takeover *t) {
        _cleanup_free_ char *dir = job_txn_dir(j, m->jobs_dir, n), *plan = NULL;
        int r;

        r = dir ? mkdir_durable(dir, 0700) : -ENOMEM;
        if (r >= 0 && n == t->n) {
                plan = json_to_text(json_object_get(t->plan, "plan"), JSON_INDENT(2) | JSON_PRESERVE_ORDER);
                r = write_text(dir, "plan.json", plan);
                if (r >= 0)
                        r = write_text(dir, "trust.pem", json_get_string(t->plan, "authorities"));
        }
        return r < 0 ? r : write_log(dir, t->from, n < t->n);
}

/* job.json comes last: what a crash leaves before it is no job, and goes with the next try. */
static int write_job(const Manager *m, const Job *j, const Takeover *t, char **reterr) {
        _cleanup_free_ char *dir = format("%s/%s", m->jobs_dir, j->id);
        int r;

        r = dir ? remove_tree(dir) : -ENOMEM;
        for (size_t n = 1; r >= 0 && n <= t->n; n++)
                r = write_transaction(m, j, n, t);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", dir ?: j->id, strerror(-r))
                     : job_save(j, m->jobs_dir, reterr);
}

static int begin(Manager *m, const char *id, char **reterr) {
        _cleanup_(takeover_done) Takeover t = {};
        Job *known = job_queue_find(&m->queue, id);
        _cleanup_(job_freep) Job *j = NULL;
        int r;

        r = look_for(id, &t, reterr);
        if (r >= 0)
                r = make_job(id, &t, &j, reterr);
        if (r < 0)
                return r;
        if (known) /* a takeover that was refused */
                job_queue_remove(&m->queue, known);
        r = write_job(m, j, &t, reterr);
        if (r >= 0)
                r = job_queue_add(&m->queue, j);
        if (r < 0)
                return r;

        log_event(EVENT_JOB_TAKEN_OVER, LOG_NOTICE, &(EventContext){ .job = id, .host = t.from },
                  "Job %s of host %s is to be ended by this host", id, t.from);
        manager_emit_job_changed(m, TAKE_PTR(j));
        manager_kick(m);
        return 0;
}

/* ---- the method ---- */

/* 1: to be begun. 0: it was begun already. */
static int look_at_known(Manager *m, Job *j, char **reterr) {
        if (!j->taken_over_from)
                return fail(reterr, -EINVAL, "Job %s is this host's own; run: dhetcd settle %s", j->id, j->id);
        if (j->state == JOB_REJECTED)
                return 1;
        if (j->state == JOB_STUCK)
                manager_settle_job(m, j);
        else if (j->state != JOB_RUNNING)
                return fail(reterr, -EINVAL, "Job %s was taken over and has ended: %s", j->id,
                            job_state_to_string(j->state));
        return 0;
}

static int take_over(Manager *m, const char *id, char **reterr) {
        Job *known = job_queue_find(&m->queue, id), *running = manager_running_job(m);
        int r = known ? look_at_known(m, known, reterr) : 1;

        if (r <= 0)
                return r;
        /* It may wait for the very locks that are to be taken over. */
        if (running)
                return fail(reterr, -EBUSY, "Job %s runs on this host; cancel it first: dhetcd cancel %s", running->id,
                            running->id);
        return begin(m, id, reterr);
}

static int refuse(sd_bus_error *error, int r, const char *text) {
        return sd_bus_error_setf(error,
                                 r == -ENOENT   ? DHETCD_ERROR_NO_SUCH_JOB
                                 : r == -EINVAL ? DHETCD_ERROR_REJECTED
                                 : r == -EBUSY  ? DHETCD_ERROR_BUSY
                                                : DHETCD_ERROR_FAILED,
                                 "%s", error_text(text, r));
}

int manager_method_take_over(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *nodes = NULL, *text = NULL;
        Manager *m = userdata;
        const char *id;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &id);
        if (r < 0)
                return r;
        if (!job_id_is_valid(id))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "'%.64s' is not the name of a job", id);
        r = find_nodes(m, id, &nodes, &text);
        if (r < 0)
                return refuse(error, r, text);
        r = polkit_check(m->polkit, message, POLKIT_ROLLBACK, (const char *const[]){ "nodes", nodes, "job", id, NULL },
                         manager_method_take_over, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = take_over(m, id, &text);
        return r < 0 ? refuse(error, r, text) : sd_bus_reply_method_return(message, NULL);
}
