/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A step: one entry of a transaction's plan. A step is data: its functions get the world they work on as `world` and
 * keep nothing of their own. All of them may be called again after a crash, so each looks at the world before it
 * changes it. On failure they return a negative errno and set *reterr (cause, host, the command that mends it). */

#include <stdbool.h>

typedef struct Step {
        const char *name;  /* [a-z-]{1,32}: in the log, the journal and the snapshots' names */
        const char *title; /* what it does, as a sentence without a full stop: "Restarting members one at a time" */

        /* Which hosts it changes: bits that mean something to the plan's snapshot() only. 0: no host's files. */
        unsigned changes;

        bool rejects;            /* failing here means that nothing was asked of any host: rejected, not rolled back */
        bool point_of_no_return; /* done: the transaction is committed, and every later step is retried, not undone */
        bool undo_last;          /* its undo proves and releases: not before every later step is undone */

        /* May it begin? 1: yes. 0: there is nothing to do, *reterr says why, the step is skipped. NULL: yes. */
        int (*check)(void *world, char **reterr);
        int (*apply)(void *world, char **reterr); /* NULL: nothing to change */
        int (*prove)(void *world, char **reterr); /* NULL: apply proves itself. Never changes anything */
        int (*undo)(void *world, char **reterr);  /* NULL: nothing to undo */

        /* Only where point_of_no_return: did it happen? 1 yes, 0 no. Asked when an intent has no "done". */
        int (*happened)(void *world, char **reterr);
} Step;
