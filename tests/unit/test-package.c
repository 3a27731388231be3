/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/package.h"

#define MTIME 1700000000
#define CLUSTER "etcd-1=https://10.128.1.149:2380,etcd-2=https://10.128.1.150:2380"
#define CONFIG(n) "name: etcd-" n "\ninitial-cluster-token: c2ca0c898\ninitial-cluster: " CLUSTER "\n"

typedef struct Item {
        const char *path;
        mode_t type; /* AE_IF…; 0: a regular file */
        mode_t mode; /* 0: 0640 or 0750 */
        const char *data, *link, *hardlink;
        size_t size;       /* of zeroes, where no data */
        const char *xattr; /* value of user.test */
        long nsec;
} Item;

static char dir[] = "/tmp/test-package-XXXXXX", *package, *clients, *ca_old, *ca_new;

static char *new_authority(const char *name) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, NULL);
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        BIO *bio = BIO_new(BIO_s_mem());
        X509 *x = X509_new();
        EVP_PKEY *key = NULL;
        char *data, *text;
        long size;

        assert_true(EVP_PKEY_keygen_init(context) > 0 && EVP_PKEY_keygen(context, &key) > 0);
        X509_set_version(x, 2);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1,
                                   0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        X509_gmtime_adj(X509_getm_notBefore(x), 0);
        X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        X509_set_pubkey(x, key);
        X509_add_ext(x, e, -1);
        assert_true(X509_sign(x, key, NULL) > 0);
        assert_true(PEM_write_bio_X509(bio, x));
        size = BIO_get_mem_data(bio, &data);
        text = strndup(data, (size_t) size);

        X509_EXTENSION_free(e);
        EVP_PKEY_CTX_free(context);
        EVP_PKEY_free(key);
        BIO_free(bio);
        X509_free(x);
        return text;
}

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        package = format("%s/dh_etcd_config.tgz", dir);
        clients = format("%s/client", dir);
        ca_old = new_authority("old");
        ca_new = new_authority("new");
        return mkdir(clients, 0700);
}

static int drop_dir(void **state) {
        free(package);
        free(clients);
        free(ca_old);
        free(ca_new);
        return remove_tree(dir);
}

static struct archive_entry *entry_of(const Item *item) {
        struct archive_entry *e = archive_entry_new();
        mode_t type = item->type ?: AE_IFREG;

        archive_entry_set_pathname(e, item->path);
        archive_entry_set_filetype(e, type);
        archive_entry_set_perm(e, item->mode ?: (type == AE_IFDIR ? 0750 : 0640));
        archive_entry_set_uid(e, 1001);
        archive_entry_set_gid(e, 3000000);
        archive_entry_set_uname(e, "etcd");
        archive_entry_set_gname(e, "irisadmin");
        archive_entry_set_mtime(e, MTIME, item->nsec);
        archive_entry_set_size(e, type == AE_IFREG ? (int64_t) (item->data ? strlen(item->data) : item->size) : 0);
        if (item->link)
                archive_entry_set_symlink(e, item->link);
        if (item->hardlink) {
                archive_entry_set_size(e, 0);
                archive_entry_set_hardlink(e, item->hardlink);
        }
        if (item->xattr)
                archive_entry_xattr_add_entry(e, "user.test", item->xattr, strlen(item->xattr));
        return e;
}

static void pack_as(const Item *items, size_t n, bool gzip, int format_code) {
        struct archive *a = archive_write_new();

        assert_int_equal(archive_write_set_format(a, format_code), ARCHIVE_OK);
        assert_int_equal(gzip ? archive_write_add_filter_gzip(a) : archive_write_add_filter_none(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_filename(a, package), ARCHIVE_OK);
        for (size_t i = 0; i < n; i++) {
                struct archive_entry *e = entry_of(&items[i]);

                assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
                if (items[i].data)
                        assert_int_equal(archive_write_data(a, items[i].data, strlen(items[i].data)),
                                         strlen(items[i].data));
                else if (items[i].size > 0) {
                        char *zeroes = calloc(1, items[i].size);

                        assert_int_equal(archive_write_data(a, zeroes, items[i].size), items[i].size);
                        free(zeroes);
                }
                archive_entry_free(e);
        }
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        assert_int_equal(archive_write_free(a), ARCHIVE_OK);
}

static void pack(const Item *items, size_t n) {
        pack_as(items, n, true, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
}

static int inspect(PackageInfo **ret, char **reterr) {
        *ret = NULL;
        return package_inspect(package, ret, reterr);
}

static void expect_refused(const char *what) {
        _cleanup_(package_info_freep) PackageInfo *info = NULL;
        _cleanup_free_ char *why = NULL;
        int r = inspect(&info, &why);

        if (r != -EBADMSG)
                print_error("%s: %i %s\n", what, r, why);
        assert_int_equal(r, -EBADMSG);
        assert_non_null(why);
        assert_non_null(strstr(why, package));
}

/* As `tar -czf x dh-etcd/` packs it, and as `tar -czf x ./` does. */
static void test_inspect(void **state) {
        static const char *const prefixes[] = { "", "./" };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                char paths[9][64];
                static const char *const names[] = {
                        "",
                        "dh-etcd/",
                        "dh-etcd/client/",
                        "dh-etcd/client/schema-ro/password",
                        "dh-etcd/client/root/",
                        "dh-etcd/client/root/password",
                        "dh-etcd/server/1/config.yaml",
                        "dh-etcd/server/2/config.yaml",
                        "dh-etcd/ca.crt",
                };
                _cleanup_free_ char *bundle = format("%s%s%s", ca_old, ca_new, ca_old), *both = NULL;
                _cleanup_(package_info_freep) PackageInfo *info = NULL;
                char digest[DIGEST_HEX_SIZE];
                Item items[9];

                for (size_t j = 0; j < 9; j++) {
                        (void) snprintf(paths[j], sizeof(paths[j]), "%s%s", prefixes[i], names[j]);
                        items[j] = (Item){ .path = paths[j] };
                }
                items[0].type = items[1].type = items[2].type = items[4].type = AE_IFDIR;
                items[3].data = items[5].data = "secret";
                items[6].data = CONFIG("1");
                items[7].data = CONFIG("2");
                items[8].data = bundle;
                pack_as(items + (i == 0), 9 - (i == 0), true, ARCHIVE_FORMAT_TAR_GNUTAR);

                assert_int_equal(inspect(&info, NULL), 0);
                assert_int_equal(digest_file(package, digest), 0);
                assert_string_equal(info->digest, digest);
                assert_int_equal(strv_length(info->users), 2);
                assert_string_equal(info->users[0], "root");
                assert_string_equal(info->users[1], "schema-ro");
                assert_int_equal(strv_length(info->nodes), 2);
                assert_string_equal(info->nodes[0], "10.128.1.149");
                assert_string_equal(info->nodes[1], "10.128.1.150");
                assert_string_equal(info->names[1], "etcd-2");
                assert_int_equal(strv_length(info->configured), 2);
                assert_string_equal(info->configured[1], "etcd-2");
                assert_string_equal(info->cluster_id, "c2ca0c898");
                both = format("%s%s", ca_old, ca_new);
                assert_string_equal(info->authorities, both);
        }
}

static void test_inspect_little(void **state) {
        static const Item items[] = {
                { .path = "dh-etcd/latest/x" },
                { .path = "dh-etcd/other", .type = AE_IFLNK, .link = "latest/./x" },
                { .path = "dh-etcd/a/b/up", .type = AE_IFLNK, .link = "../../other" },
                { .path = "dh-etcd/a", .type = AE_IFDIR, .mode = 02775 },
        };
        _cleanup_(package_info_freep) PackageInfo *info = NULL;

        pack(items, ELEMENTSOF(items));
        assert_int_equal(inspect(&info, NULL), 0);
        assert_int_equal(strv_length(info->users), 0);
        assert_int_equal(strv_length(info->nodes), 0);
        assert_null(info->cluster_id);
        assert_string_equal(info->authorities, "");
}

typedef struct HostileCase {
        const char *what;
        Item items[3];
} HostileCase;

static void test_hostile(void **state) {
        static char long_name[300] = "dh-etcd/", long_path[3000] = "dh-etcd/";
        static const HostileCase cases[] = {
                { "absolute path", { { .path = "/dh-etcd/x" } } },
                { "outside", { { .path = "etc/x" } } },
                { "beside", { { .path = "dh-etcd-2/x" } } },
                { "..", { { .path = "dh-etcd/../x" } } },
                { ".. at the end", { { .path = "dh-etcd/a/..", .type = AE_IFDIR } } },
                { "../dh-etcd", { { .path = "../dh-etcd/x" } } },
                { "top is a file", { { .path = "dh-etcd" } } },
                { "top is a link", { { .path = "dh-etcd", .type = AE_IFLNK, .link = "x" } } },
                { "root is a file", { { .path = "." } } },
                { "absolute link", { { .path = "dh-etcd/l", .type = AE_IFLNK, .link = "/etc" } } },
                { "link out", { { .path = "dh-etcd/l", .type = AE_IFLNK, .link = "../x" } } },
                { "link far out", { { .path = "dh-etcd/a/l", .type = AE_IFLNK, .link = "../../../etc/shadow" } } },
                { "link that turns", { { .path = "dh-etcd/a/l", .type = AE_IFLNK, .link = "b/../../../x" } } },
                { "link without target", { { .path = "dh-etcd/l", .type = AE_IFLNK, .link = "" } } },
                { "file through link",
                  { { .path = "dh-etcd/d", .type = AE_IFDIR },
                    { .path = "dh-etcd/l", .type = AE_IFLNK, .link = "d" },
                    { .path = "dh-etcd/l/x" } } },
                { "file before its link",
                  { { .path = "dh-etcd/l/x" }, { .path = "dh-etcd/l", .type = AE_IFLNK, .link = "d" } } },
                { "file below file", { { .path = "dh-etcd/f" }, { .path = "dh-etcd/f/x" } } },
                { "hard link", { { .path = "dh-etcd/a" }, { .path = "dh-etcd/h", .hardlink = "dh-etcd/a" } } },
                { "hard link out", { { .path = "dh-etcd/h", .hardlink = "/etc/shadow" } } },
                { "fifo", { { .path = "dh-etcd/p", .type = AE_IFIFO } } },
                { "character device", { { .path = "dh-etcd/c", .type = AE_IFCHR } } },
                { "block device", { { .path = "dh-etcd/b", .type = AE_IFBLK } } },
                { "setuid", { { .path = "dh-etcd/s", .mode = 04755 } } },
                { "setgid", { { .path = "dh-etcd/s", .mode = 02755 } } },
                { "setuid directory", { { .path = "dh-etcd/s", .type = AE_IFDIR, .mode = 04755 } } },
                { "twice", { { .path = "dh-etcd/x" }, { .path = "dh-etcd/x" } } },
                { "twice, spelled differently", { { .path = "dh-etcd/x" }, { .path = "./dh-etcd//./x" } } },
                { "link, then file",
                  { { .path = "dh-etcd/x", .type = AE_IFLNK, .link = "y" }, { .path = "dh-etcd/x" } } },
                { "control character", { { .path = "dh-etcd/\x1b[31m" } } },
                { "newline", { { .path = "dh-etcd/a\nb" } } },
                { "long name", { { .path = long_name } } },
                { "long path", { { .path = long_path } } },
                { "deep", { { .path = "dh-etcd/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g" } } },
                { "large", { { .path = "dh-etcd/x", .size = 65 * 1024 * 1024 } } },
                { "large together",
                  { { .path = "dh-etcd/x", .size = 40 * 1024 * 1024 },
                    { .path = "dh-etcd/y", .size = 40 * 1024 * 1024 } } },
                { "bad YAML", { { .path = "dh-etcd/config.yaml", .data = "a: [" } } },
                { "initial-cluster without address",
                  { { .path = "dh-etcd/config.yaml", .data = "initial-cluster: a=https://host:2380" } } },
                { "bad certificate", { { .path = "dh-etcd/x", .data = "-----BEGIN CERTIFICATE-----\n" } } },
                { "other initial-cluster",
                  { { .path = "dh-etcd/1/config.yaml", .data = "initial-cluster: a=https://10.0.0.1:2380" },
                    { .path = "dh-etcd/2/config.yaml", .data = "initial-cluster: b=https://10.0.0.1:2380" } } },
                { "other token",
                  { { .path = "dh-etcd/1/config.yaml", .data = CONFIG("1") },
                    { .path = "dh-etcd/2/config.yaml", .data = "initial-cluster: " CLUSTER } } },
        };

        memset(long_name + 8, 'n', sizeof(long_name) - 9);
        for (size_t i = 8; i + 1 < sizeof(long_path); i++)
                long_path[i] = i % 200 == 0 ? '/' : 'p';

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                size_t n = 0;

                while (n < 3 && cases[i].items[n].path)
                        n++;
                pack(cases[i].items, n);
                expect_refused(cases[i].what);
        }
}

static void test_too_many(void **state) {
        static char paths[4097][32];
        static Item items[4097];
        _cleanup_(package_info_freep) PackageInfo *info = NULL;

        for (size_t i = 0; i < ELEMENTSOF(items); i++) {
                (void) snprintf(paths[i], sizeof(paths[i]), "dh-etcd/%zu", i);
                items[i] = (Item){ .path = paths[i] };
        }
        pack(items, 4096);
        assert_int_equal(inspect(&info, NULL), 0);
        pack(items, 4097);
        expect_refused("4,097 entries");
}

static void put_package(const void *data, size_t size) {
        assert_int_equal(write_file_durable(package, data, size, 0600, (uid_t) -1, (gid_t) -1), 0);
}

/* Cut at any byte, one bit changed anywhere in the compressed data, more behind it: all noticed. */
static void test_damaged(void **state) {
        static const Item items[] = {
                { .path = "dh-etcd/client/root/password", .data = "secret" },
                { .path = "dh-etcd/1/config.yaml", .data = CONFIG("1") },
        };
        _cleanup_(package_info_freep) PackageInfo *info = NULL;
        _cleanup_free_ char *data = NULL;
        size_t size, refused = 0;

        pack_as(items, 2, false, ARCHIVE_FORMAT_TAR_GNUTAR);
        expect_refused("not gzip");
        put_package("", 0);
        expect_refused("empty file");
        put_package("\x1f\x8b\x08", 3);
        expect_refused("only the magic");

        pack(items, 2);
        assert_int_equal(read_file(package, PACKAGE_SIZE_MAX, false, &data, &size), 0);
        for (size_t i = 0; i < size; i++) {
                put_package(data, i);
                expect_refused("cut short");
        }
        /* Not the header, whose time and system mean nothing. A bit or two of the compressed data may not matter
         * either; the checksum says that the contents are the same then. */
        for (size_t i = 10; i < size; i++) {
                _cleanup_(package_info_freep) PackageInfo *same = NULL;

                data[i] ^= 0x10;
                put_package(data, size);
                if (inspect(&same, NULL) >= 0)
                        assert_true(streq(same->users[0], "root") && streq(same->nodes[1], "10.128.1.150"));
                else
                        refused++;
                data[i] ^= 0x10;
        }
        assert_true(refused > (size - 10) * 95 / 100);
        data = realloc(data, 2 * size);
        memcpy(data + size, data, size);
        put_package(data, 2 * size);
        expect_refused("twice");
        put_package(data, size);
        assert_int_equal(inspect(&info, NULL), 0);
}

static void test_bomb(void **state) {
        struct archive *a = archive_write_new();
        _cleanup_free_ char *zeroes = calloc(1, 1024 * 1024), *huge = NULL;
        struct archive_entry *e = archive_entry_new();

        assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
        assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_filename(a, package), ARCHIVE_OK);
        archive_entry_set_filetype(e, AE_IFREG);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        for (unsigned i = 0; i < 300; i++)
                assert_int_equal(archive_write_data(a, zeroes, 1024 * 1024), 1024 * 1024);
        archive_entry_free(e);
        assert_int_equal(archive_write_free(a), ARCHIVE_OK);
        expect_refused("300 MiB of zeroes");

        huge = calloc(1, PACKAGE_SIZE_MAX + 1);
        put_package(huge, PACKAGE_SIZE_MAX + 1);
        assert_int_equal(package_inspect(package, &(PackageInfo *){ NULL }, NULL), -EFBIG);
}

static void put_password(const char *user, const char *data, size_t size) {
        _cleanup_free_ char *user_dir = format("%s/%s", clients, user), *path = format("%s/password", user_dir);

        assert_true(mkdir_durable(user_dir, 0700) >= 0);
        assert_int_equal(write_file_durable(path, data, size, 0600, (uid_t) -1, (gid_t) -1), 0);
}

/* The next entry is this one, with all the metadata that entry_of() gives. */
static void expect_item(struct archive *a, const Item *expected) {
        _cleanup_free_ char *data = NULL;
        struct archive_entry *e, *wanted = entry_of(expected);
        const char *name;
        const void *value;
        size_t size;

        assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
        assert_string_equal(archive_entry_pathname(e), expected->path);
        assert_int_equal(archive_entry_mode(e), archive_entry_mode(wanted));
        assert_int_equal(archive_entry_uid(e), 1001);
        assert_int_equal(archive_entry_gid(e), 3000000);
        assert_string_equal(archive_entry_uname(e), "etcd");
        assert_string_equal(archive_entry_gname(e), "irisadmin");
        assert_int_equal(archive_entry_mtime(e), MTIME);
        assert_int_equal(archive_entry_mtime_nsec(e), expected->nsec);
        assert_int_equal(archive_entry_size(e), archive_entry_size(wanted));
        if (expected->link)
                assert_string_equal(archive_entry_symlink(e), expected->link);
        /* libarchive writes each in two spellings, and reads both. */
        assert_int_equal(archive_entry_xattr_reset(e) > 0, expected->xattr != NULL);
        while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
                assert_string_equal(name, "user.test");
                assert_int_equal(size, strlen(expected->xattr));
                assert_memory_equal(value, expected->xattr, strlen(expected->xattr));
        }

        size = (size_t) archive_entry_size(wanted);
        data = calloc(1, size + 1);
        assert_int_equal(archive_read_data(a, data, size), size);
        if (expected->data)
                assert_string_equal(data, expected->data);
        archive_entry_free(wanted);
}

static void expect_items(const Item *items, size_t n) {
        struct archive *a = archive_read_new();
        struct archive_entry *e;

        assert_int_equal(archive_read_support_filter_gzip(a), ARCHIVE_OK);
        assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
        assert_int_equal(archive_read_open_filename(a, package, 65536), ARCHIVE_OK);
        for (size_t i = 0; i < n; i++)
                expect_item(a, &items[i]);
        assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
        assert_int_equal(archive_read_free(a), ARCHIVE_OK);
}

static void merge_and_expect(int format_code, long nsec, const char *xattr) {
        _cleanup_free_ char *cut = strndup(ca_new, strlen(ca_new) - 1), *both = format("%s\n%s", cut, ca_old);
        Item items[] = {
                { .path = "dh-etcd/", .type = AE_IFDIR, .mode = 0755 },
                { .path = "dh-etcd/z-first", .data = "not sorted", .nsec = nsec },
                { .path = "dh-etcd/client/root/password", .data = "generated", .mode = 0600, .xattr = xattr },
                { .path = "dh-etcd/client/schema/password", .data = "generated too", .mode = 0400 },
                { .path = "dh-etcd/client/schema/endpoints", .data = "" },
                { .path = "dh-etcd/server/ca.crt", .data = cut, .mode = 0644, .nsec = nsec },
                { .path = "dh-etcd/server/latest", .type = AE_IFLNK, .mode = 0777, .link = "1" },
                { .path = "dh-etcd/server/empty", .data = "" },
        };
        struct stat st;
        char value[8];

        pack_as(items, ELEMENTSOF(items), true, format_code);
        assert_int_equal(chmod(package, 0640), 0);
        assert_int_equal(setxattr(package, "user.test", "kept", 4, 0), 0);
        if (geteuid() == 0)
                assert_int_equal(chown(package, 1234, 4321), 0);
        put_password("root", "old\0one", 7);
        put_password("root", "old one", 7);
        put_password("elsewhere", "x", 1);

        assert_int_equal(package_merge(package, clients, ca_old, NULL), 1);
        items[2].data = "old one";
        items[5].data = both;
        expect_items(items, ELEMENTSOF(items));
        assert_int_equal(stat(package, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        if (geteuid() == 0)
                assert_true(st.st_uid == 1234 && st.st_gid == 4321);
        assert_int_equal(getxattr(package, "user.test", value, sizeof(value)), 4);

        /* A second time there is nothing to do, and the file is not touched. */
        assert_int_equal(package_merge(package, clients, ca_old, NULL), 0);
        assert_int_equal(package_merge(package, clients, NULL, NULL), 0);
}

static void test_merge(void **state) {
        merge_and_expect(ARCHIVE_FORMAT_TAR_GNUTAR, 0, NULL);
        merge_and_expect(ARCHIVE_FORMAT_TAR_PAX_RESTRICTED, 0, NULL);
        merge_and_expect(ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, 123456789, NULL);
        merge_and_expect(ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, 0, "value");
}

/* The same merge of the same package gives the same bytes on whatever host, at whatever time. */
static void test_merge_is_reproducible(void **state) {
        static const Item items[] = { { .path = "dh-etcd/client/root/password", .data = "generated" } };
        char first[DIGEST_HEX_SIZE], second[DIGEST_HEX_SIZE];

        put_password("root", "old", 3);
        pack(items, 1);
        assert_int_equal(package_merge(package, clients, NULL, NULL), 1);
        assert_int_equal(digest_file(package, first), 0);
        pack(items, 1);
        assert_int_equal(package_merge(package, clients, NULL, NULL), 1);
        assert_int_equal(digest_file(package, second), 0);
        assert_string_equal(first, second);
}

typedef enum Trap {
        TRAP_LARGE,
        TRAP_EMPTY,
        TRAP_LINK,
        TRAP_USER_LINK,
        TRAP_FIFO,
        TRAP_DIRECTORY,
        TRAP_USER_FILE,
        _TRAP_MAX,
} Trap;

static void set_trap(Trap trap, const char *user_dir, const char *password) {
        char large[4097] = "x";

        switch (trap) {
        case TRAP_LARGE:
                put_password("root", large, sizeof(large));
                break;
        case TRAP_EMPTY:
                put_password("root", "", 0);
                break;
        case TRAP_LINK:
                assert_int_equal(mkdir(user_dir, 0700), 0);
                assert_int_equal(symlink("/etc/hostname", password), 0);
                break;
        case TRAP_USER_LINK:
                put_password("real", "x", 1);
                assert_int_equal(symlink("real", user_dir), 0);
                break;
        case TRAP_FIFO:
                assert_int_equal(mkdir(user_dir, 0700), 0);
                assert_int_equal(mkfifo(password, 0600), 0);
                break;
        case TRAP_DIRECTORY:
                assert_true(mkdir_durable(password, 0700) > 0);
                break;
        default:
                assert_int_equal(write_file_durable(user_dir, "", 0, 0600, (uid_t) -1, (gid_t) -1), 0);
        }
}

static void test_merge_refuses(void **state) {
        static const Item items[] = { { .path = "dh-etcd/client/root/password", .data = "generated" } };
        _cleanup_free_ char *user_dir = format("%s/root", clients), *password = format("%s/password", user_dir);
        _cleanup_free_ char *none = format("%s/none", dir), *why = NULL, *max = calloc(1, 4096);

        pack(items, 1);
        for (Trap trap = 0; trap < _TRAP_MAX; trap++) {
                char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];

                set_trap(trap, user_dir, password);
                assert_int_equal(digest_file(package, before), 0);
                assert_true(package_merge(package, clients, NULL, &why) < 0);
                assert_non_null(strstr(why, "'root'"));
                assert_int_equal(digest_file(package, after), 0);
                assert_string_equal(before, after);
                assert_int_equal(remove_tree(user_dir), 0);
        }

        assert_int_equal(package_merge(package, none, NULL, &why), -ENOENT);
        put_password("root", max, 4096);
        assert_int_equal(package_merge(package, clients, NULL, &why), 1);
}

#define test(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
        static const struct CMUnitTest tests[] = {
                test(test_inspect),       test(test_inspect_little),
                test(test_hostile),       test(test_too_many),
                test(test_damaged),       test(test_bomb),
                test(test_merge),         test(test_merge_is_reproducible),
                test(test_merge_refuses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
