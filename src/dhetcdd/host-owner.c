/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* OwnDataDirectory: the data directory and what is in it becomes etcd's, as the vendor's page asks, though it is in
 * use; and back. The intent keeps whom every entry that is changed belonged to. */

#include <fcntl.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/trusted-path.h"
#include "host-operation.h"
#include "host/data-owner.h"

#define CHANGES_MAX 1000U

typedef struct Owners {
        HostOperation *op;
        json_t *entries; /* path: [uid, gid], of before */
        bool back;
} Owners;

/* What is etcd's already keeps the group that etcd runs with. */
static gid_t wanted_gid(const HostOperation *op, const char *path, const struct stat *st) {
        return *path && st->st_uid == op->admin.etcd_uid ? st->st_gid : op->admin.gid;
}

static json_t *ids_of(const struct stat *st) {
        return json_pack("[II]", (json_int_t) st->st_uid, (json_int_t) st->st_gid);
}

/* Something that has a second name elsewhere, or is no file, is not etcd's to be given. */
static int collect(int fd, const char *path, const struct stat *st, void *userdata) {
        Owners *o = userdata;

        if (st->st_uid == o->op->admin.etcd_uid && st->st_gid == wanted_gid(o->op, path, st))
                return 0;
        if (!S_ISDIR(st->st_mode) && !(S_ISREG(st->st_mode) && st->st_nlink == 1))
                return -EPERM;
        if (json_object_size(o->entries) >= CHANGES_MAX)
                return -E2BIG;
        return json_object_set_new(o->entries, path, ids_of(st)) < 0 ? -ENOMEM : 0;
}

/* By its descriptor, so that what was looked at is what is changed. */
static int give(int fd, uid_t uid, gid_t gid) {
        _cleanup_free_ char *path = format("/proc/self/fd/%d", fd);
        _cleanup_close_ int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

        if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
                return -errno;
        return file >= 0 && fsync(file) < 0 ? -errno : 0;
}

static int change(int fd, const char *path, const struct stat *st, void *userdata) {
        const Owners *o = userdata;
        const json_t *before = json_object_get(o->entries, path);

        if (!before || (!S_ISDIR(st->st_mode) && !(S_ISREG(st->st_mode) && st->st_nlink == 1)))
                return 0;
        return o->back ? give(fd, (uid_t) json_integer_value(json_array_get(before, 0)),
                              (gid_t) json_integer_value(json_array_get(before, 1)))
                       : give(fd, o->op->admin.etcd_uid, wanted_gid(o->op, path, st));
}

/* The directory above, where it is the vendor's; `ids` [uid, gid]. */
static int give_parent(HostOperation *op, const char *parent, uid_t uid, gid_t gid) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!host_data_is_vendors(parent))
                return 0;
        fd = trusted_path_open(parent);
        r = fd < 0 ? fd : give(fd, uid, gid);
        return r < 0 ? fail(&op->why, r, "the owner of %s cannot be set: %s", parent, strerror(-r)) : 0;
}

static int begin_record(HostOperation *op, const HostDataPaths *p, json_t *entries) {
        struct stat st;

        if (op->was_open && op->extra) /* it has kept what was there at first */
                return host_operation_intent(op, json_incref((json_t *) op->extra));
        if (stat(p->parent, &st) < 0)
                return fail(&op->why, -errno, "%s: %s", p->parent, strerror(errno));
        return host_operation_intent(op, json_pack("{ss ss so sO}", "path", p->path, "parent", p->parent,
                                                   "parent_owner", ids_of(&st), "owners", entries));
}

static int own(HostOperation *op, const HostDataPaths *p) {
        _cleanup_json_ json_t *entries = json_object();
        Owners o = { .op = op, .entries = entries };
        int r;

        if (!entries)
                return -ENOMEM;
        r = data_owner_each(p->path, collect, &o, &op->why);
        if (r == -EPERM)
                return fail(&op->why, r,
                            "in %s is something of another owner that is neither a directory nor a file with one name; "
                            "look at it: find %s ! -user etcd -ls",
                            p->path, p->path);
        if (r >= 0)
                r = begin_record(op, p, entries);
        if (r >= 0)
                r = give_parent(op, p->parent, op->admin.etcd_uid, op->admin.gid);
        if (r >= 0)
                HOST_FAILPOINT(op, "given");
        if (r >= 0)
                r = data_owner_each(p->path, change, &o, &op->why);
        if (r < 0)
                return r;
        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL, "%s belongs to etcd again", p->path);
        return host_operation_answer(op, json_array());
}

static int own_with_user(HostOperation *op) {
        HostDataPaths p;
        int r;

        if (op->canceled)
                return fail(&op->why, -ECANCELED, "its step was taken back before the data directory was touched");
        if (!op->admin.has_etcd)
                return fail(&op->why, -ESRCH, "there is no user etcd on this host; install etcd");
        r = host_data_paths(op, &p);
        if (r < 0)
                return r;
        r = own(op, &p);
        host_data_paths_done(&p);
        return r;
}

int begin_own_data_directory(HostOperation *op) {
        return host_operation_admin_user(op, own_with_user);
}

int begin_disown_data_directory(HostOperation *op) {
        const json_t *kept = host_record_recall(op->record, op->step, "OwnDataDirectory"), *ids;
        const char *path = json_get_string(kept, "path");
        Owners o = { .op = op, .entries = json_object_get(kept, "owners"), .back = true };
        int r;

        if (!path)
                return host_operation_answer(op, json_array());
        ids = json_object_get(kept, "parent_owner");
        r = host_operation_intent(op, NULL);
        if (r >= 0)
                r = data_owner_each(path, change, &o, &op->why);
        if (r >= 0)
                HOST_FAILPOINT(op, "given");
        if (r >= 0)
                r = give_parent(op, json_get_string(kept, "parent"), (uid_t) json_integer_value(json_array_get(ids, 0)),
                                (gid_t) json_integer_value(json_array_get(ids, 1)));
        if (r < 0)
                return r;
        host_operation_event(op, EVENT_HOST_CHANGED, LOG_INFO, NULL, NULL, "%s belongs to whom it did before", path);
        return host_operation_answer(op, json_array());
}
