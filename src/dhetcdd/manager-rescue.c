/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rescue: a job of the kind "rescue", of this host alone. Without yes-i-lose-quorum its transaction ends after the
 * preflight, which tells the plan. A stuck job may hold the host: then it must be named, and ends with the rescue. */

#include "basic/error.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host-operation.h"
#include "manager-internal.h"

static const RequestOption known_options[] = {
        { "yes-i-lose-quorum", 'b' },
        { "job", 's' },
        { "from-snapshot", 's' },
};

static int check_snapshot(const char *snapshot, char **reterr) {
        if (!snapshot || job_id_is_valid(snapshot) || *snapshot == '/')
                return 0;
        return fail(reterr, -EINVAL, "'%.64s' is neither a job nor the absolute path of a snapshot", snapshot);
}

/* The job that holds this host must be the named one, and stuck; one of another host is taken over first, so that that
 * host does not go on with it when it comes back. */
static int check_stuck(const Manager *m, const char *named, char **reterr) {
        _cleanup_(host_lock_done) HostLock lock = {};
        const Job *j;
        int r;

        if (named && !job_id_is_valid(named))
                return fail(reterr, -EINVAL, "'%.64s' is not the id of a job; see \"dhetcd list\"", named);
        r = host_lock_read(&lock, reterr);
        if (r < 0)
                return r;
        if (r > 0 && !job_queue_find(&m->queue, lock.job))
                return fail(reterr, -EINVAL,
                            "Job %s of %s holds this host. Take it over first: dhetcd settle --takeover %s", lock.job,
                            lock.holder, lock.job);
        if (r > 0 && !streq(lock.job, named))
                return fail(reterr, -EINVAL,
                            "Job %s of %s holds this host. Should it be ended by the rescue, run \"dhetcd rescue %s\"",
                            lock.job, lock.holder, lock.job);
        if (!named)
                return 0;
        j = job_queue_find(&m->queue, named);
        if (j && j->state != JOB_STUCK)
                return fail(reterr, -EINVAL, "Job %s is %s, not stuck: leave it out", named,
                            job_state_to_string(j->state));
        return j ? 0 : fail(reterr, -EINVAL, "Job %s is not known here: leave it out", named);
}

static int read_request(const Manager *m, sd_bus_message *message, json_t *options, char **reterr) {
        uint64_t flags;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = request_read_options(message, known_options, ELEMENTSOF(known_options), options, reterr);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 't', &flags);
        if (r >= 0 && flags != 0)
                return fail(reterr, -EINVAL, "Flags must be 0");
        if (r >= 0)
                r = check_snapshot(json_get_string(options, "from-snapshot"), reterr);
        return r < 0 ? r : check_stuck(m, json_get_string(options, "job"), reterr);
}

static int new_job(sd_bus_message *message, char *address, json_t *options, Job **ret, char **reterr) {
        char *nodes[] = { address, NULL };
        uid_t uid;
        int r;

        if (address_check(address) < 0)
                return fail(reterr, -EINVAL, "This host has no address of its own in %s: it is no member",
                            DH_ETCD_CONFIG);
        r = polkit_caller_uid(message, &uid);
        if (r >= 0)
                r = job_new(nodes, options, uid, ret);
        if (r >= 0)
                (*ret)->kind = JOB_RESCUE;
        return r;
}

int manager_method_rescue(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *options = json_object();
        _cleanup_(job_freep) Job *owned = NULL;
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        char address[256];
        Job *j;
        int r;

        if (!options)
                return -ENOMEM;
        r = read_request(m, message, options, &text);
        if (r < 0)
                return manager_set_error(error, r, text);
        (void) host_own_address(address);
        r = polkit_check(m->polkit, message, POLKIT_RESCUE,
                         (const char *const[]){ "nodes", address, "job", json_get_string(options, "job") ?: "", NULL },
                         manager_method_rescue, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_refuse_while_busy(m, "", error);
        if (r < 0)
                return r;
        r = new_job(message, address, options, &owned, &text);
        if (r >= 0)
                r = manager_add_job(m, owned, &text);
        if (r < 0)
                return manager_set_error(error, r == -EXFULL ? -EBUSY : r, text);
        j = TAKE_PTR(owned);
        return sd_bus_reply_method_return(message, "s", j->id);
}

void manager_end_rescued(Manager *m, const Job *j) {
        const char *named = j->kind == JOB_RESCUE ? json_get_string(j->options, "job") : NULL;
        Job *stuck = named ? job_queue_find(&m->queue, named) : NULL;
        _cleanup_free_ char *text = NULL;

        if (!stuck || stuck->state != JOB_STUCK)
                return;
        text = format("the quorum was lost, and job %s made this member a cluster of its own; there is nothing to "
                      "settle any more",
                      j->id);
        manager_end_job(m, stuck, JOB_RESCUED, text ?: "ended by a rescue");
}
