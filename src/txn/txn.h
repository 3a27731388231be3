/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The transaction: runs a plan's steps in order with a log written ahead of every change, and, on any failure before
 * the point of no return, undoes what was begun, newest first. It knows no host, no etcd and no bus: what a step does
 * is the step's, and what surrounds it (snapshots, the journal, waiting) is asked of TxnOps.
 *
 *   intent (fsync) → snapshot → apply → prove → done (fsync)   commit (fsync) instead of done at the point of no return
 *   failed, or revert → for each step with an intent, newest first: undo (fsync) → undo() → undone (fsync) → end
 *
 * A process may die at any of these points; txn_settle() of another process goes on from the log. */

#include "step.h"
#include "txn-log.h"

typedef struct Txn Txn;

typedef enum TxnPhase {
        TXN_PHASE_INTENT,
        TXN_PHASE_DONE,
        TXN_PHASE_SKIPPED,
        TXN_PHASE_FAILED,
        TXN_PHASE_UNDO,
        TXN_PHASE_UNDONE,
        TXN_PHASE_UNDO_FAILED,
        TXN_PHASE_RETRY,
        TXN_PHASE_END, /* step is NULL, state tells which */
} TxnPhase;

typedef struct TxnReport {
        TxnPhase phase;
        const Step *step;
        unsigned index, count; /* index from 1 */
        TxnState state;        /* with TXN_PHASE_END */
        bool reverted;         /* with TXN_PHASE_END: it had been committed, or may have been */
        int error;             /* 0 or negative errno */
        const char *why;       /* NULL or a sentence */
        bool again;            /* the same was told before, by this worker or by one before it */
} TxnReport;

typedef struct TxnOps {
        /* Snapshots every host that `step` changes; adds "HOST": "digest" pairs to `digests`. Idempotent. */
        int (*snapshot)(void *world, const Step *step, json_t *digests, char **reterr);
        /* From now on nothing may be canceled: the transaction goes back, or forward after its commit. */
        void (*no_cancel)(void *world);
        /* Tells people: journal, status. Never fails. */
        void (*report)(void *world, const TxnReport *report);
        /* Waits before an undo or a forward step is tried again. */
        void (*pause)(void *world, uint64_t usec);
        /* Whether this host is shutting down: then nothing is tried again, and the next boot settles. May be NULL. */
        bool (*going_down)(void *world);
        /* A sentence on what else to do where the transaction is stuck, or NULL; the caller frees it. May be NULL. */
        char *(*advice)(void *world);
        /* Whether a step may begin now: 0, or a negative errno as if it had failed. Not asked after the commit. May be
         * NULL. */
        int (*may_begin)(void *world, const Step *step, char **reterr);
        /* Why -ECANCELED came, as a sentence that the caller frees; NULL: as the step says. May be NULL. */
        char *(*canceled)(void *world);
} TxnOps;

typedef struct TxnLimits {
        uint64_t settle_usec; /* how long undo, or forward steps, are tried again before the transaction is stuck */
        uint64_t pause_usec;  /* between two tries */
} TxnLimits;

/* `steps` (n of them) and `ops` are borrowed and must outlive the transaction. */
int txn_new(const char *dir, const Step *const *steps, size_t n, const TxnOps *ops, const TxnLimits *limits,
            void *world, Txn **ret, char **reterr) _must_check_;
Txn *txn_free(Txn *t);
DEFINE_CLEANUP(Txn *, txn_free)

/* Runs the plan from its beginning: the log must be empty (-EEXIST: settle it instead). Returns the state it ended in
 * (TXN_COMMITTED, TXN_ROLLED_BACK, TXN_REJECTED, TXN_STUCK), or a negative errno where even the log could not be
 * written: the transaction is then open and must be settled. */
int txn_run(Txn *t, char **reterr) _must_check_;

/* Brings a transaction whose worker is gone, or that is stuck, to an end: back before its commit, forward after it.
 * Where it has ended nothing is done. Returns as txn_run(). */
int txn_settle(Txn *t, char **reterr) _must_check_;

/* The log of a transaction that another host drove, as far as the world tells: the steps that `begun` names, as begun,
 * or, where `committed`, as done. `reverted`: it was being taken back after that, or is to be, without asking once more
 * whether the point of no return happened. Only txn_settle() is left to do. `why` is why it is not run to its end. May
 * be repeated after a crash. */
int txn_assume(Txn *t, bool (*begun)(void *world, const Step *step), bool committed, bool reverted, const char *why,
               char **reterr) _must_check_;

/* Ends it as it is: refused, stuck, or as another host has ended it. Returns the state. */
int txn_end(Txn *t, TxnState state, const char *why, char **reterr) _must_check_;

/* From here until txn_revert() or txn_refuse_revert() it is looked whether a committed transaction can be taken back.
 * Who looks may hold something: meanwhile it is not at its end, and who settles it must let go of that, and refuse. */
int txn_look(Txn *t, char **reterr) _must_check_;

/* Takes a committed transaction back, as if it failed now; the caller has made sure that nothing it would undo was
 * changed since by somebody else. `why` is the sentence for it. Returns as txn_run(); -EINVAL where it is not
 * committed. A crash in it is settled backwards. */
int txn_revert(Txn *t, const char *why, char **reterr) _must_check_;
/* What was asked and refused, into the log, for whoever reads it; it is committed as before. */
int txn_refuse_revert(Txn *t, const char *why, char **reterr) _must_check_;

/* Its point of no return was passed, and it is not being taken back. */
bool txn_is_committed(const Txn *t);

/* What a step must know again after a crash: a durable record in the log. `value` is stolen, also on failure. The
 * newest value of a key is recalled, borrowed; NULL where none. */
int txn_remember(Txn *t, const char *key, json_t *value, char **reterr) _must_check_;
const json_t *txn_recall(const Txn *t, const char *key);
