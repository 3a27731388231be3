/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Snapshot, Compare, Forget; Restore is in host-restore.c. A snapshot is of files; the state of the unit and of the
 * data directory go with it as its note: Compare tells what is different. Putting back the unit, and what is in the
 * data directory, is other methods' work. */

#include "basic/fs.h"
#include "host-history.h"
#include "host-operation.h"
#include "host/config-yaml.h"
#include "txn/snapshot.h"

#define UNIT_DIR "/etc/systemd/system/"

static char *roots[] = {
        (char *) DH_ETCD_DIR,
        (char *) DH_SYSCONFIG_DIR,
        (char *) UNIT_DIR DH_ETCD_UNIT,
        (char *) UNIT_DIR DH_ETCD_UNIT ".d",
        (char *) UNIT_DIR "multi-user.target.wants/" DH_ETCD_UNIT,
        NULL,
};
char *const *const host_unit_roots = roots + 2;

/* ---- the note ---- */

/* What counts is whether it runs: a failed unit runs as little as a stopped one. */
static const char *run_state(const char *active_state) {
        bool runs =
                streq(active_state, "active") || streq(active_state, "activating") || streq(active_state, "reloading");

        return runs ? "active" : "inactive";
}

static char *make_note(const HostOperation *op) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        _cleanup_json_ json_t *note = NULL;
        const char *path = NULL;

        if (config_yaml_read(DH_ETCD_CONFIG, &c, NULL) >= 0)
                path = c->data_dir;
        note = json_pack("{ss ss so}", "active", run_state(op->unit.active_state), "enabled", op->unit.unit_file_state,
                         "places", host_places_look(op->txn, path));
        return note ? json_to_text(note, JSON_COMPACT) : NULL;
}

/* ---- taking ---- */

static int snapshot_with_unit(HostOperation *op) {
        _cleanup_free_ char *name = host_snapshot_name(op->txn, op->step), *note = make_note(op);
        char digest[DIGEST_HEX_SIZE];
        int r;

        if (!name || !note)
                return -ENOMEM;
        r = mkdir_durable(DHETCD_SNAPSHOT_STORE, 0700);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be made: %s", DHETCD_SNAPSHOT_STORE, strerror(-r));
        r = snapshot_take(DHETCD_SNAPSHOT_STORE, name, roots, note, digest, &op->why);
        if (r < 0)
                return r;
        if (r > 0)
                host_operation_event(op, EVENT_SNAPSHOT_TAKEN, LOG_INFO, digest, NULL,
                                     "Snapshot taken before \"%s\": %.16s…", op->step, digest);
        return host_operation_answer(op, json_pack("[s]", digest));
}

int begin_snapshot(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, snapshot_with_unit);
}

/* ---- comparing ---- */

static int add_difference(json_t *list, const char *what, const char *was, const char *is) {
        if (streq(was, is))
                return 0;
        return json_array_append_new(
                list, json_sprintf("%s was %s and is %s", what, *was ? was : "not there", *is ? is : "not there"));
}

static int compare_with_unit(HostOperation *op) {
        _cleanup_free_ char *name = host_snapshot_name(op->txn, op->step), *text = NULL;
        _cleanup_json_ json_t *note = NULL;
        _cleanup_strv_ char **differences = NULL;
        char digest[DIGEST_HEX_SIZE];
        json_t *list;
        int r;

        if (!name)
                return -ENOMEM;
        r = snapshot_describe(DHETCD_SNAPSHOT_STORE, name, digest, &text, &op->why);
        if (r >= 0)
                r = snapshot_compare(DHETCD_SNAPSHOT_STORE, name, &differences, &op->why);
        if (r < 0)
                return r;
        note = text ? json_loads(text, 0, NULL) : NULL;
        list = json_array();
        if (!note || !list) {
                json_decref(list);
                return fail(&op->why, -EBADMSG, "the note of the snapshot %s is damaged", name);
        }

        STRV_FOREACH (d, differences)
                (void) json_array_append_new(list, json_string(*d) ?: json_string("a file whose name is no UTF-8"));
        (void) add_difference(list, DH_ETCD_UNIT, json_get_string(note, "active"), run_state(op->unit.active_state));
        (void) add_difference(list, "the unit file of " DH_ETCD_UNIT, json_get_string(note, "enabled"),
                              op->unit.unit_file_state);
        r = host_places_compare(op, json_object_get(note, "places"), list);
        if (r < 0) {
                json_decref(list);
                return r;
        }
        return host_operation_answer(op, json_pack("[o]", list));
}

int begin_compare(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, compare_with_unit);
}

/* ---- forgetting ---- */

int begin_forget(HostOperation *op) {
        int r;

        for (HostOperation *i = op->host->operations; i; i = i->next)
                if (i != op && i->record && streq(i->txn, op->txn))
                        return fail(&op->why, -EBUSY, "%s is still under way for %s", i->method->name, op->txn);
        (void) host_forget_record(op->host, op->txn);
        r = host_history_forget(&host_history, op->txn, &op->why);
        if (r >= 0)
                r = host_history_collect(&host_history, &op->why);
        return r < 0 ? r : host_operation_answer(op, json_array());
}
