/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All jobs this host knows, ended ones too, and the order in which they run: one at a time, first come first served.
 * Pure logic: no bus, no files, no clock of its own. */

#include "job.h"

#define JOB_QUEUE_OPEN_MAX 64U

typedef struct JobQueue {
        Job **jobs; /* owned, oldest first */
        size_t n;
} JobQueue;

void job_queue_done(JobQueue *q);

/* Takes the job over on success. -EEXIST: the id is known; -EXFULL: JOB_QUEUE_OPEN_MAX jobs are open. */
int job_queue_add(JobQueue *q, Job *j) _must_check_;
/* The same, of what is on disk: however many there are, they are open. */
int job_queue_load(JobQueue *q, Job *j) _must_check_;
void job_queue_remove(JobQueue *q, Job *j); /* and frees it */

Job *job_queue_find(const JobQueue *q, const char *id);
size_t job_queue_open(const JobQueue *q);

/* The running job, or NULL. */
Job *job_queue_running(const JobQueue *q);

/* The oldest stuck job, or NULL. */
Job *job_queue_stuck(const JobQueue *q);

/* What to work on now: a running job (a restarted daemon finds one), else the first that waits. NULL: nothing. */
Job *job_queue_next(const JobQueue *q);

/* 0: runs, or has ended; from 1: its place among those that wait. */
unsigned job_queue_position(const JobQueue *q, const Job *j);

/* The first waiting job whose time to wait is over; NULL where none. *ret_next (may be NULL) is when the next one will
 * be, UINT64_MAX for never. */
Job *job_queue_expired(const JobQueue *q, uint64_t now, uint64_t *ret_next);

/* One ended job to forget: beyond the newest `keep_jobs` ended ones, or older than `keep_days`. Stuck ones are kept.
 * NULL where none. */
Job *job_queue_prunable(const JobQueue *q, unsigned keep_jobs, unsigned keep_days, uint64_t now);
