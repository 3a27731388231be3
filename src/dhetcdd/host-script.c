/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* RunScript: a vendor script as a transient oneshot unit: its job ends when the script does. The unit is kept by our
 * reference until its result is read; if we die meanwhile it goes on, and the next call with the same arguments finds
 * it and waits for it, or, where it has ended unseen, runs the script again (each of them may run twice). */

#include "basic/fs.h"
#include "host-operation.h"
#include "host-script-unit.h"

#define STOP_TIMEOUT (60 * USEC_PER_SEC)
#define JOB_GRACE (15 * USEC_PER_SEC) /* systemd ends the script by itself; this is for a systemd that does not */
#define LEFTOVER_PAUSE (50 * USEC_PER_MSEC)
#define LEFTOVER_TRIES 20U

typedef struct Script {
        char *unit;
        char *result;
        int status;
        bool ran;
        unsigned tries; /* to start over a unit that has ended and is not gone yet */
        ScriptLines lines;
} Script;

static void script_free(void *p) {
        Script *s = p;

        free(s->unit);
        free(s->result);
        script_lines_done(&s->lines);
        free(s);
}

static int call_on_unit(HostOperation *op, const char *method, const char *unit) {
        return sd_bus_call_method_async(op->host->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, method,
                                        NULL, NULL, "s", unit);
}

/* ---- the output ---- */

static int answer(HostOperation *op) {
        Script *s = op->own;
        json_t *lines = script_lines_to_json(&s->lines, s->unit);
        bool good = streq(s->result, "success");

        /* Not before: journald learns from the unit which invocation and job a late line belongs to. */
        (void) call_on_unit(op, "UnrefUnit", s->unit);
        if (!lines)
                return -ENOMEM;
        host_operation_event(op, EVENT_SCRIPT_FINISHED, good ? LOG_INFO : LOG_WARNING, NULL, NULL,
                             "Script \"%s\" ended: %s, status %d", op->verb, s->result, s->status);
        return host_operation_answer(op, json_pack("[s, i, o]", s->result, s->status, lines));
}

/* The journal may get the last lines after systemd has seen the end of the script. */
static int read_output(HostOperation *op) {
        Script *s = op->own;

        /* Nobody waits for the lines of a script whose step is taken back, and its unit is to be gone by then: whoever
         * wants them calls ScriptOutput. Where they cannot be read the result counts. */
        if (op->canceled || !s->ran || script_lines_read(&s->lines, s->unit) != 0)
                return answer(op);
        return script_lines_wait(op, read_output);
}

/* ---- the end ---- */

/* etcd runs on in the data directory while the package is unpacked: before anything else its owner is put right. */
static int script_ended(HostOperation *op) {
        int r = op->canceled || !script_unpacks(op->verb) ? 0 : host_places_keep(op);
        Script *s = op->own;

        if (r < 0)
                (void) call_on_unit(op, "UnrefUnit", s->unit);
        return r < 0 ? r : read_output(op);
}

static int result_known(HostOperation *op) {
        Script *s = op->own;
        const char *result = op->unit.result;

        if (!streq(op->unit.load_state, "loaded"))
                return fail(&op->why, -ENXIO, "systemd does not know any more how %s ended; see: journalctl -u %s",
                            s->unit, s->unit);
        /* A script that is stopped may leave as if all were well. */
        if (streq(result, "success") && op->job_result && !streq(op->job_result, "done"))
                result = op->job_result;

        s->result = strdup(result);
        if (!s->result)
                return -ENOMEM;
        s->status = op->unit.exec_main_status;
        s->ran = *op->unit.invocation_id != '\0';
        return script_ended(op);
}

static int ask_result(HostOperation *op) {
        Script *s = op->own;

        return host_operation_query(op, s->unit, result_known);
}

static int still_there(HostOperation *op);
static int start(HostOperation *op);

static int job_ended(HostOperation *op) {
        Script *s = op->own;

        if (op->job_error == -EEXIST) {
                (void) call_on_unit(op, "RefUnit", s->unit);
                return host_operation_query(op, s->unit, still_there);
        }
        if (op->job_result || op->job_error == -ENXIO)
                return ask_result(op);
        return fail(&op->why, op->job_error, "script \"%s\" was not run: %s", op->verb,
                    error_text(op->job_why, op->job_error));
}

/* A unit of our name: what we began before we died, or what is left of an earlier run. */
static int still_there(HostOperation *op) {
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        Script *s = op->own;
        UnitJob *j;
        int r;

        if (op->was_open && op->unit.job != 0) {
                r = host_operation_job(op, job_ended, &j);
                if (r >= 0)
                        r = unit_job_attach(j, op->unit.job, s->unit, timeout + JOB_GRACE);
                return r;
        }
        if (op->was_open && streq(op->unit.load_state, "loaded") && *op->unit.invocation_id)
                return result_known(op);

        (void) call_on_unit(op, "UnrefUnit", s->unit);
        (void) call_on_unit(op, "ResetFailedUnit", s->unit);
        if (op->unit.job != 0 || ++s->tries > LEFTOVER_TRIES)
                return fail(&op->why, -EBUSY, "%s is there already; see: systemctl status %s", s->unit, s->unit);
        return host_operation_sleep(op, LEFTOVER_PAUSE, start);
}

/* ---- the beginning ---- */

static int start(HostOperation *op) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        Script *s = op->own;
        UnitJob *j;
        int r;

        if (op->canceled)
                return fail(&op->why, -ECANCELED, "its step was taken back before script \"%s\" had begun", op->verb);
        r = script_unit_message(op, s->unit, &m);
        if (r < 0)
                return r;
        r = host_operation_job(op, job_ended, &j);
        if (r >= 0)
                r = unit_job_send(j, m, s->unit, timeout + JOB_GRACE);
        if (r >= 0)
                HOST_FAILPOINT(op, "sent");
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked to run script \"%s\": %s", op->verb, strerror(-r))
                     : 0;
}

int check_run_script(HostOperation *op) {
        op->verb = host_operation_string(op, "script");
        return script_arguments_check(op);
}

int begin_run_script(HostOperation *op) {
        Script *s = calloc(1, sizeof(Script));
        int r;

        if (!s)
                return -ENOMEM;
        op->own = s;
        op->free_own = script_free;
        s->unit = script_unit_name(op->txn, op->step, op->verb);
        if (!s->unit)
                return -ENOMEM;
        op->unit_name = s->unit;

        r = script_prepare(op);
        if (r >= 0)
                r = host_operation_intent(op, NULL);
        return r < 0 ? r : host_operation_admin_user(op, start);
}

/* ---- stopping ---- */

typedef struct Stop {
        char **units;
        size_t next;
        HostNext then;
} Stop;

static void stop_free(void *p) {
        Stop *s = p;

        strv_free(s->units);
        free(s);
}

static int stop_next(HostOperation *op);

static int stopped(HostOperation *op) {
        if (op->job_error < 0 && op->job_error != -ENOENT)
                return fail(&op->why, op->job_error, "a script still runs and cannot be stopped: %s",
                            error_text(op->job_why, op->job_error));
        return stop_next(op);
}

static int stop_next(HostOperation *op) {
        Stop *s = op->own;
        const char *unit = s->units ? s->units[s->next] : NULL;
        UnitJob *j;
        int r;

        if (!unit)
                return s->then(op);
        s->next++;
        r = host_operation_job(op, stopped, &j);
        return r < 0 ? r : unit_job_verb(j, "StopUnit", unit, STOP_TIMEOUT);
}

static int add_open_script(void *userdata, const char *step, const char *verb) {
        _cleanup_free_ char *unit = NULL;
        HostOperation *op = userdata;
        Stop *s = op->own;

        if (!step || !verb)
                return 0;
        unit = script_unit_name(op->txn, step, verb);
        if (!unit)
                return -ENOMEM;
        return strv_contains(s->units, unit) ? 0 : strv_append(&s->units, unit);
}

int host_scripts_stop(HostOperation *op, HostNext then) {
        Stop *s = calloc(1, sizeof(Stop));
        int r;

        if (!s)
                return -ENOMEM;
        s->then = then;
        op->own = s;
        op->free_own = stop_free;
        for (HostOperation *i = op->host->operations; i; i = i->next)
                if (i->method->forward && streq(i->txn, op->txn))
                        i->canceled = true;
        r = host_record_each_open(op->record, "RunScript", add_open_script, op);
        return r < 0 ? r : stop_next(op);
}
