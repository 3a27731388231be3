/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fs.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "xattr.h"

#define REMOVE_DEPTH_MAX 64U
#define XATTR_NAMES_MAX (64U * 1024U)
#define BESIDE_MARK ".dhetcd-"
#define BESIDE_RANDOM "XXXXXX"
#define BESIDE_TRIES 16U

int write_all(int fd, const void *data, size_t size) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                size -= (size_t) n;
        }

        return 0;
}

int read_file(const char *path, size_t max, bool follow, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *data = NULL;
        struct stat st;
        size_t size = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADFD;
        if ((uintmax_t) st.st_size > max)
                return -EFBIG;

        /* One byte more than it had, so that a file that grows meanwhile is noticed. */
        data = malloc((size_t) st.st_size + 2);
        if (!data)
                return -ENOMEM;

        for (;;) {
                ssize_t n = read(fd, data + size, (size_t) st.st_size + 1 - size);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
                if (size > (size_t) st.st_size)
                        return -EBUSY;
        }

        data[size] = '\0';
        *ret = TAKE_PTR(data);
        if (ret_size)
                *ret_size = size;
        return 0;
}

int fsync_path(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

int fsync_parent(const char *path) {
        char copy[PATH_MAX];
        _cleanup_close_ int fd = -EBADF;

        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);

        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return fsync(fd) < 0 ? -errno : 0;
}

/* Copies every extended attribute (ACLs are two of them) that is ours to set from one open file to another. */
static int copy_xattrs(int from, int to) {
        _cleanup_free_ char *names = malloc(XATTR_NAMES_MAX), *value = malloc(XATTR_SIZE_MAX);
        ssize_t n;

        if (!names || !value)
                return -ENOMEM;

        n = flistxattr(from, names, XATTR_NAMES_MAX);
        if (n < 0)
                return errno == ENOTSUP ? 0 : -errno;

        for (char *name = names; name < names + n; name += strlen(name) + 1) {
                ssize_t size;

                if (xattr_is_kernels(name))
                        continue;
                size = fgetxattr(from, name, value, XATTR_SIZE_MAX);
                if (size < 0)
                        return -errno;
                if (fsetxattr(to, name, value, (size_t) size, 0) < 0 && !xattr_may_fail(name, errno))
                        return -errno;
        }

        return 0;
}

/* Whether `entry` is what a writer of `name` (NULL: of anything) makes beside it. */
static bool is_beside(const char *entry, const char *name) {
        size_t n = strlen(entry), mark = strlen(BESIDE_MARK BESIDE_RANDOM);

        if (n <= mark || (name && (n - mark != strlen(name) || strncmp(entry, name, n - mark) != 0)))
                return false;
        return strncmp(entry + n - mark, BESIDE_MARK, strlen(BESIDE_MARK)) == 0;
}

/* 1: removed. One that lives holds a lock on its file; what is no file is somebody else's. */
static int remove_leftover(int dir_fd, const char *name) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return 0;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? 0 : -errno;
        if (unlinkat(dir_fd, name, 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        return 1;
}

/* Removes what writers of `name` (NULL: of anything) that died left in the directory: how many. */
static int remove_beside(const char *path, const char *name) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        struct dirent *entry;
        int r, removed = 0;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                if (!is_beside(entry->d_name, name))
                        continue;
                r = remove_leftover(dirfd(dir), entry->d_name);
                if (r < 0)
                        return r;
                removed += r;
        }
        return errno > 0 ? -errno : removed;
}

static int remove_leftovers(const char *path) {
        char copy[PATH_MAX];
        const char *name = strrchr(path, '/');
        int r;

        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);
        r = remove_beside(dirname(copy), name ? name + 1 : path);
        return r < 0 ? r : 0;
}

int remove_unfinished(const char *dir) {
        int r = remove_beside(dir, NULL);

        return r == -ENOENT ? 0 : r;
}

/* A new file beside `path`, locked: the same name is chosen again where somebody took it for a leftover. */
static int open_beside(const char *path, char ret_name[static PATH_MAX]) {
        for (unsigned tries = 0; tries < BESIDE_TRIES; tries++) {
                _cleanup_close_ int fd = -EBADF;
                struct stat st;

                if (snprintf(ret_name, PATH_MAX, "%s" BESIDE_MARK BESIDE_RANDOM, path) >= PATH_MAX)
                        return -ENAMETOOLONG;
                fd = mkostemp(ret_name, O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                if (flock(fd, LOCK_EX | LOCK_NB) >= 0 && fstat(fd, &st) >= 0 && st.st_nlink > 0)
                        return TAKE_FD(fd);
        }
        return -EBUSY;
}

static int write_beside(const char *path, int like_fd, const void *data, size_t size, mode_t mode, uid_t uid,
                        gid_t gid) {
        char temporary[PATH_MAX];
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = remove_leftovers(path);
        if (r < 0)
                return r;
        fd = open_beside(path, temporary);
        if (fd < 0)
                return fd;

        r = write_all(fd, data, size);
        if (r >= 0 && fchown(fd, uid, gid) < 0)
                r = -errno;
        if (r >= 0 && like_fd >= 0)
                r = copy_xattrs(like_fd, fd);
        if (r >= 0 && fchmod(fd, mode & 07777) < 0)
                r = -errno;
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlink(temporary);
                return r;
        }

        return fsync_parent(path);
}

int write_file_durable(const char *path, const void *data, size_t size, mode_t mode, uid_t uid, gid_t gid) {
        return write_beside(path, -EBADF, data, size, mode, uid, gid);
}

int replace_file_durable(const char *path, const void *data, size_t size) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADFD;

        return write_beside(path, fd, data, size, st.st_mode, st.st_uid, st.st_gid);
}

int mkdir_durable(const char *path, mode_t mode) {
        char prefix[PATH_MAX];
        int made = 0, r;

        if (strlen(path) >= sizeof(prefix))
                return -ENAMETOOLONG;
        strcpy(prefix, path);

        for (char *slash = prefix + 1;; slash++) {
                char saved = *slash;

                if (saved != '/' && saved != '\0')
                        continue;

                *slash = '\0';
                if (mkdir(prefix, mode) >= 0) {
                        made = 1;
                        r = fsync_parent(prefix);
                        if (r < 0)
                                return r;
                } else if (errno != EEXIST)
                        return -errno;

                if (saved == '\0')
                        return made;
                *slash = saved;
        }
}

static int fsync_parents(const char *a, const char *b) {
        int r = fsync_parent(a);

        return r < 0 ? r : fsync_parent(b);
}

int rename_durable(const char *from, const char *to) {
        if (rename(from, to) < 0)
                return -errno;
        return fsync_parents(from, to);
}

int exchange_durable(const char *a, const char *b) {
        if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
                return -errno;
        return fsync_parents(a, b);
}

int unlink_durable(const char *path) {
        int r;

        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        r = remove_leftovers(path);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        /* Also when it was not there: who removed it may have died before this. */
        return fsync_parent(path);
}

int open_directory(int dir_fd, DIR **ret) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        *ret = fdopendir(fd);
        if (!*ret) {
                close(fd);
                return -ENOMEM;
        }
        return 0;
}

static int remove_children(int dir_fd, unsigned depth) {
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int copy, r;

        if (depth > REMOVE_DEPTH_MAX)
                return -ELOOP;

        copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        dir = fdopendir(copy);
        if (!dir) {
                r = -errno;
                close(copy);
                return r;
        }

        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_close_ int fd = -EBADF;

                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                if (unlinkat(dir_fd, entry->d_name, 0) >= 0)
                        continue;
                if (errno != EISDIR && errno != EPERM)
                        return -errno;

                fd = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                r = remove_children(fd, depth + 1);
                if (r < 0)
                        return r;
                if (unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR) < 0)
                        return -errno;
        }

        return -errno;
}

int remove_tree(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r;

        if (fd < 0) {
                if (errno == ENOENT)
                        return 0;
                if (errno == ENOTDIR || errno == ELOOP)
                        return unlink_durable(path);
                return -errno;
        }

        r = remove_children(fd, 0);
        if (r < 0)
                return r;
        if (rmdir(path) < 0)
                return -errno;
        return fsync_parent(path);
}

int path_exists(const char *path) {
        struct stat st;

        if (lstat(path, &st) >= 0)
                return 1;
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int dir_is_empty(const char *path) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        struct dirent *entry;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        return 0;
        return errno > 0 ? -errno : 1;
}
