/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "job-steps.h"

#include "basic/string-util.h"

static json_t *find_step(json_t *steps, const char *name) {
        json_t *step;
        size_t i;

        json_array_foreach (steps, i, step)
                if (streq(json_get_string(step, "step"), name))
                        return step;
        step = json_pack("{ss ss sn sn sn sn sn s{}}", "step", name, "state", "running", "started_usec", "ended_usec",
                         "undo_usec", "undone_usec", "why", "hosts");
        return step && json_array_append_new(steps, step) >= 0 ? step : NULL;
}

/* What each type of record says: the step's state from then on (NULL: as before), and which of its times it is. */
static const struct {
        const char *type, *state, *time;
} meanings[] = {
        { "intent", "running", "started_usec" },
        { "done", "done", "ended_usec" },
        { "commit", "done", "ended_usec" },
        { "skipped", "skipped", "ended_usec" },
        { "failed", "failed", "ended_usec" },
        { "undo", "undoing", "undo_usec" },
        { "undone", "undone", "undone_usec" },
        { "undo-failed", NULL, NULL },
        { "snapshot", NULL, NULL },
};

static int read_record(json_t *step, const json_t *record, const char *state, const char *time) {
        json_t *when = json_object_get(record, "time"), *digests = json_object_get(record, "digests");

        if ((state && json_object_set_new(step, "state", json_string(state)) < 0) ||
            (time && when && json_object_set(step, time, when) < 0) ||
            (json_get_string(record, "why") && json_object_set(step, "why", json_object_get(record, "why")) < 0) ||
            (json_is_object(digests) && json_object_update(json_object_get(step, "hosts"), digests) < 0))
                return -ENOMEM;
        return 0;
}

json_t *job_steps(const json_t *records) {
        _cleanup_json_ json_t *steps = json_array();
        json_t *record;
        size_t i;

        json_array_foreach ((json_t *) records, i, record) {
                const char *type = json_get_string(record, "type"), *name = json_get_string(record, "step");

                for (size_t k = 0; name && k < ELEMENTSOF(meanings); k++) {
                        json_t *step;

                        if (!streq(meanings[k].type, type))
                                continue;
                        step = find_step(steps, name);
                        if (!step || read_record(step, record, meanings[k].state, meanings[k].time) < 0)
                                return NULL;
                }
        }
        return TAKE_PTR(steps);
}

const json_t *job_backup(const json_t *records) {
        for (size_t i = json_array_size(records); i > 0; i--) {
                const json_t *record = json_array_get(records, i - 1);

                if (streq(json_get_string(record, "type"), "note") && streq(json_get_string(record, "key"), "backup"))
                        return json_object_get(record, "value");
        }
        return NULL;
}
