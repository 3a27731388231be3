/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The write-ahead log of one transaction: TXN-DIR/log.jsonl, one record a line, appended and fsynced before the call
 * returns. Every record has "seq" (from 1, no gaps), "time" (CLOCK_REALTIME, microseconds), "type", and, last, "sum":
 * the first 16 hexadecimal digits of the SHA-256 over the previous record's sum and this record's bytes, so that a
 * record that is missing, doubled or changed is noticed. A damaged *last* record is what a crash leaves and is cut off
 * when the log is opened for writing; damage before that is refused with -EBADMSG and what to do. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/json-util.h"

#define TXN_LOG_SIZE_MAX (16U * 1024U * 1024U)
#define TXN_LOG_FULL (1024U * 1024U) /* from here on, what only says once more that something failed is not written */
#define TXN_TEXT_MAX 4096U           /* of a "why", a "cause" and an "advice"; what is longer is cut */

typedef struct TxnLog TxnLog;

/* Opens DIR/log.jsonl, made when `create` (the directory must be there), with room on the disk for the records of one
 * transaction and its undo. One writer at a time: -EBUSY when another
 * process has it open (an flock on it). */
int txn_log_open(const char *dir, bool create, TxnLog **ret, char **reterr) _must_check_;
TxnLog *txn_log_free(TxnLog *l);
DEFINE_CLEANUP(TxnLog *, txn_log_free)

/* Appends {seq, time, type, ...fields} durably; `fields` may be NULL and is borrowed. After a failed write the record
 * is not there: what was written of it is cut off, and as long as that fails too, no further record is taken
 * (-ESTALE). */
int txn_log_append(TxnLog *l, const char *type, json_t *fields, char **reterr) _must_check_;

/* The same, of what may fail in other words again and again for days: not where the log is full and the like of it is
 * there, that is a record of the type and the step; or where it ends with a stuck end, which is enough. `again`: it was
 * stuck with the same words before. */
int txn_log_append_failure(TxnLog *l, const char *type, json_t *fields, char **reterr) _must_check_;
int txn_log_append_end(TxnLog *l, bool again, json_t *fields, char **reterr) _must_check_;
bool txn_log_is_full(const TxnLog *l);

/* Takes the newest record, which this process has appended, back as if it had not been written; only one (-ESTALE). */
int txn_log_take_back(TxnLog *l) _must_check_;

/* All records so far, an array of objects without "sum"; borrowed. */
const json_t *txn_log_records(const TxnLog *l);

/* Reads without locking or changing anything; a torn last record is left out and *ret_torn (may be NULL) says so. */
int txn_log_read(const char *dir, json_t **ret, bool *ret_torn, char **reterr) _must_check_;

/* The state a log tells: what dhetcdd shows and what settling starts from. */
typedef enum TxnState {
        TXN_EMPTY,       /* no log, or nothing in it: nothing was done */
        TXN_RUNNING,     /* open: an intent was written, no end; before the commit: goes back */
        TXN_UNDOING,     /* open: rolling back */
        TXN_FORWARD,     /* open: committed in etcd, must be finished */
        TXN_COMMITTED,   /* ended */
        TXN_ROLLED_BACK, /* ended */
        TXN_REJECTED,    /* ended: preflight said no, nothing was changed */
        TXN_STUCK,       /* ended until somebody helps */
        _TXN_STATE_MAX,
} TxnState;
const char *txn_state_to_string(TxnState s); /* "empty", "running", …, "rolled-back", "stuck" */
TxnState txn_state_of(const json_t *records);
bool txn_is_looking(const json_t *records); /* txn_look() was called, and is not over */

/* The newest note of that key, borrowed; NULL where there is none. */
const json_t *txn_noted(const json_t *records, const char *key);
/* The sentence of the newest "failed", "revert", "revert-refused" or "end" record; borrowed, NULL where none. */
const char *txn_reason_of(const json_t *records);
/* Why the transaction did not go on at first, without what has kept it from an end since; borrowed, NULL where none. */
const char *txn_cause_of(const json_t *records);
/* The sentence of the newest "end"; borrowed, NULL where none. */
const char *txn_last_words_of(const json_t *records);

/* What is tried again for days, because a host stays away, must not fill the log: whether such a record of the step
 * (`why` may be NULL: any) is there; whether it ended with the same words once before; whether nothing was done
 * since it ended. */
bool txn_is_recorded(const json_t *records, const char *type, const char *step, const char *why);
bool txn_was_stuck(const json_t *records, const char *why, const char *advice);
bool txn_is_at_end(const json_t *records);
/* The sentence on what else to do, of the newest "end"; borrowed, NULL where none. */
const char *txn_advice_of(const json_t *records);
