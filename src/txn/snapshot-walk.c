/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The walk goes by directory descriptors and follows no symlink below the parent of a root. Whatever changes while it
 * is looked at is noticed by its ctime: -EAGAIN. */

#include "snapshot-walk.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/xattr.h"
#include "snapshot-objects.h"

#define XATTR_NAMES_MAX (64U * 1024U)
#define TARGET_MAX ((size_t) PATH_MAX)

static const SnapshotLimits limits = { .entries = 20000, .bytes = 1024U * 1024U * 1024U, .depth = 32 };

typedef struct Walk {
        SnapshotManifest *manifest;
        int objects_fd;
        size_t bytes;
        char *xattr_names, *xattr_value; /* buffers of XATTR_NAMES_MAX and XATTR_SIZE_MAX */
        char **reterr;
} Walk;

static int walk_failed(Walk *w, int r, const char *path, const char *what) {
        return fail(w->reterr, r, "%s %s: %s", path, what, strerror(-r));
}

static int walk_changed(Walk *w, const char *path) {
        return fail(w->reterr, -EAGAIN, "%s changed while it was looked at; stop what writes there and try again",
                    path);
}

void snapshot_fd_path(int dir_fd, const char *name, char ret[static SNAPSHOT_FD_PATH_MAX]) {
        (void) snprintf(ret, SNAPSHOT_FD_PATH_MAX, "/proc/self/fd/%d/%s", dir_fd, name);
}

static int walk_xattrs(Walk *w, int dir_fd, const char *name, SnapshotEntry *e) {
        char path[SNAPSHOT_FD_PATH_MAX];
        ssize_t n;
        int r;

        snapshot_fd_path(dir_fd, name, path);
        n = llistxattr(path, w->xattr_names, XATTR_NAMES_MAX);
        if (n < 0)
                return errno == ENOTSUP ? 0 : -errno;

        for (char *x = w->xattr_names; x < w->xattr_names + n; x += strlen(x) + 1) {
                ssize_t size;

                if (xattr_is_kernels(x))
                        continue;
                size = lgetxattr(path, x, w->xattr_value, XATTR_SIZE_MAX);
                if (size < 0)
                        return errno == ENODATA ? -EAGAIN : -errno;
                w->bytes += (size_t) size;
                r = snapshot_entry_add_xattr(e, x, w->xattr_value, (size_t) size);
                if (r < 0)
                        return r;
        }

        snapshot_entry_sort_xattrs(e);
        return 0;
}

static int walk_file(Walk *w, int dir_fd, const char *name, const struct stat *st, SnapshotEntry *e) {
        _cleanup_close_ int fd = -EBADF;
        struct stat opened;
        int r;

        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &opened) < 0)
                return walk_failed(w, -errno, e->path, "cannot be opened");
        if (opened.st_ino != st->st_ino || !S_ISREG(opened.st_mode))
                return walk_changed(w, e->path);

        e->type = SNAPSHOT_FILE;
        e->size = (uint64_t) opened.st_size;
        w->bytes += (size_t) opened.st_size;
        if (w->bytes > limits.bytes)
                return fail(w->reterr, -EFBIG,
                            "%s: more than %zu bytes in all; move what is not configuration elsewhere", e->path,
                            limits.bytes);

        r = digest_fd(fd, e->content);
        if (r >= 0 && w->objects_fd >= 0) {
                if (lseek(fd, 0, SEEK_SET) < 0)
                        r = -errno;
                else
                        r = snapshot_object_put(w->objects_fd, fd, e->content);
                if (r == -EAGAIN)
                        return walk_changed(w, e->path);
        }
        return r < 0 ? walk_failed(w, r, e->path, "cannot be kept in the store") : 0;
}

static int walk_symlink(Walk *w, int dir_fd, const char *name, SnapshotEntry *e) {
        _cleanup_free_ char *target = malloc(TARGET_MAX + 1);
        ssize_t n;

        if (!target)
                return -ENOMEM;
        n = readlinkat(dir_fd, name, target, TARGET_MAX);
        if (n < 0 || (size_t) n >= TARGET_MAX)
                return walk_failed(w, n < 0 ? -errno : -ENAMETOOLONG, e->path, "cannot be read");
        target[n] = '\0';

        e->type = SNAPSHOT_SYMLINK;
        e->target = strdup(target);
        return e->target ? 0 : -ENOMEM;
}

static int order_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int list_names(int dir_fd, char ***ret) {
        _cleanup_free_ char **names = calloc(1, sizeof(char *));
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        size_t n = 0, room = 0;
        int r = names ? open_directory(dir_fd, &dir) : -ENOMEM;

        if (r < 0)
                return r;

        while (r >= 0 && (errno = 0, entry = readdir(dir))) {
                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                if (n >= room) {
                        char **grown = reallocarray(names, (room = 2 * room + 16) + 1, sizeof(char *));

                        if (!grown) {
                                r = -ENOMEM;
                                break;
                        }
                        names = grown;
                }
                names[n] = strdup(entry->d_name);
                r = !names[n] ? -ENOMEM : ++n > limits.entries ? -E2BIG : 0;
        }
        if (r >= 0 && errno > 0)
                r = -errno;
        if (names)
                names[n] = NULL;
        if (r < 0) {
                strv_free(TAKE_PTR(names));
                return r;
        }

        qsort(names, n, sizeof(char *), order_names);
        *ret = TAKE_PTR(names);
        return 0;
}

static int walk_entry(Walk *w, int dir_fd, const char *name, const char *path, unsigned depth);

static int walk_directory(Walk *w, int dir_fd, const char *name, const struct stat *st, const char *path,
                          unsigned depth) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_strv_ char **names = NULL;
        struct stat opened;
        int r;

        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &opened) < 0)
                return walk_failed(w, -errno, path, "cannot be opened");
        if (opened.st_ino != st->st_ino)
                return walk_changed(w, path);
        r = list_names(fd, &names);
        if (r < 0)
                return walk_failed(w, r, path, "cannot be listed");

        STRV_FOREACH (child, names) {
                _cleanup_free_ char *child_path = format("%s/%s", path, *child);

                r = child_path ? walk_entry(w, fd, *child, child_path, depth + 1) : -ENOMEM;
                if (r < 0)
                        return r;
        }

        return 0;
}

/* The entry itself, without what is in it. *ret_st is what it was before any of it was read. */
static int walk_metadata(Walk *w, int dir_fd, const char *name, const char *path, bool root, struct stat *ret_st) {
        SnapshotEntry *e;
        int r;

        if (w->manifest->n >= limits.entries)
                return fail(w->reterr, -E2BIG, "%s: more than %zu entries in all", path, limits.entries);
        r = snapshot_manifest_append(w->manifest, path, &e);
        if (r < 0)
                return r;
        if (fstatat(dir_fd, name, ret_st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno == ENOENT && root)
                        return 0; /* absent */
                return errno == ENOENT ? walk_changed(w, path) : walk_failed(w, -errno, path, "cannot be looked at");
        }

        e->mode = ret_st->st_mode & 07777;
        e->uid = ret_st->st_uid;
        e->gid = ret_st->st_gid;
        e->mtime = ret_st->st_mtim;
        r = walk_xattrs(w, dir_fd, name, e);
        if (r < 0)
                return walk_failed(w, r, path, "has extended attributes that cannot be read");

        if (S_ISREG(ret_st->st_mode))
                return walk_file(w, dir_fd, name, ret_st, e);
        if (S_ISLNK(ret_st->st_mode))
                return walk_symlink(w, dir_fd, name, e);
        if (!S_ISDIR(ret_st->st_mode))
                return fail(w->reterr, -EBADFD, "%s is neither a file, a directory nor a symbolic link; remove it",
                            path);
        e->type = SNAPSHOT_DIRECTORY;
        return 0;
}

static int walk_entry(Walk *w, int dir_fd, const char *name, const char *path, unsigned depth) {
        struct stat st, after;
        int r;

        if (depth > limits.depth)
                return fail(w->reterr, -ELOOP, "%s lies deeper than %u directories", path, limits.depth);
        r = walk_metadata(w, dir_fd, name, path, depth == 0, &st);
        if (r < 0 || w->manifest->entries[w->manifest->n - 1].type == SNAPSHOT_ABSENT)
                return r;
        if (S_ISDIR(st.st_mode)) {
                r = walk_directory(w, dir_fd, name, &st, path, depth);
                if (r < 0)
                        return r;
        }

        if (fstatat(dir_fd, name, &after, AT_SYMLINK_NOFOLLOW) < 0 || after.st_ino != st.st_ino ||
            after.st_size != st.st_size || after.st_ctim.tv_sec != st.st_ctim.tv_sec ||
            after.st_ctim.tv_nsec != st.st_ctim.tv_nsec)
                return walk_changed(w, path);
        return 0;
}

int snapshot_open_parent(const char *root, int *ret_fd, const char **ret_name) {
        const char *name = strrchr(root, '/') + 1;
        _cleanup_free_ char *parent = strndup(root, (size_t) (name - root));
        int fd;

        if (!parent)
                return -ENOMEM;
        fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        *ret_name = name;
        return 0;
}

static int walk_root(Walk *w, const char *root) {
        _cleanup_close_ int parent_fd = -EBADF;
        SnapshotEntry *absent;
        const char *name;
        int r;

        r = snapshot_open_parent(root, &parent_fd, &name);
        if (r == -ENOENT)
                return snapshot_manifest_append(w->manifest, root, &absent);
        if (r < 0)
                return walk_failed(w, r, root, "cannot be reached");
        r = snapshot_refuse_mounts(root, w->reterr);
        if (r < 0)
                return r;
        return walk_entry(w, parent_fd, name, root, 0);
}

int snapshot_walk(char *const *roots, int objects_fd, SnapshotManifest **ret, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        _cleanup_free_ char *names = malloc(XATTR_NAMES_MAX), *value = malloc(XATTR_SIZE_MAX);
        Walk w = { .objects_fd = objects_fd, .xattr_names = names, .xattr_value = value, .reterr = reterr };
        int r;

        if (!names || !value)
                return -ENOMEM;
        r = snapshot_manifest_new(roots, &m, reterr);
        if (r < 0)
                return r;

        w.manifest = m;
        STRV_FOREACH (root, m->roots) {
                r = walk_root(&w, *root);
                if (r < 0)
                        return r;
        }
        r = snapshot_manifest_seal(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

/* The kernel writes space, tab, newline and backslash in /proc/self/mountinfo as \ooo. */
static void unescape_octal(char *s) {
        char *to = s;

        for (; *s; s++) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
                    s[3] <= '7') {
                        *to++ = (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 3;
                } else
                        *to++ = *s;
        }
        *to = '\0';
}

int snapshot_refuse_mounts(const char *root, char **reterr) {
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_free_ char *parent = strndup(root, (size_t) (strrchr(root, '/') + 1 - root)), *real = NULL;
        _cleanup_free_ char *prefix = NULL, *line = NULL;
        size_t room = 0;

        real = parent ? realpath(parent, NULL) : NULL;
        if (!real)
                return parent && errno == ENOENT ? 0 : -errno;
        prefix = format("%s%s/", streq(real, "/") ? "" : real, strrchr(root, '/'));
        f = fopen("/proc/self/mountinfo", "re");
        if (!prefix)
                return -ENOMEM;
        if (!f)
                return fail(reterr, -errno, "/proc/self/mountinfo cannot be read: %s", strerror(errno));

        while (getline(&line, &room, f) >= 0) {
                char *save = NULL, *field = strtok_r(line, " ", &save);

                for (unsigned i = 0; field && i < 4; i++)
                        field = strtok_r(NULL, " ", &save);
                if (!field)
                        continue;
                unescape_octal(field);
                if (strncmp(field, prefix, strlen(prefix)) == 0)
                        return fail(reterr, -EBUSY, "%s is a mount point inside %s; unmount it first: \"umount %s\"",
                                    field, root, field);
        }

        return ferror(f) ? -EIO : 0;
}
