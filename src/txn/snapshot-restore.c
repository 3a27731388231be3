/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A root is built beside the one that is there, exchanged with it, and the old one removed. Names beside it are
 * ".NAME.dhetcd-new-XXXXXX": at any crash there is either a half-built new root of that name or the old root, and both
 * may go. */

#include "snapshot-restore.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "snapshot-walk.h"

#define MARK ".dhetcd-new-"
#define RANDOM_DIGITS 6U

typedef struct Place {
        int parent_fd;
        const char *root, *name; /* borrowed */
        char beside[NAME_MAX + 1];
} Place;

static void place_done(Place *p) {
        if (p->parent_fd >= 0)
                close(p->parent_fd);
}

static bool is_leftover(const char *entry, const char *name) {
        size_t n = strlen(name);

        return entry[0] == '.' && strncmp(entry + 1, name, n) == 0 && strncmp(entry + 1 + n, MARK, strlen(MARK)) == 0 &&
               strlen(entry) == 1 + n + strlen(MARK) + RANDOM_DIGITS;
}

static int remove_beside(const Place *p, const char *entry) {
        char path[SNAPSHOT_FD_PATH_MAX];

        snapshot_fd_path(p->parent_fd, entry, path);
        return remove_tree(path);
}

static int remove_leftovers(const Place *p) {
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;
        int r;

        r = open_directory(p->parent_fd, &dir);
        if (r < 0)
                return r;

        while ((errno = 0, entry = readdir(dir))) {
                r = is_leftover(entry->d_name, p->name) ? remove_beside(p, entry->d_name) : 0;
                if (r < 0)
                        return r;
        }
        return -errno;
}

/* A name that nothing has. mkdirat(), O_EXCL and symlinkat() would notice if it were guessed. */
static int choose_beside(Place *p) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
        unsigned char random[RANDOM_DIGITS];
        char suffix[RANDOM_DIGITS + 1];

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        for (size_t i = 0; i < RANDOM_DIGITS; i++)
                suffix[i] = letters[random[i] % 32];
        suffix[RANDOM_DIGITS] = '\0';

        if ((size_t) snprintf(p->beside, sizeof(p->beside), ".%s" MARK "%s", p->name, suffix) >= sizeof(p->beside))
                return -ENAMETOOLONG;
        return 0;
}

static int open_place(const char *root, bool make_parent, Place *ret) {
        int r;

        r = snapshot_open_parent(root, &ret->parent_fd, &ret->name);
        if (r == -ENOENT && make_parent) {
                /* systemctl removes an empty "….wants" directory, for instance. */
                _cleanup_free_ char *parent = strndup(root, (size_t) (strrchr(root, '/') - root));

                r = parent ? mkdir_durable(parent, 0755) : -ENOMEM;
                if (r >= 0)
                        r = snapshot_open_parent(root, &ret->parent_fd, &ret->name);
        }
        return r;
}

/* Whether the directory at the root cannot be exchanged as a whole: it is a mount point, lies in the lower layer of an
 * overlay, or its file system does not know how. */
static bool must_be_in_place(int r) {
        return r == -EXDEV || r == -EBUSY || r == -EINVAL || r == -ENOSYS;
}

/* Brings what was built beside to the root's name. 1 when the old root is now beside, to be removed. */
static int swap_in(const Place *p, const SnapshotEntry *first) {
        struct stat st;

        if (fstatat(p->parent_fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                return renameat(p->parent_fd, p->beside, p->parent_fd, p->name) < 0 ? -errno : 0;
        }
        if (!S_ISDIR(st.st_mode) && first->type != SNAPSHOT_DIRECTORY)
                return renameat(p->parent_fd, p->beside, p->parent_fd, p->name) < 0 ? -errno : 0;
        return renameat2(p->parent_fd, p->beside, p->parent_fd, p->name, RENAME_EXCHANGE) < 0 ? -errno : 1;
}

static int restore_present(int objects_fd, const SnapshotManifest *m, const SnapshotEntry *first, size_t n,
                           const Place *p, char **reterr) {
        int r, swapped;

        r = snapshot_build(objects_fd, m, first, n, p->parent_fd, p->beside, BUILD_NEW, reterr);
        if (r < 0) {
                (void) remove_beside(p, p->beside);
                return r;
        }

        swapped = swap_in(p, first);
        if (swapped >= 0 && fsync(p->parent_fd) < 0)
                return fail(reterr, -errno, "%s is restored, but cannot be synced: %s", p->root, strerror(errno));
        if (swapped != 0) {
                r = remove_beside(p, p->beside);
                if (swapped > 0 && r < 0)
                        return fail(reterr, r, "%s is restored, but what was there before is still in %s beside it: %s",
                                    p->root, p->beside, strerror(-r));
        }
        if (must_be_in_place(swapped)) {
                r = snapshot_build(objects_fd, m, first, n, p->parent_fd, p->name, BUILD_IN_PLACE, reterr);
                if (r < 0)
                        return r;
                return fsync(p->parent_fd) < 0 ? -errno : 0;
        }
        return swapped < 0 ? fail(reterr, swapped, "%s cannot be exchanged: %s", p->root, strerror(-swapped)) : 0;
}

/* The root was not there: away with it in one step, then removed at leisure. */
static int restore_absent(const Place *p, char **reterr) {
        int r = 0;

        if (renameat(p->parent_fd, p->name, p->parent_fd, p->beside) < 0)
                r = errno == ENOENT ? 0 : -errno;
        else if (fsync(p->parent_fd) < 0)
                r = -errno;
        if (r >= 0)
                r = remove_beside(p, p->beside);
        else if (must_be_in_place(r))
                r = remove_beside(p, p->name);
        return r < 0 ? fail(reterr, r, "%s cannot be removed: %s", p->root, strerror(-r)) : 0;
}

int snapshot_restore_root(int objects_fd, const SnapshotManifest *m, const char *root, char **reterr) {
        _cleanup_(place_done) Place place = { .parent_fd = -EBADF, .root = root };
        const SnapshotEntry *first;
        size_t n;
        int r;

        snapshot_manifest_slice(m, root, &first, &n);
        if (n == 0)
                return -EBADMSG;
        r = snapshot_refuse_mounts(root, reterr);
        if (r < 0)
                return r;

        r = open_place(root, first->type != SNAPSHOT_ABSENT, &place);
        if (r == -ENOENT && first->type == SNAPSHOT_ABSENT)
                return 0;
        if (r >= 0)
                r = remove_leftovers(&place);
        if (r >= 0)
                r = choose_beside(&place);
        if (r < 0)
                return fail(reterr, r, "the directory of %s cannot be worked in: %s", root, strerror(-r));

        return first->type == SNAPSHOT_ABSENT ? restore_absent(&place, reterr)
                                              : restore_present(objects_fd, m, first, n, &place, reterr);
}

int snapshot_settle_root(const char *root, char **reterr) {
        _cleanup_(place_done) Place place = { .parent_fd = -EBADF, .root = root };
        _cleanup_close_ int root_fd = -EBADF;
        int r;

        r = open_place(root, /* make_parent= */ false, &place);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = remove_leftovers(&place);

        /* Two, since the root may be a mount point. */
        if (r >= 0 && syncfs(place.parent_fd) < 0)
                r = -errno;
        if (r >= 0) {
                root_fd = openat(place.parent_fd, place.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (root_fd >= 0 && syncfs(root_fd) < 0)
                        r = -errno;
        }
        return r < 0 ? fail(reterr, r, "the directory of %s cannot be put in order: %s", root, strerror(-r)) : 0;
}
