/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "data-directory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"

#define FAILED_MAX 100U /* undone so often under one tag: something else is wrong */
#define TAG_MAX 100U

typedef struct Paths {
        char *data;  /* the directory itself: where the given path is a symlink, what it leads to */
        char *aside; /* where it was moved to */
} Paths;

static void paths_done(Paths *p) {
        free(p->data);
        free(p->aside);
}

static int resolve(const char *path, const char *tag, Paths *ret, char **reterr) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        size_t length = strlen(path);
        struct stat st;

        if (path[0] != '/')
                return fail(reterr, -EINVAL, "the data directory '%s' is not an absolute path", path);
        while (length > 1 && path[length - 1] == '/')
                length--;
        if (tag && (*tag == '\0' || strlen(tag) > TAG_MAX || tag[strspn(tag, allowed)] != '\0'))
                return fail(reterr, -EINVAL, "'%s' cannot be part of a file's name", tag);

        ret->data = strndup(path, length);
        if (!ret->data)
                return -ENOMEM;
        if (lstat(ret->data, &st) >= 0 && S_ISLNK(st.st_mode)) {
                char *real = realpath(ret->data, NULL);

                if (!real)
                        return fail(reterr, -errno, "the data directory %s is a symbolic link to nowhere: %s", path,
                                    strerror(errno));
                free(ret->data);
                ret->data = real;
        }

        ret->aside = format("%s.dhetcd-%s", ret->data, tag ?: "");
        return ret->aside ? 0 : -ENOMEM;
}

const char *data_directory_state_to_string(DataDirectoryState state) {
        static const char *const names[] = {
                [DATA_DIRECTORY_ABSENT] = "absent",
                [DATA_DIRECTORY_EMPTY] = "empty",
                [DATA_DIRECTORY_IN_USE] = "in-use",
        };

        return (size_t) state < ELEMENTSOF(names) ? names[state] : "unknown";
}

static int state_of(const char *path, DataDirectoryState *ret, char **reterr) {
        int r = dir_is_empty(path);

        if (r == -ENOENT)
                *ret = DATA_DIRECTORY_ABSENT;
        else if (r == -ENOTDIR)
                return fail(reterr, r, "%s, etcd's data directory, is not a directory; move it away by hand", path);
        else if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        else
                *ret = r > 0 ? DATA_DIRECTORY_EMPTY : DATA_DIRECTORY_IN_USE;
        return 0;
}

int data_directory_state(const char *path, DataDirectoryState *ret, char **reterr) {
        _cleanup_(paths_done) Paths paths = { .data = NULL };
        int r;

        r = resolve(path, NULL, &paths, reterr);
        return r < 0 ? r : state_of(paths.data, ret, reterr);
}

#define DEPTH_MAX 4U /* etcd's own goes to member/snap/FILE */

static int size_below(int parent, const char *name, unsigned depth, uint64_t *size) {
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
        _cleanup_(closedirp) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;

        if (!d) {
                int r = -errno;

                closep(&fd);
                return r;
        }
        while ((e = readdir(d))) {
                struct stat st;
                int r = 0;

                if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
                    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                if (S_ISREG(st.st_mode))
                        *size += (uint64_t) st.st_blocks * 512;
                else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
                        r = size_below(dirfd(d), e->d_name, depth + 1, size);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

int data_directory_size(const char *path, uint64_t *ret) {
        uint64_t size = 0;
        int r = size_below(AT_FDCWD, path, 0, &size);

        if (r < 0 && r != -ENOENT)
                return r;
        *ret = size;
        return 0;
}

/* An empty directory at `path` with owner and mode of the one at `like`. One that is there is set right, so that a
 * crash between the two is mended by the next call. */
static int make_empty_like(const char *path, const char *like, char **reterr) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st, now;
        int r;

        if (stat(like, &st) < 0)
                return fail(reterr, -errno, "%s cannot be looked at: %s", like, strerror(errno));
        r = trusted_path_make(path, 0700);
        if (r < 0)
                return fail(reterr, r, "%s cannot be made: %s", path, strerror(-r));

        fd = trusted_path_open(path);
        if (fd < 0)
                return fail(reterr, fd, "%s cannot be opened: %s", path, strerror(-fd));
        if (fstat(fd, &now) < 0)
                return fail(reterr, -errno, "%s cannot be looked at: %s", path, strerror(errno));
        if (((now.st_uid != st.st_uid || now.st_gid != st.st_gid) && fchown(fd, st.st_uid, st.st_gid) < 0) ||
            fchmod(fd, st.st_mode & 07777) < 0 || fsync(fd) < 0)
                return fail(reterr, -errno, "owner and mode of %s cannot be set: %s", path, strerror(errno));

        r = fsync_parent(path);
        return r < 0 ? fail(reterr, r, "%s cannot be synced: %s", path, strerror(-r)) : 0;
}

/* Nothing to do, but an earlier call may have died before its fsync. */
static int nothing_moved(const Paths *paths, char **reterr) {
        int r = fsync_parent(paths->data);

        return r < 0 && r != -ENOENT ? fail(reterr, r, "%s cannot be synced: %s", paths->data, strerror(-r)) : 0;
}

/* Both are in one directory. */
static int move(const char *from, const char *to, char **reterr) {
        _cleanup_free_ char *parent = strndup(from, (size_t) (strrchr(from, '/') - from) ?: 1);
        _cleanup_close_ int fd = parent ? trusted_path_open(parent) : -ENOMEM;
        char from_at[PATH_MAX], to_at[PATH_MAX];
        int r = fd < 0 ? fd : rename_durable(file_at(fd, from, from_at), file_at(fd, to, to_at));

        if (r == -EBUSY || r == -EXDEV)
                return fail(reterr, r,
                            "%s cannot be renamed, it is a mount point; move what is in it to a directory beside it by "
                            "hand",
                            from);
        return r < 0 ? fail(reterr, r, "%s cannot be renamed to %s: %s", from, to, strerror(-r)) : 0;
}

int data_directory_move_aside(const char *path, const char *tag, char **reterr) {
        _cleanup_(paths_done) Paths paths = { .data = NULL };
        DataDirectoryState state;
        int moved, r;

        r = resolve(path, tag, &paths, reterr);
        if (r >= 0)
                r = state_of(paths.data, &state, reterr);
        if (r < 0)
                return r;
        moved = path_exists(paths.aside);
        if (moved < 0)
                return fail(reterr, moved, "%s cannot be looked at: %s", paths.aside, strerror(-moved));

        if (moved > 0) /* by an earlier call, which may have got no further */
                return state == DATA_DIRECTORY_IN_USE ? nothing_moved(&paths, reterr)
                                                      : make_empty_like(paths.data, paths.aside, reterr);
        if (state != DATA_DIRECTORY_IN_USE)
                return nothing_moved(&paths, reterr);

        r = move(paths.data, paths.aside, reterr);
        if (r >= 0)
                r = make_empty_like(paths.data, paths.aside, reterr);
        return r < 0 ? r : 1;
}

/* PATH.dhetcd-TAG-failed, then …-failed-2 and so on: nothing etcd wrote is ever overwritten. *ret_last is the newest
 * one that is there (NULL: none), *ret_free the first that is not. */
static int failed_paths(const Paths *paths, char **ret_last, char **ret_free, char **reterr) {
        _cleanup_free_ char *last = NULL;

        for (unsigned i = 1; i <= FAILED_MAX; i++) {
                _cleanup_free_ char *candidate =
                        i == 1 ? format("%s-failed", paths->aside) : format("%s-failed-%u", paths->aside, i);
                int r;

                if (!candidate)
                        return -ENOMEM;
                r = path_exists(candidate);
                if (r < 0)
                        return fail(reterr, r, "%s cannot be looked at: %s", candidate, strerror(-r));
                if (r == 0) {
                        *ret_last = TAKE_PTR(last);
                        *ret_free = TAKE_PTR(candidate);
                        return 0;
                }
                free(last);
                last = TAKE_PTR(candidate);
        }

        return fail(reterr, -EEXIST, "%s-failed and %u others like it are there; remove the old ones by hand",
                    paths->aside, FAILED_MAX - 1);
}

static int move_to_failed(const Paths *paths, char **reterr) {
        _cleanup_free_ char *last = NULL, *free_path = NULL;
        int r;

        r = failed_paths(paths, &last, &free_path, reterr);
        return r < 0 ? r : move(paths->data, free_path, reterr);
}

/* Something was moved aside: it comes back. rename() replaces an empty directory, so there is no moment without one. */
static int bring_back(const Paths *paths, DataDirectoryState now, char **reterr) {
        int r;

        if (now == DATA_DIRECTORY_IN_USE) {
                r = move_to_failed(paths, reterr);
                if (r < 0)
                        return r;
        }
        r = move(paths->aside, paths->data, reterr);
        return r < 0 ? r : 1;
}

static int make_absent(const Paths *paths, DataDirectoryState now, char **reterr) {
        int r;

        if (now == DATA_DIRECTORY_IN_USE) {
                r = move_to_failed(paths, reterr);
                return r < 0 ? r : 1;
        }
        r = trusted_path_remove(paths->data);
        return r < 0 ? fail(reterr, r, "%s cannot be removed: %s", paths->data, strerror(-r)) : 1;
}

static int make_empty(const Paths *paths, DataDirectoryState now, char **reterr) {
        _cleanup_free_ char *last = NULL, *unused = NULL, *parent = NULL;
        int r;

        if (now == DATA_DIRECTORY_IN_USE) {
                r = move_to_failed(paths, reterr);
                if (r < 0)
                        return r;
        }

        /* Its owner and mode are those of what was there last; where nothing tells, those of the parent. */
        r = failed_paths(paths, &last, &unused, reterr);
        if (r < 0)
                return r;
        parent = strndup(paths->data, (size_t) (strrchr(paths->data, '/') - paths->data) ?: 1);
        if (!parent)
                return -ENOMEM;
        r = make_empty_like(paths->data, last ?: parent, reterr);
        return r < 0 ? r : 1;
}

int data_directory_move_back(const char *path, const char *tag, DataDirectoryState was, char **reterr) {
        _cleanup_(paths_done) Paths paths = { .data = NULL };
        DataDirectoryState now;
        int moved, r;

        r = resolve(path, tag, &paths, reterr);
        if (r >= 0)
                r = state_of(paths.data, &now, reterr);
        if (r < 0)
                return r;
        moved = path_exists(paths.aside);
        if (moved < 0)
                return fail(reterr, moved, "%s cannot be looked at: %s", paths.aside, strerror(-moved));

        if (moved > 0)
                return bring_back(&paths, now, reterr);
        if (now == was)
                return nothing_moved(&paths, reterr);
        if (was == DATA_DIRECTORY_ABSENT)
                return make_absent(&paths, now, reterr);
        if (was == DATA_DIRECTORY_EMPTY)
                return make_empty(&paths, now, reterr);
        return fail(reterr, -ENOENT,
                    "%s was in use, is not any more, and %s is not there; look for its contents with \"ls -d %s*\"",
                    paths.data, paths.aside, paths.data);
}

int data_directory_make_empty(const char *path, const char *tag, char **reterr) {
        _cleanup_(paths_done) Paths paths = { .data = NULL };
        DataDirectoryState now;
        int r;

        r = resolve(path, tag, &paths, reterr);
        if (r >= 0)
                r = state_of(paths.data, &now, reterr);
        if (r < 0)
                return r;
        return now == DATA_DIRECTORY_EMPTY ? nothing_moved(&paths, reterr) : make_empty(&paths, now, reterr);
}
