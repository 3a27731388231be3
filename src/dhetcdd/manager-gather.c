/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "systemctl start dhetcd-add@A dhetcd-add@B" is one job, though PID 1 starts a unit for each, and each asks for its
 * own node. The first one's job is not begun for a moment, in which the others join it. Then PID 1 is asked: a unit
 * that is being started and has not asked yet is waited for, and the nodes are put in the order in which their units
 * were started. */

#include "basic/error.h"
#include "bus/unit-job.h"
#include "manager-internal.h"

#define GATHER_USEC USEC_PER_SEC
#define AGAIN_USEC (250 * USEC_PER_MSEC)
#define GATHER_MAX_USEC (10 * USEC_PER_SEC) /* whatever PID 1 says */
#define PREFIX "dhetcd-add@"
#define SUFFIX ".service"

struct Gather {
        Manager *manager; /* weak */
        char job[JOB_ID_DIGITS + 1];
        uint64_t end;
        sd_event_source *timer;
        sd_bus_slot *slot;
};

Gather *gather_free(Gather *g) {
        if (!g)
                return NULL;
        sd_event_source_unref(g->timer);
        sd_bus_slot_unref(g->slot);
        free(g);
        return NULL;
}
DEFINE_CLEANUP(Gather *, gather_free)

/* NULL once it was canceled. */
static Job *gathering_job(const Manager *m) {
        Job *j = m->gather ? job_queue_find(&m->queue, m->gather->job) : NULL;

        return j && j->state == JOB_QUEUED ? j : NULL;
}

bool manager_gathers(Manager *m) {
        if (m->gather && !gathering_job(m))
                m->gather = gather_free(m->gather);
        return m->gather && job_queue_next(&m->queue) == gathering_job(m);
}

/* On disk first, where the worker reads them. *nodes are then those that the job had. */
static int set_nodes(const Manager *m, Job *j, char ***nodes, char **reterr) {
        char **old = j->nodes;
        int r;

        j->nodes = *nodes;
        r = job_save(j, m->jobs_dir, reterr);
        if (r < 0)
                j->nodes = old;
        else
                *nodes = old;
        return r;
}

/* ---- the end ---- */

/* By the number of the start job that PID 1 made for each. */
static void sort(char **nodes, uint32_t *ids, size_t n) {
        for (size_t i = 1; i < n; i++)
                for (size_t k = i; k > 0 && ids[k - 1] > ids[k]; k--) {
                        uint32_t id = ids[k];
                        char *node = nodes[k];

                        ids[k] = ids[k - 1];
                        nodes[k] = nodes[k - 1];
                        ids[k - 1] = id;
                        nodes[k - 1] = node;
                }
}

static void finish(Manager *m, Job *j, uint32_t *ids) {
        _cleanup_strv_ char **nodes = j && strv_length(j->nodes) > 1 ? strv_copy(j->nodes) : NULL;
        _cleanup_free_ char *error = NULL;

        if (nodes) {
                sort(nodes, ids, strv_length(nodes));
                if (set_nodes(m, j, &nodes, &error) < 0)
                        log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = j->id },
                                  "The nodes of job %s are added in the order in which they were asked for: %s", j->id,
                                  error ?: "memory ran out");
        }
        m->gather = gather_free(m->gather);
        manager_kick(m);
}

/* The address in the name of a unit of ours. */
static char *node_of(const char *unit) {
        size_t n = strlen(unit), prefix = strlen(PREFIX), suffix = strlen(SUFFIX);

        if (n <= prefix + suffix || strncmp(unit, PREFIX, prefix) != 0 || !streq(unit + n - suffix, SUFFIX))
                return NULL;
        return strndup(unit + prefix, n - prefix - suffix);
}

static bool is_of_open_job(const Manager *m, const char *node) {
        for (size_t i = 0; i < m->queue.n; i++)
                if (job_state_is_open(m->queue.jobs[i]->state) && strv_contains(m->queue.jobs[i]->nodes, node))
                        return true;
        return false;
}

/* Whether all that PID 1 starts have asked; *ids are those of the job's nodes. */
static bool read_units(const Manager *m, sd_bus_message *reply, const Job *j, uint32_t *ids) {
        const char *name, *type, *skip;
        bool all = true;
        uint32_t id;

        if (sd_bus_message_is_method_error(reply, NULL) ||
            sd_bus_message_enter_container(reply, 'a', "(ssssssouso)") < 0)
                return true;
        while (sd_bus_message_read(reply, "(ssssssouso)", &name, &skip, &skip, &skip, &skip, &skip, &skip, &id, &type,
                                   &skip) > 0) {
                _cleanup_free_ char *node = streq(type, "start") ? node_of(name) : NULL;

                if (!node)
                        continue;
                all = all && is_of_open_job(m, node);
                for (size_t i = 0; j->nodes[i]; i++)
                        if (streq(j->nodes[i], node))
                                ids[i] = id;
        }
        return all;
}

static int again(Gather *g, uint64_t usec);

static int on_units(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        uint32_t ids[JOB_NODES_MAX];
        Gather *g = userdata;
        Job *j = gathering_job(g->manager);
        bool all;

        g->slot = sd_bus_slot_unref(g->slot);
        for (size_t i = 0; i < JOB_NODES_MAX; i++)
                ids[i] = UINT32_MAX;
        all = !j || read_units(g->manager, reply, j, ids);
        if (all || now_boot() >= g->end || again(g, AGAIN_USEC) < 0)
                finish(g->manager, j, ids);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Gather *g = userdata;
        Manager *m = g->manager;

        if (sd_bus_call_method_async(m->bus, &g->slot, SYSTEMD_SERVICE, SYSTEMD_PATH, SYSTEMD_MANAGER,
                                     "ListUnitsByPatterns", on_units, g, "asas", 0, 1, PREFIX "*" SUFFIX) < 0)
                finish(m, NULL, NULL);
        return 0;
}

static int again(Gather *g, uint64_t usec) {
        g->timer = sd_event_source_unref(g->timer);
        return sd_event_add_time(g->manager->event, &g->timer, CLOCK_BOOTTIME, now_boot() + usec, 50 * USEC_PER_MSEC,
                                 on_timer, g);
}

/* ---- the beginning ---- */

void manager_gather_begin(Manager *m, const Job *j) {
        _cleanup_(gather_freep) Gather *g = calloc(1, sizeof(Gather));

        if (gathering_job(m) || !g)
                return;
        m->gather = gather_free(m->gather);
        g->manager = m;
        g->end = now_boot() + GATHER_MAX_USEC;
        memcpy(g->job, j->id, sizeof(g->job));
        if (again(g, GATHER_USEC) >= 0)
                m->gather = TAKE_PTR(g);
}

int manager_gather_join(Manager *m, const AddRequest *a, uid_t uid, Job **ret, char **reterr) {
        _cleanup_strv_ char **nodes = NULL;
        _cleanup_free_ char *text = NULL;
        Job *j = gathering_job(m);
        int r = 0;

        if (!a->gather || !j || j->uid != uid || !json_equal(j->options, a->options) ||
            strv_length(j->nodes) + strv_length(a->nodes) > JOB_NODES_MAX)
                return 0;
        nodes = strv_copy(j->nodes);
        text = strv_join(a->nodes, ", ");
        if (!nodes || !text)
                return -ENOMEM;
        STRV_FOREACH (node, a->nodes) {
                if (strv_contains(nodes, *node))
                        return 0;
                r = strv_append(&nodes, *node);
                if (r < 0)
                        return r;
        }
        r = set_nodes(m, j, &nodes, reterr);
        if (r < 0)
                return r;
        log_event(EVENT_JOB_QUEUED, LOG_INFO, &(EventContext){ .job = j->id },
                  "Job %s: etcd node %s is part of it, too, asked for by user %u", j->id, text, j->uid);
        *ret = j;
        return 1;
}
