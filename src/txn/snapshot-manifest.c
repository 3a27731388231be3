/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "snapshot-manifest.h"

#include <stdlib.h>
#include <string.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "basic/xattr.h"

SnapshotManifest *snapshot_manifest_free(SnapshotManifest *m) {
        if (!m)
                return NULL;
        for (size_t i = 0; i < m->n; i++) {
                SnapshotEntry *e = &m->entries[i];

                for (size_t j = 0; j < e->n_xattrs; j++) {
                        free(e->xattrs[j].name);
                        free(e->xattrs[j].value);
                }
                free(e->xattrs);
                free(e->path);
                free(e->target);
        }
        free(m->entries);
        strv_free(m->roots);
        free(m->note);
        free(m);
        return NULL;
}

static int rank(char c) {
        return c == '\0' ? -1 : c == '/' ? 0 : (unsigned char) c;
}

int snapshot_path_order(const char *a, const char *b) {
        while (*a && *a == *b) {
                a++;
                b++;
        }
        return rank(*a) - rank(*b);
}

static int order_strings(const void *a, const void *b) {
        return snapshot_path_order(*(char *const *) a, *(char *const *) b);
}

static bool is_clean_path(const char *path) {
        if (*path != '/')
                return false;

        for (const char *s = path; *s;) {
                size_t length = strcspn(++s, "/");

                if (length == 0 || (length <= 2 && strncmp(s, "..", length) == 0))
                        return false;
                s += length;
        }

        return true;
}

static bool is_below(const char *path, const char *root) {
        size_t n = strlen(root);

        return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

int snapshot_manifest_new(char *const *roots, SnapshotManifest **ret, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = calloc(1, sizeof(SnapshotManifest));

        if (!m)
                return -ENOMEM;
        m->roots = strv_copy(roots);
        if (!m->roots)
                return -ENOMEM;
        qsort(m->roots, strv_length(m->roots), sizeof(char *), order_strings);

        STRV_FOREACH (root, m->roots) {
                if (!is_clean_path(*root))
                        return fail(reterr, -EINVAL, "'%s' is not a clean absolute path", *root);
                if (root > m->roots && is_below(*root, root[-1]))
                        return fail(reterr, -EINVAL, "'%s' lies inside '%s'", *root, root[-1]);
        }

        *ret = TAKE_PTR(m);
        return 0;
}

int snapshot_manifest_append(SnapshotManifest *m, const char *path, SnapshotEntry **ret) {
        if (m->n >= m->room) {
                size_t room = m->room > 0 ? 2 * m->room : 64;
                SnapshotEntry *grown = reallocarray(m->entries, room, sizeof(SnapshotEntry));

                if (!grown)
                        return -ENOMEM;
                m->entries = grown;
                m->room = room;
        }

        m->entries[m->n] = (SnapshotEntry){ .path = strdup(path) };
        if (!m->entries[m->n].path)
                return -ENOMEM;
        *ret = &m->entries[m->n++];
        return 0;
}

int snapshot_entry_add_xattr(SnapshotEntry *e, const char *name, const void *value, size_t size) {
        SnapshotXattr *grown = reallocarray(e->xattrs, e->n_xattrs + 1, sizeof(SnapshotXattr)), *x;

        if (!grown)
                return -ENOMEM;
        e->xattrs = grown;
        x = &grown[e->n_xattrs++];
        *x = (SnapshotXattr){ .name = strdup(name), .value = malloc(size + 1), .size = size };
        if (!x->name || !x->value)
                return -ENOMEM;
        memcpy(x->value, value, size);
        return 0;
}

static int order_xattrs(const void *a, const void *b) {
        return strcmp(((const SnapshotXattr *) a)->name, ((const SnapshotXattr *) b)->name);
}

void snapshot_entry_sort_xattrs(SnapshotEntry *e) {
        if (e->n_xattrs > 0)
                qsort(e->xattrs, e->n_xattrs, sizeof(SnapshotXattr), order_xattrs);
}

const SnapshotEntry *snapshot_manifest_find(const SnapshotManifest *m, const char *path) {
        size_t low = 0, high = m->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = snapshot_path_order(path, m->entries[middle].path);

                if (order == 0)
                        return &m->entries[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }

        return NULL;
}

void snapshot_manifest_slice(const SnapshotManifest *m, const char *root, const SnapshotEntry **ret, size_t *ret_n) {
        const SnapshotEntry *first = snapshot_manifest_find(m, root);
        size_t n = 0;

        while (first && first + n < m->entries + m->n && is_below(first[n].path, root))
                n++;
        *ret = first;
        *ret_n = n;
}

/* The next that is not the kernel's own, or NULL. */
static const SnapshotXattr *next_xattr(const SnapshotEntry *e, size_t *i) {
        while (*i < e->n_xattrs && xattr_is_kernels(e->xattrs[*i].name))
                (*i)++;
        return *i < e->n_xattrs ? &e->xattrs[(*i)++] : NULL;
}

static bool xattrs_equal(const SnapshotEntry *a, const SnapshotEntry *b) {
        size_t i = 0, j = 0;

        for (;;) {
                const SnapshotXattr *x = next_xattr(a, &i), *y = next_xattr(b, &j);

                if (!x || !y)
                        return x == y;
                if (!streq(x->name, y->name) || x->size != y->size || memcmp(x->value, y->value, x->size) != 0)
                        return false;
        }
}

const char *snapshot_entry_difference(const SnapshotEntry *a, const SnapshotEntry *b) {
        if (a->type != b->type)
                return "type";
        if (a->size != b->size || !streq(a->content, b->content))
                return "content";
        if (!streq(a->target, b->target))
                return "link target";
        if (a->mode != b->mode)
                return "mode";
        if (a->uid != b->uid || a->gid != b->gid)
                return "owner";
        if (!xattrs_equal(a, b))
                return "extended attributes";
        if (a->mtime.tv_sec != b->mtime.tv_sec || a->mtime.tv_nsec != b->mtime.tv_nsec)
                return "modification time";
        return NULL;
}

const char *snapshot_type_to_string(SnapshotType t) {
        static const char *const names[_SNAPSHOT_TYPE_MAX] = {
                [SNAPSHOT_ABSENT] = "absent",
                [SNAPSHOT_FILE] = "file",
                [SNAPSHOT_DIRECTORY] = "directory",
                [SNAPSHOT_SYMLINK] = "symlink",
        };

        return names[t];
}
