/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A job: what an operator asked for. It lives in JOBS-DIR/ID/job.json, which is written durably at every change, and
 * its transactions in JOBS-DIR/ID/1, /2, … Nothing here knows the bus. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "basic/job-kind.h"
#include "basic/json-util.h"
#include "txn/txn-log.h"

#define JOB_ID_DIGITS 8U
#define JOB_TEXT_MAX (16U * 1024U) /* of each; what is longer is cut */
#define JOB_NODES_MAX 16U
#define JOB_TAKEOVER_NOTE "taken-over" /* a note in the log of a transaction: {"from": ADDRESS} or {"by": …} */

typedef enum JobState {
        JOB_QUEUED,
        JOB_RUNNING,
        JOB_COMMITTED,
        JOB_REJECTED, /* nothing was changed */
        JOB_ROLLED_BACK,
        JOB_STUCK,
        JOB_CANCELED, /* before its next (mostly: its first) node was begun */
        JOB_RESCUED,  /* it was stuck, and a rescue took its place */
        _JOB_STATE_MAX,
        _JOB_STATE_INVALID = -EINVAL,
} JobState;

typedef struct Job {
        char id[JOB_ID_DIGITS + 1];
        JobKind kind;
        char **nodes;
        json_t *options;
        uint32_t uid;
        uint64_t queued_usec, ended_usec; /* CLOCK_REALTIME */
        uint64_t wait_timeout_usec;       /* 0: for ever; kept in options as "wait-timeout" */
        JobState state;
        char *text;
        bool cancel; /* asked to go back; survives a restart of the daemon */
        bool revert; /* its committed additions are being taken back; survives too */
        char *why_revert;

        char *taken_over_from; /* the address of its own host, where this is another one; else NULL */

        bool settle;       /* asked to settle what is stuck; in memory only, as these: */
        bool retry;        /* … by the timer: for a short while only */
        char *stuck_text;  /* with what it was stuck before it was asked */
        bool unsaved;      /* the disk did not take its newest state yet */
        unsigned attempts; /* transient units this daemon started for the present transaction */
} Job;

const char *job_state_to_string(JobState s);
JobState job_state_from_string(const char *s); /* _JOB_STATE_INVALID */
static inline bool job_state_is_open(JobState s) {
        return s == JOB_QUEUED || s == JOB_RUNNING;
}

/* 8 lowercase hexadecimal digits. */
bool job_id_is_valid(const char *s);

int job_random_id(char ret[static JOB_ID_DIGITS + 1]);

/* A new queued job with an id of its own. `nodes` and `options` are copied (the options shallowly). */
int job_new(char *const *nodes, json_t *options, uint32_t uid, Job **ret) _must_check_;
Job *job_free(Job *j);
DEFINE_CLEANUP(Job *, job_free)

int job_set_text(Job *j, const char *text) _must_check_;

json_t *job_to_json(const Job *j); /* NULL on OOM */
int job_from_json(const json_t *v, Job **ret, char **reterr) _must_check_;

/* JOBS-DIR/ID/job.json, its directory made when it is not there. As long as the job has not ended for good, JOBS-
 * DIR/ID/open is there too: dhetcd-recover.service has something to do. */
int job_save(const Job *j, const char *jobs_dir, char **reterr) _must_check_;
int job_load(const char *jobs_dir, const char *id, Job **ret, char **reterr) _must_check_;

/* What a crash leaves: "open" of a job that has ended; and what was made for one that was never written, of which
 * nothing can have been begun. 1: removed. */
int job_unmark(const Job *j, const char *jobs_dir) _must_check_;
int job_remove_untaken(const char *jobs_dir, const char *id) _must_check_;
/* With all that is in its directory. Of a job that has ended the record goes last, of one that was refused first. */
int job_remove(const char *jobs_dir, const char *id) _must_check_;
int job_remove_refused(const char *jobs_dir, const char *id) _must_check_;

/* Prints the names of the failpoints around job_save(), one a line. Only with -Dfailpoints=true. */
void job_failpoints(FILE *out);

char *job_txn_id(const Job *j, size_t n);                        /* "JOB-N" */
char *job_txn_dir(const Job *j, const char *jobs_dir, size_t n); /* "JOBS-DIR/JOB/N" */

/* What the log of transaction N (from 1) tells; TXN_EMPTY where there is none. *ret_reason (may be NULL) is a copy of
 * the log's sentence or NULL. A log that cannot be read is the error, with its text in *reterr. */
int job_txn_state(const Job *j, const char *jobs_dir, size_t n, TxnState *ret, char **ret_reason,
                  char **reterr) _must_check_;

/* Whether a takeover ended transaction N: by this host, or by another one. */
bool job_txn_was_taken_over(const Job *j, const char *jobs_dir, size_t n);

/* The newest transaction that a job which is taken back has still to undo; 0 where none. */
int job_revert_txn(const Job *j, const char *jobs_dir, size_t *ret, char **reterr) _must_check_;

/* How many members the cluster had when transaction N began, by its plan; 0 where it is not known. */
size_t job_members(const Job *j, const char *jobs_dir, size_t n);

/* The first transaction that is not committed, from 1; one more than there are nodes when all are. */
int job_current_txn(const Job *j, const char *jobs_dir, size_t *ret, TxnState *ret_state, char **ret_reason,
                    char **reterr) _must_check_;
