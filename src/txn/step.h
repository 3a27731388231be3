/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A step: one entry of a transaction's plan. A step is data: its functions get the world they work on as `world` and
 * keep nothing of their own. All of them may be called again after a crash, so each looks at the world before it
 * changes it. On failure they return a negative errno and set *reterr (cause, host, the command that mends it). */

#include <stdbool.h>

/* What a step will come to, as far as can be known before it is run. */
typedef struct StepForecast {
        bool skipped;      /* there will be nothing to do */
        unsigned restarts; /* on which hosts the service is restarted, in the bits of Step.changes */
        bool perhaps;      /* … or not: `why` says when */
        unsigned seconds;  /* 0: about one */
        const char *why;   /* a sentence without a full stop, static; NULL: nothing to say */
} StepForecast;

typedef struct Step {
        const char *name;  /* [a-z-]{1,32}: in the log, the journal and the snapshots' names */
        const char *title; /* what it does, as a sentence without a full stop: "Restarting members one at a time" */

        /* Which hosts it changes: bits that mean something to the plan's snapshot() only. 0: no host's files. */
        unsigned changes;

        /* The vendor's scripts that it runs, then NULL: for the plan's own functions, as above. NULL: none. */
        const char *const *scripts;

        unsigned asks;      /* which hosts it needs beside those: the same bits */
        const char *undoes; /* what its undo comes to, as a clause ("they get their old files back"); NULL: nothing */
        void (*foresee)(void *world, StepForecast *forecast); /* after the first step; NULL: nothing to say */

        bool rejects;            /* failing here means that nothing was asked of any host: rejected, not rolled back */
        bool point_of_no_return; /* done: the transaction is committed, and every later step is retried, not undone; and
                                  * nothing older is undone before it is */
        bool undo_last;          /* its undo proves and releases: not before every later step is undone */

        /* May it begin? 1: yes. 0: there is nothing to do, *reterr says why, the step is skipped. NULL: yes. */
        int (*check)(void *world, char **reterr);
        int (*apply)(void *world, char **reterr); /* NULL: nothing to change */
        int (*prove)(void *world, char **reterr); /* NULL: apply proves itself. Never changes anything */
        int (*undo)(void *world, char **reterr);  /* NULL: nothing to undo */

        /* Only where point_of_no_return: did it happen? 1 yes, 0 no. Asked when an intent has no "done". */
        int (*happened)(void *world, char **reterr);
} Step;
