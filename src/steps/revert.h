/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "addition.h"

/* Locks every host and makes sure that a committed addition can be taken back: the member list is the plan's with the
 * new node, all are in quorum, and, unless `force`, no host was changed since it was unlocked. On failure the look is
 * to be ended. */
int addition_check_revert(Addition *a, bool force, char **reterr) _must_check_;

/* Nothing is taken back, for `why`: every host is released, and one that is away is waited for. 0, or TXN_STUCK where
 * it does not come back in time: then whoever settles the transaction goes on with it. */
int addition_end_look(Addition *a, const TxnLimits *limits, const char *why, char **reterr) _must_check_;
/* The same after a worker that died in it; TXN_COMMITTED, TXN_STUCK or a negative errno. */
int addition_settle_look(Addition *a, const TxnLimits *limits, char **reterr) _must_check_;

/* Prints the names of its failpoints, one a line. Only with -Dfailpoints=true. */
void revert_failpoints(FILE *out);
