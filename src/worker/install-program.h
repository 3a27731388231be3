/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One program of the installer as a transient oneshot unit, whose output comes through a pipe: it is complete when the
 * unit has ended. Each line goes to the journal, to a file, and to who judges it. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/cleanup.h"

typedef struct Program {
        const char *id;    /* of the installation */
        const char *unit;  /* name */
        const char *title; /* for the journal */
        const char *user, *dir;
        char *const *argv;
        uint64_t timeout;
        int cancel_fd;
        int log_fd;
        uint64_t *log_size; /* written so far */
        int (*on_line)(void *userdata, const char *line);
        void *userdata;
} Program;

typedef struct ProgramEnd {
        char *result; /* systemd's: "success", "exit-code", "signal", "timeout", … */
        int status;   /* exit status, or the signal */
        bool canceled;
} ProgramEnd;

static inline void program_end_done(ProgramEnd *e) {
        free(e->result);
        e->result = NULL;
}

/* Runs it to its end, which comes within `timeout` and a little. A negative errno where it was not run. */
int program_run(sd_event *event, sd_bus *bus, const Program *p, ProgramEnd *ret, char **reterr) _must_check_;

/* Stops a unit, killing what does not end, and waits for it. 0 also where it is not there. */
int program_stop(sd_event *event, sd_bus *bus, const char *unit, char **reterr) _must_check_;

char *program_unit_name(const char *id, unsigned n);
