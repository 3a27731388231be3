/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One run of the installer, or of the whole page ("grow"), in its worker. What ends it says so with install_end_as();
 * the record is written by install_run() alone. */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/json-util.h"
#include "host/installer-output.h"
#include "host/installer.h"
#include "install-program.h"
#include "install.h"

/* The jar and the script twice, and cluster.cnf. */
#define INSTALL_PROGRAMS_MAX 5U

typedef struct Install {
        const char *id;
        json_t *record;
        int lock_fd, log_fd, cancel_fd;
        uint64_t log_size, deadline;
        sd_event *event;
        sd_bus *bus;
        Installer installer;
        InstallerOutput output; /* of the newest program */
        ProgramEnd end;
        unsigned programs; /* that were run */
        const char *state; /* how it ended: INSTALL_… */
        char *text;
} Install;

/* Takes `text`, which may be NULL. */
void install_end_as(Install *i, const char *state, char *text);
void install_end_failed(Install *i, int error, const char *why);

/* One program as the owner of the folder, until the deadline; its end is in i->end. */
int install_program(Install *i, const char *title, const char *const *argv, char **reterr) _must_check_;

/* The jar, where it is needed, and the script; i->state and i->text then say how that ended. */
void install_run_installer(Install *i);

/* grow.c: the page from its first to its last step; as above. */
void grow_run(Install *i);
