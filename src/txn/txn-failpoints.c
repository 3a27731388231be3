/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "txn-failpoints.h"

#include "basic/string-util.h"

static void name_points(FILE *out, const char *phase, const char *step, const char *const *points) {
        for (; *points; points++)
                fprintf(out, "%s.%s.%s\n", phase, step, *points);
}

/* A step that has nothing to apply or undo has only the points around its records. */
static void name_step(FILE *out, const char *phase, const Step *s) {
        static const char *const step[] = { "before-intent", "after-intent", "applied",
                                            "before-done",   "after-done",   NULL };
        static const char *const commit[] = { "before-intent", "after-intent", "applied",
                                              "before-commit", "after-commit", NULL };

        name_points(out, phase, s->name, s->point_of_no_return ? commit : step);
}

static void name_undo(FILE *out, const char *phase, const Step *s) {
        static const char *const points[] = { "before-intent", "after-intent", "applied", "after-done", NULL };

        if (s->undo)
                name_points(out, phase, s->name, points);
}

void txn_failpoints(const Step *const *steps, size_t n, FILE *out) {
        static const char *const end[] = { "before", "after", NULL };
        static const char *const resolved[] = { "before-commit", "after-commit", NULL };
        size_t commit = 0;

        while (commit < n && !steps[commit]->point_of_no_return)
                commit++;
        for (size_t i = 0; i <= commit && i < n; i++)
                name_step(out, "run", steps[i]);
        fprintf(out, "settle.begin\n");
        if (commit < n)
                name_points(out, "settle-run", steps[commit]->name, resolved);

        for (int settling = 0; settling < 2; settling++) {
                for (size_t i = commit < n ? commit + 1 : n; i > 0; i--)
                        name_undo(out, settling ? "settle-undo" : "undo", steps[i - 1]);
                name_points(out, settling ? "settle-undo" : "undo", "end", end);
                for (size_t i = commit + 1; i < n; i++)
                        name_step(out, settling ? "settle-forward" : "forward", steps[i]);
                name_points(out, settling ? "settle-forward" : "forward", "end", end);
        }
}

void txn_revert_failpoints(const Step *const *steps, size_t n, FILE *out) {
        static const char *const end[] = { "before", "after", NULL };

        for (int settling = 0; settling < 2; settling++) {
                for (size_t i = n; i > 0; i--)
                        name_undo(out, settling ? "revert:settle-undo" : "revert:undo", steps[i - 1]);
                name_points(out, settling ? "revert:settle-undo" : "revert:undo", "end", end);
        }
}
