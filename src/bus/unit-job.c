/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A UnitJob owns every slot and timer whose callback it is: dropping one cancels its callback, so that nothing comes
 * after the end. The order on the bus does the rest: the matches and Subscribe() are sent before the call on the same
 * connection, so systemd knows of us before it makes the job. */

#include "unit-job.h"

#include <systemd/sd-event.h>

#include "basic/error.h"
#include "basic/string-util.h"

#define EARLY_MAX 16U /* ends of jobs of our unit that came before the answer that names ours */
#define RELOAD_TIMEOUT (90 * USEC_PER_SEC)
#define TIMEOUT_MAX (7 * 24 * 3600 * USEC_PER_SEC)

typedef struct EarlyEnd {
        char *path, *result;
} EarlyEnd;

struct UnitJob {
        sd_bus *bus;
        UnitJobCallback callback;
        void *userdata;
        char *unit;
        char *path; /* the job's; NULL until the call is answered */
        EarlyEnd early[EARLY_MAX];
        size_t n_early;
        sd_bus_slot *slot_removed, *slot_disconnected, *slot_call;
        sd_event_source *timer;
};

/* ---- systemd's words ---- */

int unit_job_result_check(const char *result, const char **ret_meaning) {
        static const struct {
                const char *result;
                int error;
                const char *meaning;
        } table[] = {
                { "done", 0, "done" },
                { "canceled", -ECANCELED, "canceled by another job or by an operator" },
                { "timeout", -ETIMEDOUT, "took longer than it may" },
                { "failed", -EIO, "the unit did not do it" },
                { "dependency", -EIO, "a unit that it needs failed" },
                { "skipped", -ENOEXEC, "does not apply to the unit as it is" },
                { "invalid", -ENOEXEC, "the unit cannot do this" },
                { "assert", -EPROTO, "an assertion of the unit does not hold" },
                { "unsupported", -EOPNOTSUPP, "not supported by this system" },
                { "collected", -ECANCELED, "the unit was unloaded" },
                { "once", -ESTALE, "the unit may be started only once in a boot" },
                { "frozen", -EDEADLK, "the unit is frozen" },
                { "concurrency", -EBUSY, "the unit's slice runs as many units as it may" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].result, result)) {
                        if (ret_meaning)
                                *ret_meaning = table[i].meaning;
                        return table[i].error;
                }

        if (ret_meaning)
                *ret_meaning = "a result that this version of dhetcd does not know";
        return -EPROTO;
}

static int error_of_call(const sd_bus_error *e) {
        static const struct {
                const char *name;
                int error;
        } table[] = {
                { "org.freedesktop.systemd1.UnitExists", -EEXIST },
                { "org.freedesktop.systemd1.NoSuchUnit", -ENOENT },
                { "org.freedesktop.systemd1.NoSuchJob", -ENXIO },
                { "org.freedesktop.systemd1.LoadFailed", -EIO },
                { "org.freedesktop.systemd1.UnitMasked", -ERFKILL },
                { SD_BUS_ERROR_NO_REPLY, -ECONNRESET }, /* calls have no timeout of their own here */
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (sd_bus_error_has_name(e, table[i].name))
                        return table[i].error;
        r = sd_bus_error_get_errno(e);
        return r > 0 ? -r : -EIO;
}

/* ---- the end ---- */

static void let_go(UnitJob *j) {
        j->slot_removed = sd_bus_slot_unref(j->slot_removed);
        j->slot_disconnected = sd_bus_slot_unref(j->slot_disconnected);
        j->slot_call = sd_bus_slot_unref(j->slot_call);
        j->timer = sd_event_source_unref(j->timer);
}

UnitJob *unit_job_free(UnitJob *j) {
        if (!j)
                return NULL;
        let_go(j);
        for (size_t i = 0; i < j->n_early; i++) {
                free(j->early[i].path);
                free(j->early[i].result);
        }
        sd_bus_unref(j->bus);
        free(j->unit);
        free(j->path);
        free(j);
        return NULL;
}

/* Nothing of the job may be used after this: the callback may have freed it. */
static void finish(UnitJob *j, int r, const char *result, const char *what) {
        _cleanup_free_ char *why = what ? format("%s: %s", j->unit, what) : NULL;

        let_go(j);
        j->callback(j->userdata, r, result, why);
}

static void finish_with_result(UnitJob *j, const char *result) {
        _cleanup_free_ char *copy = strdup(result), *what = NULL;
        const char *meaning;
        int r = unit_job_result_check(result, &meaning);

        if (r < 0)
                what = format("the job ended with \"%s\": %s", result, meaning);
        finish(j, copy ? r : -ENOMEM, copy, what);
}

/* ---- what the bus tells ---- */

static int keep_early(UnitJob *j, const char *path, const char *result) {
        _cleanup_free_ char *p = strdup(path), *w = strdup(result);

        if (!p || !w)
                return -ENOMEM;
        if (j->n_early >= EARLY_MAX) {
                free(j->early[0].path);
                free(j->early[0].result);
                memmove(j->early, j->early + 1, (EARLY_MAX - 1) * sizeof(*j->early));
                j->n_early--;
        }
        j->early[j->n_early++] = (EarlyEnd){ TAKE_PTR(p), TAKE_PTR(w) };
        return 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        UnitJob *j = userdata;
        const char *path, *unit, *result;
        uint32_t id;
        int r;

        r = sd_bus_message_read(m, "uoss", &id, &path, &unit, &result);
        if (r < 0)
                return 0; /* not systemd's signal as it is documented: the timer ends the wait */

        if (j->path) {
                if (streq(path, j->path))
                        finish_with_result(j, result);
        } else if (streq(unit, j->unit)) {
                r = keep_early(j, path, result);
                if (r < 0)
                        finish(j, r, NULL, "out of memory");
        }
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        finish(userdata, -ECONNRESET, NULL, "the connection to systemd was lost while it was at work");
        return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata) {
        finish(userdata, -ETIMEDOUT, "timeout", "no end within the time it was given");
        return 0;
}

static int on_job_made(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        UnitJob *j = userdata;
        const sd_bus_error *e = sd_bus_message_get_error(m);
        const char *path;

        if (e) {
                finish(j, error_of_call(e), NULL, e->message ?: e->name);
                return 0;
        }
        if (sd_bus_message_read(m, "o", &path) < 0) {
                finish(j, -EPROTO, NULL, "systemd's answer names no job");
                return 0;
        }

        j->slot_call = sd_bus_slot_unref(j->slot_call);
        j->path = strdup(path);
        if (!j->path) {
                finish(j, -ENOMEM, NULL, "out of memory");
                return 0;
        }
        for (size_t i = 0; i < j->n_early; i++)
                if (streq(j->early[i].path, j->path)) {
                        finish_with_result(j, j->early[i].result);
                        return 0;
                }
        return 0;
}

/* ---- asking ---- */

int unit_job_new(sd_bus *bus, UnitJobCallback callback, void *userdata, UnitJob **ret) {
        UnitJob *j = calloc(1, sizeof(UnitJob));

        if (!j)
                return -ENOMEM;
        j->bus = sd_bus_ref(bus);
        j->callback = callback;
        j->userdata = userdata;
        *ret = j;
        return 0;
}

static int begin(UnitJob *j, const char *unit, uint64_t timeout) {
        uint64_t end = now_boot() + (timeout < TIMEOUT_MAX ? timeout : TIMEOUT_MAX);
        int r;

        j->unit = strdup(unit);
        if (!j->unit)
                return -ENOMEM;
        r = sd_bus_match_signal_async(j->bus, &j->slot_disconnected, "org.freedesktop.DBus.Local",
                                      "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                                      on_disconnected, NULL, j);
        if (r < 0)
                return r;
        return sd_event_add_time(sd_bus_get_event(j->bus), &j->timer, CLOCK_BOOTTIME, end, USEC_PER_MSEC, on_timeout,
                                 j);
}

/* systemd sends signals only where somebody subscribed; subscribing again is an error that says just that. */
static int watch_jobs(UnitJob *j) {
        int r;

        r = sd_bus_match_signal_async(j->bus, &j->slot_removed, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                      "JobRemoved", on_job_removed, NULL, j);
        if (r < 0)
                return r;
        return sd_bus_call_method_async(j->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "Subscribe", NULL,
                                        NULL, NULL);
}

/* The timer of the job is the deadline of the call too: 0 would be sd-bus' own. */
int unit_job_send(UnitJob *j, sd_bus_message *call, const char *unit, uint64_t timeout) {
        int r;

        r = begin(j, unit, timeout);
        if (r >= 0)
                r = watch_jobs(j);
        if (r < 0)
                return r;
        r = sd_bus_call_async(j->bus, &j->slot_call, call, on_job_made, j, UINT64_MAX);
        return r < 0 ? r : 0;
}

int unit_job_verb(UnitJob *j, const char *method, const char *unit, uint64_t timeout) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(j->bus, &m, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, method);
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", unit, "replace");
        return r < 0 ? r : unit_job_send(j, m, unit, timeout);
}

int unit_job_attach(UnitJob *j, uint32_t id, const char *unit, uint64_t timeout) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(j->bus, &m, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "GetJob");
        if (r >= 0)
                r = sd_bus_message_append(m, "u", id);
        return r < 0 ? r : unit_job_send(j, m, unit, timeout);
}

/* ---- unit files ---- */

static int on_reloaded(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);

        if (e)
                finish(userdata, error_of_call(e), NULL, e->message ?: e->name);
        else
                finish(userdata, 0, "done", NULL);
        return 0;
}

static int send_reload(UnitJob *j) {
        int r;

        j->slot_call = sd_bus_slot_unref(j->slot_call);
        r = sd_bus_call_method_async(j->bus, &j->slot_call, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "Reload",
                                     on_reloaded, j, NULL);
        return r < 0 ? r : 0;
}

static int on_enabled(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        UnitJob *j = userdata;
        int r;

        if (e) {
                finish(j, error_of_call(e), NULL, e->message ?: e->name);
                return 0;
        }
        r = send_reload(j);
        if (r < 0)
                finish(j, r, NULL, strerror(-r));
        return 0;
}

int unit_job_enable(UnitJob *j, bool enable, const char *unit, uint64_t timeout) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(j->bus, &m, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                           enable ? "EnableUnitFiles" : "DisableUnitFiles");
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 1, unit);
        if (r >= 0)
                r = enable ? sd_bus_message_append(m, "bb", /* runtime= */ false, /* force= */ false)
                           : sd_bus_message_append(m, "b", /* runtime= */ false);
        if (r >= 0)
                r = begin(j, unit, timeout);
        if (r >= 0)
                r = sd_bus_call_async(j->bus, &j->slot_call, m, on_enabled, j, UINT64_MAX);
        return r < 0 ? r : 0;
}

int unit_job_reload(UnitJob *j, uint64_t timeout) {
        int r = begin(j, "reload of unit files", timeout);

        return r < 0 ? r : send_reload(j);
}

/* ---- transient units ---- */

int unit_job_transient_open(sd_bus *bus, const char *unit, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                           "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", unit, "fail");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* One property, opened up to the elements of its array of `element`. */
static int open_array_property(sd_bus_message *m, const char *name, const char *type, const char *element) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', name);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', type);
        return r < 0 ? r : sd_bus_message_open_container(m, 'a', element);
}

static int close_containers(sd_bus_message *m, unsigned n) {
        int r = 0;

        while (r >= 0 && n-- > 0)
                r = sd_bus_message_close_container(m);
        return r;
}

int unit_job_transient_command(sd_bus_message *m, const char *const *argv) {
        int r;

        r = open_array_property(m, "ExecStart", "a(sasb)", "(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', "sasb");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', argv[0]);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) argv);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", /* ignore_failure= */ false);
        return r < 0 ? r : close_containers(m, 4);
}

int unit_job_transient_log_fields(sd_bus_message *m, const char *const *fields) {
        int r;

        r = open_array_property(m, "LogExtraFields", "aay", "ay");
        for (; r >= 0 && *fields; fields++)
                r = sd_bus_message_append_array(m, 'y', *fields, strlen(*fields));
        return r < 0 ? r : close_containers(m, 3);
}

int unit_job_transient_close(sd_bus_message *m) {
        int r = sd_bus_message_close_container(m);

        return r < 0 ? r : sd_bus_message_append(m, "a(sa(sv))", 0);
}
