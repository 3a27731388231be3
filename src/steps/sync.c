/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: "Once the new node's RAFT INDEX is within one step of the indexes of other active nodes, it can be
 * promoted." */

#include <inttypes.h>

#include "basic/error.h"
#include "cluster.h"
#include "learner.h"
#include "steps.h"

#define PROGRESS_INTERVAL USEC_PER_SEC
#define BYTES_PER_SEC (20U << 20) /* for the forecast, until the backup has told how fast it was */

typedef struct Pace {
        uint64_t time, index; /* of the first sample */
        uint64_t told;
} Pace;

static void tell_progress(Addition *a, Pace *pace, uint64_t index, uint64_t leader_index) {
        uint64_t now = now_boot(), elapsed, rate;
        Progress progress = { .done = index, .total = leader_index, .what = "entries" };

        if (pace->time == 0)
                *pace = (Pace){ .time = now, .index = index };
        if (now - pace->told < PROGRESS_INTERVAL)
                return;
        pace->told = now;

        elapsed = (now - pace->time) / USEC_PER_SEC;
        rate = elapsed > 0 && index > pace->index ? (index - pace->index) / elapsed : 0;
        progress.rate = rate;
        if (rate > 0 && leader_index > index)
                addition_progress_of(a, addition_new_node(a), &progress,
                                     "index %" PRIu64 " of %" PRIu64 ", %" PRIu64 " entries/s, about %" PRIu64
                                     " s left",
                                     index, leader_index, rate, (leader_index - index) / rate);
        else
                addition_progress_of(a, addition_new_node(a), &progress, "index %" PRIu64 " of %" PRIu64, index,
                                     leader_index);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        uint64_t deadline = now_boot() + a->config->sync_timeout_usec;
        Pace pace = {};

        for (;;) {
                _cleanup_free_ char *why = NULL;
                uint64_t index = 0, leader_index = 0;
                int r;

                r = cluster_caught_up(a, addition_new_node(a), a->config->sync_margin, &index, &leader_index, &why);
                if (r >= 0)
                        tell_progress(a, &pace, index, leader_index);
                if (r > 0)
                        r = learner_in_sync(a, &why);
                if (r > 0)
                        return 0;
                if (r == -ECANCELED)
                        return r;
                if (r == -EACCES)
                        return fail(reterr, r, "%s", error_text(why, r));
                if (now_boot() >= deadline)
                        return fail(reterr, -ETIMEDOUT, "the learner on %s is not in sync after %" PRIu64 " s: %s",
                                    addition_new_node(a)->address, a->config->sync_timeout_usec / USEC_PER_SEC,
                                    error_text(why, -ETIMEDOUT));
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->seconds = 2 + (unsigned) (a->db_size / (a->copy_rate ?: BYTES_PER_SEC));
        f->why = "the leader sends the new node all of its data; clients are served meanwhile";
}

const Step step_sync = {
        .name = "sync",
        .title = "Waiting until the learner has the leader's data",
        .asks = CHANGES_NEW,
        .foresee = foresee,
        .apply = apply,
};
