/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ManageUnit: dh-etcd.service through systemd's own interface, and nothing but it. */

#include "basic/fs.h"
#include "host-journal.h"
#include "host-operation.h"

#define UNIT_DIR "/etc/systemd/system"
#define LINES_MAX 8U
#define LINE_SIZE 240U /* in a message; the journal has all of it */
#define LATE_LINES_WAIT (300 * USEC_PER_MSEC)
#define TIMEOUT_MIN USEC_PER_SEC
#define TIMEOUT_MAX (3600 * USEC_PER_SEC)

typedef enum VerbKind {
        VERB_JOB,
        VERB_FILES,
} VerbKind;

static const struct Verb {
        const char *verb;
        VerbKind kind;
        const char *method; /* VERB_JOB */
        bool starts;        /* the unit must be there */
        bool enable;        /* VERB_FILES */
        const char *past;
} verbs[] = {
        { "start", VERB_JOB, "StartUnit", true, false, "started" },
        { "stop", VERB_JOB, "StopUnit", false, false, "stopped" },
        { "restart", VERB_JOB, "RestartUnit", true, false, "restarted" },
        { "enable", VERB_FILES, NULL, true, true, "enabled" },
        { "disable", VERB_FILES, NULL, false, false, "disabled" },
};

static const struct Verb *find_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (streq(verbs[i].verb, name))
                        return verbs + i;
        return NULL;
}

int check_manage_unit(HostOperation *op) {
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);

        op->verb = host_operation_string(op, "verb");
        if (!find_verb(op->verb))
                return host_operation_reject(op, "'%.64s' is none of start, stop, restart, enable, disable", op->verb);
        if (timeout < TIMEOUT_MIN || timeout > TIMEOUT_MAX)
                return host_operation_reject(op, "the time for %s must be one second to one hour", op->verb);
        op->fresh = streq(op->verb, "start");
        return 0;
}

/* ---- the end ---- */

static int done(HostOperation *op) {
        host_operation_event(op, EVENT_UNIT_CHANGED, LOG_INFO, NULL, NULL, "%s was %s", DH_ETCD_UNIT,
                             find_verb(op->verb)->past);
        return host_operation_answer(op, json_pack("[s]", "done"));
}

/* At a character's beginning. */
static void cut(char *line) {
        size_t n = LINE_SIZE;

        if (strlen(line) <= n)
                return;
        while (n > 0 && ((unsigned char) line[n] & 0xc0) == 0x80)
                n--;
        line[n] = '\0';
}

static int failed_with_lines(HostOperation *op) {
        _cleanup_strv_ char **lines = NULL;
        _cleanup_free_ char *text = NULL;
        uint64_t begun = *(uint64_t *) op->own;

        if (journal_read_unit(DH_ETCD_UNIT, begun, LINES_MAX, &lines) >= 0 && lines) {
                STRV_FOREACH (line, lines)
                        cut(*line);
                text = strv_join(lines, " | ");
        }
        return fail(&op->why, -EIO, "%s failed: %s. Last lines: %s | See: journalctl -u dh-etcd", op->verb,
                    error_text(op->job_why, op->job_error), text ?: "none");
}

/* A unit that failed too often would not be started, and one that was stopped is not to be listed as failed. Where it
 * did not fail this is an error that says nothing. */
static void reset_failed(HostOperation *op) {
        (void) sd_bus_call_method_async(op->host->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                        "ResetFailedUnit", NULL, NULL, "s", DH_ETCD_UNIT);
}

/* systemd does not sync the links that it makes and removes; with the last one its folder goes. */
static int files_changed(HostOperation *op) {
        int r = fsync_path(UNIT_DIR "/multi-user.target.wants");

        if (r >= 0 || r == -ENOENT)
                r = fsync_path(UNIT_DIR);
        return r < 0 ? fail(&op->why, r, "%s cannot be synced: %s", UNIT_DIR, strerror(-r)) : done(op);
}

static int job_ended(HostOperation *op) {
        if (op->job_error >= 0 && streq(op->verb, "stop"))
                reset_failed(op);
        if (op->job_error >= 0)
                return find_verb(op->verb)->kind == VERB_FILES ? files_changed(op) : done(op);
        /* Where there is no unit, it neither runs nor is it enabled. */
        if (op->job_error == -ENOENT && !find_verb(op->verb)->starts)
                return done(op);
        return host_operation_sleep(op, LATE_LINES_WAIT, failed_with_lines);
}

/* ---- the beginning ---- */

static int send_job(HostOperation *op) {
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        const struct Verb *v = find_verb(op->verb);
        UnitJob *j;
        int r;

        r = host_operation_job(op, job_ended, &j);
        if (r < 0)
                return r;
        if (v->kind == VERB_JOB && v->starts)
                reset_failed(op);
        r = v->kind == VERB_JOB ? unit_job_verb(j, v->method, DH_ETCD_UNIT, timeout)
                                : unit_job_enable(j, v->enable, DH_ETCD_UNIT, timeout);
        if (r >= 0)
                HOST_FAILPOINT(op, "sent");
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked to %s %s: %s", op->verb, DH_ETCD_UNIT, strerror(-r))
                     : 0;
}

/* A restart that was begun and whose end we did not see happened if the unit runs as another invocation. */
static bool was_restarted(const HostOperation *op) {
        const char *before = json_get_string(op->extra, "invocation");

        return before && !streq(before, op->unit.invocation_id) && streq(op->unit.active_state, "active");
}

static int restart_seen(HostOperation *op) {
        return was_restarted(op) ? done(op) : send_job(op);
}

static int ask_again(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, restart_seen);
}

/* One that is still under way is waited for: asked for again, systemd would stop what it is just starting. */
static int go_on_restarting(HostOperation *op) {
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        UnitJob *j;
        int r;

        if (op->unit.job == 0)
                return restart_seen(op);
        r = host_operation_job(op, ask_again, &j);
        return r < 0 ? r : unit_job_attach(j, op->unit.job, DH_ETCD_UNIT, timeout);
}

static int manage_with_state(HostOperation *op) {
        bool again = op->was_open && streq(op->verb, "restart");
        int r;

        if (find_verb(op->verb)->starts && streq(op->unit.load_state, "not-found"))
                return fail(&op->why, -ENOENT, "there is no %s on this host; run %s there", DH_ETCD_UNIT,
                            DH_ENABLE_SYSTEMD);

        /* Nothing is changed, and so nothing recorded, however often it is asked for. */
        if (op->fresh && !op->was_open && streq(op->unit.active_state, "active"))
                return host_operation_answer(op, json_pack("[s]", "done"));

        /* What is kept is how it was before the first try. */
        r = host_operation_intent(op, again && op->extra ? json_incref((json_t *) op->extra)
                                                         : json_pack("{ss}", "invocation", op->unit.invocation_id));
        if (r < 0)
                return r;
        return again ? go_on_restarting(op) : send_job(op);
}

static int look(HostOperation *op) {
        uint64_t *begun = malloc(sizeof(uint64_t));

        if (!begun)
                return -ENOMEM;
        *begun = now_real();
        if (op->free_own)
                op->free_own(op->own);
        op->own = begun;
        op->free_own = free;
        op->unit_name = DH_ETCD_UNIT;
        return host_operation_query(op, DH_ETCD_UNIT, manage_with_state);
}

/* A script of the transaction that is still at work would start again what is stopped. */
int begin_manage_unit(HostOperation *op) {
        return streq(op->verb, "stop") ? host_scripts_stop(op, look) : look(op);
}
