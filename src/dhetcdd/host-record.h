/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this host was asked to do for a transaction, and what it answered: DIR/log.jsonl, in the form of txn-log.h (each
 * record with its place and checksum, on disk before the call returns). An operation has an intent before it changes
 * anything, and a done with its answer, or a failed, after it.
 *
 * An answer is given again only while it is still true: a restore that changed something begins a new life in which
 * nothing was done yet, and so does the same operation with other arguments. */

#include <stdbool.h>

#include "basic/json-util.h"

typedef struct HostRecord HostRecord;

#define HOST_REPAIR_ARGUMENTS "repair" /* of a Restore that no worker asked for: host-repair.c */

/* What names an operation. `verb` may be NULL; `arguments` is a digest of all of them. */
typedef struct HostKey {
        const char *step, *operation, *verb, *arguments;
} HostKey;

typedef enum HostRecordState {
        HOST_RECORD_NONE, /* never begun, failed, or not true any more */
        HOST_RECORD_OPEN, /* begun, and then we died: the world decides */
        HOST_RECORD_DONE,
} HostRecordState;

/* The directory is made when it is not there. */
int host_record_open(const char *dir, HostRecord **ret, char **reterr) _must_check_;
HostRecord *host_record_free(HostRecord *r);
DEFINE_CLEANUP(HostRecord *, host_record_free)

/* *ret (may be NULL) is the intent's extra fields where it is open, the answer where it is done; borrowed. */
HostRecordState host_record_find(const HostRecord *r, const HostKey *key, const json_t **ret);

/* `extra` (may be NULL) is an object of things to know again; both are borrowed. Once the log is full (TXN_LOG_FULL),
 * an intent that ended as the like of it did before is taken back instead of being ended. */
int host_record_intent(HostRecord *r, const HostKey *key, json_t *extra, char **reterr) _must_check_;
int host_record_done(HostRecord *r, const HostKey *key, json_t *answer, char **reterr) _must_check_;
int host_record_failed(HostRecord *r, const HostKey *key, const char *why, char **reterr) _must_check_;

/* The extra fields of the newest intent of an operation in a step, done or not, whatever its arguments were; borrowed,
 * NULL where none. */
const json_t *host_record_recall(const HostRecord *r, const char *step, const char *operation);

/* Whether the step was asked to be restored: it must not be done any more. */
bool host_record_is_restored(const HostRecord *r, const char *step);

/* The steps whose restore was done. A string vector, NULL where there are none. */
int host_record_restored(const HostRecord *r, char ***ret) _must_check_;

/* Whether an operation of that name was ever begun, in whatever step. */
bool host_record_has_begun(const HostRecord *r, const char *operation);

/* Whether the newest operation of that name in the step has an intent and neither done nor failed, whatever its
 * arguments were. */
bool host_record_is_open(const HostRecord *r, const char *step, const char *operation);

/* The steps whose files may be half-written: a vendor script was begun and is not known to have ended well, or a
 * restore was begun and not done; and no restore of the step was done since. A string vector, NULL where there are
 * none. What else changes files replaces each of them at once. */
int host_record_half_written(const HostRecord *r, char ***ret) _must_check_;

/* Whether the operation was ever begun in the step, however it ended, and whatever was restored since. */
bool host_record_was_begun(const HostRecord *r, const char *step, const char *operation, const char *verb);

/* Calls back for every operation of that name that has an intent and neither done nor failed. Stops at a negative
 * errno. */
int host_record_each_open(const HostRecord *r, const char *operation,
                          int (*callback)(void *userdata, const char *step, const char *verb),
                          void *userdata) _must_check_;
