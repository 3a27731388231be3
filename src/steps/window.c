/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "window.h"

#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "basic/error.h"
#include "forecast.h"

/* The job's later nodes, each with all of the plan; with "keep", what was promoted stays without them. */
static unsigned seconds_of_later_nodes(Addition *a) {
        size_t later = strv_length(a->nodes + a->index) - 1;
        unsigned seconds = 0;

        if (a->keep || later == 0)
                return 0;
        for (size_t i = 0; i < plan_add.n; i++)
                seconds += forecast_seconds(a, plan_add.steps[i]);
        return (unsigned) later * seconds;
}

uint64_t window_needed(Addition *a, const char *step) {
        unsigned seconds = 0;
        bool counts = false;

        for (size_t i = 0; i < plan_add.n; i++) {
                const Step *s = plan_add.steps[i];

                counts = counts || streq(s->name, step);
                if (counts)
                        seconds += forecast_seconds(a, s);
                if (s->point_of_no_return)
                        break;
        }
        return seconds > 0 ? (seconds + seconds_of_later_nodes(a)) * USEC_PER_SEC : 0;
}

int window_check(Addition *a, const char *step, char **reterr) {
        uint64_t now = now_real(), needed, left;

        if (a->deadline == 0 || a->promoted)
                return 0;
        needed = window_needed(a, step) / USEC_PER_SEC;
        if (needed == 0)
                return 0;
        if (a->deadline <= now)
                return fail(reterr, -ETIME, "the window is over; ask again with a longer one, or without --until");
        left = (a->deadline - now) / USEC_PER_SEC;
        if (needed > left)
                return fail(reterr, -ETIME,
                            "the window is too short: from \"%s\" to the %spromotion takes about %" PRIu64
                            " s, and %" PRIu64 " s are left. Ask again with a longer one, or without --until",
                            step, !a->keep && a->nodes[a->index + 1] ? "last " : "", needed, left);
        return 0;
}

int window_arm(const Addition *a) {
        struct itimerspec at = { .it_value = { .tv_sec = (time_t) (a->deadline / USEC_PER_SEC),
                                               .tv_nsec = (long) (a->deadline % USEC_PER_SEC * 1000) } };
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGTERM };
        timer_t timer;

        if (a->deadline == 0)
                return 0;
        if (timer_create(CLOCK_REALTIME, &event, &timer) < 0 || timer_settime(timer, TIMER_ABSTIME, &at, NULL) < 0)
                return -errno;
        return 0;
}

char *window_canceled(const Addition *a) {
        if (a->deadline == 0 || now_real() < a->deadline)
                return NULL;
        return strdup("the window ended before the node was promoted; ask again with a longer one, or without --until");
}
