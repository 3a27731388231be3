/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.dhetcd1.Manager. A handler reads, validates, asks polkit, acts and replies, in this order: polkit makes it run
 * twice, so nothing before the question has a side effect, and nothing found before it is kept over it. */

#include "basic/error.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "bus/vtable.h"
#include "job-steps.h"
#include "manager-internal.h"

int manager_set_error(sd_bus_error *error, int r, const char *text) {
        const char *name = r == -EINVAL ? DHETCD_ERROR_REJECTED : r == -EBUSY ? DHETCD_ERROR_BUSY : DHETCD_ERROR_FAILED;

        if (!text)
                return sd_bus_error_set_errno(error, r);
        return sd_bus_error_set(error, name, text);
}

void manager_emit_job_changed(Manager *m, const Job *j) {
        (void) sd_bus_emit_signal(m->bus, DHETCD_PATH, DHETCD_MANAGER, "JobChanged", "sss", j->id,
                                  job_state_to_string(j->state), j->text);
}

void manager_emit_running_job(Manager *m) {
        (void) sd_bus_emit_properties_changed(m->bus, DHETCD_PATH, DHETCD_MANAGER, "RunningJob", NULL);
}

/* `own`: the installation that the job would be of, which is no obstacle to it; may be NULL. */
static int refuse_while_busy(const Manager *m, const char *own, const char *advice, sd_bus_error *error) {
        const Job *holder = manager_running_job(m);
        char installation[JOB_ID_DIGITS + 1];
        _cleanup_free_ char *nodes = NULL;

        holder = holder ?: job_queue_next(&m->queue);
        if (!holder && manager_install_runs(m, installation) > 0 && !streq(installation, own))
                return sd_bus_error_setf(error, DHETCD_ERROR_BUSY,
                                         "The installer runs (%s); wait for its end (journalctl -f DHETCD_JOB=%s)%s",
                                         installation, installation, advice);
        if (!holder)
                return 0;
        nodes = strv_join(holder->nodes, ", ");
        return sd_bus_error_setf(error, DHETCD_ERROR_BUSY,
                                 "Job %s, which %s %s, is %s; wait for its end (dhetcd watch %s)%s", holder->id,
                                 job_words(holder->kind)->adds, nodes ?: "nodes", job_state_to_string(holder->state),
                                 holder->id, advice);
}

int manager_refuse_while_busy(const Manager *m, const char *advice, sd_bus_error *error) {
        return refuse_while_busy(m, NULL, advice, error);
}

int manager_read_add_request(sd_bus_message *message, AddRequest *a, sd_bus_error *error) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = config_load(NULL, &config, &a->warnings, &text);
        if (r == -EINVAL)
                (void) fail_prefix(&text, r, "The configuration is wrong, mend it and try again");
        if (r >= 0)
                r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = add_request_read(message, config, a, &text);
        return r < 0 ? manager_set_error(error, r, text) : 0;
}

/* Who asks for the job: of one that "grow" waits for, who asked for that. */
static int find_asker(const Manager *m, sd_bus_message *message, const char *install, uid_t *ret, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = polkit_caller_uid(message, ret);
        if (r < 0 || !install)
                return r;
        if (*ret != 0)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "Option 'grow' is only for the worker of \"grow\"");
        r = manager_install_asker(m, install, ret, &text);
        return r < 0 ? manager_set_error(error, r, text) : 0;
}

static int add_job(Manager *m, const AddRequest *a, uid_t uid, Job **ret, char **reterr) {
        _cleanup_(job_freep) Job *owned = NULL;
        int r;

        r = job_new(a->nodes, a->options, uid, &owned);
        if (r < 0)
                return r;
        r = manager_add_job(m, owned, reterr);
        if (r < 0)
                return r == -EXFULL ? -EBUSY : r;
        *ret = TAKE_PTR(owned);
        if (a->gather)
                manager_gather_begin(m, *ret);
        STRV_FOREACH (warning, a->warnings)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = (*ret)->id }, "%s", *warning);
        return 0;
}

static int method_add_nodes(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(add_request_done) AddRequest a = {};
        _cleanup_free_ char *nodes = NULL, *text = NULL;
        const char *install;
        Manager *m = userdata;
        uid_t uid;
        Job *j;
        int r;

        r = manager_read_add_request(message, &a, error);
        if (r < 0)
                return r;
        install = json_get_string(a.options, "grow");
        nodes = strv_join(a.nodes, " ");
        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_ADD_NODE, (const char *const[]){ "nodes", nodes, NULL },
                         method_add_nodes, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = find_asker(m, message, install, &uid, error);
        if (r < 0)
                return r;
        r = add_request_window(a.options, &text);
        if (r >= 0)
                r = manager_gather_join(m, &a, uid, &j, &text);
        if (r == 0 && !a.wait) {
                r = refuse_while_busy(m, install, " or leave out --no-wait", error);
                if (r < 0)
                        return r;
        }
        if (r == 0)
                r = add_job(m, &a, uid, &j, &text);
        return r < 0 ? manager_set_error(error, r, text) : sd_bus_reply_method_return(message, "s", j->id);
}

static int read_job(Manager *m, sd_bus_message *message, Job **ret, sd_bus_error *error) {
        const char *id;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &id);
        if (r < 0)
                return r;
        *ret = job_queue_find(&m->queue, id);
        if (!*ret)
                return sd_bus_error_setf(error, DHETCD_ERROR_NO_SUCH_JOB,
                                         "There is no job '%.64s'; see \"dhetcd list\"", id);
        return 0;
}

/* The question whether somebody may do that with a job, in words that fit what it does. */
static int check_job(Manager *m, sd_bus_message *message, const char *action, const Job *j, const char *verb,
                     sd_bus_message_handler_t self, sd_bus_error *error) {
        _cleanup_free_ char *nodes = strv_join(j->nodes, " "), *text = NULL;

        text = format("Authentication is required to %s job $(job), which %s $(nodes).", verb,
                      job_words(j->kind)->adds);
        if (!nodes || !text)
                return -ENOMEM;
        return polkit_check(m->polkit, message, action,
                            (const char *const[]){ "nodes", nodes, "job", j->id, POLKIT_MESSAGE, text, NULL }, self, m,
                            error);
}

/* Who asked for a job may cancel it with the right to ask; anybody else needs the right to roll back. */
static const char *action_to_cancel(const Job *j, uid_t uid) {
        static const char *const actions[_JOB_KIND_MAX] = {
                [JOB_ADD] = POLKIT_ADD_NODE, [JOB_RESCUE] = POLKIT_RESCUE, [JOB_REPAIR] = POLKIT_REPAIR
        };

        return uid == j->uid ? actions[j->kind] : POLKIT_ROLLBACK;
}

static int method_cancel_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const char *id;
        uid_t uid;
        Job *j;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &id);
        if (r >= 0)
                r = manager_cancel_install(m, message, id, method_cancel_job, error);
        if (r != 0)
                return r;
        r = read_job(m, message, &j, error);
        if (r >= 0)
                r = polkit_caller_uid(message, &uid);
        if (r < 0)
                return r;
        r = check_job(m, message, action_to_cancel(j, uid), j, "cancel", method_cancel_job, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (j->state == JOB_STUCK && manager_let_stay(m, j))
                return sd_bus_reply_method_return(message, NULL);
        if (!job_state_is_open(j->state))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "Job %s has ended already: %s", j->id,
                                         job_state_to_string(j->state));
        if (j->revert)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "Job %s is being taken back already", j->id);
        manager_cancel_job(m, j);
        return sd_bus_reply_method_return(message, NULL);
}

/* Why a job cannot be taken back at all; the rest is checked by the worker. */
static int refuse_rollback(const Manager *m, const Job *j, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        if (j->kind != JOB_ADD)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "Job %s is a %s, which cannot be taken back",
                                         j->id, job_words(j->kind)->name);
        if (j->taken_over_from)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "Job %s was taken over from %s, and cannot be taken back without that host",
                                         j->id, j->taken_over_from);
        if (job_state_is_open(j->state))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "Job %s is %s; run \"dhetcd cancel %s\", which puts everything back", j->id,
                                         job_state_to_string(j->state), j->id);
        r = job_revert_txn(j, m->jobs_dir, &n, &text);
        if (r < 0)
                return manager_set_error(error, r, text);
        if (n == 0)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "Job %s is %s: nothing of it is left to take back", j->id,
                                         job_state_to_string(j->state));
        return 0;
}

static int method_rollback_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *nodes = NULL, *why = NULL;
        Manager *m = userdata;
        int r, force;
        uid_t uid;
        Job *j;

        r = read_job(m, message, &j, error);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 'b', &force);
        if (r < 0)
                return r;
        nodes = strv_join(j->nodes, " ");
        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_ROLLBACK,
                         (const char *const[]){ "nodes", nodes, "job", j->id, NULL }, method_rollback_job, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = refuse_rollback(m, j, error);
        if (r >= 0)
                r = polkit_caller_uid(message, &uid);
        if (r < 0)
                return r;
        why = format("asked for by user %u", (unsigned) uid);
        if (!why || json_object_set_new(j->options, "force", json_boolean(force)) < 0)
                return -ENOMEM;
        r = manager_revert_job(m, j, why);
        return r < 0 ? r : sd_bus_reply_method_return(message, NULL);
}

static int method_settle_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        Job *j;
        int r;

        r = read_job(m, message, &j, error);
        if (r < 0)
                return r;
        r = check_job(m, message, POLKIT_ROLLBACK, j, "settle", method_settle_job, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (j->state == JOB_STUCK)
                manager_settle_job(m, j);
        else if (j->state != JOB_RUNNING)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "Job %s is %s: there is nothing to settle",
                                         j->id, job_state_to_string(j->state));
        return sd_bus_reply_method_return(message, NULL);
}

/* The nodes of all that are stuck. */
static char *stuck_nodes(const Manager *m) {
        _cleanup_strv_ char **nodes = NULL;

        for (size_t i = 0; i < m->queue.n; i++)
                STRV_FOREACH (node, m->queue.jobs[i]->nodes)
                        if (m->queue.jobs[i]->state == JOB_STUCK && strv_append(&nodes, *node) < 0)
                                return NULL;
        return strv_join(nodes, " ");
}

/* For dhetcd-recover.service: what is stuck is tried again for a short while, unless another job, a rescue perhaps,
 * is at work. What is open goes on by itself. The answer is all that is worth waiting for. */
static int method_settle_all(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *m = userdata;
        _cleanup_free_ char *nodes = stuck_nodes(m);
        bool busy;
        int r;

        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_ROLLBACK,
                         (const char *const[]){ "nodes", nodes, POLKIT_MESSAGE,
                                                "Authentication is required to try all jobs that are stuck again.",
                                                NULL },
                         method_settle_all, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        busy = manager_running_job(m) || job_queue_open(&m->queue) > 0;
        for (size_t i = 0; i < m->queue.n; i++)
                if (!busy && m->queue.jobs[i]->state == JOB_STUCK)
                        manager_retry_job(m, m->queue.jobs[i]);
        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (size_t i = 0; r >= 0 && i < m->queue.n; i++)
                if (m->queue.jobs[i]->state == JOB_RUNNING)
                        r = sd_bus_message_append_basic(reply, 's', m->queue.jobs[i]->id);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int append_job(sd_bus_message *reply, const Manager *m, const Job *j) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "sassttsu");
        if (r >= 0)
                r = sd_bus_message_append_basic(reply, 's', j->id);
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, j->nodes);
        if (r >= 0)
                r = sd_bus_message_append(reply, "sttsu", job_state_to_string(j->state), j->queued_usec, j->ended_usec,
                                          j->text, job_queue_position(&m->queue, j));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *m = userdata;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sassttsu)");
        for (size_t i = 0; r >= 0 && i < m->queue.n; i++)
                r = append_job(reply, m, m->queue.jobs[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* One transaction as JSON; NULL on OOM. A log that cannot be read is shown as such: a view never fails. */
static json_t *txn_to_json(const Manager *m, const Job *j, size_t n) {
        _cleanup_free_ char *txn = job_txn_id(j, n), *unit = txn_unit_name(j, n), *reason = NULL, *error = NULL;
        _cleanup_free_ char *dir = job_txn_dir(j, m->jobs_dir, n);
        _cleanup_json_ json_t *records = NULL;
        TxnState state = TXN_EMPTY;
        int r;

        if (!txn || !unit || !dir)
                return NULL;
        (void) (txn_log_read(dir, &records, NULL, NULL) < 0); /* then there are no steps */
        r = job_txn_state(j, m->jobs_dir, n, &state, &reason, &error);
        return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:O?}", "txn", txn, "node", j->nodes[n - 1], "unit", unit,
                         "state", r < 0 ? "unreadable" : txn_state_to_string(state), "reason",
                         r < 0 ? error_text(error, r) : reason, "steps", job_steps(records), "backup",
                         job_backup(records));
}

static int method_get_job(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *v = NULL;
        _cleanup_free_ char *text = NULL;
        json_t *transactions = json_array();
        Manager *m = userdata;
        Job *j;
        int r;

        r = read_job(m, message, &j, error);
        if (r < 0) {
                json_decref(transactions);
                return r;
        }
        for (size_t n = 1; n <= strv_length(j->nodes); n++)
                (void) json_array_append_new(transactions, txn_to_json(m, j, n));
        v = job_to_json(j);
        if (json_object_set_new(v, "transactions", transactions) < 0 ||
            json_object_set_new(v, "position", json_integer(job_queue_position(&m->queue, j))) < 0)
                return -ENOMEM;
        text = json_to_text(v, JSON_COMPACT);
        return text ? sd_bus_reply_method_return(message, "s", text) : -ENOMEM;
}

static int property_get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", DHETCD_VERSION);
}

static int property_get_running_job(sd_bus *bus, const char *path, const char *interface, const char *property,
                                    sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Job *j = manager_running_job(userdata);

        return sd_bus_message_append(reply, "s", j ? j->id : "");
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("AddNodes", "asa{sv}t", ARG(nodes) ARG(options) ARG(flags), "s", ARG(job), method_add_nodes),
        METHOD("Rescue", "a{sv}t", ARG(options) ARG(flags), "s", ARG(job), manager_method_rescue),
        METHOD("Install", "sa{sv}t", ARG(dir) ARG(options) ARG(flags), "s", ARG(install), manager_method_install),
        METHOD("Grow", "sasa{sv}t", ARG(dir) ARG(nodes) ARG(options) ARG(flags), "s", ARG(install),
               manager_method_grow),
        METHOD("GetInstall", "s", ARG(install), "s", ARG(json), manager_method_get_install),
        METHOD("ListInstalls", "", , "s", ARG(json), manager_method_list_installs),
        METHOD("Repair", "t", ARG(flags), "s", ARG(job), manager_method_repair),
        METHOD("Look", "", , "s", ARG(json), manager_method_look),
        METHOD("Plan", "asa{sv}t", ARG(nodes) ARG(options) ARG(flags), "s", ARG(json), manager_method_plan),
        METHOD("Examine", "", , "s", ARG(json), manager_method_examine),
        METHOD("Schedule", "asa{sv}tss", ARG(nodes) ARG(options) ARG(flags) ARG(on) ARG(until), "", ,
               manager_method_schedule),
        METHOD("Unschedule", "s", ARG(node), "", , manager_method_unschedule),
        METHOD("AddScheduled", "s", ARG(node), "s", ARG(job), manager_method_add_scheduled),
        METHOD("ListSchedules", "", , "s", ARG(json), manager_method_list_schedules),
        METHOD("CancelJob", "s", ARG(job), "", , method_cancel_job),
        METHOD("RollbackJob", "sb", ARG(job) ARG(force), "", , method_rollback_job),
        METHOD("SettleJob", "s", ARG(job), "", , method_settle_job),
        METHOD("TakeOver", "s", ARG(job), "", , manager_method_take_over),
        METHOD("SettleAll", "", , "as", ARG(jobs), method_settle_all),
        METHOD("ListJobs", "", , "a(sassttsu)", ARG(jobs), method_list_jobs),
        METHOD("GetJob", "s", ARG(job), "s", ARG(json), method_get_job),
        SIGNAL("JobChanged", "sss", ARG(job) ARG(state) ARG(text)),
        SD_BUS_PROPERTY("Version", "s", property_get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("RunningJob", "s", property_get_running_job, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int manager_bus_register(Manager *m) {
        return sd_bus_add_object_vtable(m->bus, &m->vtable_slot, DHETCD_PATH, DHETCD_MANAGER, manager_vtable, m);
}
