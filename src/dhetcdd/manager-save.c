/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every change of a job goes through here: to disk first, then to whoever watches. A disk that takes no more is
 * reported and does not end the work, since the transaction's own log decides what is true. But how a job ended that
 * was never begun stands nowhere else: it is written again until it is on disk, and this daemon stays until then. */

#include "basic/error.h"
#include "manager-internal.h"
#include "metrics.h"

#define AGAIN_USEC (2 * USEC_PER_SEC)

/* For a collector of metrics: it is no reason to fail. */
static void tell_collector(const Manager *m) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        if (config_load(NULL, &config, NULL, NULL) < 0 || !config->textfile_directory)
                return;
        r = metrics_write(config->textfile_directory, &m->queue, m->jobs_dir, &error);
        if (r < 0)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .error = r }, "No metrics: %s",
                          error_text(error, r));
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata);

/* Told once, however often it fails. */
static void save(Manager *m, Job *j) {
        _cleanup_free_ char *error = NULL;
        int r = job_save(j, m->jobs_dir, &error);

        if (r < 0 && !j->unsaved)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = j->id, .error = r },
                          "The state '%s' of job %s is not on disk, and is written again until it is: %s",
                          job_state_to_string(j->state), j->id, error_text(error, r));
        j->unsaved = r < 0;
        if (r < 0 && !m->save_source)
                (void) sd_event_add_time(m->event, &m->save_source, CLOCK_BOOTTIME, now_boot() + AGAIN_USEC, 0,
                                         on_again, m);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        m->save_source = sd_event_source_unref(m->save_source);
        for (size_t i = 0; i < m->queue.n; i++)
                if (m->queue.jobs[i]->unsaved)
                        save(m, m->queue.jobs[i]);
        return 0;
}

void manager_set_job(Manager *m, Job *j, JobState state, const char *text) {
        bool moved = (j->state == JOB_RUNNING) != (state == JOB_RUNNING);

        if (j->state == state && streq(j->text, text))
                return;
        j->state = state;
        (void) (job_set_text(j, text) < 0);
        save(m, j);
        manager_tell_job(m, j);
        if (moved)
                manager_emit_running_job(m);
}

void manager_tell_job(Manager *m, const Job *j) {
        manager_emit_job_changed(m, j);
        tell_collector(m);
}
