/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The window of a job that may not go on for ever (--until): what is not promoted by its end is rolled back, and no
 * step is begun when the promotion could not be reached in it. After the promotion there is no end: it only goes
 * forward. */

#include "addition.h"

/* How long `step` and all that follow it up to the promotion take, as the steps foresee it; 0 for those behind it.
 * Microseconds. */
uint64_t window_needed(Addition *a, const char *step);

/* -ETIME where that does not fit into what is left. */
int window_check(Addition *a, const char *step, char **reterr) _must_check_;

/* SIGTERM to this process at the window's end, as if the operator canceled then. */
int window_arm(const Addition *a) _must_check_;

/* Why the transaction was canceled, as a sentence that the caller frees; NULL where it was not the window's end. */
char *window_canceled(const Addition *a);
