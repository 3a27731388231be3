/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Stays with one job until it has ended: prints its lines from the journal, and learns of its end from the daemon. A
 * daemon that restarts, or a bus that goes away and comes back, is borne. */

#include <stdint.h>

typedef enum FollowMode {
        FOLLOW_OWN,   /* we asked for the job: ^C (the second on a terminal) and SIGTERM cancel it */
        FOLLOW_WATCH, /* ^C only stops watching */
} FollowMode;

/* `since`: lines from then on (CLOCK_REALTIME). Returns the exit code that goes with the job's end. */
int follow_job(const char *job, uint64_t since, FollowMode mode);
