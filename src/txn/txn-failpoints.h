/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "step.h"

/* Prints the names of all failpoints of a plan, one a line. Only with -Dfailpoints=true. */
void txn_failpoints(const Step *const *steps, size_t n, FILE *out);
/* "revert:" and those that are also, or only, reached when a committed transaction is taken back. */
void txn_revert_failpoints(const Step *const *steps, size_t n, FILE *out);
