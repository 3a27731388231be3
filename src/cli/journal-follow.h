/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The journal's lines of one job, as they come. Where the caller may not read the journal there are none; that is no
 * error. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "basic/cleanup.h"

typedef struct JournalLine {
        uint64_t usec; /* CLOCK_REALTIME */
        int priority;
        unsigned step_index, step_count;
        bool of_systemd;            /* PID 1 says it about a unit of the job */
        uint64_t done, total, rate; /* how far it has come; 0: not told */
        /* Borrowed; all but the message may be NULL. */
        const char *message, *message_id, *host, *txn, *step, *phase, *node, *what, *unit;
} JournalLine;

typedef void (*JournalCallback)(void *userdata, const JournalLine *line);

typedef struct JournalFollow JournalFollow;

/* All that is there now. */
int journal_read(const char *job, JournalCallback callback, void *userdata) _must_check_;

/* From `since` (CLOCK_REALTIME) on. */
int journal_follow_new(sd_event *event, const char *job, uint64_t since, JournalCallback callback, void *userdata,
                       JournalFollow **ret) _must_check_;
JournalFollow *journal_follow_free(JournalFollow *f);
DEFINE_CLEANUP(JournalFollow *, journal_follow_free)

/* Hands over all lines that are there now. */
void journal_follow_drain(JournalFollow *f);
