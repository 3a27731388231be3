/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "repair.h"
#include "steps.h"

const json_t *repair_list(const Addition *a) {
        return txn_recall(a->transaction, "repairs");
}

const json_t *repair_find(const Addition *a, const char *id, const char *host) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *) repair_list(a), i, entry)
                if (streq(json_get_string(entry, "id"), id) && (!host || streq(json_get_string(entry, "host"), host)))
                        return entry;
        return NULL;
}

/* ---- the hosts ---- */

const json_t *repair_entry_of(const json_t *list, const char *address) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *) list, i, entry)
                if (streq(json_get_string(entry, "address"), address))
                        return entry;
        return NULL;
}

static int make_member(Host *h, const json_t *row, unsigned number) {
        const char *id = json_get_string(row, "id"), *endpoint = json_get_string(row, "endpoint");
        const char *peer_url = json_get_string(row, "peer_url"), *name = json_get_string(row, "name");

        if (!id || !endpoint || !peer_url || !name || streq(json_get_string(row, "role"), "learner"))
                return 0;
        h->member_id = strtoull(id, NULL, 16);
        h->member = h->member_id != 0;
        h->number = number;
        h->name = strdup(name);
        h->peer_url = strdup(peer_url);
        h->client_url = strdup(endpoint);
        return h->name && h->peer_url && h->client_url ? 0 : -ENOMEM;
}

static int plan_hosts(Addition *a, const json_t *facts, const json_t *repairs) {
        const json_t *members = json_object_get(json_object_get(facts, "cluster"), "members");
        unsigned number = 0;

        FOREACH_PLANNED (h, a) {
                const json_t *row = repair_entry_of(members, h->address);
                bool answers = json_is_object(
                        json_object_get(repair_entry_of(json_object_get(facts, "hosts"), h->address), "facts"));
                json_t *repair;
                size_t i;
                int r;

                r = row ? make_member(h, row, ++number) : 0;
                if (r < 0)
                        return r;
                h->lost = !answers || !(h->member || h->this_host);
                json_array_foreach ((json_t *) repairs, i, repair)
                        if (answers && streq(json_get_string(repair, "host"), h->address) &&
                            !streq(json_get_string(repair, "id"), "dead-learner"))
                                h->lost = false;
        }
        return 0;
}

/* ---- what ---- */

static json_t *choose(Addition *a, const json_t *findings) {
        json_t *repairs = json_array(), *f;
        size_t i;

        json_array_foreach ((json_t *) findings, i, f)
                if (json_is_true(json_object_get(f, "fixable"))) {
                        (void) json_array_append_new(repairs, json_pack("{sO sO sO}", "id", json_object_get(f, "id"),
                                                                        "host", json_object_get(f, "host"), "fix",
                                                                        json_object_get(f, "fix")));
                        addition_progress(a, "to be mended: %s on %s: %s", json_get_string(f, "id"),
                                          json_get_string(f, "host"), json_get_string(f, "evidence"));
                }
        return repairs;
}

/* Our own job is open too, and owns nothing yet. */
static void forget_own_job(const Addition *a, const json_t *facts) {
        const json_t *own = repair_entry_of(json_object_get(facts, "hosts"), json_get_string(facts, "own"));
        json_t *jobs = json_object_get(json_object_get(own, "facts"), "open_jobs");

        for (size_t i = json_array_size(jobs); i > 0; i--)
                if (streq(json_get_string(json_array_get(jobs, i - 1), "job"), a->job))
                        (void) json_array_remove(jobs, i - 1);
}

static int save(Addition *a, const json_t *facts, json_t *repairs, char **reterr) {
        const json_t *own = repair_entry_of(json_object_get(facts, "hosts"), json_get_string(facts, "own"));
        int r;

        a->cluster_id = strdup(json_get_string(json_object_get(own, "facts"), "cluster_id") ?: "-");
        if (!a->cluster_id)
                return -ENOMEM;
        r = plan_hosts(a, facts, repairs);
        if (r >= 0)
                r = addition_open_etcd(a, reterr); /* now it knows the voters */
        if (r >= 0)
                r = txn_remember(a->transaction, "repairs", json_incref(repairs), reterr);
        return r < 0 ? r : addition_save_plan(a, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_json_ json_t *facts = NULL, *findings = NULL, *repairs = NULL;
        int r;

        r = doctor_gather(a, &facts, reterr);
        if (r < 0)
                return r;
        if (!streq(json_get_string(json_object_get(facts, "cluster"), "list"), "quorum"))
                return fail(reterr, -EHOSTDOWN,
                            "without the cluster's member list nothing can be mended (%s); see: dhetcd doctor",
                            json_get_string(facts, "cluster_error") ?: "no quorum");
        forget_own_job(a, facts);
        findings = doctor_examine(facts);
        repairs = findings ? choose(a, findings) : NULL;
        if (!repairs)
                return -ENOMEM;
        if (json_array_size(repairs) == 0)
                return fail(reterr, -ENODATA, "nothing was found that is safe to mend; see: dhetcd doctor");
        return save(a, facts, repairs, reterr);
}

const Step step_repair_look = {
        .name = "repair-look",
        .title = "Finding what can be mended",
        .rejects = true,
        .apply = apply,
};
