/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "metrics.h"

#include <inttypes.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

/* Steps of one node, by what became of them. */
typedef struct Steps {
        size_t done, undone, undo_failed;
} Steps;

static void describe(FILE *f, const char *name, const char *help) {
        fprintf(f, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static void put_states(FILE *f, const JobQueue *q) {
        describe(f, "dhetcd_jobs", "Jobs that this host has records of.");
        for (JobState s = 0; s < _JOB_STATE_MAX; s++) {
                size_t n = 0;

                for (size_t i = 0; i < q->n; i++)
                        n += q->jobs[i]->state == s;
                fprintf(f, "dhetcd_jobs{state=\"%s\"} %zu\n", job_state_to_string(s), n);
        }
}

static const Job *last_ended(const JobQueue *q) {
        const Job *last = NULL;

        for (size_t i = 0; i < q->n; i++)
                if (!job_state_is_open(q->jobs[i]->state) && (!last || q->jobs[i]->ended_usec >= last->ended_usec))
                        last = q->jobs[i];
        return last;
}

static void put_result(FILE *f, const Job *j) {
        describe(f, "dhetcd_last_job_info", "The job that ended last.");
        fprintf(f, "dhetcd_last_job_info{job=\"%s\",kind=\"%s\",state=\"%s\"} 1\n", j->id, job_words(j->kind)->name,
                job_state_to_string(j->state));
        describe(f, "dhetcd_last_job_success", "Whether it was committed.");
        fprintf(f, "dhetcd_last_job_success %d\n", j->state == JOB_COMMITTED);
        describe(f, "dhetcd_last_job_end_timestamp_seconds", "When it ended.");
        fprintf(f, "dhetcd_last_job_end_timestamp_seconds %.3f\n", (double) j->ended_usec / USEC_PER_SEC);
        describe(f, "dhetcd_last_job_duration_seconds", "From the time it was asked for to its end.");
        fprintf(f, "dhetcd_last_job_duration_seconds %.3f\n",
                j->ended_usec > j->queued_usec ? (double) (j->ended_usec - j->queued_usec) / USEC_PER_SEC : 0.0);
}

static void count_steps(const char *dir, Steps *s) {
        static const char *const words[] = { "done", "commit", "undone", "undo-failed" };
        _cleanup_json_ json_t *records = NULL;
        json_t *record;
        size_t i, *const counts[] = { &s->done, &s->done, &s->undone, &s->undo_failed };

        if (txn_log_read(dir, &records, NULL, NULL) < 0)
                return; /* there is none yet, or the job itself says what is wrong with it */
        json_array_foreach (records, i, record)
                for (size_t k = 0; k < ELEMENTSOF(words); k++)
                        if (streq(json_get_string(record, "type"), words[k]))
                                ++*counts[k];
}

static int put_steps(FILE *f, const Job *j, const char *jobs_dir) {
        describe(f, "dhetcd_last_job_steps", "Its steps, by node and by what became of them.");
        for (size_t n = 1; n <= strv_length(j->nodes); n++) {
                _cleanup_free_ char *dir = job_txn_dir(j, jobs_dir, n);
                const char *node = j->nodes[n - 1];
                Steps s = {};

                if (!dir)
                        return -ENOMEM;
                count_steps(dir, &s);
                fprintf(f,
                        "dhetcd_last_job_steps{node=\"%s\",result=\"done\"} %zu\n"
                        "dhetcd_last_job_steps{node=\"%s\",result=\"undone\"} %zu\n"
                        "dhetcd_last_job_steps{node=\"%s\",result=\"undo-failed\"} %zu\n",
                        node, s.done, node, s.undone, node, s.undo_failed);
        }
        return 0;
}

char *metrics_format(const JobQueue *q, const char *jobs_dir) {
        const Job *last = last_ended(q);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        int r = 0;

        if (!f)
                return NULL;
        put_states(f, q);
        if (last) {
                put_result(f, last);
                r = put_steps(f, last, jobs_dir);
        }
        if (fclose(f) != 0 || r < 0) {
                free(text);
                return NULL;
        }
        return text;
}

int metrics_write(const char *directory, const JobQueue *q, const char *jobs_dir, char **reterr) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        int r;

        if (*directory == '\0' || path_exists(directory) == 0)
                return 0;
        path = format("%s/" METRICS_FILE, directory);
        text = metrics_format(q, jobs_dir);
        if (!path || !text)
                return -ENOMEM;
        r = write_file_durable(path, text, strlen(text), 0644, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}
