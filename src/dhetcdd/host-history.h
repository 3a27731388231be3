/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a host keeps of transactions: a record of each (RECORDS/TXN) and its snapshots (STORE, named TXN.STEP). Knows no
 * bus; the directories are given. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/cleanup.h"

#define HISTORY_JOB_DIGITS 8U

typedef struct HostHistory {
        const char *records, *store;
} HostHistory;
extern const HostHistory host_history; /* this host's */

typedef struct HistoryLimits {
        unsigned keep_jobs, keep_days;
} HistoryLimits;

/* "JOB-N", N from 1 to 99. */
bool txn_is_valid(const char *txn);

/* The transactions whose job is neither among the newest `keep_jobs` ones nor younger than `keep_days`: of both, one is
 * enough to be old. Those of `open_job` (may be NULL) are never old and do not count. `now` is CLOCK_REALTIME in
 * microseconds. *ret is a string vector, NULL where there are none. */
int host_history_old(const HostHistory *h, const char *open_job, const HistoryLimits *limits, uint64_t now, char ***ret,
                     char **reterr) _must_check_;

/* Removes the snapshots of a transaction, then its record: what is cut short is found again. */
int host_history_forget(const HostHistory *h, const char *txn, char **reterr) _must_check_;

/* Removes what no snapshot needs any more from the store. The number of objects. */
int host_history_collect(const HostHistory *h, char **reterr) _must_check_;
