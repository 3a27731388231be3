/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Stays with one job until it has ended: prints its lines from the journal, and learns of its end from the daemon. A
 * daemon that restarts, or a bus that goes away and comes back, is borne. */

#include <stdint.h>
#include <systemd/sd-bus.h>

typedef enum FollowMode {
        FOLLOW_OWN,    /* we asked for the job: ^C (the second on a terminal) and SIGTERM cancel it */
        FOLLOW_WATCH,  /* ^C only stops watching: EXIT_SIGNAL and its number */
        FOLLOW_SILENT, /* the same; with --json the caller tells of its end */
} FollowMode;

/* `since`: lines from then on (CLOCK_REALTIME). Returns the exit code that goes with the job's end. */
int follow_job(const char *job, uint64_t since, FollowMode mode);

/* Sends the call, which answers with a job, and stays with that; with --no-block it is only named. */
int follow_call(sd_bus *bus, sd_bus_message *call, uint64_t since);
