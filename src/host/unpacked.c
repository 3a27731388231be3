/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "unpacked.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "package-archive.h"
#include "package-check.h"
#include "package.h"

#define CLIENT_PREFIX PACKAGE_TOP "/client/"
#define LIST_MAX 20U /* more would say no more */

static int add(char ***list, const char *path, const char *what) {
        _cleanup_free_ char *text = format("%s %s", path, what);

        if (!text)
                return -ENOMEM;
        return strv_length(*list) < LIST_MAX ? strv_append(list, text) : 0;
}

/* ---- the clients ---- */

typedef struct Clients {
        const char *dir;
        int fd; /* of dir */
        unsigned packed, unpacked;
        char ***list;
} Clients;

/* What is different, or NULL. */
static const char *difference(const Clients *c, const char *name, const PackageEntry *e) {
        _cleanup_close_ int fd = openat(c->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        char wanted[DIGEST_HEX_SIZE], found[DIGEST_HEX_SIZE];
        struct stat st;

        if (fd < 0)
                return errno == ENOENT ? "is not there" : "cannot be read";
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return "is no regular file";
        if ((size_t) st.st_size != e->size || digest_bytes(e->data, e->size, wanted) < 0 || digest_fd(fd, found) < 0 ||
            !streq(wanted, found))
                return "is not the one of the package";
        return NULL;
}

/* USER/FILE, or NULL where the entry is not one that counts. */
static const char *client_file(const PackageEntry *e) {
        const char *name = e->path + strlen(CLIENT_PREFIX), *slash;

        if (!package_entry_is_file(e) || strncmp(e->path, CLIENT_PREFIX, strlen(CLIENT_PREFIX)) != 0)
                return NULL;
        slash = strchr(name, '/');
        if (!slash || strrchr(name, '/')[1] == '.')
                return NULL;
        return strncmp(name, "root/", 5) != 0 || streq(slash + 1, "password") ? name : NULL;
}

static int check_client(Clients *c, const PackageEntry *e) {
        const char *name = client_file(e), *what;
        _cleanup_free_ char *user = NULL, *path = NULL;
        struct stat st;

        if (!name)
                return 0;
        c->packed++;
        user = strndup(name, strcspn(name, "/"));
        path = format("%s/%s", c->dir, name);
        if (!user || !path)
                return -ENOMEM;
        if (fstatat(c->fd, user, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                return 0;
        c->unpacked++;
        what = difference(c, name, e);
        return what ? add(c->list, path, what) : 0;
}

static int read_package(const char *path, PackageArchive **ret, char **reterr) {
        _cleanup_free_ char *packed = NULL;
        size_t size;
        int r;

        r = read_file(path, PACKAGE_SIZE_MAX, /* follow= */ false, &packed, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        r = package_archive_read(packed, size, ret, reterr);
        explicit_bzero(packed, size);
        return r < 0 ? fail_prefix(reterr, r, "%s", path) : 0;
}

int unpacked_check_clients(const char *package, const char *client_dir, char ***list, char **reterr) {
        _cleanup_(package_archive_freep) PackageArchive *p = NULL;
        Clients c = { .dir = client_dir, .list = list };
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = read_package(package, &p, reterr);
        if (r < 0)
                return r;
        c.fd = fd = open(client_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return add(list, client_dir, errno == ENOENT ? "is not there" : "cannot be read");
        for (size_t i = 0; i < p->n && r >= 0; i++)
                r = check_client(&c, p->entries + i);
        if (r >= 0 && c.packed > 0 && c.unpacked == 0)
                r = add(list, client_dir, "has no client of the package");
        return r;
}

/* ---- what etcd reads ---- */

/* `bit`: of others, S_IROTH or S_IXOTH. An ACL may say anything. */
static bool may(const char *path, const struct stat *st, uid_t uid, mode_t bit) {
        if (uid == 0 || getxattr(path, "system.posix_acl_access", NULL, 0) > 0)
                return true;
        if (st->st_uid == uid)
                return st->st_mode & (bit << 6);
        return st->st_mode & bit || (st->st_gid != 0 && st->st_mode & (bit << 3));
}

static int check_access(const char *path, uid_t uid, mode_t bit, char ***list) {
        struct stat st;

        if (stat(path, &st) < 0)
                return add(list, path, errno == ENOENT ? "is not there" : "cannot be looked at");
        return may(path, &st, uid, bit) ? 1 : add(list, path, "cannot be read by etcd: its owner or mode is wrong");
}

/* The directories on the way first; one sentence is enough. */
int unpacked_check_readable(const char *path, const char *top, uid_t uid, char ***list) {
        size_t n = strlen(top);

        if (strncmp(path, top, n) != 0 || path[n] != '/')
                return 0;
        for (const char *slash = path + n; slash; slash = strchr(slash + 1, '/')) {
                _cleanup_free_ char *dir = strndup(path, (size_t) (slash - path));
                int r = dir ? check_access(dir, uid, S_IXOTH, list) : -ENOMEM;

                if (r <= 0)
                        return r;
        }
        return check_access(path, uid, S_IROTH, list) < 0 ? -ENOMEM : 0;
}
