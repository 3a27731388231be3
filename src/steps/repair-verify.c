/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The doctor once more: what was mended must be gone. The learner is removed only then; the locks are ours now. */

#include "basic/error.h"
#include "repair.h"
#include "steps.h"

static bool is_later(const char *id) {
        return streq(id, "dead-learner");
}

/* What cannot be looked at is not mended for that. */
static int check_seen(const Addition *a, const json_t *facts, char **reterr) {
        const json_t *cluster = json_object_get(facts, "cluster"), *hosts = json_object_get(facts, "hosts");
        json_t *repair;
        size_t i;

        if (!streq(json_get_string(cluster, "list"), "quorum"))
                return fail(reterr, -EHOSTDOWN, "the cluster gives no member list any more (%s)",
                            json_get_string(facts, "cluster_error") ?: "no quorum");
        json_array_foreach ((json_t *) repair_list(a), i, repair) {
                const char *id = json_get_string(repair, "id"), *address = json_get_string(repair, "host");
                const json_t *host = repair_entry_of(hosts, address ?: "");

                if (!is_later(id) && host && !json_is_object(json_object_get(host, "facts")))
                        return fail(reterr, -EHOSTDOWN, "%s: whether \"%s\" is mended cannot be seen: %s", address, id,
                                    json_get_string(host, "error") ?: "it does not answer");
        }
        return 0;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_json_ json_t *facts = NULL, *findings = NULL;
        json_t *f;
        size_t i;
        int r;

        r = doctor_gather(a, &facts, reterr);
        if (r >= 0)
                r = check_seen(a, facts, reterr);
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
