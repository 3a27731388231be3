/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "preflight.h"

/* Whether a job other than ours is at work: 1, and which; 0. */
typedef int (*AskHeld)(Addition *a, void *userdata, char **ret_by, char **reterr);

static int wait_while(Addition *a, AskHeld ask, void *userdata, char **reterr) {
        uint64_t deadline = now_boot() + a->wait_timeout;

        for (bool told = false;; told = true) {
                _cleanup_free_ char *by = NULL;
                int r = ask(a, userdata, &by, reterr);

                if (r <= 0)
                        return r;
                if (!a->transaction || !a->wait || now_boot() >= deadline) /* a look waits for nobody */
                        return fail(reterr, -EBUSY, "%s", by);
                if (!told)
                        addition_progress(a, "waiting: %s", by);
                r = addition_sleep(a, USEC_PER_SEC);
                if (r < 0)
                        return r;
        }
}

static int held_by_other(const Addition *a, const char *host, const json_t *facts, char **ret_by) {
        const json_t *lock = json_object_get(facts, "lock");
        const char *job = json_get_string(lock, "job"), *holder = json_get_string(lock, "holder");

        if (!job || streq(job, a->job))
                return 0;
        *ret_by = format("%s is held by job %s of %s; see there: dhetcd show %s", host, job, holder ?: "?", job);
        return *ret_by ? 1 : -ENOMEM;
}

/* ---- this host ---- */

typedef struct Own {
        HostClient *client;
        json_t **facts;
} Own;

static int own_is_held(Addition *a, void *userdata, char **ret_by, char **reterr) {
        const Own *own = userdata;
        json_t *facts = NULL;
        int r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);

        if (r < 0)
                return r;
        json_decref(*own->facts);
        *own->facts = facts;
        return a->transaction ? held_by_other(a, "this host", facts, ret_by) : 0;
}

int preflight_wait_for_host(Addition *a, HostClient *own, json_t **facts, char **reterr) {
        return wait_while(a, own_is_held, &(Own){ own, facts }, reterr);
}

/* ---- a learner ---- */

static bool has_learner(const EtcdMembers *m) {
        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].learner)
                        return true;
        return false;
}

/* What cannot be asked is no holder: the preflight then says what is wrong with it. */
static int voter_is_held(Addition *a, const EtcdMember *m, char **ret_by) {
        _cleanup_json_ json_t *facts = NULL;
        char address[ADDRESS_MAX];
        uint16_t port;
        Host *h;
        int r;

        if (m->learner || strv_length(m->peer_urls) != 1 || address_from_url(m->peer_urls[0], address, &port) < 0)
                return 0;
        r = addition_add_host(a, address, NULL, 0, NULL, NULL, 0, &h);
        if (r < 0)
                return r;
        r = host_describe(h->client, CALL_TIMEOUT, &facts, NULL);
        addition_drop_last_host(a);
        return r >= 0 ? held_by_other(a, address, facts, ret_by) : r == -ECANCELED ? r : 0;
}

static int learner_is_of_job(Addition *a, void *userdata, char **ret_by, char **reterr) {
        EtcdMembers **members = userdata;
        int r = 0;

        if (!*members) {
                r = preflight_members(a, members, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; has_learner(*members) && i < (*members)->n && r == 0; i++)
                r = voter_is_held(a, (*members)->items + i, ret_by);
        if (r > 0)
                *members = etcd_members_free(*members);
        return r;
}

int preflight_wait_for_learner(Addition *a, EtcdMembers **members, char **reterr) {
        return wait_while(a, learner_is_of_job, members, reterr);
}
