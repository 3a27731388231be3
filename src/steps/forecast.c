/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "forecast.h"

#define RESTART_SECONDS 4U /* stopped, started, in quorum again: measured 2 to 4 */
#define OUTAGE_SECONDS 2U  /* … of which it answers nobody */

static bool concerns(unsigned bits, const Host *h) {
        return (bits & CHANGES_THIS_HOST && h->this_host) || (bits & CHANGES_MEMBERS && h->member) ||
               (bits & CHANGES_NEW && h->new_node);
}

static json_t *hosts_of(Addition *a, unsigned bits) {
        json_t *list = json_array();

        FOREACH_PLANNED (h, a)
                if (concerns(bits, h))
                        (void) json_array_append_new(list, json_string(h->address));
        return list;
}

/* A cluster of one or two has no member to spare: while one restarts, nobody may write. Three or more go on, one member
 * at a time. A new node's restart after its promotion makes it one of two at least. */
static unsigned outage_of(Addition *a, const StepForecast *f) {
        size_t voters = addition_members(a) + (f->restarts & CHANGES_NEW ? 1 : 0), restarted = 0;

        FOREACH_PLANNED (h, a)
                restarted += concerns(f->restarts, h);
        return voters <= 2 ? (unsigned) restarted * OUTAGE_SECONDS : 0;
}

static unsigned seconds_of(Addition *a, const StepForecast *f) {
        unsigned seconds = f->seconds > 0 ? f->seconds : 1;

        FOREACH_PLANNED (h, a)
                if (concerns(f->restarts, h) && !f->perhaps)
                        seconds += RESTART_SECONDS;
        return seconds;
}

unsigned forecast_seconds(Addition *a, const Step *step) {
        StepForecast f = {};

        if (step->foresee)
                step->foresee(a, &f);
        return seconds_of(a, &f);
}

/* The package is generated, and its CA trusted, once for all nodes of a job. */
static StepForecast foresee(Addition *a, const Step *s, bool later) {
        StepForecast f = { .skipped = later && (s == &step_generate || s == &step_trust) };

        if (f.skipped)
                f.why = "done for all nodes of the job with the first one";
        else if (s->foresee)
                s->foresee(a, &f);
        return f;
}

static json_t *forecast_addition(Addition *a, const Plan *plan, bool later) {
        json_t *steps = json_array();
        unsigned seconds = 0, outage = 0;

        for (unsigned i = 0; i < plan->n; i++) {
                const Step *s = plan->steps[i];
                StepForecast f = foresee(a, s, later);

                seconds += seconds_of(a, &f);
                outage += f.perhaps ? 0 : outage_of(a, &f);
                (void) json_array_append_new(
                        steps, json_pack("{si ss ss so sb sb so sb ss? si si ss? sb}", "index", (int) i + 1, "step",
                                         s->name, "title", s->title, "hosts", hosts_of(a, s->changes | s->asks),
                                         "changes", (int) (s->changes != 0 || s->undoes), "skipped", (int) f.skipped,
                                         "restarts", hosts_of(a, f.restarts), "perhaps", (int) f.perhaps, "why", f.why,
                                         "seconds", (int) seconds_of(a, &f), "outage_seconds", (int) outage_of(a, &f),
                                         "rollback", s->undoes, "point_of_no_return", (int) s->point_of_no_return));
        }
        return json_pack("{ss so si si sI}", "node", a->nodes[a->index], "steps", steps, "seconds", (int) seconds,
                         "outage_seconds", (int) outage, "members_after", (json_int_t) addition_members(a) + 1);
}

/* As if the present node had become a member. */
static int go_to_next(Addition *a) {
        Host *h = addition_new_node(a);

        if (!h)
                return -ENOENT;
        h->new_node = false;
        h->member = true;
        a->index++;
        return addition_add_host(a, a->nodes[a->index], NULL, (unsigned) a->n_hosts + 1, NULL, NULL, 0, &h);
}

json_t *forecast_job(Addition *a, const Plan *plan) {
        _cleanup_json_ json_t *additions = json_array();
        json_int_t seconds = 0, outage = 0;
        json_t *one;

        for (size_t first = a->index;;) {
                one = forecast_addition(a, plan, a->index > first);
                if (!one || json_array_append_new(additions, one) < 0)
                        return NULL;
                seconds += json_get_integer(one, "seconds", 0);
                outage += json_get_integer(one, "outage_seconds", 0);
                if (!a->nodes[a->index + 1])
                        break;
                if (go_to_next(a) < 0)
                        return NULL;
        }
        return json_pack("{sO sO sI sI sI}", "additions", additions, "steps",
                         json_object_get(json_array_get(additions, 0), "steps"), "seconds", seconds, "outage_seconds",
                         outage, "members_after", json_get_integer(one, "members_after", 0));
}

/* ---- what is known of versions ---- */

static unsigned version_number(const char *version) {
        unsigned major, minor, patch;

        return sscanf(version, "%3u.%3u.%3u", &major, &minor, &patch) == 3 ? (major * 1000 + minor) * 1000 + patch : 0;
}

#define V(major, minor, patch) (((major) *1000U + (minor)) * 1000U + (patch))

static const struct {
        unsigned from, before; /* versions */
        const char *text;
} hazards[] = {
        { V(3, 0, 0), V(3, 4, 24),
          "etcd promotes a learner that never started, and loses its quorum (mended in 3.4.24); the learner is asked "
          "itself right before" },
        { V(3, 5, 0), V(3, 5, 7),
          "etcd promotes a learner that never started, and loses its quorum (mended in 3.5.7); the learner is asked "
          "itself right before" },
        { V(3, 0, 0), V(3, 5, 0),
          "with authentication on, a promotion that is sent to a follower times out (etcd#20757, never mended in 3.4); "
          "it is sent to the leader" },
        { V(3, 5, 0), V(3, 5, 28),
          "with authentication on, a promotion that is sent to a follower times out (etcd#20757, mended in 3.5.28); it "
          "is sent to the leader" },
        { V(3, 5, 1), V(3, 5, 20),
          "promotions are not written to the v3 store (etcd#19557, etcd#20793): an upgrade to 3.6 may refuse to start; "
          "go to the newest 3.5 first" },
};

void forecast_hazards(const char *version, json_t *list) {
        unsigned number = version_number(version);

        for (size_t i = 0; i < ELEMENTSOF(hazards); i++)
                if (number >= hazards[i].from && number < hazards[i].before) {
                        _cleanup_free_ char *text = format("etcd %s: %s", version, hazards[i].text);

                        (void) json_array_append_new(list, json_string(text ?: hazards[i].text));
                }
}
