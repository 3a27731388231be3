/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "job-queue.h"

#include "basic/string-util.h"

#define USEC_PER_DAY (86400U * USEC_PER_SEC)

void job_queue_done(JobQueue *q) {
        for (size_t i = 0; i < q->n; i++)
                job_free(q->jobs[i]);
        free(q->jobs);
        *q = (JobQueue){};
}

/* Two jobs of one microsecond are told apart by their ids, so that a restart finds the same order. */
static bool goes_before(const Job *a, const Job *b) {
        return a->queued_usec != b->queued_usec ? a->queued_usec < b->queued_usec : strcmp(a->id, b->id) < 0;
}

int job_queue_add(JobQueue *q, Job *j) {
        if (job_state_is_open(j->state) && job_queue_open(q) >= JOB_QUEUE_OPEN_MAX && !job_queue_find(q, j->id))
                return -EXFULL;
        return job_queue_load(q, j);
}

int job_queue_load(JobQueue *q, Job *j) {
        size_t at = q->n;
        Job **grown;

        if (job_queue_find(q, j->id))
                return -EEXIST;
        grown = reallocarray(q->jobs, q->n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        q->jobs = grown;

        while (at > 0 && goes_before(j, grown[at - 1]))
                at--;
        memmove(grown + at + 1, grown + at, (q->n - at) * sizeof(*grown));
        grown[at] = j;
        q->n++;
        return 0;
}

void job_queue_remove(JobQueue *q, Job *j) {
        for (size_t i = 0; i < q->n; i++)
                if (q->jobs[i] == j) {
                        memmove(q->jobs + i, q->jobs + i + 1, (q->n - i - 1) * sizeof(*q->jobs));
                        q->n--;
                        job_free(j);
                        return;
                }
}

Job *job_queue_find(const JobQueue *q, const char *id) {
        for (size_t i = 0; i < q->n; i++)
                if (streq(q->jobs[i]->id, id))
                        return q->jobs[i];
        return NULL;
}

size_t job_queue_open(const JobQueue *q) {
        size_t n = 0;

        for (size_t i = 0; i < q->n; i++)
                n += job_state_is_open(q->jobs[i]->state);
        return n;
}

static Job *first_in_state(const JobQueue *q, JobState state) {
        for (size_t i = 0; i < q->n; i++)
                if (q->jobs[i]->state == state)
                        return q->jobs[i];
        return NULL;
}

Job *job_queue_running(const JobQueue *q) {
        return first_in_state(q, JOB_RUNNING);
}

Job *job_queue_stuck(const JobQueue *q) {
        return first_in_state(q, JOB_STUCK);
}

Job *job_queue_next(const JobQueue *q) {
        return job_queue_running(q) ?: first_in_state(q, JOB_QUEUED);
}

unsigned job_queue_position(const JobQueue *q, const Job *j) {
        unsigned before = 0;

        if (j->state != JOB_QUEUED)
                return 0;
        for (size_t i = 0; i < q->n; i++)
                before += q->jobs[i]->state == JOB_QUEUED && goes_before(q->jobs[i], j);
        return before + 1;
}

Job *job_queue_expired(const JobQueue *q, uint64_t now, uint64_t *ret_next) {
        uint64_t next = UINT64_MAX;
        Job *expired = NULL;

        for (size_t i = 0; i < q->n; i++) {
                Job *j = q->jobs[i];
                uint64_t deadline;

                if (j->state != JOB_QUEUED || j->wait_timeout_usec == 0 ||
                    __builtin_add_overflow(j->queued_usec, j->wait_timeout_usec, &deadline))
                        continue;
                if (deadline <= now)
                        expired = expired ?: j;
                else if (deadline < next)
                        next = deadline;
        }
        if (ret_next)
                *ret_next = next;
        return expired;
}

Job *job_queue_prunable(const JobQueue *q, unsigned keep_jobs, unsigned keep_days, uint64_t now) {
        unsigned newer = 0;

        for (size_t i = q->n; i > 0; i--) {
                Job *j = q->jobs[i - 1];

                if (job_state_is_open(j->state) || j->state == JOB_STUCK)
                        continue;
                if (++newer > keep_jobs || (now > j->ended_usec && now - j->ended_usec > keep_days * USEC_PER_DAY))
                        return j;
        }
        return NULL;
}
