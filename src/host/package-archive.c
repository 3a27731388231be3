/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* gzip and tar are taken apart in two passes: the first unpacks all of it under a limit and proves its checksum, the
 * second reads the tar from memory. libarchive itself neither checks gzip's checksum nor reads on to its end. */

#include "package-archive.h"

#include <archive.h>
#include <stdint.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "package-check.h"
#include "package.h"

#define UNPACKED_MAX (64U * 1024U * 1024U)
#define ENTRIES_MAX 4096U
#define GZIP_TRAILER_SIZE 8U
#define CHUNK_SIZE (256U * 1024U)

static void archive_free_reader(struct archive *a) {
        (void) archive_read_free(a);
}

static void archive_free_writer(struct archive *a) {
        (void) archive_write_free(a);
}

DEFINE_CLEANUP(struct archive *, archive_free_reader)
DEFINE_CLEANUP(struct archive *, archive_free_writer)

/* Bytes that grow, are limited, and are wiped when freed. */
typedef struct Secret {
        char *data;
        size_t size, room;
} Secret;

static void secret_done(Secret *s) {
        if (s->data)
                explicit_bzero(s->data, s->room);
        free(s->data);
}

/* Room for `more` bytes and a NUL. realloc() would leave a copy behind. */
static int secret_reserve(Secret *s, size_t more) {
        size_t room = s->room > 0 ? s->room : CHUNK_SIZE;
        char *grown;

        if (s->size + more < s->room)
                return 0;
        while (room <= s->size + more)
                room *= 2;
        grown = malloc(room);
        if (!grown)
                return -ENOMEM;
        if (s->data) {
                memcpy(grown, s->data, s->size);
                explicit_bzero(s->data, s->room);
                free(s->data);
        }
        s->data = grown;
        s->room = room;
        return 0;
}

PackageArchive *package_archive_free(PackageArchive *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n; i++) {
                PackageEntry *e = &p->entries[i];

                archive_entry_free(e->metadata);
                free(e->path);
                if (e->data)
                        explicit_bzero(e->data, e->size);
                free(e->data);
        }
        free(p->entries);
        free(p);
        return NULL;
}

static int damaged(struct archive *a, const char *what, char **reterr) {
        return fail(reterr, -EBADMSG, "%s: %s", what, archive_error_string(a) ?: "damaged");
}

static uint32_t crc32_of(const char *data, size_t size) {
        uint32_t table[256], crc = UINT32_MAX;

        for (uint32_t i = 0; i < 256; i++) {
                table[i] = i;
                for (unsigned bit = 0; bit < 8; bit++)
                        table[i] = table[i] >> 1 ^ (table[i] & 1 ? UINT32_C(0xEDB88320) : 0);
        }
        for (size_t i = 0; i < size; i++)
                crc = crc >> 8 ^ table[(crc ^ (unsigned char) data[i]) & 0xFF];
        return ~crc;
}

static uint32_t little_endian(const unsigned char *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static int read_all(struct archive *a, Secret *ret, char **reterr) {
        for (;;) {
                ssize_t n;
                int r;

                r = secret_reserve(ret, CHUNK_SIZE);
                if (r < 0)
                        return r;
                n = archive_read_data(a, ret->data + ret->size, CHUNK_SIZE);
                if (n < 0)
                        return damaged(a, "it cannot be unpacked", reterr);
                if (n == 0)
                        return 0;
                ret->size += (size_t) n;
                if (ret->size > UNPACKED_MAX)
                        return fail(reterr, -EBADMSG, "it is larger than %u bytes when unpacked", UNPACKED_MAX);
        }
}

static int gunzip(const void *packed, size_t size, Secret *ret, char **reterr) {
        _cleanup_(archive_free_readerp) struct archive *a = archive_read_new();
        const unsigned char *trailer;
        struct archive_entry *entry;
        int r;

        if (!a || archive_read_support_filter_gzip(a) != ARCHIVE_OK || archive_read_support_format_raw(a) != ARCHIVE_OK)
                return -ENOMEM;
        if (size <= GZIP_TRAILER_SIZE || archive_read_open_memory(a, packed, size) != ARCHIVE_OK ||
            archive_read_next_header(a, &entry) != ARCHIVE_OK || archive_filter_count(a) != 2 ||
            archive_filter_code(a, 0) != ARCHIVE_FILTER_GZIP)
                return fail(reterr, -EBADMSG, "it is not a gzip file");

        r = read_all(a, ret, reterr);
        if (r < 0)
                return r;
        trailer = (const unsigned char *) packed + size - GZIP_TRAILER_SIZE;
        if (little_endian(trailer) != crc32_of(ret->data, ret->size) ||
            little_endian(trailer + 4) != (uint32_t) ret->size)
                return fail(reterr, -EBADMSG, "it is damaged: its checksum is wrong");
        return 0;
}

static int read_data(struct archive *a, PackageEntry *e, char **reterr) {
        size_t size = (size_t) archive_entry_size(e->metadata), done = 0;

        if (size > UNPACKED_MAX)
                return fail(reterr, -EBADMSG, "entry '%s' is too large", e->path);
        e->data = malloc(size + 1);
        if (!e->data)
                return -ENOMEM;
        e->size = size;
        e->data[size] = '\0';

        while (done < size) {
                ssize_t n = archive_read_data(a, e->data + done, size - done);

                if (n < 0)
                        return damaged(a, e->path, reterr);
                if (n == 0)
                        return fail(reterr, -EBADMSG, "entry '%s' is cut short", e->path);
                done += (size_t) n;
        }

        return 0;
}

static int read_entry(struct archive *a, struct archive_entry *metadata, PackageArchive *p, size_t *total,
                      char **reterr) {
        PackageEntry *e, *grown;
        int r;

        if (p->n >= ENTRIES_MAX)
                return fail(reterr, -EBADMSG, "it has more than %u entries", ENTRIES_MAX);
        grown = reallocarray(p->entries, p->n + 1, sizeof(PackageEntry));
        if (!grown)
                return -ENOMEM;
        p->entries = grown;
        e = &grown[p->n++];
        *e = (PackageEntry){ .metadata = archive_entry_clone(metadata) };
        if (!e->metadata)
                return -ENOMEM;

        r = package_check_entry(e->metadata, &e->path, reterr);
        if (r < 0 || archive_entry_filetype(e->metadata) != AE_IFREG)
                return r;

        /* A sparse file is small in the tar and large here. */
        *total += (size_t) archive_entry_size(e->metadata);
        if (*total > UNPACKED_MAX)
                return fail(reterr, -EBADMSG, "it is larger than %u bytes when unpacked", UNPACKED_MAX);
        return read_data(a, e, reterr);
}

int package_archive_read(const void *packed, size_t size, PackageArchive **ret, char **reterr) {
        _cleanup_(package_archive_freep) PackageArchive *p = calloc(1, sizeof(PackageArchive));
        _cleanup_(secret_done) Secret tar = { .size = 0 };
        _cleanup_(archive_free_readerp) struct archive *a = archive_read_new();
        struct archive_entry *metadata;
        size_t total = 0;
        int r;

        if (!p || !a || archive_read_support_format_tar(a) != ARCHIVE_OK)
                return -ENOMEM;
        r = gunzip(packed, size, &tar, reterr);
        if (r < 0)
                return r;
        if (archive_read_open_memory(a, tar.data, tar.size) != ARCHIVE_OK)
                return damaged(a, "it is not a tar archive", reterr);

        while ((r = archive_read_next_header(a, &metadata)) != ARCHIVE_EOF) {
                /* A warning means that something of the entry was not understood, and would be lost. */
                if (r != ARCHIVE_OK)
                        return damaged(a, "it is not a tar archive we understand", reterr);
                r = read_entry(a, metadata, p, &total, reterr);
                if (r < 0)
                        return r;
        }
        if (p->n == 0)
                return fail(reterr, -EBADMSG, "it is empty");

        r = package_check_tree(p, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

/* Plain ustar headers do for most packages; fractions of a second, xattrs and ACLs need pax' extended ones. */
static bool needs_pax(const PackageArchive *p) {
        for (size_t i = 0; i < p->n; i++) {
                struct archive_entry *e = p->entries[i].metadata;

                if (archive_entry_mtime_nsec(e) != 0 || archive_entry_atime_is_set(e) ||
                    archive_entry_ctime_is_set(e) || archive_entry_xattr_count(e) > 0 ||
                    archive_entry_acl_types(e) != 0)
                        return true;
        }

        return false;
}

static int write_entry(struct archive *a, const PackageEntry *e, char **reterr) {
        size_t done = 0;

        if (archive_write_header(a, e->metadata) != ARCHIVE_OK)
                return fail(reterr, -EBADMSG, "entry '%s' cannot be written: %s", e->path,
                            archive_error_string(a) ?: "unknown reason");

        while (done < e->size) {
                ssize_t n = archive_write_data(a, e->data + done, e->size - done);

                if (n <= 0)
                        return fail(reterr, -EIO, "entry '%s' cannot be written: %s", e->path,
                                    archive_error_string(a) ?: "unknown reason");
                done += (size_t) n;
        }

        return 0;
}

static ssize_t on_write(struct archive *a, void *userdata, const void *data, size_t size) {
        Secret *packed = userdata;

        if (packed->size + size > PACKAGE_SIZE_MAX) {
                archive_set_error(a, EFBIG, "larger than %u bytes", PACKAGE_SIZE_MAX);
                return -1;
        }
        if (secret_reserve(packed, size) < 0) {
                archive_set_error(a, ENOMEM, "out of memory");
                return -1;
        }
        memcpy(packed->data + packed->size, data, size);
        packed->size += size;
        return (ssize_t) size;
}

static int open_writer(struct archive *a, bool pax, Secret *packed) {
        int r = pax ? archive_write_set_format_pax(a) : archive_write_set_format_pax_restricted(a);

        /* The names that GNU tar knows; releases that do not know the option write both kinds. */
        (void) archive_write_set_format_option(a, "pax", "xattrheader", "SCHILY");
        if (r != ARCHIVE_OK || archive_write_add_filter_gzip(a) != ARCHIVE_OK ||
            archive_write_set_filter_option(a, "gzip", "timestamp", NULL) != ARCHIVE_OK ||
            archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK) /* no zeroes behind the gzip data */
                return -ENOMEM;
        return archive_write_open(a, packed, NULL, on_write, NULL) == ARCHIVE_OK ? 0 : -ENOMEM;
}

int package_archive_write(const PackageArchive *p, char **ret, size_t *ret_size, char **reterr) {
        _cleanup_(secret_done) Secret packed = { .size = 0 };
        _cleanup_(archive_free_writerp) struct archive *a = archive_write_new();
        int r;

        if (!a)
                return -ENOMEM;
        r = open_writer(a, needs_pax(p), &packed);
        for (size_t i = 0; r >= 0 && i < p->n; i++)
                r = write_entry(a, &p->entries[i], reterr);
        if (r < 0)
                return r;
        if (archive_write_close(a) != ARCHIVE_OK)
                return fail(reterr, archive_errno(a) == EFBIG ? -EFBIG : -EIO, "it cannot be packed: %s",
                            archive_error_string(a) ?: "unknown reason");

        *ret = TAKE_PTR(packed.data);
        *ret_size = packed.size;
        return 0;
}

/* Every xattr of `a` is in `b` with the same value. */
static bool xattrs_included(struct archive_entry *a, struct archive_entry *b) {
        const char *name_a, *name_b;
        const void *value_a, *value_b;
        size_t size_a, size_b;

        (void) archive_entry_xattr_reset(a);
        while (archive_entry_xattr_next(a, &name_a, &value_a, &size_a) == ARCHIVE_OK) {
                bool found = false;

                (void) archive_entry_xattr_reset(b);
                while (!found && archive_entry_xattr_next(b, &name_b, &value_b, &size_b) == ARCHIVE_OK)
                        found = streq(name_a, name_b) && size_a == size_b && memcmp(value_a, value_b, size_a) == 0;
                if (!found)
                        return false;
        }

        return true;
}

static bool metadata_equal(struct archive_entry *a, struct archive_entry *b) {
        _cleanup_free_ char *acl_a = archive_entry_acl_to_text(a, NULL, 0);
        _cleanup_free_ char *acl_b = archive_entry_acl_to_text(b, NULL, 0);

        return archive_entry_filetype(a) == archive_entry_filetype(b) &&
               archive_entry_perm(a) == archive_entry_perm(b) && archive_entry_uid(a) == archive_entry_uid(b) &&
               archive_entry_gid(a) == archive_entry_gid(b) && streq(archive_entry_uname(a), archive_entry_uname(b)) &&
               streq(archive_entry_gname(a), archive_entry_gname(b)) &&
               archive_entry_mtime(a) == archive_entry_mtime(b) &&
               archive_entry_mtime_nsec(a) == archive_entry_mtime_nsec(b) &&
               streq(archive_entry_symlink(a), archive_entry_symlink(b)) &&
               archive_entry_xattr_count(a) == archive_entry_xattr_count(b) && xattrs_included(a, b) &&
               streq(acl_a, acl_b);
}

bool package_archive_equal(const PackageArchive *a, const PackageArchive *b) {
        if (a->n != b->n)
                return false;

        for (size_t i = 0; i < a->n; i++) {
                const PackageEntry *x = &a->entries[i], *y = &b->entries[i];

                if (!streq(x->path, y->path) || !x->data != !y->data || x->size != y->size ||
                    (x->data && memcmp(x->data, y->data, x->size) != 0) || !metadata_equal(x->metadata, y->metadata))
                        return false;
        }

        return true;
}

const PackageEntry *package_archive_find(const PackageArchive *p, const char *path) {
        for (size_t i = 0; i < p->n; i++)
                if (streq(p->entries[i].path, path))
                        return &p->entries[i];
        return NULL;
}

int package_entry_set_data(PackageEntry *e, const void *data, size_t size) {
        char *copy = malloc(size + 1);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, data, size);
        copy[size] = '\0';

        if (e->data)
                explicit_bzero(e->data, e->size);
        free(e->data);
        e->data = copy;
        e->size = size;
        archive_entry_set_size(e->metadata, (int64_t) size);
        archive_entry_sparse_clear(e->metadata);
        return 0;
}
