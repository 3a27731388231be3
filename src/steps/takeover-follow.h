/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "addition.h"

/* The old host: where another one took the job over, waits until it is ended there, and brings this host, and nothing
 * but it, to the same side. 0: nobody did; settle it. Otherwise it has ended: a TxnState, or a negative errno. */
int takeover_follow(Addition *a, const TxnLimits *limits, char **reterr) _must_check_;
