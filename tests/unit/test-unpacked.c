/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/unpacked.h"

#define ETCD 1234U

static char dir[] = "/tmp/test-unpacked-XXXXXX", *package, *clients;

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        package = format("%s/dh_etcd_config.tgz", dir);
        clients = format("%s/client", dir);
        return mkdir(clients, 0700);
}

static int drop_dir(void **state) {
        free(package);
        free(clients);
        return remove_tree(dir);
}

/* PATH, CONTENT, …, NULL */
static void pack(const char *const *files) {
        struct archive *a = archive_write_new();

        assert_int_equal(archive_write_set_format_gnutar(a), ARCHIVE_OK);
        assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_filename(a, package), ARCHIVE_OK);
        for (size_t i = 0; files[i]; i += 2) {
                struct archive_entry *e = archive_entry_new();

                archive_entry_set_pathname(e, files[i]);
                archive_entry_set_filetype(e, AE_IFREG);
                archive_entry_set_perm(e, 0640);
                archive_entry_set_size(e, (int64_t) strlen(files[i + 1]));
                assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
                assert_int_equal(archive_write_data(a, files[i + 1], strlen(files[i + 1])), strlen(files[i + 1]));
                archive_entry_free(e);
        }
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        assert_int_equal(archive_write_free(a), ARCHIVE_OK);
}

static void put(const char *user, const char *name, const char *content) {
        _cleanup_free_ char *user_dir = format("%s/%s", clients, user), *path = format("%s/%s", user_dir, name);

        assert_true(mkdir_durable(user_dir, 0700) >= 0);
        assert_int_equal(write_file_durable(path, content, strlen(content), 0600, (uid_t) -1, (gid_t) -1), 0);
}

static void expect(char *const *list, const char *expected) {
        _cleanup_free_ char *text = strv_join(list, "; ");

        if (!expected && strv_length(list) > 0)
                fail_msg("'%s' instead of nothing", text);
        if (expected && !strstr(text ?: "", expected))
                fail_msg("'%s' instead of '%s'", text ?: "", expected);
}

static void expect_clients(const char *expected) {
        _cleanup_strv_ char **list = NULL;

        assert_int_equal(unpacked_check_clients(package, clients, &list, NULL), 0);
        expect(list, expected);
        assert_true(strv_length(list) <= 1);
}

static void test_clients(void **state) {
        static const char *const files[] = { "dh-etcd/client/root/password",
                                             "secret",
                                             "dh-etcd/client/root/.dhadmin",
                                             "",
                                             "dh-etcd/client/root/cacert.pem",
                                             "new",
                                             "dh-etcd/client/acl-ro/password",
                                             "secret 1",
                                             "dh-etcd/client/acl-ro/a/b",
                                             "",
                                             "dh-etcd/client/acl-rw/password",
                                             "secret 2",
                                             "dh-etcd/client/acl-rw/.hidden",
                                             "generator's",
                                             "dh-etcd/client/README",
                                             "for nobody",
                                             "dh-etcd/server/1/config.yaml",
                                             "x",
                                             NULL };
        _cleanup_free_ char *below = format("%s/acl-ro/a", clients), *file = format("%s/b", below);

        pack(files);
        expect_clients("/client has no client of the package");
        put("acl-rw", "password", "secret 2");
        put("acl-rw", "stale", "older than the package");
        put("elsewhere", "password", "no matter");
        expect_clients(NULL); /* the host lacks root and acl-ro */

        put("acl-rw", "password", "");
        expect_clients("/acl-rw/password is not the one of the package");
        put("acl-rw", "password", "secret 3");
        expect_clients("/acl-rw/password is not the one of the package");
        put("acl-rw", "password", "secret 2");

        put("acl-ro", "password", "secret 1");
        expect_clients("/acl-ro/a/b is not there");
        assert_int_equal(mkdir(below, 0700), 0);
        assert_int_equal(mkdir(file, 0700), 0);
        expect_clients("/acl-ro/a/b is no regular file");
        assert_int_equal(rmdir(file), 0);
        put("acl-ro", "a/b", "");
        expect_clients(NULL);

        put("root", "password", "secret"); /* as before the package came */
        put("root", "cacert.pem", "old");
        expect_clients(NULL);
        put("root", "password", "");
        expect_clients("/root/password is not the one of the package");
}

static void test_nothing_to_compare(void **state) {
        static const char *const files[] = { "dh-etcd/client/acl-ro/password", "secret", NULL };
        static const char *const none[] = { "dh-etcd/server/1/config.yaml", "x", NULL };
        _cleanup_strv_ char **list = NULL;
        _cleanup_free_ char *why = NULL;

        assert_int_equal(unpacked_check_clients(package, clients, &list, &why), -ENOENT);
        assert_non_null(strstr(why, package));
        assert_int_equal(write_file_durable(package, "no archive", 10, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(unpacked_check_clients(package, clients, &list, NULL), -EBADMSG);
        assert_null(list);
        pack(none);
        expect_clients(NULL);
        pack(files);
        assert_int_equal(rmdir(clients), 0);
        expect_clients("/client is not there");
}

static void test_many(void **state) {
        _cleanup_strv_ char **list = NULL, **files = NULL;

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_free_ char *path = format("dh-etcd/client/acl-ro/%u", i);

                assert_int_equal(strv_append(&files, path), 0);
                assert_int_equal(strv_append(&files, "content"), 0);
        }
        pack((const char *const *) files);
        put("acl-ro", "other", "");
        assert_int_equal(unpacked_check_clients(package, clients, &list, NULL), 0);
        assert_int_equal(strv_length(list), 20);
}

/* ---- what etcd reads ---- */

static char *key;

static void expect_readable(const char *expected) {
        _cleanup_strv_ char **list = NULL;

        assert_int_equal(unpacked_check_readable(key, dir, ETCD, &list), 0);
        expect(list, expected);
}

static void set(const char *path, uid_t uid, gid_t gid, mode_t mode) {
        assert_int_equal(chown(path, uid, gid), 0);
        assert_int_equal(chmod(path, mode), 0);
}

static void test_readable(void **state) {
        _cleanup_free_ char *ssl = format("%s/ssl", dir), *path = format("%s/key", ssl);
        _cleanup_strv_ char **list = NULL;

        key = path;
        if (geteuid() != 0)
                skip();
        assert_int_equal(mkdir(ssl, 0700), 0);
        set(ssl, ETCD, 0, 0700);
        set(dir, 0, 0, 0711);
        expect_readable("/ssl/key is not there");
        assert_int_equal(write_file_durable(key, "x", 1, 0600, ETCD, 0), 0);
        expect_readable(NULL);

        set(key, 0, 0, 0640);
        expect_readable("/ssl/key cannot be read by etcd");
        set(key, 0, 4321, 0640); /* etcd may be in that group */
        expect_readable(NULL);
        set(key, 0, 4321, 0600);
        expect_readable("/ssl/key cannot be read by etcd");
        set(key, 0, 0, 0644);
        expect_readable(NULL);
        set(key, ETCD, 4321, 0044);
        expect_readable("/ssl/key cannot be read by etcd");
        set(key, ETCD, 4321, 0400);
        expect_readable(NULL);

        set(ssl, 0, 0, 0750);
        expect_readable("/ssl cannot be read by etcd");
        set(ssl, 0, 4321, 0710);
        expect_readable(NULL);
        set(dir, 0, 0, 0700);
        expect_readable(dir);
        assert_int_equal(unpacked_check_readable(key, "/etc/etcd/dh", ETCD, &list), 0); /* elsewhere: not unpacked */
        assert_null(list);
        assert_int_equal(unpacked_check_readable(key, dir, 0, &list), 0);
        assert_null(list);
}

#define test(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
        const struct CMUnitTest tests[] = {
                test(test_clients),
                test(test_nothing_to_compare),
                test(test_many),
                test(test_readable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
