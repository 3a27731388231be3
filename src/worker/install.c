/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "install.h"

#include <fcntl.h>
#include <systemd/sd-daemon.h>

#include "basic/error.h"
#include "basic/event.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/install-record.h"
#include "install-internal.h"

static void install_done(Install *i) {
        installer_done(&i->installer);
        installer_output_done(&i->output);
        program_end_done(&i->end);
        free(i->text);
        json_decref(i->record);
        if (i->log_fd >= 0)
                close(i->log_fd);
        sd_bus_flush_close_unref(i->bus);
        sd_event_unref(i->event);
        if (i->lock_fd >= 0)
                close(i->lock_fd); /* last */
}

static int open_world(Install *i, char **reterr) {
        int r = 0;

        if (!i->record)
                r = install_record_load(i->id, &i->record, reterr);
        if (r < 0)
                return r;
        i->lock_fd = install_lock(i->id);
        if (i->lock_fd < 0)
                return fail(reterr, i->lock_fd, "the lock of the installer is not to be had: %s",
                            strerror(-i->lock_fd));
        r = sd_event_new(&i->event);
        if (r >= 0)
                r = sd_bus_open_system(&i->bus);
        if (r >= 0)
                r = sd_bus_attach_event(i->bus, i->event, SD_EVENT_PRIORITY_NORMAL);
        return r < 0 ? fail(reterr, r, "the system bus cannot be reached: %s", strerror(-r)) : 0;
}

/* ---- the end ---- */

static const struct {
        const char *state;
        EventKind kind;
        int priority;
} ends[] = {
        { INSTALL_SUCCEEDED, EVENT_INSTALL_SUCCEEDED, LOG_NOTICE },
        { INSTALL_EXPECTED, EVENT_INSTALL_EXPECTED, LOG_NOTICE },
        { INSTALL_FAILED, EVENT_INSTALL_FAILED, LOG_ERR },
        { INSTALL_TIMED_OUT, EVENT_INSTALL_FAILED, LOG_ERR },
        { INSTALL_REFUSED, EVENT_INSTALL_FAILED, LOG_ERR },
        { INSTALL_CANCELED, EVENT_INSTALL_FAILED, LOG_NOTICE },
        { INSTALL_LOST, EVENT_INSTALL_FAILED, LOG_ERR },
};

void install_end_as(Install *i, const char *state, char *text) {
        free(i->text);
        i->state = state;
        i->text = text;
}

void install_end_failed(Install *i, int error, const char *why) {
        install_end_as(i, INSTALL_FAILED, strdup(error_text(why, error)));
}

/* Writes how it ended. An exit status. */
static int finish(Install *i) {
        const char *text = i->text ?: "memory ran out";
        char digest[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;
        int r;

        if (installer_cnf_digest(json_get_string(i->record, "dir"), digest) >= 0)
                (void) json_object_set_new(i->record, "cnf", json_string(digest));
        r = install_record_end(i->record, i->state, text, json_from_strv(installer_output_lines(&i->output)));
        if (r >= 0 && i->log_fd >= 0 && fsync(i->log_fd) < 0)
                r = -errno;
        if (r >= 0)
                r = install_record_save(i->record, &why);
        if (r < 0)
                log_event(EVENT_WARNING, LOG_ERR, &(EventContext){ .job = i->id, .error = r },
                          "The end of installation %s is not on disk: %s", i->id, error_text(why, r));
        if (i->lock_fd >= 0)
                close(i->lock_fd); /* who saw the end may begin the next one */
        i->lock_fd = -EBADF;
        for (size_t k = 0; k < ELEMENTSOF(ends); k++)
                if (streq(ends[k].state, i->state))
                        log_event(ends[k].kind, ends[k].priority, &(EventContext){ .job = i->id },
                                  "Installation %s: %s", i->id, text);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The first line that tells of an error, else the last one. */
static const char *line_that_matters(const Install *i) {
        char *const *lines = installer_output_lines(&i->output);
        size_t n = strv_length(lines);

        return n == 0 ? "it wrote nothing" : i->output.errors ? lines[0] : lines[n - 1];
}

static void end_by_status(Install *i, const char *what) {
        bool by_signal = streq(i->end.result, "signal") || streq(i->end.result, "core-dump");

        install_end_as(i, INSTALL_FAILED,
                       format("%s failed (%s %d): %s", what, by_signal ? "signal" : "exit status", i->end.status,
                              line_that_matters(i)));
}

/* What was canceled, or took too long, ended so, whatever it wrote. */
static bool ended_early(Install *i, const char *what) {
        uint64_t timeout = (uint64_t) json_get_integer(i->record, "timeout_usec", 0);

        if (i->end.canceled)
                install_end_as(i, INSTALL_CANCELED, format("%s was canceled; what it had done so far stays", what));
        else if (streq(i->end.result, "timeout"))
                install_end_as(i, INSTALL_TIMED_OUT,
                               format("%s had not ended after %llu s, and was ended: %s", what,
                                      (unsigned long long) (timeout / USEC_PER_SEC), line_that_matters(i)));
        else
                return false;
        return true;
}

static void end_by_verdict(Install *i) {
        bool good = streq(i->end.result, "success");

        switch (installer_output_verdict(&i->output, good)) {
        case INSTALLER_SUCCEEDED:
                return install_end_as(i, INSTALL_SUCCEEDED, strdup("the installer ran to its end"));
        case INSTALLER_FAILED_AS_EXPECTED:
                return install_end_as(
                        i, INSTALL_EXPECTED,
                        format("it failed as the vendor's page expects as long as the new nodes are no members: %s",
                               line_that_matters(i)));
        default:
                if (!good)
                        return end_by_status(i, INSTALLER_SCRIPT);
                install_end_as(i, INSTALL_FAILED,
                               format(INSTALLER_SCRIPT " ended with exit status 0, but told of errors: %s",
                                      line_that_matters(i)));
        }
}

/* ---- the programs ---- */

static int on_line(void *userdata, const char *line) {
        Install *i = userdata;

        return installer_output_add(&i->output, line);
}

int install_program(Install *i, const char *title, const char *const *argv, char **reterr) {
        _cleanup_free_ char *unit = program_unit_name(i->id, ++i->programs);
        uint64_t now = now_boot();
        Program p = { .id = i->id,
                      .unit = unit,
                      .title = title,
                      .user = i->installer.user,
                      .dir = i->installer.dir,
                      .argv = (char *const *) argv,
                      .timeout = i->deadline > now ? i->deadline - now : 1,
                      .cancel_fd = i->cancel_fd,
                      .log_fd = i->log_fd,
                      .log_size = &i->log_size,
                      .on_line = on_line,
                      .userdata = i };

        if (!unit)
                return -ENOMEM;
        installer_output_done(&i->output);
        program_end_done(&i->end);
        log_event(EVENT_STEP_PROGRESS, LOG_INFO, &(EventContext){ .job = i->id, .step = title, .unit = unit },
                  "Running %s in %s as %s", title, i->installer.dir, i->installer.user);
        return program_run(i->event, i->bus, &p, &i->end, reterr);
}

/* Looks at the folder; again after the jar, which may have written both cluster.cnf and the script. */
static int find(Install *i, char **reterr) {
        Installer found = {};
        int r = installer_find(json_get_string(i->record, "dir"), &found, reterr);

        if (r < 0)
                return r;
        installer_done(&i->installer);
        i->installer = found;
        return json_object_set_new(i->record, "user", json_string(found.user)) < 0 ? -ENOMEM : 0;
}

/* False: it has ended. */
static bool run_jar(Install *i) {
        const char *argv[] = { i->installer.java, "-jar", i->installer.jar, NULL };
        _cleanup_free_ char *why = NULL;
        int r;

        r = install_program(i, "jar", argv, &why);
        if (r >= 0 && ended_early(i, "the installer's jar"))
                return false;
        if (r >= 0 && !streq(i->end.result, "success")) {
                end_by_status(i, "the installer's jar");
                return false;
        }
        if (r >= 0)
                r = find(i, &why);
        if (r >= 0 && path_exists(i->installer.script) <= 0)
                r = fail(&why, -ENOENT, "the jar did not make %s", i->installer.script);
        if (r < 0)
                install_end_failed(i, r, why);
        return r >= 0;
}

/* The deadline is for both. */
void install_run_installer(Install *i) {
        _cleanup_free_ char *why = NULL;
        int r;

        i->deadline = now_boot() + (uint64_t) json_get_integer(i->record, "timeout_usec", (json_int_t) USEC_PER_SEC);
        r = find(i, &why);
        if (r < 0)
                return install_end_as(i, INSTALL_REFUSED, strdup(error_text(why, r)));
        if (i->installer.jar && !run_jar(i))
                return;
        r = install_program(i, INSTALLER_SCRIPT, (const char *const[]){ i->installer.script, NULL }, &why);
        if (r < 0)
                return install_end_failed(i, r, why);
        if (!ended_early(i, INSTALLER_SCRIPT))
                end_by_verdict(i);
}

static int open_log(Install *i) {
        _cleanup_free_ char *path = install_path(i->id, "output.log");

        if (!path)
                return -ENOMEM;
        i->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        return i->log_fd < 0 ? -errno : fsync_parent(path);
}

int install_run(const char *id, int cancel_fd) {
        _cleanup_(install_done) Install i = { .id = id, .lock_fd = -EBADF, .log_fd = -EBADF, .cancel_fd = cancel_fd };
        _cleanup_free_ char *why = NULL;
        int r;

        r = open_world(&i, &why);
        if (r < 0) {
                fprintf(stderr, "Installation %s cannot begin: %s\n", id, error_text(why, r));
                return EXIT_FAILURE;
        }
        (void) sd_notify(0, "READY=1");
        r = open_log(&i);
        if (r < 0)
                install_end_as(&i, INSTALL_REFUSED, strdup(strerror(-r)));
        else if (json_array_size(json_object_get(i.record, "nodes")) > 0)
                grow_run(&i);
        else
                install_run_installer(&i);
        return finish(&i);
}

/* ---- after a death ---- */

int install_end(const char *id) {
        _cleanup_(install_done) Install i = { .id = id, .lock_fd = -EBADF, .log_fd = -EBADF };
        const char *how = getenv("SERVICE_RESULT");
        _cleanup_free_ char *why = NULL;
        int r;

        r = install_record_load(id, &i.record, &why);
        if (r >= 0 && !streq(json_get_string(i.record, "state"), INSTALL_RUNNING))
                return EXIT_SUCCESS; /* without the lock: it may be the next one's */
        if (r >= 0)
                r = open_world(&i, &why);
        for (unsigned n = 1; r >= 0 && n <= INSTALL_PROGRAMS_MAX; n++) {
                _cleanup_free_ char *unit = program_unit_name(id, n);

                r = unit ? program_stop(i.event, i.bus, unit, &why) : -ENOMEM;
        }
        if (r < 0) {
                fprintf(stderr, "Installation %s is not known to have ended: %s\n", id, error_text(why, r));
                return EXIT_FAILURE;
        }
        install_end_as(&i, INSTALL_LOST,
                       format("its worker died (%s); the installer was ended, and how far it came is in its log",
                              how ?: "of what is not known"));
        return finish(&i);
}
