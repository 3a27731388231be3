/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Schedules: from what was asked for to an enabled timer that waits, and back.
 *
 *   record (not armed) → drop-in → enable, reload → start → its next date → record (armed) → answer
 *   record (not armed) → stop → no drop-in → disable, reload → no record → answer
 *
 * One at a time. Whatever dies in between leaves a record that is not armed, which sweep() takes away. */

#include "schedule.h"

#include "basic/error.h"
#include "basic/string-util.h"
#include "basic/time-of-day.h"
#include "bus/names.h"
#include "bus/unit-job.h"
#include "manager-internal.h"

#define UNITS_DIR "/etc/systemd/system"
#define UNIT_TIMEOUT (60 * USEC_PER_SEC)
#define TIMER_INTERFACE "org.freedesktop.systemd1.Timer"

struct ScheduleRun {
        Manager *manager;        /* weak */
        sd_bus_message *message; /* who waits for the answer; NULL: nobody */
        Schedule *schedule;
        char *timer;
        UnitJob *job;
        sd_bus_slot *slot;
        bool arming; /* else: taking away */
        char *why;   /* what the caller is told where it failed */
        int error;
};

static void take_away(ScheduleRun *s);
static void sweep(Manager *m);

ScheduleRun *schedule_run_free(ScheduleRun *s) {
        if (!s)
                return NULL;
        unit_job_free(s->job);
        sd_bus_slot_unref(s->slot);
        sd_bus_message_unref(s->message);
        schedule_free(s->schedule);
        free(s->timer);
        free(s->why);
        free(s);
        return NULL;
}
DEFINE_CLEANUP(ScheduleRun *, schedule_run_free)

/* ---- the end ---- */

static void tell(const ScheduleRun *s) {
        _cleanup_free_ char *nodes = strv_join(s->schedule->nodes, ", ");
        EventContext context = { .node = s->schedule->nodes[0], .unit = s->timer };

        if (s->arming)
                log_event(EVENT_JOB_SCHEDULED, LOG_NOTICE, &context,
                          "The addition of etcd node%s %s is scheduled for '%s'%s%s, asked for by user %u",
                          strv_length(s->schedule->nodes) > 1 ? "s" : "", nodes ?: "?", s->schedule->on,
                          *s->schedule->until ? " until " : "", s->schedule->until, s->schedule->uid);
        else
                log_event(EVENT_JOB_UNSCHEDULED, LOG_NOTICE, &context, "The addition of %s is no longer scheduled",
                          nodes ?: "?");
}

/* Frees `s`. */
static void finish(ScheduleRun *s) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Manager *m = s->manager;

        if (s->error >= 0)
                tell(s);
        else
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .unit = s->timer, .error = s->error },
                          "%s could not be %s: %s", s->timer, s->arming ? "set" : "taken away",
                          error_text(s->why, s->error));
        if (s->message && s->error >= 0)
                (void) sd_bus_reply_method_return(s->message, NULL);
        else if (s->message) {
                (void) manager_set_error(&error, s->error, error_text(s->why, s->error));
                (void) sd_bus_reply_method_error(s->message, &error);
        }
        m->schedule = schedule_run_free(s);
        sweep(m);
}

/* ---- taking away ---- */

static void on_disabled(void *userdata, int r, const char *result, const char *why) {
        ScheduleRun *s = userdata;
        int k;

        if (r < 0 && s->error >= 0)
                s->error = fail(&s->why, r, "%s could not be disabled: %s", s->timer, error_text(why, r));
        s->job = unit_job_free(s->job);
        k = r < 0 ? 0 : schedule_remove(DHETCD_SCHEDULES_DIR, s->schedule->nodes[0]);
        if (k < 0 && s->error >= 0)
                s->error = fail(&s->why, k, "the record of %s could not be removed: %s", s->timer, strerror(-k));
        finish(s);
}

static void on_stopped(void *userdata, int r, const char *result, const char *why) {
        ScheduleRun *s = userdata;

        s->job = unit_job_free(s->job);
        /* A timer that could not be stopped has no date after the reload. */
        r = schedule_remove_timer(UNITS_DIR, s->schedule->nodes[0]);
        if (r >= 0)
                r = unit_job_new(s->manager->bus, on_disabled, s, &s->job);
        if (r >= 0)
                r = unit_job_enable(s->job, false, s->timer, UNIT_TIMEOUT);
        if (r < 0) {
                s->job = unit_job_free(s->job);
                on_disabled(s, r, NULL, strerror(-r));
        }
}

static void take_away(ScheduleRun *s) {
        int r;

        r = unit_job_new(s->manager->bus, on_stopped, s, &s->job);
        if (r >= 0)
                r = unit_job_verb(s->job, "StopUnit", s->timer, UNIT_TIMEOUT);
        if (r < 0)
                on_stopped(s, r, NULL, NULL);
}

/* ---- arming ---- */

/* Frees `s`, after what was done of it is taken back. */
static void give_up(ScheduleRun *s, int error, const char *what, const char *why) {
        _cleanup_free_ char *copy = why ? strdup(why) : NULL;

        s->job = unit_job_free(s->job);
        s->error = fail(&s->why, error, "%s%s%s", what, copy ? ": " : "", copy ?: "");
        take_away(s);
}

static int on_next(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        _cleanup_free_ char *text = NULL;
        ScheduleRun *s = userdata;
        uint64_t next = 0;
        int r;

        s->slot = sd_bus_slot_unref(s->slot);
        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "v", "t", &next) < 0 ||
            next == 0 || next == UINT64_MAX) {
                text = format("systemd finds no date in '%s' that is still to come; try: systemd-analyze calendar '%s'",
                              s->schedule->on, s->schedule->on);
                give_up(s, -EINVAL, text ?: "no date to come", NULL);
                return 0;
        }
        s->schedule->armed = true;
        r = schedule_save(s->schedule, DHETCD_SCHEDULES_DIR, &text);
        if (r < 0)
                give_up(s, r, error_text(text, r), NULL);
        else
                finish(s);
        return 0;
}

static void on_started(void *userdata, int r, const char *result, const char *why) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        ScheduleRun *s = userdata;

        if (r < 0) {
                text = format("%s could not be started; is '%s' a date? Try: systemd-analyze calendar '%s'", s->timer,
                              s->schedule->on, s->schedule->on);
                return give_up(s, -EINVAL, text ?: "the timer could not be started", why);
        }
        s->job = unit_job_free(s->job);
        r = sd_bus_path_encode(SYSTEMD_PATH "/unit", s->timer, &path);
        if (r >= 0)
                r = sd_bus_call_method_async(s->manager->bus, &s->slot, SYSTEMD_SERVICE, path,
                                             "org.freedesktop.DBus.Properties", "Get", on_next, s, "ss",
                                             TIMER_INTERFACE, "NextElapseUSecRealtime");
        if (r < 0)
                give_up(s, r, "the timer's next date is not known", strerror(-r));
}

static void on_enabled(void *userdata, int r, const char *result, const char *why) {
        ScheduleRun *s = userdata;

        if (r < 0)
                return give_up(s, r, "the timer could not be enabled", why);
        s->job = unit_job_free(s->job);
        r = unit_job_new(s->manager->bus, on_started, s, &s->job);
        if (r >= 0)
                r = unit_job_verb(s->job, "StartUnit", s->timer, UNIT_TIMEOUT);
        if (r < 0)
                give_up(s, r, "the timer could not be started", strerror(-r));
}

static void arm(ScheduleRun *s) {
        _cleanup_free_ char *text = NULL;
        int r;

        s->arming = true;
        r = schedule_save(s->schedule, DHETCD_SCHEDULES_DIR, &text);
        if (r >= 0)
                r = schedule_write_timer(s->schedule, UNITS_DIR, &text);
        if (r >= 0)
                r = unit_job_new(s->manager->bus, on_enabled, s, &s->job);
        if (r >= 0)
                r = unit_job_enable(s->job, true, s->timer, UNIT_TIMEOUT);
        if (r < 0)
                give_up(s, r, error_text(text, r), NULL);
}

/* ---- beginning ---- */

/* Takes the schedule over. */
static int new_run(Manager *m, sd_bus_message *message, Schedule **schedule, ScheduleRun **ret) {
        _cleanup_(schedule_run_freep) ScheduleRun *s = calloc(1, sizeof(ScheduleRun));

        if (!s)
                return -ENOMEM;
        s->timer = schedule_timer((*schedule)->nodes[0]);
        if (!s->timer)
                return -ENOMEM;
        s->manager = m;
        s->message = sd_bus_message_ref(message);
        s->schedule = TAKE_PTR(*schedule);
        *ret = m->schedule = TAKE_PTR(s);
        return 0;
}

static int begin_taking_away(Manager *m, sd_bus_message *message, Schedule **schedule, char **reterr) {
        ScheduleRun *s;
        int r;

        (*schedule)->armed = false;
        r = schedule_save(*schedule, DHETCD_SCHEDULES_DIR, reterr);
        if (r >= 0 && !m->schedule) {
                r = new_run(m, message, schedule, &s);
                if (r >= 0)
                        take_away(s);
        }
        return r;
}

/* What is not armed and nobody works on. A failure is told, and tried again by the next daemon. */
static void sweep(Manager *m) {
        _cleanup_strv_ char **names = NULL;

        if (m->schedule || schedule_list(DHETCD_SCHEDULES_DIR, &names) < 0)
                return;
        STRV_FOREACH (name, names) {
                _cleanup_(schedule_freep) Schedule *schedule = NULL;
                ScheduleRun *s;

                if (schedule_load(DHETCD_SCHEDULES_DIR, *name, &schedule, NULL) < 0 || schedule->armed)
                        continue;
                if (strv_contains(m->swept_names, *name) || strv_append(&m->swept_names, *name) < 0)
                        continue;
                if (new_run(m, NULL, &schedule, &s) >= 0)
                        take_away(s);
                return;
        }
}

void manager_schedule_sweep(Manager *m) {
        sweep(m);
}

/* A job that came from a schedule has done what was asked for: the schedule ends. */
void manager_schedule_done(Manager *m, const Job *j) {
        const char *node = json_get_string(j->options, "schedule");
        _cleanup_(schedule_freep) Schedule *schedule = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        if (!node || address_check(node) < 0)
                return;
        r = schedule_load(DHETCD_SCHEDULES_DIR, node, &schedule, &text);
        if (r >= 0)
                r = begin_taking_away(m, NULL, &schedule, &text);
        if (r < 0 && r != -ENOENT)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = j->id, .error = r },
                          "The schedule of %s could not be ended (\"dhetcd unschedule %s\" does it): %s", node, node,
                          error_text(text, r));
}

/* ---- the methods ---- */

/* Stands for a record that cannot be read: not armed, so that it can only be taken away. */
static int damaged_schedule(const char *node, Schedule **ret) {
        _cleanup_json_ json_t *options = json_object();
        char *nodes[] = { (char *) node, NULL };

        return options ? schedule_new(nodes, options, "a damaged record", "", 0, ret) : -ENOMEM;
}

/* The schedule that names this node; -ENOENT where none does. */
static int find_schedule(const char *node, Schedule **ret) {
        _cleanup_strv_ char **names = NULL;
        int r;

        r = schedule_list(DHETCD_SCHEDULES_DIR, &names);
        if (r < 0)
                return r;
        STRV_FOREACH (name, names) {
                _cleanup_(schedule_freep) Schedule *s = NULL;

                r = schedule_load(DHETCD_SCHEDULES_DIR, *name, &s, NULL);
                if (r == -EBADMSG && streq(*name, node))
                        return damaged_schedule(node, ret);
                if (r >= 0 && strv_contains(s->nodes, node)) {
                        *ret = TAKE_PTR(s);
                        return 0;
                }
        }
        return -ENOENT;
}

static int check_free(char *const *nodes, sd_bus_error *error) {
        STRV_FOREACH (node, nodes) {
                _cleanup_(schedule_freep) Schedule *s = NULL;

                if (find_schedule(*node, &s) >= 0)
                        return sd_bus_error_setf(
                                error, DHETCD_ERROR_REJECTED,
                                "%s is scheduled already, for '%s'; take that back first: dhetcd unschedule %s", *node,
                                s->on, s->nodes[0]);
        }
        return 0;
}

static int refuse_while_scheduling(const Manager *m, sd_bus_error *error) {
        return m->schedule
                       ? sd_bus_error_setf(error, DHETCD_ERROR_BUSY, "Another schedule is changed just now; try again")
                       : 0;
}

static int read_schedule(sd_bus_message *message, AddRequest *a, const char **on, const char **until,
                         sd_bus_error *error) {
        uint64_t end;
        int r;

        r = manager_read_add_request(message, a, error);
        if (r >= 0)
                r = sd_bus_message_read(message, "ss", on, until);
        if (r < 0)
                return r;
        if (json_object_get(a->options, "until") || json_object_get(a->options, "window"))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "Options 'until' and 'window' are of AddNodes and Grow only");
        if (!schedule_on_is_valid(*on))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "'%.64s' is no calendar event, like 'Sat 02:00'; see systemd.time(7)", *on);
        if (**until && time_of_day_after(*until, now_real(), &end) < 0)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "'%.16s' is no time of day, like '05:00'",
                                         *until);
        return 0;
}

int manager_method_schedule(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(add_request_done) AddRequest a = {};
        _cleanup_(schedule_freep) Schedule *schedule = NULL;
        _cleanup_free_ char *nodes = NULL;
        const char *on, *until;
        Manager *m = userdata;
        ScheduleRun *s;
        uid_t uid;
        int r;

        r = read_schedule(message, &a, &on, &until, error);
        if (r < 0)
                return r;
        nodes = strv_join(a.nodes, " ");
        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_SCHEDULE, (const char *const[]){ "nodes", nodes, "on", on, NULL },
                         manager_method_schedule, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = refuse_while_scheduling(m, error);
        if (r >= 0)
                r = check_free(a.nodes, error);
        if (r >= 0)
                r = polkit_caller_uid(message, &uid);
        if (r >= 0)
                r = schedule_new(a.nodes, a.options, on, until, uid, &schedule);
        if (r >= 0)
                r = new_run(m, message, &schedule, &s);
        if (r < 0)
                return r;
        arm(s);
        return 1;
}

static int read_node(sd_bus_message *message, Schedule **ret, sd_bus_error *error) {
        const char *node;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &node);
        if (r < 0)
                return r;
        r = find_schedule(node, ret);
        if (r == -ENOENT)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED,
                                         "%.64s is not scheduled; see \"dhetcd schedule\"", node);
        return r;
}

int manager_method_unschedule(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(schedule_freep) Schedule *schedule = NULL;
        _cleanup_free_ char *nodes = NULL, *text = NULL;
        Manager *m = userdata;
        int r;

        r = read_node(message, &schedule, error);
        if (r < 0)
                return r;
        nodes = strv_join(schedule->nodes, " ");
        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_SCHEDULE,
                         (const char *const[]){ "nodes", nodes, "on", schedule->on, NULL }, manager_method_unschedule,
                         m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = refuse_while_scheduling(m, error);
        if (r < 0)
                return r;
        r = begin_taking_away(m, message, &schedule, &text);
        return r < 0 ? manager_set_error(error, r, text) : 1;
}

/* The options of a job at its date: those asked for, with the end of the window as it is now. */
static int options_now(const Schedule *s, json_t **ret, char **reterr) {
        _cleanup_json_ json_t *options = json_copy(s->options);
        int r;

        if (!options || json_object_set_new(options, "schedule", json_string(s->nodes[0])) < 0)
                return -ENOMEM;
        if (*s->until && json_object_set_new(options, "until", json_string(s->until)) < 0)
                return -ENOMEM;
        r = add_request_window(options, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(options);
        return 0;
}

int manager_method_add_scheduled(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(schedule_freep) Schedule *schedule = NULL;
        _cleanup_free_ char *nodes = NULL, *text = NULL;
        _cleanup_json_ json_t *options = NULL;
        _cleanup_(job_freep) Job *owned = NULL;
        Manager *m = userdata;
        Job *j;
        int r;

        r = read_node(message, &schedule, error);
        if (r < 0)
                return r;
        nodes = strv_join(schedule->nodes, " ");
        if (!nodes)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_ADD_NODE, (const char *const[]){ "nodes", nodes, NULL },
                         manager_method_add_scheduled, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (!schedule->armed)
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "%s is not scheduled any more",
                                         schedule->nodes[0]);
        r = json_is_false(json_object_get(schedule->options, "wait")) ? manager_refuse_while_busy(m, "", error) : 0;
        if (r < 0)
                return r;
        r = options_now(schedule, &options, &text);
        if (r >= 0)
                r = job_new(schedule->nodes, options, schedule->uid, &owned);
        if (r >= 0)
                r = manager_add_job(m, owned, &text);
        if (r < 0)
                return manager_set_error(error, r == -EXFULL ? -EBUSY : r, text);
        j = TAKE_PTR(owned);
        return sd_bus_reply_method_return(message, "s", j->id);
}

int manager_method_list_schedules(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *array = json_array();
        _cleanup_strv_ char **names = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = schedule_list(DHETCD_SCHEDULES_DIR, &names);
        if (r < 0)
                return r;
        STRV_FOREACH (name, names) {
                _cleanup_(schedule_freep) Schedule *s = NULL;

                if (schedule_load(DHETCD_SCHEDULES_DIR, *name, &s, NULL) >= 0 && s->armed)
                        (void) json_array_append_new(array, schedule_to_json(s));
        }
        text = array ? json_to_text(array, JSON_COMPACT) : NULL;
        return text ? sd_bus_reply_method_return(message, "s", text) : -ENOMEM;
}
