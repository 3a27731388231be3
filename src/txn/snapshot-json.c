/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Manifests as JSON. What is read is checked as if a stranger had written it: a manifest decides what root writes
 * where. */

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/json-util.h"
#include "basic/string-util.h"
#include "snapshot-manifest.h"

#define MANIFEST_VERSION 1
#define MANIFEST_SIZE_MAX (64U * 1024U * 1024U)

static char *escape(const char *bytes) {
        static const char digits[] = "0123456789ABCDEF";
        char *text = malloc(3 * strlen(bytes) + 1), *p = text;

        if (!text)
                return NULL;
        for (const char *s = bytes; *s; s++) {
                if (*s > ' ' && *s <= '~' && *s != '%') {
                        *p++ = *s;
                        continue;
                }
                *p++ = '%';
                *p++ = digits[(unsigned char) *s >> 4];
                *p++ = digits[*s & 15];
        }
        *p = '\0';
        return text;
}

static int digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -EBADMSG;
}

/* "%XX" back to bytes. NULL with errno EBADMSG or ENOMEM. */
static char *unescape(const char *text) {
        _cleanup_free_ char *bytes = text ? malloc(strlen(text) + 1) : NULL;
        char *p = bytes;

        errno = text ? ENOMEM : EBADMSG;
        if (!bytes)
                return NULL;
        for (const char *s = text; *s; s++) {
                if (*s != '%') {
                        *p++ = *s;
                        continue;
                }
                if (digit(s[1]) < 0 || digit(s[2]) < 0 || (s[1] == '0' && s[2] == '0')) {
                        errno = EBADMSG;
                        return NULL;
                }
                *p++ = (char) (digit(s[1]) << 4 | digit(s[2]));
                s += 2;
        }
        *p = '\0';
        return TAKE_PTR(bytes);
}

static int set_escaped(json_t *object, const char *key, const char *bytes) {
        _cleanup_free_ char *text = escape(bytes);

        return text && json_object_set_new(object, key, json_string(text)) >= 0 ? 0 : -ENOMEM;
}

static int set_xattrs(json_t *object, const SnapshotEntry *e) {
        _cleanup_json_ json_t *xattrs = json_object();

        if (!xattrs)
                return -ENOMEM;
        for (size_t i = 0; i < e->n_xattrs; i++) {
                _cleanup_free_ char *name = escape(e->xattrs[i].name), *hex = malloc(2 * e->xattrs[i].size + 1);

                if (!name || !hex)
                        return -ENOMEM;
                hex_encode(e->xattrs[i].value, e->xattrs[i].size, hex);
                if (json_object_set_new(xattrs, name, json_string(hex)) < 0)
                        return -ENOMEM;
        }
        return json_object_set(object, "xattrs", xattrs) < 0 ? -ENOMEM : 0;
}

static int entry_to_json(const SnapshotEntry *e, json_t **ret) {
        _cleanup_json_ json_t *object = json_pack("{ss}", "type", snapshot_type_to_string(e->type));
        int r;

        if (!object)
                return -ENOMEM;
        r = set_escaped(object, "path", e->path);
        if (r >= 0 && e->type != SNAPSHOT_ABSENT) {
                _cleanup_json_ json_t *metadata = json_pack(
                        "{si sI sI s[I,I]}", "mode", (int) e->mode, "uid", (json_int_t) e->uid, "gid",
                        (json_int_t) e->gid, "mtime", (json_int_t) e->mtime.tv_sec, (json_int_t) e->mtime.tv_nsec);

                r = metadata && json_object_update(object, metadata) >= 0 ? set_xattrs(object, e) : -ENOMEM;
        }
        if (r >= 0 && e->type == SNAPSHOT_SYMLINK)
                r = set_escaped(object, "target", e->target);
        if (r >= 0 && e->type == SNAPSHOT_FILE &&
            (json_object_set_new(object, "size", json_integer((json_int_t) e->size)) < 0 ||
             json_object_set_new(object, "sha256", json_string(e->content)) < 0))
                r = -ENOMEM;
        if (r < 0)
                return r;

        *ret = TAKE_PTR(object);
        return 0;
}

static int tree_to_json(const SnapshotManifest *m, json_t **ret) {
        _cleanup_json_ json_t *roots = json_array(), *entries = json_array();

        if (!roots || !entries)
                return -ENOMEM;
        STRV_FOREACH (root, m->roots) {
                _cleanup_free_ char *text = escape(*root);

                if (!text || json_array_append_new(roots, json_string(text)) < 0)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < m->n; i++) {
                json_t *object;
                int r;

                r = entry_to_json(&m->entries[i], &object);
                if (r < 0)
                        return r;
                if (json_array_append_new(entries, object) < 0)
                        return -ENOMEM;
        }

        *ret = json_pack("{sO sO}", "roots", roots, "entries", entries);
        return *ret ? 0 : -ENOMEM;
}

static int digest_of_tree(const json_t *tree, char ret_digest[static DIGEST_HEX_SIZE]) {
        _cleanup_free_ char *text = json_to_text(tree, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

        return text ? digest_bytes(text, strlen(text), ret_digest) : -ENOMEM;
}

int snapshot_manifest_seal(SnapshotManifest *m) {
        _cleanup_json_ json_t *tree = NULL;
        int r;

        r = tree_to_json(m, &tree);
        return r < 0 ? r : digest_of_tree(tree, m->digest);
}

int snapshot_manifest_write(const SnapshotManifest *m, const char *path, char **reterr) {
        _cleanup_json_ json_t *tree = NULL, *manifest = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = tree_to_json(m, &tree);
        if (r < 0)
                return r;
        manifest = json_pack("{si ss ss? sI sO}", "version", MANIFEST_VERSION, "digest", m->digest, "note", m->note,
                             "sequence", (json_int_t) m->sequence, "tree", tree);
        if (!manifest)
                return fail(reterr, -EINVAL, "the note for %s is not UTF-8", path);
        text = json_to_text(manifest, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
        if (!text)
                return -ENOMEM;

        r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

static int read_xattrs(json_t *xattrs, SnapshotEntry *e) {
        const char *key;
        json_t *value;

        json_object_foreach (xattrs, key, value) {
                const char *hex = json_string_value(value);
                size_t size = hex ? strlen(hex) / 2 : 0;
                _cleanup_free_ char *name = unescape(key);
                _cleanup_free_ uint8_t *bytes = malloc(size + 1);
                int r;

                if (!name || !bytes)
                        return -errno;
                if (!hex || strlen(hex) % 2 != 0)
                        return -EBADMSG;
                for (size_t i = 0; i < size; i++) {
                        if (digit(hex[2 * i]) < 0 || digit(hex[2 * i + 1]) < 0)
                                return -EBADMSG;
                        bytes[i] = (uint8_t) (digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
                }
                r = snapshot_entry_add_xattr(e, name, bytes, size);
                if (r < 0)
                        return r;
        }

        snapshot_entry_sort_xattrs(e);
        return 0;
}

static int read_type(const char *name, SnapshotType *ret) {
        for (SnapshotType t = 0; t < _SNAPSHOT_TYPE_MAX; t++)
                if (streq(snapshot_type_to_string(t), name)) {
                        *ret = t;
                        return 0;
                }
        return -EBADMSG;
}

static bool is_digest(const char *hex) {
        return hex && strlen(hex) == DIGEST_HEX_SIZE - 1 && strspn(hex, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

static int read_metadata(json_t *object, SnapshotEntry *e) {
        json_int_t uid, gid, seconds, nanoseconds;
        json_t *xattrs;
        int mode;

        if (json_unpack(object, "{si sI sI s[I,I!] so}", "mode", &mode, "uid", &uid, "gid", &gid, "mtime", &seconds,
                        &nanoseconds, "xattrs", &xattrs) < 0 ||
            mode < 0 || mode > 07777 || uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX ||
            nanoseconds < 0 || nanoseconds >= 1000000000 || !json_is_object(xattrs))
                return -EBADMSG;

        e->mode = (mode_t) mode;
        e->uid = (uid_t) uid;
        e->gid = (gid_t) gid;
        e->mtime = (struct timespec){ .tv_sec = (time_t) seconds, .tv_nsec = (long) nanoseconds };
        return read_xattrs(xattrs, e);
}

static int read_entry(json_t *object, SnapshotManifest *m) {
        _cleanup_free_ char *path = unescape(json_string_value(json_object_get(object, "path")));
        const char *content = json_string_value(json_object_get(object, "sha256"));
        json_int_t size = json_integer_value(json_object_get(object, "size"));
        SnapshotEntry *e;
        int r;

        if (!path)
                return -errno;
        r = snapshot_manifest_append(m, path, &e);
        if (r >= 0)
                r = read_type(json_string_value(json_object_get(object, "type")), &e->type);
        if (r < 0 || e->type == SNAPSHOT_ABSENT)
                return r;
        r = read_metadata(object, e);
        if (r < 0)
                return r;

        if (e->type == SNAPSHOT_FILE) {
                if (!is_digest(content) || size < 0)
                        return -EBADMSG;
                memcpy(e->content, content, DIGEST_HEX_SIZE);
                e->size = (uint64_t) size;
        }
        if (e->type == SNAPSHOT_SYMLINK) {
                e->target = unescape(json_string_value(json_object_get(object, "target")));
                if (!e->target)
                        return -errno;
        }
        return 0;
}

/* Every entry is a root, or lies directly in a directory that is an entry; all in order, so that none is there twice.
 */
static bool is_sound_tree(const SnapshotManifest *m) {
        size_t roots = 0;

        for (size_t i = 0; i < m->n; i++) {
                const char *path = m->entries[i].path, *slash = strrchr(path, '/');
                _cleanup_free_ char *parent = slash ? strndup(path, (size_t) (slash - path)) : NULL;
                const SnapshotEntry *directory;

                if (!parent || (i > 0 && snapshot_path_order(m->entries[i - 1].path, path) >= 0))
                        return false;
                if (strv_contains(m->roots, path)) {
                        roots++;
                        continue;
                }
                directory = snapshot_manifest_find(m, parent);
                if (!directory || directory->type != SNAPSHOT_DIRECTORY || m->entries[i].type == SNAPSHOT_ABSENT ||
                    streq(slash, "/") || streq(slash, "/.") || streq(slash, "/.."))
                        return false;
        }

        return roots == strv_length(m->roots);
}

static int tree_from_json(json_t *tree, SnapshotManifest **ret) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        _cleanup_strv_ char **roots = calloc(1, sizeof(char *));
        json_t *item;
        size_t i;
        int r;

        if (!roots)
                return -ENOMEM;
        json_array_foreach (json_object_get(tree, "roots"), i, item) {
                _cleanup_free_ char *root = unescape(json_string_value(item));

                r = root ? strv_append(&roots, root) : -errno;
                if (r < 0)
                        return r;
        }
        r = snapshot_manifest_new(roots, &m, NULL);
        if (r < 0)
                return r;
        json_array_foreach (json_object_get(tree, "entries"), i, item) {
                r = read_entry(item, m);
                if (r < 0)
                        return r;
        }
        if (!is_sound_tree(m))
                return -EBADMSG;

        *ret = TAKE_PTR(m);
        return 0;
}

int snapshot_manifest_read(const char *path, SnapshotManifest **ret, char **reterr) {
        _cleanup_(snapshot_manifest_freep) SnapshotManifest *m = NULL;
        _cleanup_json_ json_t *manifest = NULL;
        _cleanup_free_ char *text = NULL;
        const char *digest = NULL, *note;
        json_t *tree = NULL;
        size_t size;
        int r, version = 0;

        r = read_file(path, MANIFEST_SIZE_MAX, /* follow= */ false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));

        manifest = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        r = -EBADMSG;
        if (manifest &&
            json_unpack(manifest, "{si ss so}", "version", &version, "digest", &digest, "tree", &tree) >= 0 &&
            version == MANIFEST_VERSION && is_digest(digest))
                r = tree_from_json(tree, &m);
        if (r >= 0)
                r = digest_of_tree(tree, m->digest);
        if (r >= 0 && !streq(m->digest, digest))
                r = -EBADMSG;
        note = json_string_value(json_object_get(manifest, "note"));
        if (r >= 0 && note && !(m->note = strdup(note)))
                r = -ENOMEM;
        if (r >= 0)
                m->sequence = (uint64_t) json_integer_value(json_object_get(manifest, "sequence"));
        if (r < 0)
                return fail(reterr, r == -ENOMEM ? r : -EBADMSG,
                            "%s is damaged, or of another version of dhetcd; nothing is restored from it", path);

        *ret = TAKE_PTR(m);
        return 0;
}
