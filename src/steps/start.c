/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 6: enable_dh_etcd_systemd.sh on the new node. etcd would join only with an empty data directory. */

#include "basic/error.h"
#include "cluster.h"
#include "scripts.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        int r;

        r = host_prepare_data_directory(new->client, a->txn, step_start.name, a->move_data_aside, CALL_TIMEOUT, reterr);
        if (r < 0)
                return r;
        return run_vendor_script(a, new, step_start.name, "enable", NULL, reterr);
}

/* One look: active, enabled, and etcd answers as the learner that was added. */
static int look(Addition *a, const Host *new, char **reterr) {
        _cleanup_(etcd_status_done) EtcdStatus status = {};
        _cleanup_json_ json_t *facts = NULL;
        const json_t *unit;
        int r;

        r = host_describe(new->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        unit = json_object_get(facts, "unit");
        if (!streq(json_get_string(unit, "active_state"), "active"))
                return fail(reterr, -EHOSTDOWN, "%s: %s is %s, not active. See \"journalctl -u %s\" there",
                            new->address, DH_ETCD_UNIT, json_get_string(unit, "active_state") ?: "unknown",
                            DH_ETCD_UNIT);
        if (!streq(json_get_string(unit, "unit_file_state"), "enabled"))
                return fail(reterr, -EUCLEAN, "%s: %s is not enabled, it would not start at boot", new->address,
                            DH_ETCD_UNIT);

        r = etcd_status(a->etcd, new->client_url, ETCD_TIMEOUT, &status, reterr);
        if (r < 0)
                return r;
        if (status.member_id != new->member_id)
                return fail(reterr, -EUCLEAN, "%s answers as another member than the one that was added",
                            new->client_url);
        if (!status.learner)
                return fail(reterr, -EUCLEAN, "%s answers, but not as a learner", new->client_url);
        return 0;
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        uint64_t deadline = now_boot() + a->config->step_timeout_usec / 4;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = look(a, addition_new_node(a), &why);

                if (r >= 0)
                        return 0;
                if (r == -ECANCELED || r == -EUCLEAN || now_boot() >= deadline)
                        return fail(reterr, r, "%s", error_text(why, r));
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}

/* Another member than the one that was added has its address now. */
static bool is_replaced(Addition *a, const Host *new) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        const EtcdMember *found;

        if (new->member_id == 0 || cluster_members(a, &members, NULL) < 0)
                return false;
        found = etcd_members_find_peer(members, new->peer_url);
        return found && found->id != new->member_id;
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        Host *new = addition_new_node(a);
        int r;

        if (a->promoted)
                return fail(reterr, -EBUSY, "%s is not stopped while it may have a vote", new->address);
        if (is_replaced(a, new))
                return fail(reterr, -EPERM, "%s is another member now than the one that was added, and is not stopped",
                            new->address);
        r = host_manage_unit(new->client, a->txn, "start-undo", "stop", a->config->step_timeout_usec, reterr);
        if (r >= 0)
                r = host_manage_unit(new->client, a->txn, "start-undo", "disable", CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = host_restore_data_directory(new->client, a->txn, step_start.name, CALL_TIMEOUT, reterr);
        return r < 0 ? r : restore_hosts(a, &step_start, reterr);
}

static void foresee(void *world, StepForecast *f) {
        f->seconds = 3;
        f->why = "etcd is started on the new node for the first time";
}

static const char *const scripts[] = { "enable", NULL };

const Step step_start = {
        .name = "start",
        .title = "Starting etcd on the new node",
        .changes = CHANGES_NEW,
        .scripts = scripts,
        .undoes = "etcd is stopped and disabled there, its data moved aside, the files are as before",
        .foresee = foresee,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
