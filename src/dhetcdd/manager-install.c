/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Install: the vendor's installer, by a worker in a transient unit, dhetcd-install-ID.service. This daemon starts
 * it and knows nothing more of it: what is true is in its record on disk, and it holds a lock as long as it runs. */

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "bus/unit-job.h"
#include "host/install-record.h"
#include "manager-internal.h"

#define START_USEC (60 * USEC_PER_SEC)
#define LOST "the worker or the host died while the installer ran"
#define ADDING_NONE "without adding etcd nodes"
#define JOB_USEC (24 * 3600 * USEC_PER_SEC)
#define GRACE_USEC (120 * USEC_PER_SEC) /* the worker has the deadline; this is for a worker that has not */

struct InstallStart {
        Manager *manager; /* weak */
        sd_bus_message *message;
        json_t *record;
        uint64_t timeout;
        char **without; /* properties this systemd does not know */
        UnitJob *starter;
};

InstallStart *install_start_free(InstallStart *s) {
        if (!s)
                return NULL;
        unit_job_free(s->starter);
        sd_bus_message_unref(s->message);
        json_decref(s->record);
        strv_free(s->without);
        free(s);
        return NULL;
}

DEFINE_CLEANUP(InstallStart *, install_start_free)

int manager_install_runs(const Manager *m, char ret_id[static JOB_ID_DIGITS + 1]) {
        if (m->install) {
                strcpy(ret_id, json_get_string(m->install->record, "install"));
                return 1;
        }
        return install_lock_holder(ret_id) ?: install_unit_holder("/run/systemd/transient", ret_id);
}

int manager_install_asker(const Manager *m, const char *id, uid_t *ret, char **reterr) {
        _cleanup_json_ json_t *record = NULL;
        char holder[JOB_ID_DIGITS + 1];
        int r;

        if (manager_install_runs(m, holder) <= 0 || !streq(holder, id))
                return fail(reterr, -EINVAL, "Installation '%.64s' does not run", id);
        r = install_record_load(id, &record, reterr);
        if (r >= 0)
                *ret = (uid_t) json_get_integer(record, "uid", 0);
        return r;
}

/* ---- asking ---- */

static const RequestOption known_options[] = {
        { "expect", 's', { "etcd-setup-check", "success" } },
};

static int read_dir(sd_bus_message *message, char **ret, char **reterr) {
        const char *dir;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &dir);
        if (r < 0)
                return r;
        if (*dir != '/' || strlen(dir) >= PATH_MAX || strstr(dir, "/../") || strstr(dir, "//") || strchr(dir, '\n') ||
            (dir[1] != '\0' && dir[strlen(dir) - 1] == '/'))
                return fail(reterr, -EINVAL, "'%.64s' is no absolute path of a folder", dir);
        *ret = strdup(dir);
        return *ret ? 0 : -ENOMEM;
}

static int read_request(sd_bus_message *message, char **ret_dir, json_t *options, char **reterr) {
        uint64_t flags;
        int r;

        r = read_dir(message, ret_dir, reterr);
        if (r >= 0)
                r = request_read_options(message, known_options, ELEMENTSOF(known_options), options, reterr);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 't', &flags);
        if (r >= 0 && flags != 0)
                return fail(reterr, -EINVAL, "Flags must be 0");
        return r;
}

/* The newest stay, as many as of jobs. */
static void prune(const Config *config) {
        _cleanup_json_ json_t *all = NULL;

        if (install_records(&all) < 0)
                return;
        for (size_t i = config->keep_jobs; i < json_array_size(all); i++) {
                const char *id = json_get_string(json_array_get(all, i), "install");
                _cleanup_free_ char *dir = install_path(id, NULL);
                int r = dir ? remove_tree(dir) : -ENOMEM;

                if (r < 0)
                        log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = id, .error = r },
                                  "The record of installation %s could not be removed: %s", id, strerror(-r));
        }
}

/* `add`: what is to be added between two runs, or NULL. */
static json_t *new_record(const char *dir, bool expect, const AddRequest *add, uid_t uid, const Config *config) {
        _cleanup_json_ json_t *v = NULL;
        char id[JOB_ID_DIGITS + 1];

        if (job_random_id(id) < 0)
                return NULL;
        v = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:s, s:s, s:[], s:I}", "install", id, "dir", dir, "expect",
                      (int) expect, "uid", (json_int_t) uid, "asked_usec", (json_int_t) now_real(), "ended_usec",
                      (json_int_t) 0, "state", INSTALL_RUNNING, "text", "beginning", "lines", "timeout_usec",
                      (json_int_t) config->install_timeout_usec);
        if (v && add &&
            (json_object_set_new(v, "nodes", json_from_strv(add->nodes)) < 0 ||
             json_object_set(v, "options", add->options) < 0))
                return NULL;
        return TAKE_PTR(v);
}

/* Answers, and frees it. */
static void finish(InstallStart *s, const char *error) {
        const char *id = json_get_string(s->record, "install");
        Manager *m = s->manager;

        if (error) {
                if (install_record_end(s->record, INSTALL_REFUSED, error, NULL) < 0 ||
                    install_record_save(s->record, NULL) < 0)
                        log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = id },
                                  "The end of installation %s is not on disk", id);
                log_event(EVENT_INSTALL_FAILED, LOG_ERR, &(EventContext){ .job = id }, "Installation %s: %s", id,
                          error);
                (void) sd_bus_reply_method_errorf(s->message, DHETCD_ERROR_FAILED, "%s", error);
        } else
                (void) sd_bus_reply_method_return(s->message, "s", id);
        m->install = install_start_free(s);
        manager_kick(m);
}

static int start(InstallStart *s);

static void on_started(void *userdata, int r, const char *result, const char *why) {
        _cleanup_free_ char *text = NULL;
        InstallStart *s = userdata;

        if (r < 0 && !result && txn_unit_learn(why, &s->without) > 0) {
                s->starter = unit_job_free(s->starter);
                if (start(s) >= 0)
                        return;
        }
        if (r >= 0)
                return finish(s, NULL);
        text = format(
                "The worker that runs the installer could not be started: %s; see: journalctl -u dhetcd-install-%s",
                error_text(why, r), json_get_string(s->record, "install"));
        finish(s, text ?: "The worker that runs the installer could not be started");
}

static int start(InstallStart *s) {
        const char *id = json_get_string(s->record, "install");
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_free_ char *unit = format("dhetcd-install-%s.service", id);
        int r;

        if (!unit)
                return -ENOMEM;
        r = install_unit_message(s->manager->bus, id, s->timeout + GRACE_USEC, s->without, &call);
        if (r >= 0)
                r = unit_job_new(s->manager->bus, on_started, s, &s->starter);
        return r < 0 ? r : unit_job_send(s->starter, call, unit, START_USEC);
}

/* How long the worker may take: the installer once, or twice and a job between that may have to wait. */
static uint64_t time_for(const Config *config, const AddRequest *add) {
        return add ? 2 * config->install_timeout_usec + (uint64_t) json_get_integer(add->options, "wait-timeout", 0) +
                               JOB_USEC
                   : config->install_timeout_usec;
}

static void tell_begun(const json_t *record, const AddRequest *add, uid_t uid) {
        const char *id = json_get_string(record, "install");
        _cleanup_free_ char *nodes = add ? strv_join(add->nodes, ", ") : NULL;

        log_event(EVENT_INSTALL_STARTED, LOG_NOTICE, &(EventContext){ .job = id },
                  "Installation %s: the Deephaven installer in %s%s%s, asked for by user %u", id,
                  json_get_string(record, "dir"), add ? ", to add etcd nodes " : "", nodes ?: "", (unsigned) uid);
}

static int begin(Manager *m, sd_bus_message *message, const char *dir, bool expect, const AddRequest *add,
                 char **reterr) {
        _cleanup_(install_start_freep) InstallStart *s = calloc(1, sizeof(InstallStart));
        _cleanup_(config_freep) Config *config = NULL;
        uid_t uid;
        int r;

        if (!s)
                return -ENOMEM;
        r = config_load(NULL, &config, NULL, reterr);
        if (r < 0)
                return r == -EINVAL ? fail_prefix(reterr, r, "The configuration is wrong, mend it and try again") : r;
        r = polkit_caller_uid(message, &uid);
        if (r < 0)
                return r;
        prune(config);
        s->manager = m;
        s->message = sd_bus_message_ref(message);
        s->timeout = time_for(config, add);
        s->record = new_record(dir, expect, add, uid, config);
        if (!s->record)
                return -ENOMEM;
        r = install_record_save(s->record, reterr);
        if (r < 0)
                return r;
        tell_begun(s->record, add, uid);
        r = start(s);
        if (r < 0)
                return r;
        m->install = TAKE_PTR(s);
        return 1;
}

int manager_method_install(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *options = json_object();
        _cleanup_free_ char *dir = NULL, *text = NULL;
        Manager *m = userdata;
        int r;

        if (!options)
                return -ENOMEM;
        r = read_request(message, &dir, options, &text);
        if (r < 0)
                return manager_set_error(error, r, text);
        r = polkit_check(m->polkit, message, POLKIT_INSTALL,
                         (const char *const[]){ "dir", dir, "adding", ADDING_NONE, NULL }, manager_method_install, m,
                         error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_refuse_while_busy(m, "", error);
        if (r < 0)
                return r;
        r = begin(m, message, dir, streq(json_get_string(options, "expect"), "etcd-setup-check"), NULL, &text);
        return r < 0 ? manager_set_error(error, r, text) : 1;
}

static int read_grow(sd_bus_message *message, char **ret_dir, AddRequest *a, char **reterr) {
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        r = config_load(NULL, &config, &a->warnings, reterr);
        if (r == -EINVAL)
                return fail_prefix(reterr, r, "The configuration is wrong, mend it and try again");
        if (r >= 0)
                r = read_dir(message, ret_dir, reterr);
        return r < 0 ? r : add_request_read(message, config, a, reterr);
}

/* Who may have the installer change all hosts may have these nodes added: one question to polkit, which names them. */
int manager_method_grow(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *dir = NULL, *nodes = NULL, *adding = NULL, *text = NULL;
        _cleanup_(add_request_done) AddRequest a = {};
        Manager *m = userdata;
        int r;

        r = read_grow(message, &dir, &a, &text);
        if (r < 0)
                return manager_set_error(error, r, text);
        nodes = strv_join(a.nodes, " ");
        adding = nodes ? format("and to add the etcd nodes %s", nodes) : NULL;
        if (!adding)
                return -ENOMEM;
        r = polkit_check(m->polkit, message, POLKIT_INSTALL,
                         (const char *const[]){ "dir", dir, "adding", adding, "nodes", nodes, NULL },
                         manager_method_grow, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_refuse_while_busy(m, "", error);
        if (r < 0)
                return r;
        r = add_request_window(a.options, &text);
        if (r >= 0)
                r = begin(m, message, dir, true, &a, &text);
        return r < 0 ? manager_set_error(error, r, text) : 1;
}

/* ---- telling ---- */

/* The lock first: the record is complete before it is let go. Nobody holds it, and the record has no end: it died with
 * the host. */
static int load(const Manager *m, const char *id, json_t **ret, char **reterr) {
        char holder[JOB_ID_DIGITS + 1] = "";
        bool alive = manager_install_runs(m, holder) != 0 && streq(holder, id);
        int r;

        r = install_record_load(id, ret, reterr);
        if (r < 0 || alive || !streq(json_get_string(*ret, "state"), INSTALL_RUNNING))
                return r;
        return install_record_end(*ret, INSTALL_LOST, LOST, NULL);
}

int manager_method_get_install(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        _cleanup_json_ json_t *record = NULL;
        Manager *m = userdata;
        const char *id;
        uid_t uid;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 's', &id);
        if (r >= 0)
                r = polkit_caller_uid(message, &uid);
        if (r < 0)
                return r;
        r = load(m, id, &record, &why);
        if (r == -ENOENT || r == -EINVAL)
                return sd_bus_error_setf(error, DHETCD_ERROR_NO_SUCH_JOB,
                                         "There is no run '%.64s' of the installer; see \"dhetcd install --list\", and "
                                         "of jobs \"dhetcd list\"",
                                         id);
        if (r < 0)
                return manager_set_error(error, r, why);
        /* Lines of the installer may be nobody else's business. */
        if (json_get_integer(record, "uid", -1) != (json_int_t) uid) {
                r = polkit_check(m->polkit, message, POLKIT_INSPECT, NULL, manager_method_get_install, m, error);
                if (r <= 0)
                        return r < 0 ? r : 1;
        }
        text = json_to_text(record, JSON_COMPACT);
        return text ? sd_bus_reply_method_return(message, "s", text) : -ENOMEM;
}

int manager_method_list_installs(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *all = NULL;
        _cleanup_free_ char *text = NULL;
        char holder[JOB_ID_DIGITS + 1];
        Manager *m = userdata;
        json_t *record;
        size_t i;
        bool runs;
        int r;

        r = polkit_check(m->polkit, message, POLKIT_INSPECT, NULL, manager_method_list_installs, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        runs = manager_install_runs(m, holder) > 0;
        r = install_records(&all);
        if (r < 0)
                return r;
        json_array_foreach (all, i, record)
                if (streq(json_get_string(record, "state"), INSTALL_RUNNING) &&
                    !(runs && streq(json_get_string(record, "install"), holder)) &&
                    (json_object_set_new(record, "state", json_string(INSTALL_LOST)) < 0 ||
                     json_object_set_new(record, "text", json_string(LOST)) < 0))
                        return -ENOMEM;
        text = json_to_text(all, JSON_COMPACT);
        return text ? sd_bus_reply_method_return(message, "s", text) : -ENOMEM;
}

/* ---- canceling ---- */

int manager_cancel_install(Manager *m, sd_bus_message *message, const char *id, sd_bus_message_handler_t handler,
                           sd_bus_error *error) {
        _cleanup_free_ char *unit = NULL, *why = NULL;
        _cleanup_json_ json_t *record = NULL;
        int r;

        if (!install_id_is_valid(id) || load(m, id, &record, &why) < 0)
                return 0;
        r = polkit_check(
                m->polkit, message, POLKIT_INSTALL,
                (const char *const[]){ "dir", json_get_string(record, "dir"), "adding", ADDING_NONE, POLKIT_MESSAGE,
                                       "Authentication is required to end the Deephaven installer in $(dir).", NULL },
                handler, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        if (!streq(json_get_string(record, "state"), INSTALL_RUNNING))
                return sd_bus_error_setf(error, DHETCD_ERROR_REJECTED, "Installation %s has ended already: %s", id,
                                         json_get_string(record, "state"));
        unit = format("dhetcd-install-%s.service", id);
        if (!unit)
                return -ENOMEM;
        r = sd_bus_call_method_async(m->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "StopUnit", NULL,
                                     NULL, "ss", unit, "replace");
        if (r >= 0)
                r = sd_bus_reply_method_return(message, NULL);
        return r < 0 ? r : 1;
}
