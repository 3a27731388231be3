/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "snapshot-objects.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/string-util.h"

#define FOLDER_DIGITS 2U
#define UNFINISHED ".new" /* one is enough: writers hold the lock */

static int open_folder(int objects_fd, const char *hex, bool make) {
        char name[FOLDER_DIGITS + 1] = { hex[0], hex[1], '\0' };
        int fd;

        if (make && mkdirat(objects_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(objects_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int open_object(int folder_fd, const char *hex) {
        int fd = openat(folder_fd, hex + FOLDER_DIGITS, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* From the offset of the one to the offset of the other. */
static int copy_content(int from, int to) {
        char buffer[64 * 1024];

        for (;;) {
                ssize_t n = read(from, buffer, sizeof(buffer));
                int r;

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        return 0;
                r = write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
}

/* > 0 when all of the open file has this digest. Its offset is at the end afterwards. */
static int matches(int fd, const char *hex) {
        char actual[DIGEST_HEX_SIZE];
        int r;

        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        r = digest_fd(fd, actual);
        return r < 0 ? r : streq(actual, hex);
}

static int check_in_folder(int folder_fd, const char *hex) {
        _cleanup_close_ int fd = open_object(folder_fd, hex);

        return fd == -ENOENT ? 0 : fd < 0 ? fd : matches(fd, hex);
}

static int put_in_folder(int folder_fd, int fd, const char *hex) {
        _cleanup_close_ int object_fd = -EBADF;
        int r;

        object_fd = openat(folder_fd, UNFINISHED, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (object_fd < 0)
                return -errno;

        r = copy_content(fd, object_fd);
        if (r >= 0)
                r = matches(object_fd, hex);
        if (r == 0)
                r = -EAGAIN;
        if (r >= 0 && fsync(object_fd) < 0)
                r = -errno;
        if (r >= 0 && renameat(folder_fd, UNFINISHED, folder_fd, hex + FOLDER_DIGITS) < 0)
                r = -errno;
        if (r < 0)
                (void) unlinkat(folder_fd, UNFINISHED, 0);
        return r < 0 ? r : 0;
}

int snapshot_object_put(int objects_fd, int fd, const char *hex) {
        _cleanup_close_ int folder_fd = open_folder(objects_fd, hex, /* make= */ true);
        int r;

        if (folder_fd < 0)
                return folder_fd;
        r = check_in_folder(folder_fd, hex);
        if (r == 0)
                r = put_in_folder(folder_fd, fd, hex);
        if (r < 0)
                return r;

        /* Also when it was there: who put it there may have died before this. */
        return fsync(folder_fd) < 0 ? -errno : 0;
}

int snapshot_object_check(int objects_fd, const char *hex, uint64_t size) {
        _cleanup_close_ int folder_fd = open_folder(objects_fd, hex, /* make= */ false), fd = -EBADF;
        struct stat st;

        if (folder_fd < 0)
                return folder_fd == -ENOENT ? 0 : folder_fd;
        fd = open_object(folder_fd, hex);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        return S_ISREG(st.st_mode) && (uint64_t) st.st_size == size ? matches(fd, hex) : 0;
}

int snapshot_object_copy(int objects_fd, const char *hex, int fd) {
        _cleanup_close_ int folder_fd = open_folder(objects_fd, hex, /* make= */ false), object_fd = -EBADF;
        int r;

        if (folder_fd < 0)
                return folder_fd;
        object_fd = open_object(folder_fd, hex);
        if (object_fd < 0)
                return object_fd;

        r = copy_content(object_fd, fd);
        if (r >= 0)
                r = matches(fd, hex);
        return r == 0 ? -EBADMSG : r < 0 ? r : 0;
}

static int order_digests(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int prune_folder(int objects_fd, const char *folder, const char *const *digests, size_t n) {
        _cleanup_(closedirp) DIR *dir = NULL;
        int fd, removed = 0;
        struct dirent *entry;

        fd = open_folder(objects_fd, folder, /* make= */ false);
        if (fd < 0)
                return fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }

        while ((errno = 0, entry = readdir(dir))) {
                char hex[FOLDER_DIGITS + sizeof(entry->d_name)];
                const char *key = hex;

                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                (void) stpcpy(stpcpy(hex, folder), entry->d_name);
                if (n > 0 && bsearch(&key, digests, n, sizeof(*digests), order_digests))
                        continue;
                if (unlinkat(fd, entry->d_name, 0) < 0)
                        return -errno;
                removed += !streq(entry->d_name, UNFINISHED);
        }

        return errno > 0 ? -errno : removed;
}

int snapshot_objects_prune(int objects_fd, const char *const *digests, size_t n) {
        int removed = 0;

        for (unsigned i = 0; i < 256; i++) {
                char folder[FOLDER_DIGITS + 1];
                int r;

                (void) snprintf(folder, sizeof(folder), "%02x", i);
                r = prune_folder(objects_fd, folder, digests, n);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return r;
                removed += r;
                if (unlinkat(objects_fd, folder, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
                        return -errno;
        }

        return fsync(objects_fd) < 0 ? -errno : removed;
}
