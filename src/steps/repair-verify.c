/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The doctor once more: what was mended must be gone. The learner is removed only then; the locks are ours now. */

#include "basic/error.h"
#include "repair.h"
#include "steps.h"

static bool is_later(const char *id) {
        return streq(id, "dead-learner");
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_json_ json_t *facts = NULL, *findings = NULL;
        json_t *f;
        size_t i;
        int r;

        r = doctor_gather(a, &facts, reterr);
        if (r < 0)
                return r;
        findings = doctor_examine(facts);
        if (!findings)
                return -ENOMEM;
        json_array_foreach (findings, i, f) {
                const char *id = json_get_string(f, "id"), *host = json_get_string(f, "host");

                if (!is_later(id) && repair_find(a, id, host ?: ""))
                        return fail(reterr, -EUCLEAN, "%s: \"%s\" is still there: %s", host ?: "the cluster", id,
                                    json_get_string(f, "evidence") ?: "");
        }
        return 0;
}

const Step step_repair_verify = {
        .name = "repair-verify",
        .title = "Examining all of it once more",
        .apply = apply,
};
