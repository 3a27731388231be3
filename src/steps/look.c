/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "look.h"

#include <inttypes.h>

#include "basic/error.h"
#include "doctor.h"
#include "forecast.h"
#include "preflight.h"

#define LOOK_TIMEOUT (4 * USEC_PER_SEC) /* of one endpoint that does not answer; all are asked one after another */
#define LAG_MAX 1000U                   /* entries; more, and it is not called healthy */

/* ---- the cluster ---- */

typedef struct Seen {
        const EtcdMember *member; /* NULL: no member list, but an endpoint of the root client */
        const char *endpoint;     /* NULL: it has never started */
        bool answers;
        EtcdStatus status;
        char *why;
} Seen;

typedef struct Cluster {
        EtcdMembers *members;
        char **endpoints;
        Seen *seen;
        size_t n;
        uint64_t leader, index; /* the highest */
        char *alarms, *error;
        bool linearizable;
} Cluster;

static void cluster_done(Cluster *c) {
        for (size_t i = 0; i < c->n; i++) {
                etcd_status_done(&c->seen[i].status);
                free(c->seen[i].why);
        }
        free(c->seen);
        etcd_members_free(c->members);
        strv_free(c->endpoints);
        free(c->alarms);
        free(c->error);
}

/* From the quorum; without one, what a single member knows; without that, none: the endpoints are what is left. */
static void list_members(Addition *a, Cluster *c) {
        for (int linearizable = 1; linearizable >= 0; linearizable--)
                STRV_FOREACH (e, c->endpoints) {
                        _cleanup_free_ char *why = NULL;

                        if (etcd_member_list(a->etcd, *e, linearizable, LOOK_TIMEOUT, &c->members, &why) >= 0) {
                                c->linearizable = linearizable;
                                return;
                        }
                        if (!c->error)
                                c->error = TAKE_PTR(why);
                }
}

static void ask(Addition *a, Cluster *c, Seen *s) {
        int r;

        if (!s->endpoint)
                return;
        r = etcd_status(a->etcd, s->endpoint, LOOK_TIMEOUT, &s->status, &s->why);
        s->answers = r >= 0;
        if (!s->answers) {
                if (!s->why)
                        s->why = strdup(strerror(-r));
                return;
        }
        if (s->status.raft_index > c->index)
                c->index = s->status.raft_index;
        if (s->status.leader != 0)
                c->leader = s->status.leader;
}

/* After the status of all: each question about alarms is a raft entry of its own, and would look like a lag. */
static void ask_alarms(Addition *a, Cluster *c) {
        for (size_t i = 0; i < c->n; i++)
                if (c->seen[i].answers && c->seen[i].status.leader != 0 && !c->seen[i].status.learner &&
                    etcd_alarms(a->etcd, c->seen[i].endpoint, LOOK_TIMEOUT, &c->alarms, NULL) >= 0)
                        return;
}

static int ask_all(Addition *a, Cluster *c) {
        size_t n = c->members ? c->members->n : strv_length(c->endpoints);

        c->seen = calloc(n, sizeof(Seen));
        if (!c->seen)
                return -ENOMEM;
        for (; c->n < n; c->n++) {
                const EtcdMember *m = c->members ? c->members->items + c->n : NULL;

                c->seen[c->n] = (Seen){ .member = m,
                                        .endpoint = !m               ? c->endpoints[c->n]
                                                    : m->client_urls ? m->client_urls[0]
                                                                     : NULL };
                ask(a, c, c->seen + c->n);
        }
        ask_alarms(a, c);
        return 0;
}

static uint64_t lag_of(const Cluster *c, const Seen *s) {
        return c->index > s->status.raft_applied_index ? c->index - s->status.raft_applied_index : 0;
}

static bool is_learner(const Seen *s) {
        return s->member ? s->member->learner : s->status.learner;
}

static const char *role_of(const Cluster *c, const Seen *s) {
        if (is_learner(s))
                return "learner";
        if (!s->answers)
                return s->member ? "voter" : "?";
        return c->leader != 0 && s->status.member_id == c->leader ? "leader" : "follower";
}

static const char *health_of(const Cluster *c, const Seen *s) {
        if (!s->endpoint)
                return "not started";
        if (!s->answers)
                return "no answer";
        if (s->member && s->status.member_id != s->member->id)
                return "other member";
        if (s->status.leader == 0)
                return "no leader";
        if (s->status.errors)
                return "alarm";
        return lag_of(c, s) > LAG_MAX ? "lagging" : "healthy";
}

static json_t *hex(uint64_t id) {
        _cleanup_free_ char *text = format("%" PRIx64, id);

        return id != 0 && text ? json_string(text) : json_null();
}

static json_t *row_of(const Cluster *c, const Seen *s) {
        char address[ADDRESS_MAX] = "";
        const EtcdMember *m = s->member;
        const EtcdStatus *t = &s->status;
        uint16_t port;
        json_t *row;

        if (address_from_url(m && m->peer_urls ? m->peer_urls[0] : s->endpoint, address, &port) < 0)
                *address = '\0';
        row = json_pack("{so ss? ss? ss? ss? ss ss sb ss?}", "id",
                        hex(m            ? m->id
                            : s->answers ? t->member_id
                                         : 0),
                        "name", m ? m->name : NULL, "address", *address ? address : NULL, "peer_url",
                        m && m->peer_urls ? m->peer_urls[0] : NULL, "endpoint", s->endpoint, "role", role_of(c, s),
                        "health", health_of(c, s), "answers", (int) s->answers, "error",
                        s->answers ? t->errors : s->why);
        if (row && s->answers)
                (void) json_object_update_new(row,
                                              json_pack("{ss sI sI sI sI sI so}", "version", t->version, "db_size",
                                                        (json_int_t) t->db_size, "raft_term", (json_int_t) t->raft_term,
                                                        "raft_index", (json_int_t) t->raft_index, "raft_applied_index",
                                                        (json_int_t) t->raft_applied_index, "raft_lag",
                                                        (json_int_t) lag_of(c, s), "leader", hex(t->leader)));
        return row;
}

static json_t *cluster_to_json(const Cluster *c) {
        json_t *rows = json_array();
        int voters = 0, healthy = 0;

        for (size_t i = 0; i < c->n; i++) {
                const Seen *s = c->seen + i;

                (void) json_array_append_new(rows, row_of(c, s));
                voters += !is_learner(s);
                healthy += !is_learner(s) && streq(health_of(c, s), "healthy");
        }
        return json_pack("{so so si si si ss? ss ss?}", "members", rows, "leader", hex(c->leader), "voters", voters,
                         "healthy_voters", healthy, "quorum", voters / 2 + 1, "alarms", c->alarms, "list",
                         c->linearizable ? "quorum"
                         : c->members    ? "one member"
                                         : "none",
                         "list_error", c->linearizable ? NULL : c->error);
}

static int connect_etcd(Addition *a, char **reterr) {
        _cleanup_(host_client_freep) HostClient *own = NULL;
        _cleanup_json_ json_t *facts = NULL;
        int r;

        r = host_client_new("this host", /* local= */ true, &(SshOptions){}, a->cancel_fd, &own);
        if (r >= 0)
                r = host_describe(own, CALL_TIMEOUT, &facts, reterr);
        if (r >= 0)
                r = preflight_seed_trust(a, facts, reterr);
        return r < 0 ? r : addition_open_etcd(a, reterr);
}

int look_at_cluster(Addition *a, json_t **ret, char **reterr) {
        _cleanup_(cluster_done) Cluster c = {};
        int r;

        r = connect_etcd(a, reterr);
        if (r >= 0)
                r = preflight_endpoints(&c.endpoints, reterr);
        if (r < 0)
                return r;
        r = etcd_client_set_voters(a->etcd, c.endpoints);
        if (r < 0)
                return r;
        list_members(a, &c);
        r = ask_all(a, &c);
        if (r < 0)
                return r;
        *ret = cluster_to_json(&c);
        return *ret ? 0 : -ENOMEM;
}

/* ---- a job ---- */

static void warn(Addition *a, const char *fmt, ...) _printf_(2, 3);

static void warn(Addition *a, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) >= 0)
                (void) json_array_append_new(a->warnings, json_string(text));
        va_end(ap);
}

/* A lock is waited for, so it refuses nothing. */
static void warn_of_locks(Addition *a) {
        FOREACH_PLANNED (h, a) {
                _cleanup_json_ json_t *facts = NULL;
                const json_t *lock;

                if (host_describe(h->client, CALL_TIMEOUT, &facts, NULL) < 0)
                        continue;
                lock = json_object_get(facts, "lock");
                if (json_is_object(lock))
                        warn(a, "%s is held by job %s of %s: this one would wait for it", h->address,
                             json_get_string(lock, "job") ?: "?", json_get_string(lock, "holder") ?: "?");
        }
}

static void warn_of_version(Addition *a, const json_t *cluster) {
        json_t *row;
        size_t i;

        json_array_foreach (json_object_get(cluster, "members"), i, row)
                if (json_get_string(row, "version")) /* all have the same, says the preflight */
                        return forecast_hazards(json_get_string(row, "version"), a->warnings);
}

static int look_at_job(Addition *a, const json_t *cluster, json_t *answer, char **reterr) {
        _cleanup_free_ char *trust = addition_trust_path(a);
        _cleanup_json_ json_t *forecast = NULL;
        int r;

        if (!trust)
                return -ENOMEM;
        (void) unlink(trust); /* the preflight finds out itself whom to trust */
        r = step_preflight.apply(a, reterr);
        if (r < 0)
                return r;
        warn_of_version(a, cluster);
        warn_of_locks(a);
        forecast = forecast_job(a, &plan_add);
        return forecast && json_object_update(answer, forecast) >= 0 ? 0 : -ENOMEM;
}

static int examine(Addition *a, json_t *answer, char **reterr) {
        _cleanup_json_ json_t *facts = NULL, *findings = NULL;
        int r;

        r = doctor_gather(a, &facts, reterr);
        if (r < 0)
                return r;
        findings = doctor_examine(facts);
        return !findings || json_object_set(answer, "findings", findings) < 0 ||
                               json_object_set(answer, "cluster", json_object_get(facts, "cluster")) < 0
                       ? -ENOMEM
                       : 0;
}

static int answer_to(Addition *a, const json_t *request, json_t *answer, char **reterr) {
        _cleanup_json_ json_t *cluster = NULL;
        _cleanup_free_ char *why = NULL;
        bool job = a->nodes != NULL;
        int r;

        if (json_is_true(json_object_get(request, "doctor")))
                return examine(a, answer, reterr);
        r = look_at_cluster(a, &cluster, &why);
        if (r < 0 && !job)
                return fail(reterr, r, "%s", error_text(why, r));
        if (json_object_set(answer, "cluster", cluster ?: json_null()) < 0)
                return -ENOMEM;
        if (!job)
                return 0;
        if (r >= 0)
                r = look_at_job(a, cluster, answer, &why);
        if (json_object_set_new(answer, "rejected", json_boolean(r < 0)) < 0 ||
            json_object_set_new(answer, "cause", r < 0 ? json_string(error_text(why, r)) : json_null()) < 0 ||
            json_object_set(answer, "nodes", json_object_get(request, "nodes")) < 0 ||
            json_object_set(answer, "hazards", a->warnings) < 0)
                return -ENOMEM;
        return 0;
}

json_t *look(const char *request, const char *dir, int cancel_fd) {
        _cleanup_json_ json_t *asked = json_loads(request, JSON_REJECT_DUPLICATES, NULL), *answer = json_object();
        _cleanup_(addition_freep) Addition *a = NULL;
        _cleanup_free_ char *why = NULL;
        int r;

        r = json_is_object(asked) && answer ? addition_new_look(asked, dir, cancel_fd, &a, &why) : -EINVAL;
        if (r >= 0)
                r = answer_to(a, asked, answer, &why);
        return r < 0 ? json_pack("{ss}", "error", error_text(why, r)) : TAKE_PTR(answer);
}
