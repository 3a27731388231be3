/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "addition.h"

/* Locks every host and makes sure that a committed addition can be taken back: the member list is the plan's with the
 * new node, all are in quorum, and, unless `force`, no host was changed since it was unlocked. On failure nothing is
 * locked any more. */
int addition_check_revert(Addition *a, bool force, char **reterr) _must_check_;

/* Best effort: releases every host, when nothing is to be done on them any more. */
void addition_unlock(Addition *a);

/* Prints the names of its failpoints, one a line. Only with -Dfailpoints=true. */
void revert_failpoints(FILE *out);
