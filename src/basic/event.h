/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Events: every line dhetcd writes to the journal is one of these, with a MESSAGE_ID that has an entry in
 * contrib/catalog/dhetcd.catalog, and the fields of the context it happened in. The fields are listed in
 * dhetcd-journal(7). */

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "cleanup.h"

#define EVENT_KINDS(X)                                                                                                 \
        X(JOB_QUEUED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a01")                                                              \
        X(JOB_WAITING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a02")                                                             \
        X(JOB_REJECTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a03")                                                            \
        X(JOB_COMMITTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a04")                                                           \
        X(JOB_ROLLED_BACK, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a05")                                                         \
        X(JOB_STUCK, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a06")                                                               \
        X(JOB_CANCELED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a07")                                                            \
        X(TXN_STARTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a08")                                                             \
        X(TXN_COMMITTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a09")                                                           \
        X(TXN_ROLLED_BACK, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0a")                                                         \
        X(TXN_STUCK, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0b")                                                               \
        X(TXN_REJECTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0c")                                                            \
        X(TXN_SETTLING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0d")                                                            \
        X(STEP_STARTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0e")                                                            \
        X(STEP_DONE, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a0f")                                                               \
        X(STEP_SKIPPED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a10")                                                            \
        X(STEP_FAILED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a11")                                                             \
        X(STEP_PROGRESS, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a12")                                                           \
        X(STEP_UNDOING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a13")                                                            \
        X(STEP_UNDONE, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a14")                                                             \
        X(UNDO_FAILED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a15")                                                             \
        X(WARNING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a16")                                                                 \
        X(SNAPSHOT_TAKEN, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a17")                                                          \
        X(HOST_RESTORED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a18")                                                           \
        X(SCRIPT_OUTPUT, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a19")                                                           \
        X(SCRIPT_FINISHED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1a")                                                         \
        X(UNIT_CHANGED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1b")                                                            \
        X(HOST_CHANGED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1c")                                                            \
        X(TXN_REVERTING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a40")                                                           \
        X(TXN_REVERT_REFUSED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a41")                                                      \
        X(JOB_REVERTING, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a42")                                                           \
        X(ACCESS_DENIED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1d")                                                           \
        X(JOB_RESCUED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1e")                                                             \
        X(RESCUE_PLAN, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1f")                                                             \
        X(RESCUE_NEXT, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a20")                                                             \
        X(JOB_TAKEN_OVER, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a21")                                                          \
        X(TXN_FOLLOWED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a22")                                                            \
        X(HOST_REPAIRED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a23")                                                           \
        X(HOST_TRUSTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a30")                                                            \
        X(HOST_DISTRUSTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a31")                                                         \
        X(HOST_KEY_CHANGED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a32")                                                        \
        X(JOB_SCHEDULED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a33")                                                           \
        X(JOB_UNSCHEDULED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a34")                                                         \
        X(JOB_MISSED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a35")                                                              \
        X(INSTALL_STARTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a36")                                                         \
        X(INSTALL_SUCCEEDED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a37")                                                       \
        X(INSTALL_EXPECTED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a38")                                                        \
        X(INSTALL_FAILED, "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a39")

typedef enum EventKind {
#define X(name, id) EVENT_##name,
        EVENT_KINDS(X)
#undef X
                _EVENT_KIND_MAX,
} EventKind;

/* What an event happened in; every member may be NULL or 0 and is then no field. All pointers are borrowed. */
typedef struct EventContext {
        const char *job;     /* DHETCD_JOB */
        const char *txn;     /* DHETCD_TXN */
        const char *step;    /* DHETCD_STEP */
        unsigned step_index; /* DHETCD_STEP_INDEX, from 1 */
        unsigned step_count; /* DHETCD_STEP_COUNT */
        const char *node;    /* DHETCD_NODE: the address being added */
        const char *host;    /* DHETCD_HOST: the host the event is about */
        const char *phase;   /* DHETCD_PHASE: intent, done, skipped, failed, undo, undone, progress … */
        const char *unit;    /* DHETCD_UNIT */
        uint64_t member_id;  /* DHETCD_MEMBER_ID, in hexadecimal */
        const char *before;  /* DHETCD_HASH_BEFORE */
        const char *after;   /* DHETCD_HASH_AFTER */
        uint64_t done;       /* DHETCD_DONE, DHETCD_TOTAL, DHETCD_RATE (a second): how far it has come */
        uint64_t total;
        uint64_t rate;
        const char *what;                                   /* DHETCD_WHAT: what these count, "bytes" or "entries" */
        const char *action;                                 /* DHETCD_ACTION: polkit's */
        const char *caller_uid, *caller_comm, *caller_unit; /* DHETCD_CALLER_UID, …_COMM, …_UNIT: who was denied it */
        int error;                                          /* ERRNO, positive or negative */
} EventContext;

/* Writes one event. `priority` is LOG_*. Also to standard error when it is a terminal or when no journal is there.
 * A failing journal never fails the work. */
void log_event(EventKind kind, int priority, const EventContext *context, const char *format, ...) _printf_(4, 5);

/* The MESSAGE_ID of a kind, 32 hexadecimal digits. */
const char *event_message_id(EventKind kind);
