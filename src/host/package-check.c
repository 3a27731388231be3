/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The package is unpacked as root by a script that is not ours, with a tar that may be any. So what is dangerous to any
 * of them is refused here, rather than trusting one of them to be careful. */

#include "package-check.h"

#include <archive.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/string-util.h"

#define DEPTH_MAX 16U
#define NAME_LENGTH_MAX 255U
#define PATH_LENGTH_MAX 1024U
#define SHOWN_MAX 100 /* bytes of a name in a message */

#define refuse(reterr, name, why) fail(reterr, -EBADMSG, "entry '%.*s' %s", SHOWN_MAX, name, why)

/* Plain ASCII only: what a message can show, and what every tar and every locale reads alike. */
static bool is_plain_ascii(const char *s) {
        for (; *s; s++)
                if (*s < ' ' || *s > '~')
                        return false;
        return true;
}

static int canonical_path(const char *raw, char **ret, char **reterr) {
        _cleanup_free_ char *path = malloc(strlen(raw) + 1);
        unsigned depth = 0;
        char *p = path;

        if (!path)
                return -ENOMEM;
        if (*raw == '/')
                return refuse(reterr, raw, "has an absolute path");
        if (strlen(raw) > PATH_LENGTH_MAX)
                return refuse(reterr, raw, "has too long a name");

        for (const char *s = raw; *s;) {
                size_t length = strcspn(s, "/");

                if (length == 2 && memcmp(s, "..", 2) == 0)
                        return refuse(reterr, raw, "has \"..\" in its path");
                if (length > NAME_LENGTH_MAX)
                        return refuse(reterr, raw, "has too long a name");
                if (length > 0 && !(length == 1 && *s == '.')) {
                        if (++depth > DEPTH_MAX)
                                return refuse(reterr, raw, "is nested too deeply");
                        if (p > path)
                                *p++ = '/';
                        p = mempcpy(p, s, length);
                }
                s += length;
                s += *s == '/';
        }
        *p = '\0';

        *ret = TAKE_PTR(path);
        return 0;
}

static bool is_below_top(const char *path) {
        size_t n = strlen(PACKAGE_TOP);

        return strncmp(path, PACKAGE_TOP, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* A link's ".." may only lead it, and not above the top directory. With no entry below a link (package_check_tree())
 * its own directory is a real one, and so no chain of links gets out. */
static int check_link(const char *path, const char *target, char **reterr) {
        size_t above = 0; /* directories between the top and the link: what ".." may climb */
        bool down = false;

        for (const char *p = strchr(path, '/'); p && (p = strchr(p + 1, '/'));)
                above++;
        if (!target || *target == '\0' || !is_plain_ascii(target) || strlen(target) > PATH_LENGTH_MAX)
                return refuse(reterr, path, "is a symbolic link with no usable target");
        if (*target == '/')
                return refuse(reterr, path, "is a symbolic link with an absolute target");

        for (const char *s = target; *s;) {
                size_t length = strcspn(s, "/");
                bool dots = length == 2 && memcmp(s, "..", 2) == 0;

                if (dots && (down || above-- == 0))
                        return refuse(reterr, path, "is a symbolic link that leads out of " PACKAGE_TOP "/");
                down = down || !(dots || length == 0 || (length == 1 && *s == '.'));
                s += length;
                s += *s == '/';
        }

        return 0;
}

static int check_type(struct archive_entry *e, const char *path, char **reterr) {
        mode_t mode = archive_entry_perm(e);

        if (archive_entry_hardlink(e))
                return refuse(reterr, path, "is a hard link");
        if (mode & S_ISUID)
                return refuse(reterr, path, "is setuid");

        switch (archive_entry_filetype(e)) {
        case AE_IFDIR:
                return 0;
        case AE_IFREG:
                if (mode & S_ISGID)
                        return refuse(reterr, path, "is setgid");
                if (!archive_entry_size_is_set(e) || archive_entry_size(e) < 0)
                        return refuse(reterr, path, "has no size");
                return 0;
        case AE_IFLNK:
                return check_link(path, archive_entry_symlink(e), reterr);
        default:
                return refuse(reterr, path, "is neither a file, a directory nor a symbolic link");
        }
}

int package_check_entry(struct archive_entry *metadata, char **ret_path, char **reterr) {
        const char *raw = archive_entry_pathname(metadata);
        _cleanup_free_ char *path = NULL;
        int r;

        if (!raw || *raw == '\0' || !is_plain_ascii(raw))
                return fail(reterr, -EBADMSG, "an entry's name is not plain ASCII");
        r = canonical_path(raw, &path, reterr);
        if (r < 0)
                return r;

        /* "./" is what tar makes of the folder it was called in. */
        if (path[0] == '\0' ? archive_entry_filetype(metadata) != AE_IFDIR : !is_below_top(path))
                return refuse(reterr, raw, "is not inside " PACKAGE_TOP "/");
        if (streq(path, PACKAGE_TOP) && archive_entry_filetype(metadata) != AE_IFDIR)
                return refuse(reterr, raw, "must be a directory");
        r = check_type(metadata, path, reterr);
        if (r < 0)
                return r;

        *ret_path = TAKE_PTR(path);
        return 0;
}

static int compare_entries(const void *a, const void *b) {
        return strcmp((*(const PackageEntry *const *) a)->path, (*(const PackageEntry *const *) b)->path);
}

static int compare_path(const void *key, const void *entry) {
        return strcmp(key, (*(const PackageEntry *const *) entry)->path);
}

static int check_parents(const PackageEntry *e, const PackageEntry **sorted, size_t n, char **reterr) {
        char parent[PATH_LENGTH_MAX + 1];

        for (const char *slash = e->path; (slash = strchr(slash, '/')); slash++) {
                const PackageEntry **found;

                memcpy(parent, e->path, (size_t) (slash - e->path));
                parent[slash - e->path] = '\0';
                found = bsearch(parent, sorted, n, sizeof(*sorted), compare_path);
                if (found && archive_entry_filetype((*found)->metadata) != AE_IFDIR)
                        return refuse(reterr, e->path, "lies below an entry that is not a directory");
        }

        return 0;
}

int package_check_tree(const PackageArchive *p, char **reterr) {
        _cleanup_free_ const PackageEntry **sorted = calloc(p->n + 1, sizeof(*sorted));
        int r;

        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < p->n; i++)
                sorted[i] = &p->entries[i];
        qsort(sorted, p->n, sizeof(*sorted), compare_entries);

        for (size_t i = 0; i < p->n; i++) {
                if (i > 0 && streq(sorted[i]->path, sorted[i - 1]->path))
                        return refuse(reterr, sorted[i]->path, "is there twice");
                r = check_parents(sorted[i], sorted, p->n, reterr);
                if (r < 0)
                        return r;
        }

        return 0;
}
