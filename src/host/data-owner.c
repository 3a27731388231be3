/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "data-owner.h"

#include <fcntl.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"

#define DEPTH_MAX 16U

typedef struct Walk {
        DataOwnerEach each;
        void *userdata;
        dev_t device;
        unsigned entries;
} Walk;

static int visit(Walk *w, int at, const char *name, const char *path, unsigned depth);

static int visit_entries(Walk *w, int at, const char *path, unsigned depth) {
        int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;

        if (!d) {
                int r = -errno;

                if (fd >= 0)
                        close(fd);
                return r;
        }
        while ((e = readdir(d))) {
                _cleanup_free_ char *below = NULL;
                int r;

                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                below = format("%s%s%s", path, *path ? "/" : "", e->d_name);
                r = below ? visit(w, at, e->d_name, below, depth + 1) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What goes away while it is looked at, as etcd's temporary files do, was not there. */
static int visit(Walk *w, int at, const char *name, const char *path, unsigned depth) {
        _cleanup_close_ int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (depth > DEPTH_MAX || ++w->entries > DATA_OWNER_ENTRIES_MAX)
                return -E2BIG;
        if (depth == 0)
                w->device = st.st_dev;
        if (st.st_dev != w->device)
                return 0;
        r = w->each(fd, path, &st, w->userdata);
        return r < 0 || !S_ISDIR(st.st_mode) ? r : visit_entries(w, fd, path, depth);
}

int data_owner_each(const char *path, DataOwnerEach each, void *userdata, char **reterr) {
        Walk w = { .each = each, .userdata = userdata };
        _cleanup_close_ int fd = trusted_path_open(path);
        int r = fd == -ENOENT ? 0 : fd < 0 ? fd : visit(&w, fd, ".", "", 0);

        return r < 0 ? fail(reterr, r, "%s cannot be looked through: %s", path, strerror(-r)) : 0;
}
