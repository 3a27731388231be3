/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A job whose own host never comes back is ended by another of its hosts, from what the hosts themselves know: their
 * copies of the plan, their snapshots, their records. Here are both sides: the host that takes over, and the old one
 * that came back all the same, and must follow.
 *
 * What keeps them apart: the lock of each host names the address of the one that works on the job, every call says who
 * makes it, and a host heeds no other (-ESTALE). The new one takes all locks before it decides anything; at the end it
 * closes the transaction on each host, with the outcome that the old one finds there. */

#include <stdio.h>

#include "addition.h"

#define TAKEOVER_NOTE "taken-over" /* in the log: {"from": ADDRESS} here, {"by": ADDRESS, "outcome": …} there */

/* Before a transaction is settled. 0: go on and settle it. Otherwise it has ended: a TxnState, or a negative errno. */
int takeover_prepare(Addition *a, const TxnLimits *limits, char **reterr) _must_check_;

/* This host lacks what it takes. A takeover that has not touched anything ends as rejected; everything else fails. */
int takeover_not_possible(Addition *a, int error, const char *why, char **reterr) _must_check_;

/* Whether another host works on the transaction now, or has ended it: 1 yes, 0 no or nobody knows. */
int takeover_was_lost(Addition *a);

/* Unlocks every host; where this host took the job over, the transaction is closed there with its outcome. */
int takeover_release(Addition *a, const char *outcome, char **reterr) _must_check_;

/* Prints the names of the failpoints of a takeover, one a line, and once more with "promoted:": where the former host
 * had promoted the node. Only with -Dfailpoints=true. */
void takeover_failpoints(FILE *out);
