/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Entries come in the order of the manifest: a directory, then what is in it. The directories we are in are a stack;
 * one that is left gets its owner, mode and times then, when nothing changes in it any more, and so the innermost come
 * first. */

#include "snapshot-restore.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/xattr.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/xattr.h"
#include "snapshot-objects.h"
#include "snapshot-walk.h"

#define LEVELS_MAX 65U /* more than any snapshot is deep */
#define XATTR_NAMES_MAX (64U * 1024U)
#define UNFINISHED ".dhetcd-new" /* a file or link that is about to be renamed into place */

typedef struct Level {
        int fd;
        const SnapshotEntry *entry;
} Level;

typedef struct Build {
        int objects_fd, parent_fd;
        const SnapshotManifest *manifest;
        const SnapshotEntry *root;
        const char *name; /* of the root, where it is built */
        BuildMode mode;
        Level levels[LEVELS_MAX];
        unsigned depth;
} Build;

static void build_done(Build *b) {
        while (b->depth > 0)
                close(b->levels[--b->depth].fd);
}

/* The directory that an entry at the present depth is in, and its name there. */
static int directory_fd(const Build *b, unsigned depth) {
        return depth > 0 ? b->levels[depth - 1].fd : b->parent_fd;
}

static const char *name_of(const Build *b, const SnapshotEntry *e) {
        return e == b->root ? b->name : strrchr(e->path, '/') + 1;
}

static bool entry_has_xattr(const SnapshotEntry *e, const char *name) {
        for (size_t i = 0; i < e->n_xattrs; i++)
                if (streq(e->xattrs[i].name, name))
                        return true;
        return false;
}

/* What metadata is set on. Files and directories by descriptor: a directory on the way may belong to somebody who is
 * not root, and who must not lead a chmod() elsewhere. Symlinks cannot be opened like that, so they go by directory and
 * name. */
typedef struct Target {
        int fd; /* -EBADF for a symlink */
        int dir_fd;
        const char *name;
        char path[SNAPSHOT_FD_PATH_MAX]; /* of a symlink */
} Target;

static int set_owner(const Target *t, const SnapshotEntry *e) {
        _cleanup_close_ int link_fd = -EBADF;
        struct stat st;

        if (t->fd >= 0)
                return fchown(t->fd, e->uid, e->gid) < 0 ? -errno : 0;

        link_fd = openat(t->dir_fd, t->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (link_fd < 0 || fstat(link_fd, &st) < 0)
                return -errno;
        if (!S_ISLNK(st.st_mode))
                return -EAGAIN;
        return fchownat(link_fd, "", e->uid, e->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Those that are there and should not be (inherited default ACLs, for instance) go; the entry's own are set. */
static int set_xattrs(const Target *t, const SnapshotEntry *e) {
        _cleanup_free_ char *names = malloc(XATTR_NAMES_MAX);
        bool link = t->fd < 0;
        ssize_t n;

        if (!names)
                return -ENOMEM;
        n = link ? llistxattr(t->path, names, XATTR_NAMES_MAX) : flistxattr(t->fd, names, XATTR_NAMES_MAX);
        if (n < 0 && errno != ENOTSUP)
                return -errno;
        for (char *x = names; x < names + n; x += strlen(x) + 1)
                if (!entry_has_xattr(e, x) && !xattr_is_kernels(x) &&
                    (link ? lremovexattr(t->path, x) : fremovexattr(t->fd, x)) < 0 && errno != ENODATA &&
                    !xattr_may_fail(x, errno))
                        return -errno;

        for (size_t i = 0; i < e->n_xattrs; i++) {
                const SnapshotXattr *x = &e->xattrs[i];

                if (!xattr_is_kernels(x->name) &&
                    (link ? lsetxattr(t->path, x->name, x->value, x->size, 0)
                          : fsetxattr(t->fd, x->name, x->value, x->size, 0)) < 0 &&
                    !xattr_may_fail(x->name, errno))
                        return -errno;
        }

        return 0;
}

/* Ownership first, since changing it drops capabilities and set-id bits; times last, since all else changes them. */
static int set_metadata(int fd, int dir_fd, const char *name, const SnapshotEntry *e) {
        struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, e->mtime };
        Target t = { .fd = fd, .dir_fd = dir_fd, .name = name };
        int r;

        snapshot_fd_path(dir_fd, name, t.path);
        r = set_owner(&t, e);
        if (r >= 0)
                r = set_xattrs(&t, e);
        if (r < 0)
                return r;

        if (fd < 0)
                return utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
        if (fchmod(fd, e->mode) < 0)
                return -errno;
        return futimens(fd, times) < 0 ? -errno : 0;
}

static int make_file(const Build *b, int dir_fd, const char *name, const SnapshotEntry *e) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = snapshot_object_copy(b->objects_fd, e->content, fd);
        if (r >= 0)
                r = set_metadata(fd, dir_fd, name, e);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

static int make_leaf(const Build *b, int dir_fd, const char *name, const SnapshotEntry *e) {
        if (e->type == SNAPSHOT_FILE)
                return make_file(b, dir_fd, name, e);
        if (symlinkat(e->target, dir_fd, name) < 0)
                return -errno;
        return set_metadata(-EBADF, dir_fd, name, e);
}

static int remove_at(int dir_fd, const char *name) {
        char path[SNAPSHOT_FD_PATH_MAX];

        snapshot_fd_path(dir_fd, name, path);
        return remove_tree(path);
}

static int kind_at(int dir_fd, const char *name, mode_t *ret) {
        struct stat st;

        *ret = 0;
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        *ret = st.st_mode & S_IFMT;
        return 0;
}

/* In place: made beside, then renamed, so that the file's name leads to the old or to the new one at any moment. */
static int replace_leaf(const Build *b, int dir_fd, const char *name, const SnapshotEntry *e) {
        mode_t kind;
        int r;

        r = remove_at(dir_fd, UNFINISHED);
        if (r >= 0)
                r = make_leaf(b, dir_fd, UNFINISHED, e);
        if (r >= 0)
                r = kind_at(dir_fd, name, &kind);
        if (r >= 0 && S_ISDIR(kind))
                r = remove_at(dir_fd, name);
        if (r >= 0 && renameat(dir_fd, UNFINISHED, dir_fd, name) < 0)
                r = -errno;
        return r;
}

static int enter_directory(Build *b, int dir_fd, const char *name, const SnapshotEntry *e) {
        mode_t kind = 0;
        int fd, r = 0;

        if (b->depth >= LEVELS_MAX)
                return -ELOOP;
        if (b->mode == BUILD_IN_PLACE) {
                r = kind_at(dir_fd, name, &kind);
                if (r >= 0 && kind != 0 && !S_ISDIR(kind))
                        r = remove_at(dir_fd, name);
        }
        if (r >= 0 && !S_ISDIR(kind) && mkdirat(dir_fd, name, 0700) < 0)
                r = -errno;
        if (r < 0)
                return r;

        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        b->levels[b->depth++] = (Level){ .fd = fd, .entry = e };
        return 0;
}

/* In place: what the snapshot does not have goes. */
static int remove_extras(const Build *b, const Level *level) {
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int r;

        r = open_directory(level->fd, &dir);
        if (r < 0)
                return r;

        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_free_ char *path = format("%s/%s", level->entry->path, entry->d_name);

                if (!path)
                        return -ENOMEM;
                if (streq(entry->d_name, ".") || streq(entry->d_name, "..") ||
                    snapshot_manifest_find(b->manifest, path))
                        continue;
                r = remove_at(level->fd, entry->d_name);
                if (r < 0)
                        return r;
        }

        return -errno;
}

static int leave_directory(Build *b) {
        Level *level = &b->levels[b->depth - 1];
        int r = 0;

        if (b->mode == BUILD_IN_PLACE)
                r = remove_extras(b, level);
        if (r >= 0)
                r = set_metadata(level->fd, -EBADF, name_of(b, level->entry), level->entry);
        if (r >= 0 && fsync(level->fd) < 0)
                r = -errno;
        close(level->fd);
        b->depth--;
        return r;
}

static bool is_inside(const SnapshotEntry *directory, const SnapshotEntry *e) {
        size_t n = strlen(directory->path);

        return strncmp(e->path, directory->path, n) == 0 && e->path[n] == '/';
}

/* Leaves the directories that `next` is not in; all of them where it is NULL. */
static int leave_until(Build *b, const SnapshotEntry *next) {
        while (b->depth > 0 && (!next || !is_inside(b->levels[b->depth - 1].entry, next))) {
                int r = leave_directory(b);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int build_entry(Build *b, const SnapshotEntry *e) {
        int dir_fd = directory_fd(b, b->depth);

        if (e->type == SNAPSHOT_DIRECTORY)
                return enter_directory(b, dir_fd, name_of(b, e), e);
        return b->mode == BUILD_IN_PLACE ? replace_leaf(b, dir_fd, name_of(b, e), e)
                                         : make_leaf(b, dir_fd, name_of(b, e), e);
}

int snapshot_build(int objects_fd, const SnapshotManifest *m, const SnapshotEntry *entries, size_t n, int parent_fd,
                   const char *name, BuildMode mode, char **reterr) {
        _cleanup_(build_done) Build b = {
                .objects_fd = objects_fd,
                .parent_fd = parent_fd,
                .manifest = m,
                .root = entries,
                .name = name,
                .mode = mode,
        };
        int r;

        for (size_t i = 0; i <= n; i++) {
                const SnapshotEntry *next = i < n ? &entries[i] : NULL;

                r = leave_until(&b, next);
                if (r >= 0 && next)
                        r = build_entry(&b, next);
                if (r < 0)
                        return fail(reterr, r, "%s cannot be made again: %s", next ? next->path : entries->path,
                                    strerror(-r));
        }

        return 0;
}
