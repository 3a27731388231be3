/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The order that survives a power cut: objects and their folders are on disk before the manifest gets its name, and the
 * manifest before success is returned. So a manifest never names an object that is not there. */

#include "snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "snapshot-manifest.h"
#include "snapshot-objects.h"
#include "snapshot-restore.h"
#include "snapshot-walk.h"

#define NAME_LENGTH_MAX 128U
#define DIFFERENCES_MAX 100U
#define MANIFEST_SUFFIX ".json"

typedef struct Store {
        int fd, objects_fd;
        char *snapshots; /* path of the folder of manifests */
} Store;

static void store_done(Store *s) {
        closep(&s->fd);
        closep(&s->objects_fd);
        free(s->snapshots);
}

static int store_make(const char *store, char **reterr) {
        static const char *const folders[] = { "objects", "snapshots" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = format("%s/%s", store, folders[i]);
                int r;

                if (!path)
                        return -ENOMEM;
                r = mkdir_durable(path, 0700);
                if (r < 0)
                        return fail(reterr, r, "%s cannot be made: %s", path, strerror(-r));
        }

        return 0;
}

/* `lock` is LOCK_EX for who adds or removes, LOCK_SH for who needs what is there. */
static int store_open(const char *store, int lock, Store *ret, char **reterr) {
        ret->fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (ret->fd >= 0)
                ret->objects_fd = openat(ret->fd, "objects", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (ret->fd < 0 || ret->objects_fd < 0)
                return fail(reterr, -errno, "the snapshot store %s cannot be opened: %s", store, strerror(errno));
        if (flock(ret->fd, lock | LOCK_NB) < 0)
                return fail(reterr, errno == EWOULDBLOCK ? -EBUSY : -errno,
                            "the snapshot store %s is in use by another process; try again when that has ended", store);

        ret->snapshots = format("%s/snapshots", store);
        return ret->snapshots ? 0 : -ENOMEM;
}

static int manifest_path(const char *store, const char *name, char **ret, char **reterr) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

        if (*name == '\0' || *name == '.' || strlen(name) > NAME_LENGTH_MAX || name[strspn(name, allowed)] != '\0')
                return fail(reterr, -EINVAL, "'%s' cannot be a snapshot's name", name);
        *ret = format("%s/snapshots/%s" MANIFEST_SUFFIX, store, name);
        return *ret ? 0 : -ENOMEM;
}

static int manifest_load(const char *store, const char *name, SnapshotManifest **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = manifest_path(store, name, &path, reterr);
        if (r < 0)
                return r;
        r = snapshot_manifest_read(path, ret, reterr);
        return r == -ENOENT ? fail(reterr, r, "there is no snapshot '%s' in %s", name, store) : r;
}

static bool is_of_group(const char *file, const char *name) {
        size_t n = strcspn(name, "."), length = strlen(file), suffix = strlen(MANIFEST_SUFFIX);

        return strncmp(file, name, n) == 0 && file[n] == '.' && length > suffix &&
               streq(file + length - suffix, MANIFEST_SUFFIX);
}

/* One more than any of its group has. One that cannot be read has none: what is restored from it is refused anyway. */
static int next_sequence(const Store *s, const char *name, uint64_t *ret, char **reterr) {
        _cleanup_(closedirp) DIR *dir = opendir(s->snapshots);
        uint64_t newest = 0;
        struct dirent *entry;

        if (!dir)
                return fail(reterr, -errno, "%s cannot be listed: %s", s->snapshots, strerror(errno));
        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
                _cleanup_free_ char *path = format("%s/%s", s->snapshots, entry->d_name);

                if (!path)
                        return -ENOMEM;
                if (!is_of_group(entry->d_name, name))
                        continue;
                if (snapshot_manifest_read(path, &m, NULL) >= 0 && m->sequence > newest)
                        newest = m->sequence;
        }
        *ret = newest + 1;
        return errno > 0 ? fail(reterr, -errno, "%s cannot be listed: %s", s->snapshots, strerror(errno)) : 0;
}

int snapshot_take(const char *store, const char *name, char *const *roots, const char *note,
                  char ret_digest[static DIGEST_HEX_SIZE], char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        _cleanup_(store_done) Store s = { .fd = -EBADF, .objects_fd = -EBADF };
        _cleanup_free_ char *path = NULL;
        int r;

        r = manifest_path(store, name, &path, reterr);
        if (r >= 0)
                r = store_make(store, reterr);
        if (r >= 0)
                r = store_open(store, LOCK_EX, &s, reterr);
        if (r < 0)
                return r;

        r = snapshot_manifest_read(path, &m, reterr);
        if (r >= 0) {
                /* Who wrote it may have died between its rename and the fsync of the folder. */
                r = fsync_parent(path);
                memcpy(ret_digest, m->digest, DIGEST_HEX_SIZE);
                return r < 0 ? fail(reterr, r, "%s cannot be synced: %s", path, strerror(-r)) : 0;
        }
        if (r != -ENOENT)
                return r;

        r = snapshot_walk(roots, s.objects_fd, &m, reterr);
        if (r < 0)
                return r;
        /* The store's own folders too: who made them may have died before their fsync. */
        r = fsync_parent(store);
        if (r >= 0 && (fsync(s.objects_fd) < 0 || fsync(s.fd) < 0))
                r = -errno;
        if (r < 0)
                return fail(reterr, r, "the snapshot store %s cannot be synced: %s", store, strerror(-r));
        m->note = note ? strdup(note) : NULL;
        if (note && !m->note)
                return -ENOMEM;
        r = next_sequence(&s, name, &m->sequence, reterr);
        if (r >= 0)
                r = snapshot_manifest_write(m, path, reterr);
        if (r < 0)
                return r;

        memcpy(ret_digest, m->digest, DIGEST_HEX_SIZE);
        return 1;
}

int snapshot_digest_now(char *const *roots, char ret_digest[static DIGEST_HEX_SIZE], char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        int r;

        r = snapshot_walk(roots, SNAPSHOT_NO_STORE, &m, reterr);
        if (r >= 0)
                memcpy(ret_digest, m->digest, DIGEST_HEX_SIZE);
        return r;
}

int snapshot_describe(const char *store, const char *name, char ret_digest[static DIGEST_HEX_SIZE], char **ret_note,
                      char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        int r;

        r = manifest_load(store, name, &m, reterr);
        if (r < 0)
                return r;
        memcpy(ret_digest, m->digest, DIGEST_HEX_SIZE);
        if (ret_note)
                *ret_note = TAKE_PTR(m->note);
        return 0;
}

/* Whether the root differs from the snapshot now. What cannot even be looked at (a socket that somebody made in it, a
 * file that changes) does: restoring puts it right. */
static int root_differs(const SnapshotManifest *m, char *root) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *now = NULL;
        char *roots[] = { root, NULL };
        const SnapshotEntry *then;
        size_t n;
        int r;

        r = snapshot_walk(roots, SNAPSHOT_NO_STORE, &now, NULL);
        if (r < 0)
                return r == -ENOMEM ? r : 1;

        snapshot_manifest_slice(m, root, &then, &n);
        if (n != now->n)
                return 1;
        for (size_t i = 0; i < n; i++)
                if (!streq(then[i].path, now->entries[i].path) || snapshot_entry_difference(&then[i], &now->entries[i]))
                        return 1;
        return 0;
}

/* The roots that must be restored; none of their contents may be missing. */
static int plan_restore(const SnapshotManifest *m, const Store *s, char ***ret, char **reterr) {
        _cleanup_strv_ char **differing = calloc(1, sizeof(char *));
        int r;

        if (!differing)
                return -ENOMEM;
        STRV_FOREACH (root, m->roots) {
                const SnapshotEntry *entries;
                size_t n;

                r = root_differs(m, *root);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;

                snapshot_manifest_slice(m, *root, &entries, &n);
                for (size_t i = 0; i < n; i++) {
                        if (entries[i].type != SNAPSHOT_FILE)
                                continue;
                        r = snapshot_object_check(s->objects_fd, entries[i].content, entries[i].size);
                        if (r <= 0)
                                return fail(reterr, r < 0 ? r : -EBADMSG,
                                            "the kept content of %s (object %s) is missing or damaged; nothing was "
                                            "changed. Put the file back from a backup, then restore again",
                                            entries[i].path, entries[i].content);
                }
                r = strv_append(&differing, *root);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(differing);
        return 0;
}

int snapshot_restore(const char *store, const char *name, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        _cleanup_(store_done) Store s = { .fd = -EBADF, .objects_fd = -EBADF };
        _cleanup_strv_ char **differing = NULL;
        int changed = 0, result = 0, r;

        r = manifest_load(store, name, &m, reterr);
        if (r >= 0)
                r = store_open(store, LOCK_SH, &s, reterr);
        if (r >= 0)
                r = plan_restore(m, &s, &differing, reterr);
        if (r < 0)
                return r;

        STRV_FOREACH (root, m->roots) {
                char **first_error = result < 0 ? NULL : reterr;

                if (strv_contains(differing, *root)) {
                        r = snapshot_restore_root(s.objects_fd, m, *root, first_error);
                        changed += r >= 0;
                } else
                        r = snapshot_settle_root(*root, first_error);
                RET_GATHER(result, r);
        }

        return result < 0 ? result : changed;
}

static int add_difference(char ***differences, int *count, const char *path, const char *what, const char *more) {
        _cleanup_free_ char *text = NULL;

        if (++*count > (int) DIFFERENCES_MAX)
                return 0;
        text = format("%s %s%s", path, what, more);
        return text ? strv_append(differences, text) : -ENOMEM;
}

/* Two sorted lists side by side. A root that is absent is an entry too, and so is never alone. */
static int compare_entries(const SnapshotManifest *then, const SnapshotManifest *now, char ***differences) {
        size_t i = 0, j = 0;
        int count = 0, r = 0;

        while (r >= 0 && (i < then->n || j < now->n)) {
                const SnapshotEntry *a = i < then->n ? &then->entries[i] : NULL;
                const SnapshotEntry *b = j < now->n ? &now->entries[j] : NULL;
                int order = !a ? 1 : !b ? -1 : snapshot_path_order(a->path, b->path);

                if (order < 0)
                        r = add_difference(differences, &count, a->path, "is not there any more", "");
                else if (order > 0)
                        r = add_difference(differences, &count, b->path, "is new", "");
                else {
                        const char *what = snapshot_entry_difference(a, b);

                        if (a->type != b->type && b->type == SNAPSHOT_ABSENT)
                                r = add_difference(differences, &count, a->path, "is not there any more", "");
                        else if (a->type != b->type && a->type == SNAPSHOT_ABSENT)
                                r = add_difference(differences, &count, a->path, "is new", "");
                        else if (what)
                                r = add_difference(differences, &count, a->path, "differs in its ", what);
                }
                i += order <= 0;
                j += order >= 0;
        }

        return r < 0 ? r : count;
}

int snapshot_compare(const char *store, const char *name, char ***ret_differences, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *then = NULL, *now = NULL;
        _cleanup_strv_ char **differences = calloc(1, sizeof(char *));
        int r;

        if (!differences)
                return -ENOMEM;
        r = manifest_load(store, name, &then, reterr);
        if (r >= 0)
                r = snapshot_walk(then->roots, SNAPSHOT_NO_STORE, &now, reterr);
        if (r >= 0)
                r = compare_entries(then, now, &differences);
        if (r >= 0)
                *ret_differences = TAKE_PTR(differences);
        return r;
}

/* Those that were taken before there were sequence numbers have their time alone. */
static int time_of(const char *store, const char *name, uint64_t *ret) {
        _cleanup_free_ char *path = NULL;
        struct stat st;
        int r;

        r = manifest_path(store, name, &path, NULL);
        if (r < 0)
                return r;
        if (lstat(path, &st) < 0)
                return -errno;
        *ret = (uint64_t) st.st_mtim.tv_sec * USEC_PER_SEC + (uint64_t) st.st_mtim.tv_nsec / 1000;
        return 0;
}

int snapshot_is_older(const char *store, const char *a, const char *b) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL, *n = NULL;
        uint64_t time_a, time_b;
        int r;

        r = manifest_load(store, a, &m, NULL);
        if (r >= 0)
                r = manifest_load(store, b, &n, NULL);
        if (r < 0)
                return r;
        if (m->sequence > 0 && n->sequence > 0 && m->sequence != n->sequence)
                return m->sequence < n->sequence;
        r = time_of(store, a, &time_a);
        if (r >= 0)
                r = time_of(store, b, &time_b);
        return r < 0 ? r : time_a < time_b;
}

int snapshot_remove(const char *store, const char *name, char **reterr) {
        _cleanup_(store_done) Store s = { .fd = -EBADF, .objects_fd = -EBADF };
        _cleanup_free_ char *path = NULL;
        int r;

        r = manifest_path(store, name, &path, reterr);
        if (r < 0)
                return r;
        r = path_exists(path);
        if (r == 0)
                return 0;
        r = store_open(store, LOCK_EX, &s, reterr);
        if (r < 0)
                return r;
        r = unlink_durable(path);
        return r < 0 ? fail(reterr, r, "%s cannot be removed: %s", path, strerror(-r)) : 0;
}

/* Digests of all contents that manifests name. The strings are owned. */
typedef struct Digests {
        char **items;
        size_t n, room;
} Digests;

static void digests_done(Digests *d) {
        for (size_t i = 0; i < d->n; i++)
                free(d->items[i]);
        free(d->items);
}

static int digests_add(Digests *d, const char *digest) {
        if (d->n >= d->room) {
                size_t room = d->room > 0 ? 2 * d->room : 256;
                char **grown = reallocarray(d->items, room, sizeof(char *));

                if (!grown)
                        return -ENOMEM;
                d->items = grown;
                d->room = room;
        }
        d->items[d->n] = strdup(digest);
        if (!d->items[d->n])
                return -ENOMEM;
        d->n++;
        return 0;
}

static int order_digests(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int collect_manifest(const char *path, Digests *d, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        int r;

        r = snapshot_manifest_read(path, &m, reterr);
        for (size_t i = 0; r >= 0 && i < m->n; i++)
                if (m->entries[i].type == SNAPSHOT_FILE)
                        r = digests_add(d, m->entries[i].content);
        return r;
}

/* A manifest that cannot be read may need any object: then nothing is pruned. What a crash left of one's writing goes.
 */
static int collect_digests(const Store *s, Digests *d, char **reterr) {
        _cleanup_(closedirp) DIR *dir = opendir(s->snapshots);
        struct dirent *entry;
        int r;

        if (!dir)
                return fail(reterr, -errno, "%s cannot be listed: %s", s->snapshots, strerror(errno));

        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_free_ char *path = format("%s/%s", s->snapshots, entry->d_name);
                size_t length = strlen(entry->d_name), suffix = strlen(MANIFEST_SUFFIX);

                if (!path)
                        return -ENOMEM;
                if (strstr(entry->d_name, MANIFEST_SUFFIX ".dhetcd-")) {
                        r = unlink_durable(path);
                        if (r < 0)
                                return fail(reterr, r, "%s cannot be removed: %s", path, strerror(-r));
                        continue;
                }
                if (length <= suffix || !streq(entry->d_name + length - suffix, MANIFEST_SUFFIX))
                        continue;
                r = collect_manifest(path, d, reterr);
                if (r < 0)
                        return r;
        }

        if (errno > 0)
                return fail(reterr, -errno, "%s cannot be listed: %s", s->snapshots, strerror(errno));
        if (d->n > 0)
                qsort(d->items, d->n, sizeof(char *), order_digests);
        return 0;
}

int snapshot_prune(const char *store, char **reterr) {
        _cleanup_(store_done) Store s = { .fd = -EBADF, .objects_fd = -EBADF };
        _cleanup_(digests_done) Digests d = { .n = 0 };
        _cleanup_free_ char *manifests = format("%s/snapshots", store);
        int r;

        if (!manifests)
                return -ENOMEM;
        r = path_exists(manifests); /* the last folder that is made: who made the store may have died before it */
        if (r == 0)
                return 0;
        r = store_open(store, LOCK_EX, &s, reterr);
        if (r >= 0)
                r = collect_digests(&s, &d, reterr);
        if (r < 0)
                return r;

        r = snapshot_objects_prune(s.objects_fd, (const char *const *) d.items, d.n);
        return r < 0 ? fail(reterr, r, "unused objects in %s cannot be removed: %s", store, strerror(-r)) : r;
}
