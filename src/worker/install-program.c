/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "install-program.h"

#include <fcntl.h>
#include <poll.h>

#include "basic/error.h"
#include "basic/event.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/unit-job.h"
#include "bus/unit-state.h"
#include "host/installer-output.h"

#define JOB_GRACE (30 * USEC_PER_SEC) /* systemd ends it by itself; this is for a systemd that does not */
#define STOP_USEC (10 * USEC_PER_SEC) /* from SIGTERM to SIGKILL */
#define STOP_TIMEOUT (60 * USEC_PER_SEC)
#define LINE_MAX_BYTES 8192U
#define LOG_SIZE_MAX (64U * 1024U * 1024U)

typedef struct Run {
        const Program *program;
        sd_bus *bus;
        int fd; /* of the pipe */
        char line[LINE_MAX_BYTES];
        size_t used;
        sd_event_source *io, *cancel;
        UnitJob *job, *stop;
        UnitQuery *query;
        ProgramEnd end;
        bool ended;
        int error; /* it was not run, or how is not known */
        char *why;
} Run;

static void run_done(Run *r) {
        sd_event_source_unref(r->io);
        sd_event_source_unref(r->cancel);
        unit_job_free(r->job);
        unit_job_free(r->stop);
        unit_query_free(r->query);
        program_end_done(&r->end);
        if (r->fd >= 0)
                close(r->fd);
        free(r->why);
}

char *program_unit_name(const char *id, unsigned n) {
        return format("dhetcd-installer-%s-%u.service", id, n);
}

/* ---- its lines ---- */

static void keep_line(const Program *p, const char *line) {
        _cleanup_free_ char *text = format("%s\n", line);

        if (!text || p->log_fd < 0 || *p->log_size > LOG_SIZE_MAX)
                return;
        *p->log_size += strlen(text);
        if (*p->log_size > LOG_SIZE_MAX) {
                free(text);
                text = strdup("(the rest is in the journal alone)\n");
        }
        if (text && write_all(p->log_fd, text, strlen(text)) < 0)
                *p->log_size = UINT64_MAX; /* the journal has it all the same */
}

static void end_line(Run *r) {
        const Program *p = r->program;
        _cleanup_free_ char *line = installer_line_clean(r->line, r->used);

        r->used = 0;
        if (!line || p->on_line(p->userdata, line) < 0) {
                r->error = -ENOMEM;
                return;
        }
        keep_line(p, line);
        log_event(EVENT_SCRIPT_OUTPUT, LOG_INFO, &(EventContext){ .job = p->id, .step = p->title, .unit = p->unit },
                  "%s", line);
}

static void take(Run *r, const char *data, size_t size) {
        for (size_t i = 0; i < size; i++) {
                if (data[i] == '\n' || r->used == sizeof(r->line))
                        end_line(r);
                if (data[i] != '\n')
                        r->line[r->used++] = data[i];
        }
}

/* 1: there may be more; 0: no more for now; negative: never again. */
static int read_some(Run *r) {
        char data[16384];
        ssize_t n = read(r->fd, data, sizeof(data));

        if (n < 0)
                return errno == EINTR ? 1 : errno == EAGAIN ? 0 : -errno;
        if (n == 0)
                return -EPIPE;
        take(r, data, (size_t) n);
        return 1;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Run *r = userdata;

        if (read_some(r) < 0)
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

/* All processes of the unit are gone: what is in the pipe is the rest. */
static void drain(Run *r) {
        while (read_some(r) > 0)
                ;
        if (r->used > 0)
                end_line(r);
}

/* ---- its end ---- */

static void on_state(void *userdata, int r, UnitState *state, const char *why) {
        Run *run = userdata;

        run->ended = true;
        if (r < 0 || !streq(state->load_state, "loaded"))
                run->error = fail(&run->why, r < 0 ? r : -ENXIO, "systemd does not tell how %s ended%s%s",
                                  run->program->unit, why ? ": " : "", why ?: "");
        else {
                free(run->end.result); /* a deadline that systemd did not keep */
                run->end.result = strdup(run->end.result ? "timeout" : state->result);
                run->end.status = state->exec_main_status;
                if (!run->end.result)
                        run->error = -ENOMEM;
        }
        if (r >= 0)
                unit_state_done(state);
        (void) sd_bus_call_method_async(run->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "UnrefUnit",
                                        NULL, NULL, "s", run->program->unit);
}

static void ask_state(Run *r) {
        if (unit_query_new(r->bus, r->program->unit, on_state, r, &r->query) < 0) {
                r->error = -ENOMEM;
                r->ended = true;
        }
}

static void on_stopped(void *userdata, int r, const char *result, const char *why) {
        ask_state(userdata);
}

/* Its processes may take a while to end, and until then it runs. */
static void stop(Run *r) {
        if (unit_job_new(r->bus, on_stopped, r, &r->stop) < 0 ||
            unit_job_verb(r->stop, "StopUnit", r->program->unit, STOP_TIMEOUT) < 0)
                ask_state(r);
}

static void on_ended(void *userdata, int r, const char *result, const char *why) {
        Run *run = userdata;

        if (r < 0 && !result) {
                run->error = fail(&run->why, r, "%s was not run: %s", run->program->unit, error_text(why, r));
                run->ended = true;
        } else if (r == -ETIMEDOUT) {
                run->end.result = strdup("timeout");
                stop(run);
        } else if (r == -ECANCELED) { /* it is being stopped: by us, or with this unit, or by an operator */
                run->end.canceled = true;
                stop(run);
        } else
                ask_state(run);
}

static int on_cancel(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Run *r = userdata;

        r->end.canceled = true;
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        (void) sd_bus_call_method_async(r->bus, NULL, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER, "StopUnit", NULL,
                                        NULL, "ss", r->program->unit, "replace");
        return 0;
}

/* ---- its beginning ---- */

/* The installer changes this host and others, by ssh and sudo: no sandbox. */
static int append_settings(sd_bus_message *m, const Program *p, int fd) {
        _cleanup_free_ char *description = format("Deephaven installer: %s (%s)", p->title, p->id);
        _cleanup_free_ char *worker = format("dhetcd-install-%s.service", p->id);
        int r;

        if (!description || !worker)
                return -ENOMEM;
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", description, "Type", "s", "oneshot",
                                  "Slice", "s", "dhetcd.slice", "CollectMode", "s", "inactive-or-failed", "AddRef", "b",
                                  true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "TimeoutStartUSec", "t", p->timeout, "TimeoutStopUSec",
                                          "t", (uint64_t) STOP_USEC, "KillMode", "s", "control-group", "SendSIGKILL",
                                          "b", true);
        /* Where our unit is gone, install-end with it, PID 1 ends this one. */
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "BindsTo", "as", 1, worker);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "StandardInput", "s", "null",
                                          "StandardOutputFileDescriptor", "h", fd, "StandardErrorFileDescriptor", "h",
                                          fd, "User", "s", p->user, "WorkingDirectory", "s", p->dir);
        return r;
}

static int send_start(Run *r, int write_end) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const Program *p = r->program;
        _cleanup_free_ char *field = format("DHETCD_JOB=%s", p->id);
        int k;

        if (!field)
                return -ENOMEM;
        k = unit_job_transient_open(r->bus, p->unit, &m);
        if (k >= 0)
                k = append_settings(m, p, write_end);
        if (k >= 0)
                k = unit_job_transient_log_fields(m, (const char *const[]){ field, NULL });
        if (k >= 0)
                k = unit_job_transient_command(m, (const char *const *) p->argv);
        if (k >= 0)
                k = unit_job_transient_close(m);
        if (k >= 0)
                k = unit_job_new(r->bus, on_ended, r, &r->job);
        return k < 0 ? k : unit_job_send(r->job, m, p->unit, p->timeout + JOB_GRACE);
}

static int begin(Run *r, sd_event *event) {
        _cleanup_close_ int write_end = -EBADF;
        int fds[2], k;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        r->fd = fds[0];
        write_end = fds[1]; /* the message has its own copy of it */
        if (fcntl(r->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        k = sd_event_add_io(event, &r->io, r->fd, EPOLLIN, on_output, r);
        if (k >= 0)
                k = sd_event_add_io(event, &r->cancel, r->program->cancel_fd, EPOLLIN, on_cancel, r);
        return k < 0 ? k : send_start(r, write_end);
}

int program_run(sd_event *event, sd_bus *bus, const Program *p, ProgramEnd *ret, char **reterr) {
        _cleanup_(run_done) Run r = { .program = p, .bus = bus, .fd = -EBADF };
        int k;

        ret->canceled = poll(&(struct pollfd){ .fd = p->cancel_fd, .events = POLLIN }, 1, 0) > 0;
        if (ret->canceled)
                return 0;
        k = begin(&r, event);
        while (k >= 0 && !r.ended)
                k = sd_event_run(event, UINT64_MAX);
        if (k < 0)
                return fail(reterr, k, "%s could not be run: %s", p->unit, strerror(-k));
        drain(&r);
        if (r.error < 0)
                return fail(reterr, r.error, "%s", error_text(r.why, r.error));
        *ret = r.end;
        r.end.result = NULL;
        return 0;
}

/* ---- stopping ---- */

typedef struct Stop {
        bool ended;
        int error;
        char **reterr;
} Stop;

static void on_stop(void *userdata, int r, const char *result, const char *why) {
        Stop *s = userdata;

        s->ended = true;
        if (r < 0 && r != -ENOENT)
                s->error = fail(s->reterr, r, "%s", error_text(why, r));
}

int program_stop(sd_event *event, sd_bus *bus, const char *unit, char **reterr) {
        _cleanup_(unit_job_freep) UnitJob *job = NULL;
        Stop s = { .reterr = reterr };
        int r;

        r = unit_job_new(bus, on_stop, &s, &job);
        if (r >= 0)
                r = unit_job_verb(job, "StopUnit", unit, STOP_TIMEOUT);
        while (r >= 0 && !s.ended)
                r = sd_event_run(event, UINT64_MAX);
        return r < 0 ? r : s.error;
}
