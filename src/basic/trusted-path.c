/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "trusted-path.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "error.h"
#include "string-util.h"

#define LINKS_MAX 40U

/* ---- resolving ---- */

typedef struct Resolve {
        char real[PATH_MAX], left[PATH_MAX]; /* without symlinks; what is still to be looked at */
        unsigned links;
} Resolve;

static int append_component(Resolve *s, const char *name) {
        size_t n = strlen(s->real);

        if (streq(name, "") || streq(name, "."))
                return 0;
        if (streq(name, "..")) {
                char *slash = strrchr(s->real, '/');

                if (slash)
                        *slash = '\0';
                return 0;
        }
        if (n + 1 + strlen(name) >= sizeof(s->real))
                return -ENAMETOOLONG;
        s->real[n] = '/';
        strcpy(s->real + n + 1, name);
        return 0;
}

/* The symlink that is the last component of what is resolved. */
static int follow(Resolve *s, uid_t owner, char **reterr) {
        char target[PATH_MAX], rest[PATH_MAX];
        ssize_t n;

        if (owner != 0 && owner != geteuid())
                return fail(reterr, -EPERM, "%s is a symbolic link that root did not make; look at it: ls -l %s",
                            s->real, s->real);
        n = readlink(s->real, target, sizeof(target));
        if (n < 0)
                return fail(reterr, -errno, "%s cannot be read: %s", s->real, strerror(errno));
        if (++s->links > LINKS_MAX || (size_t) n >= sizeof(target))
                return fail(reterr, -ELOOP, "%s leads nowhere", s->real);
        target[n] = '\0';

        strcpy(rest, s->left);
        if ((size_t) snprintf(s->left, sizeof(s->left), "%s/%s", target, rest) >= sizeof(s->left))
                return fail(reterr, -ENAMETOOLONG, "%s leads too far", s->real);
        if (target[0] == '/')
                s->real[0] = '\0';
        else
                *strrchr(s->real, '/') = '\0';
        return 0;
}

int trusted_path_resolve(const char *path, char **ret, char **reterr) {
        Resolve s = { .real = "" };
        int r;

        if (path[0] != '/' || strlen(path) >= sizeof(s.left))
                return fail(reterr, -EINVAL, "'%.128s' is no absolute path", path);
        strcpy(s.left, path);

        while (s.left[0] != '\0') {
                size_t n = strcspn(s.left, "/");
                char name[PATH_MAX];
                struct stat st;

                memcpy(name, s.left, n);
                name[n] = '\0';
                n += s.left[n] == '/';
                memmove(s.left, s.left + n, strlen(s.left + n) + 1);
                r = append_component(&s, name);
                if (r < 0)
                        return fail(reterr, r, "'%.128s' is too long", path);
                if (lstat(s.real, &st) < 0) {
                        if (s.real[0] != '\0' && errno != ENOENT)
                                return fail(reterr, -errno, "%s cannot be looked at: %s", s.real, strerror(errno));
                        continue;
                }
                r = S_ISLNK(st.st_mode) ? follow(&s, st.st_uid, reterr) : 0;
                if (r < 0)
                        return r;
        }

        *ret = strdup(s.real[0] ? s.real : "/");
        return *ret ? 0 : -ENOMEM;
}

/* ---- opening ---- */

/* One component; where it is missing and there is a mode, it is made. */
static int enter(int fd, const char *name, const mode_t *mode) {
        int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (next >= 0 || errno != ENOENT || !mode)
                return next < 0 ? -errno : next;
        if ((mkdirat(fd, name, *mode) < 0 && errno != EEXIST) || fsync(fd) < 0)
                return -errno;
        return enter(fd, name, NULL);
}

static int walk(const char *path, const mode_t *mode) {
        _cleanup_close_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char copy[PATH_MAX], *save = NULL;

        if (path[0] != '/')
                return -EINVAL;
        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);

        for (char *name = strtok_r(copy, "/", &save); fd >= 0 && name; name = strtok_r(NULL, "/", &save)) {
                int next = enter(fd, name, mode);

                if (next < 0)
                        return next;
                close(fd);
                fd = next;
        }
        return fd < 0 ? -errno : TAKE_FD(fd);
}

int trusted_path_open(const char *path) {
        return walk(path, NULL);
}

int trusted_path_make(const char *path, mode_t mode) {
        _cleanup_close_ int fd = walk(path, &mode);

        return fd < 0 ? fd : 0;
}

int trusted_path_remove(const char *path) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *parent = slash ? strndup(path, (size_t) (slash - path) ?: 1) : NULL;
        _cleanup_close_ int fd = parent ? trusted_path_open(parent) : slash ? -ENOMEM : -EINVAL;

        if (fd < 0)
                return fd;
        return unlinkat(fd, slash + 1, AT_REMOVEDIR) < 0 || fsync(fd) < 0 ? -errno : 0;
}

static bool is_at_or_below(const char *path, const char *dir) {
        size_t n = strlen(dir);

        return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

int trusted_path_open_below(const char *path, const char *root) {
        _cleanup_free_ char *real_root = realpath(root, NULL), *real = NULL;
        char copy[PATH_MAX];

        if (!real_root)
                return -errno;
        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);
        real = realpath(dirname(copy), NULL);
        if (!real)
                return -errno;
        return is_at_or_below(real, real_root) ? trusted_path_open(real) : -EXDEV;
}

const char *file_at(int dir_fd, const char *path, char buffer[static PATH_MAX]) {
        const char *slash = strrchr(path, '/');

        if (dir_fd < 0)
                return path;
        (void) snprintf(buffer, PATH_MAX, "/proc/self/fd/%d/%s", dir_fd, slash ? slash + 1 : path);
        return buffer;
}
