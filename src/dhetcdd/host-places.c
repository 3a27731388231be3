/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The directories of etcd's data: whatever a vendor script does to them is not in a snapshot's files, so its note tells
 * of them. The note has the vendor's parent of all, the directory that config.yaml names, and the one that a new node
 * will have, which the cluster's ID names. */

#include "basic/fs.h"
#include "host-operation.h"
#include "host/config-yaml.h"
#include "host/data-path.h"
#include "host/data-place.h"
#include "txn/snapshot.h"

#define PLAN_SIZE_MAX (1024U * 1024U)

/* ---- the note ---- */

static int add_place(json_t *places, const char *path, bool parent) {
        json_t *place, *other;
        size_t i;

        json_array_foreach (places, i, other)
                if (streq(json_get_string(other, "path"), path))
                        return 0;
        place = data_place_look(path, parent);
        return place && json_array_append_new(places, place) < 0 ? -ENOMEM : 0;
}

/* Caller frees; NULL where no plan is kept here. */
static char *planned_data_directory(const char *txn) {
        _cleanup_free_ char *path = host_plan_path(txn), *text = NULL;
        _cleanup_json_ json_t *kept = NULL;
        const char *id;

        if (!path || read_file(path, PLAN_SIZE_MAX, false, &text, NULL) < 0)
                return NULL;
        kept = json_loads(text, 0, NULL);
        id = json_get_string(json_object_get(kept, "plan"), "cluster_id");
        return id && *id && *id != '.' && !strchr(id, '/') ? format("%s/%s", DH_ETCD_DATA_PARENT, id) : NULL;
}

/* What config.yaml names counts only where root has set a place aside: the file belongs to the user etcd. */
json_t *host_places_look(const char *txn, const char *data_dir) {
        _cleanup_free_ char *planned = planned_data_directory(txn), *real = NULL;
        _cleanup_json_ json_t *places = json_array();

        if (data_dir && data_path_find_configured(data_dir, &real, NULL) < 0)
                data_dir = NULL;
        if (!places || add_place(places, DH_ETCD_DATA_PARENT, true) < 0 ||
            (data_dir && add_place(places, data_dir, false) < 0) || (planned && add_place(places, planned, false) < 0))
                return NULL;
        return TAKE_PTR(places);
}

/* NULL where an older version has written the note. */
static int read_places(const char *txn, const char *step, json_t **ret, char **reterr) {
        _cleanup_free_ char *name = host_snapshot_name(txn, step), *text = NULL;
        _cleanup_json_ json_t *note = NULL;
        char digest[DIGEST_HEX_SIZE];
        int r;

        if (!name)
                return -ENOMEM;
        r = snapshot_describe(DHETCD_SNAPSHOT_STORE, name, digest, &text, reterr);
        if (r < 0)
                return r;
        note = text ? json_loads(text, 0, NULL) : NULL;
        *ret = json_incref(json_object_get(note, "places"));
        return 0;
}

/* ---- back ---- */

/* What lies in another comes first. */
int host_places_restore(const char *txn, const char *step, char **reterr) {
        _cleanup_json_ json_t *places = NULL;
        int r, changed = 0;

        r = read_places(txn, step, &places, reterr);
        for (size_t i = json_array_size(places); i > 0 && r >= 0; i--) {
                r = data_place_restore(json_array_get(places, i - 1), reterr);
                changed = changed || r > 0;
        }
        return r < 0 ? r : changed;
}

bool host_places_are_restored(const char *txn, const char *step) {
        _cleanup_json_ json_t *places = NULL;
        json_t *place;
        size_t i;

        if (read_places(txn, step, &places, NULL) < 0)
                return false;
        json_array_foreach (places, i, place)
                if (!data_place_is_restored(place))
                        return false;
        return true;
}

int host_places_keep(HostOperation *op) {
        _cleanup_json_ json_t *places = NULL;
        json_t *place;
        size_t i;
        int r;

        r = read_places(op->txn, op->step, &places, &op->why);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        json_array_foreach (places, i, place) {
                r = data_place_keep(place, &op->why);
                if (r < 0)
                        return r;
                if (r > 0)
                        host_operation_event(op, EVENT_HOST_CHANGED, LOG_NOTICE, NULL, NULL,
                                             "Script \"%s\" had changed owner or mode of %s; they are as before",
                                             op->verb, json_get_string(place, "path"));
        }
        return 0;
}

/* ---- what is different ---- */

/* Who put data where we never prepared any is not known: it stays, and is no reason to hold the host for ever. */
int host_places_compare(HostOperation *op, const json_t *places, json_t *list) {
        json_t *place;
        bool foreign;
        size_t i;
        int r;

        r = host_operation_open_record(op);
        if (r < 0)
                return r;
        foreign = !host_record_has_begun(op->record, "PrepareDataDirectory");
        json_array_foreach (places, i, place) {
                _cleanup_free_ char *difference = data_place_difference(place, foreign);

                if (difference && json_array_append_new(list, json_string(difference)) < 0)
                        return -ENOMEM;
        }
        return 0;
}
