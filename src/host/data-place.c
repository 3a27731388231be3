/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "data-place.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"
#include "data-directory.h"

/* ---- where it is ---- */

/* /A/B or deeper, without "." and "..": moving something higher up would be moving the system. */
static bool is_plain(const char *path) {
        size_t n = strlen(path);

        return path[0] == '/' && n <= DATA_PATH_LENGTH_MAX && strrchr(path, '/') > path && path[n - 1] != '/' &&
               !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../") && !streq(path + n - 2, "/.") &&
               !(n >= 3 && streq(path + n - 3, "/.."));
}

int data_place_find(const char *path, DataPlace *ret, char **reterr) {
        _cleanup_free_ char *real = NULL;
        const char *slash;
        int r;

        if (!is_plain(path))
                return fail(reterr, -EINVAL, "the data directory '%.128s' is no plain absolute path", path);
        r = trusted_path_resolve(path, &real, reterr);
        if (r < 0)
                return r;
        if (!is_plain(real))
                return fail(reterr, -EINVAL, "the data directory '%.128s' leads to '%.128s'", path, real);

        slash = strrchr(real, '/');
        strcpy(ret->path, real);
        memcpy(ret->parent, real, (size_t) (slash - real));
        ret->parent[slash - real] = '\0';
        return 0;
}

/* ---- whose it is ---- */

json_t *data_place_owner(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return json_null();
        return json_pack("{sI sI sI}", "uid", (json_int_t) st.st_uid, "gid", (json_int_t) st.st_gid, "mode",
                         (json_int_t) (st.st_mode & 07777));
}

/* By descriptor, so that what is checked is what is changed. */
int data_place_set_owner(const char *path, uid_t uid, gid_t gid, mode_t mode, char **reterr) {
        _cleanup_close_ int fd = trusted_path_open(path);
        struct stat st;

        if (fd < 0)
                return fail(reterr, fd, "%s cannot be opened: %s", path, strerror(-fd));
        if (fstat(fd, &st) < 0)
                return fail(reterr, -errno, "%s cannot be looked at: %s", path, strerror(errno));
        if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
                return fail(reterr, -errno, "the owner of %s cannot be set: %s", path, strerror(errno));
        if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
                return fail(reterr, -errno, "the mode of %s cannot be set: %s", path, strerror(errno));
        return fsync(fd) < 0 ? fail(reterr, -errno, "%s cannot be synced: %s", path, strerror(errno)) : 0;
}

static int give_back(const char *path, const json_t *owner, char **reterr) {
        return data_place_set_owner(path, (uid_t) json_get_integer(owner, "uid", 0),
                                    (gid_t) json_get_integer(owner, "gid", 0),
                                    (mode_t) json_get_integer(owner, "mode", 0700), reterr);
}

/* ---- as it was ---- */

json_t *data_place_look(const char *path, bool parent) {
        DataDirectoryState state;
        DataPlace p;

        if (data_place_find(path, &p, NULL) < 0 || data_directory_state(p.path, &state, NULL) < 0)
                return NULL;
        return json_pack("{ss si so sb}", "path", path, "state", (int) state, "owner", data_place_owner(p.path),
                         "parent", (int) parent);
}

typedef enum Action {
        NOTHING,
        REMOVE,
        MAKE,
        OWN,
} Action;

static Action what_to_do(const json_t *was, const DataPlace *p) {
        json_int_t before = json_get_integer(was, "state", DATA_DIRECTORY_IN_USE);
        _cleanup_json_ json_t *owner = data_place_owner(p->path);
        DataDirectoryState now;

        if (data_directory_state(p->path, &now, NULL) < 0)
                return NOTHING;
        if (before == DATA_DIRECTORY_ABSENT)
                return now == DATA_DIRECTORY_EMPTY ? REMOVE : NOTHING;
        if (now == DATA_DIRECTORY_ABSENT)
                return before == DATA_DIRECTORY_EMPTY ? MAKE : NOTHING;
        return json_equal(owner, json_object_get(was, "owner")) ? NOTHING : OWN;
}

static int find(const json_t *was, DataPlace *ret, Action *ret_action, char **reterr) {
        int r = data_place_find(json_get_string(was, "path") ?: "", ret, reterr);

        if (r >= 0)
                *ret_action = what_to_do(was, ret);
        return r;
}

static int remove_empty(const DataPlace *p, char **reterr) {
        int r = trusted_path_remove(p->path);

        return r < 0 ? fail(reterr, r, "%s cannot be removed: %s", p->path, strerror(-r)) : 1;
}

int data_place_restore(const json_t *was, char **reterr) {
        Action action;
        DataPlace p;
        int r;

        r = find(was, &p, &action, reterr);
        if (r < 0 || action == NOTHING)
                return r;
        if (action == REMOVE)
                return remove_empty(&p, reterr);
        r = trusted_path_make(p.path, 0700);
        if (r < 0)
                return fail(reterr, r, "%s cannot be made: %s", p.path, strerror(-r));
        r = give_back(p.path, json_object_get(was, "owner"), reterr);
        return r < 0 ? r : 1;
}

bool data_place_is_restored(const json_t *was) {
        Action action;
        DataPlace p;

        return find(was, &p, &action, NULL) >= 0 && action == NOTHING;
}

int data_place_keep(const json_t *was, char **reterr) {
        Action action;
        DataPlace p;
        int r;

        r = find(was, &p, &action, reterr);
        if (r < 0 || action != OWN)
                return r;
        r = give_back(p.path, json_object_get(was, "owner"), reterr);
        return r < 0 ? r : 1;
}

/* ---- what is different ---- */

static bool holds_only_what_was_moved_aside(const char *path) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        struct dirent *e;
        bool any = false;

        while (d && (e = readdir(d))) {
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                if (!strstr(e->d_name, ".dhetcd-"))
                        return false;
                any = true;
        }
        return any;
}

/* Where it holds others, what they are is told of each of them. */
static DataDirectoryState state_in(const json_t *place) {
        DataDirectoryState state = (DataDirectoryState) json_get_integer(place, "state", DATA_DIRECTORY_ABSENT);

        return json_is_true(json_object_get(place, "parent")) && state == DATA_DIRECTORY_EMPTY ? DATA_DIRECTORY_IN_USE
                                                                                               : state;
}

static char *describe_owner(const json_t *place) {
        const json_t *owner = json_object_get(place, "owner");

        return format("%u:%u with mode %04o", (unsigned) json_get_integer(owner, "uid", 0),
                      (unsigned) json_get_integer(owner, "gid", 0), (unsigned) json_get_integer(owner, "mode", 0));
}

static char *owner_difference(const json_t *was, const json_t *is) {
        _cleanup_free_ char *before = describe_owner(was), *now = describe_owner(is);

        if (json_equal(json_object_get(was, "owner"), json_object_get(is, "owner")))
                return NULL;
        return format("%s belonged to %s and belongs to %s", json_get_string(was, "path"), before ?: "", now ?: "");
}

static bool is_in_use(const json_t *place) {
        return json_get_integer(place, "state", DATA_DIRECTORY_ABSENT) == DATA_DIRECTORY_IN_USE;
}

char *data_place_difference(const json_t *was, bool foreign) {
        bool parent = json_is_true(json_object_get(was, "parent"));
        const char *path = json_get_string(was, "path") ?: "";
        _cleanup_json_ json_t *is = data_place_look(path, parent);

        if (!is)
                return format("%s cannot be looked at any more", path);
        if (foreign && !is_in_use(was) && is_in_use(is))
                return NULL;
        if (state_in(was) == state_in(is))
                return owner_difference(was, is);
        if (parent && state_in(was) == DATA_DIRECTORY_ABSENT && holds_only_what_was_moved_aside(path))
                return NULL;
        if (parent)
                return format("%s %s there and is %s", path, state_in(was) == DATA_DIRECTORY_ABSENT ? "was not" : "was",
                              state_in(is) == DATA_DIRECTORY_ABSENT ? "not any more" : "now");
        return format("%s was %s and is %s", path, data_directory_state_to_string(state_in(was)),
                      data_directory_state_to_string(state_in(is)));
}
