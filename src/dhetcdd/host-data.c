/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The data directory of a node before it starts for the first time: absent or empty, owned by etcd and the group of
 * DH_ADMIN_USER; and back. The intent keeps what was there before. */

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "host-operation.h"
#include "host/config-yaml.h"
#include "host/data-directory.h"

#define PATH_LENGTH_MAX 1024U

typedef struct Place {
        char path[PATH_LENGTH_MAX + 1], parent[PATH_LENGTH_MAX + 1];
} Place;

/* /A/B or deeper, without "." and "..": moving something higher up would be moving the system. */
static bool is_plain(const char *path) {
        size_t n = strlen(path);

        return path[0] == '/' && n <= PATH_LENGTH_MAX && strrchr(path, '/') > path && path[n - 1] != '/' &&
               !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../") && !streq(path + n - 2, "/.") &&
               !(n >= 3 && streq(path + n - 3, "/.."));
}

/* A symlink that root made is followed. One of somebody else would let the etcd user choose what root moves and owns.
 */
static int resolve(HostOperation *op, const char *path, char **ret) {
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode)) {
                *ret = strdup(path);
                return *ret ? 0 : -ENOMEM;
        }
        if (st.st_uid != 0)
                return fail(&op->why, -EPERM, "%s is a symbolic link that root did not make; look at it: ls -l %s",
                            path, path);
        *ret = realpath(path, NULL);
        return *ret ? 0 : fail(&op->why, -errno, "%s leads nowhere: %s", path, strerror(errno));
}

static int find_place(HostOperation *op, const char *path, Place *ret) {
        _cleanup_free_ char *real = NULL;
        const char *slash;
        int r;

        if (!path)
                return fail(&op->why, -ENOKEY, "%s has no data-dir", DH_ETCD_CONFIG);
        if (!is_plain(path))
                return fail(&op->why, -EINVAL, "the data directory '%.128s' is no plain absolute path", path);
        r = resolve(op, path, &real);
        if (r < 0)
                return r;
        if (!is_plain(real))
                return fail(&op->why, -EINVAL, "the data directory '%.128s' leads to '%.128s'", path, real);

        slash = strrchr(real, '/');
        strcpy(ret->path, real);
        memcpy(ret->parent, real, (size_t) (slash - real));
        ret->parent[slash - real] = '\0';
        return 0;
}

void host_data_paths_done(HostDataPaths *p) {
        free(p->path);
        free(p->parent);
        free(p->aside);
}

int host_data_paths(HostOperation *op, HostDataPaths *ret) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step);
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        Place p;
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

static json_t *owner_of(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return json_null();
        return json_pack("{sI sI sI}", "uid", (json_int_t) st.st_uid, "gid", (json_int_t) st.st_gid, "mode",
                         (json_int_t) (st.st_mode & 07777));
}

/* By descriptor, so that what is checked is what is changed. */
static int set_owner(HostOperation *op, const char *path, uid_t uid, gid_t gid, mode_t mode) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return fail(&op->why, -errno, "%s cannot be opened: %s", path, strerror(errno));
        if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
                return fail(&op->why, -errno, "the owner of %s cannot be set: %s", path, strerror(errno));
        if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
                return fail(&op->why, -errno, "the mode of %s cannot be set: %s", path, strerror(errno));
        return fsync(fd) < 0 ? -errno : 0;
}

static int set_owner_back(HostOperation *op, const char *path, const json_t *owner) {
        if (!json_is_object(owner) || path_exists(path) <= 0)
                return 0;
        return set_owner(op, path, (uid_t) json_get_integer(owner, "uid", 0), (gid_t) json_get_integer(owner, "gid", 0),
                         (mode_t) json_get_integer(owner, "mode", 0700));
}

/* ---- preparing ---- */

static int set_owners(HostOperation *op, const Place *p) {
        uid_t uid = op->admin.etcd_uid;
        gid_t gid = op->admin.gid;
        struct stat st;
        int r;

        if (streq(p->parent, DH_ETCD_DATA_PARENT)) {
                r = set_owner(op, p->parent, uid, gid, stat(p->parent, &st) < 0 ? 0755 : (st.st_mode & 07777) | 0700);
                if (r < 0)
                        return r;
        }
        return set_owner(op, p->path, uid, gid, stat(p->path, &st) < 0 ? 0700 : (st.st_mode & 07777) | 0700);
}

static int move_and_make(HostOperation *op, const Place *p) {
        _cleanup_free_ char *tag = host_snapshot_name(op->txn, op->step), *aside = NULL;
        int r, moved;

        aside = tag ? format("%s.dhetcd-%s", p->path, tag) : NULL;
        if (!aside)
                return -ENOMEM;
        r = mkdir_durable(p->parent, 0755);
        if (r < 0)
                return fail(&op->why, r, "%s cannot be made: %s", p->parent, strerror(-r));
        r = data_directory_move_aside(p->path, tag, &op->why);
        if (r < 0)
                return r;
        moved = r > 0 || path_exists(aside) > 0;
        r = mkdir_durable(p->path, 0700);
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
        Place p;
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
                                                          owner_of(p.path), "parent_owner", owner_of(p.parent)));
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
        Place p;
        int r;

        if (!tag)
                return -ENOMEM;
        r = find_place(op, json_get_string(kept, "path"), &p);
        if (r >= 0)
                r = host_operation_intent(op, NULL);
        if (r >= 0)
                r = data_directory_move_back(p.path, tag, was, &op->why);
        if (r >= 0)
                r = set_owner_back(op, p.path, json_object_get(kept, "owner"));
        if (r < 0)
                return r;

        /* A parent that was not there goes again, unless something is in it. */
        if (json_is_null(json_object_get(kept, "parent_owner"))) {
                if (rmdir(p.parent) >= 0)
                        (void) (fsync_parent(p.parent) < 0);
        } else if (streq(p.parent, DH_ETCD_DATA_PARENT)) {
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
