/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The data directory of a node before it starts for the first time: absent or empty, owned by etcd and the group of
 * DH_ADMIN_USER; and back. The intent keeps what was there before. */

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/trusted-path.h"
#include "host-operation.h"
#include "host/config-yaml.h"
#include "host/data-directory.h"
#include "host/data-path.h"
#include "host/data-place.h"

static int find_place(HostOperation *op, const char *path, DataPlace *ret) {
        _cleanup_free_ char *real = NULL;
        int r;

        if (!path)
                return fail(&op->why, -ENOKEY, "%s has no data-dir", DH_ETCD_CONFIG);
        r = data_path_find_configured(path, &real, &op->why);
        return r < 0 ? r : data_place_find(real, ret, &op->why);
}

/* One that our own record names. */
static int find_kept_place(HostOperation *op, const json_t *kept, DataPlace *ret) {
        const char *path = json_get_string(kept, "path") ?: "";
        int r = data_place_find(path, ret, &op->why);

        if (r >= 0 && !streq(ret->path, path))
                return fail(&op->why, -ENOTDIR, "%s leads elsewhere now; look at it: ls -l %s", path, path);
        return r;
}

bool host_data_is_vendors(const char *parent) {
        _cleanup_free_ char *real = NULL;

        return trusted_path_resolve(DH_ETCD_DATA_PARENT, &real, NULL) >= 0 && streq(parent, real);
}

void host_data_paths_done(HostDataPaths *p) {
        free(p->path);
        free(p->parent);
        free(p->aside);
}

int host_data_paths(HostOperation *op, HostDataPaths *ret) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step);
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        DataPlace p;
        int r;

        r = config_yaml_read(DH_ETCD_CONFIG, &c, &op->why);
        if (r >= 0)
                r = find_place(op, c->data_dir, &p);
        if (r < 0)
                return r;
        *ret = (HostDataPaths){
                .path = strdup(p.path),
                .parent = strdup(p.parent),
                .aside = tag ? format("%s.dhetcd-%s", p.path, tag) : NULL,
        };
        if (ret->path && ret->parent && ret->aside)
                return 0;
        host_data_paths_done(ret);
        return -ENOMEM;
}

static bool unit_runs(const HostOperation *op) {
        return streq(op->unit.active_state, "active") || streq(op->unit.active_state, "activating") ||
               streq(op->unit.active_state, "reloading") || streq(op->unit.active_state, "deactivating");
}

/* ---- owner and mode ---- */

static int set_owner_back(HostOperation *op, const char *path, const json_t *owner) {
        if (!json_is_object(owner) || path_exists(path) <= 0)
                return 0;
        return data_place_set_owner(path, (uid_t) json_get_integer(owner, "uid", 0),
                                    (gid_t) json_get_integer(owner, "gid", 0),
                                    (mode_t) json_get_integer(owner, "mode", 0700), &op->why);
}

/* ---- preparing ---- */

static int set_owners(HostOperation *op, const DataPlace *p) {
        uid_t uid = op->admin.etcd_uid;
        gid_t gid = op->admin.gid;
        struct stat st;
        int r;

        if (host_data_is_vendors(p->parent)) {
                r = data_place_set_owner(p->parent, uid, gid,
                                         stat(p->parent, &st) < 0 ? 0755 : (st.st_mode & 07777) | 0700, &op->why);
                if (r < 0)
                        return r;
        }
        return data_place_set_owner(p->path, uid, gid, stat(p->path, &st) < 0 ? 0700 : (st.st_mode & 07777) | 0700,
                                    &op->why);
}

static int move_and_make(HostOperation *op, const DataPlace *p) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step), *aside = NULL;
        int r, moved;

        aside = tag ? format("%s.dhetcd-%s", p->path, tag) : NULL;
        if (!aside)
                return -ENOMEM;
        r = trusted_path_make(p->parent, 0755);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be made: %s", p->parent, strerror(-r));
        r = data_directory_move_aside(p->path, tag, &op->why);
        if (r < 0)
                return r;
        moved = r > 0 || path_exists(aside) > 0;
        HOST_FAILPOINT(op, "moved");
        r = trusted_path_make(p->path, 0700);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be made: %s", p->path, strerror(-r));
        r = set_owners(op, p);
        if (r < 0)
                return r;

        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL,
                             moved ? "%s was moved aside and is empty now" : "%s is there and empty", p->path);
        return host_operation_answer(op, json_pack("[b]", moved));
}

static int prepare_with_user(HostOperation *op) {
        bool move_aside = json_is_true(json_object_get(op->arguments, "move_aside"));
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        DataDirectoryState state;
        DataPlace p;
        int r;

        if (op->canceled)
                return fail(&op->why, -ECANCELED, "its step was taken back before the data directory was touched");
        if (!op->admin.has_etcd)
                return fail(&op->why, -ESRCH, "there is no user etcd on this host; install etcd");
        r = config_yaml_read(DH_ETCD_CONFIG, &c, &op->why);
        if (r >= 0)
                r = find_place(op, c->data_dir, &p);
        if (r >= 0)
                r = data_directory_state(p.path, &state, &op->why);
        if (r < 0)
                return r;
        if (state == DATA_DIRECTORY_IN_USE && unit_runs(op))
                return fail(&op->why, -EBUSY, "%s is in use: %s runs on this host", p.path, DH_ETCD_UNIT);
        if (state == DATA_DIRECTORY_IN_USE && !move_aside)
                return fail(&op->why, -ENOTEMPTY, "%s is not empty; look at it, then use --move-data-aside", p.path);

        /* One that was begun before has kept what was there at first. */
        r = host_operation_intent(op, op->was_open && op->extra
                                              ? json_incref((json_t *) op->extra)
                                              : json_pack("{ss si so so}", "path", p.path, "was", (int) state, "owner",
                                                          data_place_owner(p.path), "parent_owner",
                                                          data_place_owner(p.parent)));
        return r < 0 ? r : move_and_make(op, &p);
}

static int prepare_with_unit(HostOperation *op) {
        return host_operation_admin_user(op, prepare_with_user);
}

int begin_prepare_data_directory(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, prepare_with_unit);
}

/* ---- and back ---- */

static int restore_place(HostOperation *op, const json_t *kept) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step);
        DataDirectoryState was = (DataDirectoryState) json_get_integer(kept, "was", DATA_DIRECTORY_EMPTY);
        DataPlace p;
        int r;

        if (!tag)
                return -ENOMEM;
        r = find_kept_place(op, kept, &p);
        if (r >= 0)
                r = host_operation_intent(op, NULL);
        if (r >= 0)
                r = data_directory_move_back(p.path, tag, was, &op->why);
        if (r >= 0)
                HOST_FAILPOINT(op, "moved");
        if (r >= 0)
                r = set_owner_back(op, p.path, json_object_get(kept, "owner"));
        if (r < 0)
                return r;

        /* A parent that was not there goes again, unless something is in it. */
        if (json_is_null(json_object_get(kept, "parent_owner"))) {
                (void) (trusted_path_remove(p.parent) < 0);
        } else if (host_data_is_vendors(p.parent)) {
                r = set_owner_back(op, p.parent, json_object_get(kept, "parent_owner"));
                if (r < 0)
                        return r;
        }
        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL, "%s is what it was before", p.path);
        return host_operation_answer(op, json_array());
}

static int restore_with_unit(HostOperation *op) {
        const json_t *kept = host_record_recall(op->record, op->step, "PrepareDataDirectory");

        if (!kept)
                return host_operation_answer(op, json_array());
        if (unit_runs(op))
                return fail(&op->why, -EBUSY, "%s still runs on this host; stop it first: systemctl stop %s",
                            DH_ETCD_UNIT, DH_ETCD_UNIT);
        return restore_place(op, kept);
}

int begin_restore_data_directory(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, restore_with_unit);
}
