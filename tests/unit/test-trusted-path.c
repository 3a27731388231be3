/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* As root, the user 77 is etcd, who must not lead root elsewhere. */

#include <fcntl.h>
#include <sys/stat.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"
#include "host/authorities.h"
#include "host/data-directory.h"
#include "host/data-owner.h"
#include "host/data-path.h"

#define ETCD 77

static char dir[] = "/tmp/test-trusted-path-XXXXXX";

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
        return remove_tree(dir);
}

/* Paths of the test directory; the buffer of each call is its own up to the eighth. */
static const char *at(const char *name) {
        static char buffers[8][PATH_MAX];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)];

        (void) snprintf(buffer, PATH_MAX, "%s%s%s", dir, *name ? "/" : "", name);
        return buffer;
}

static void make_link(const char *target, const char *name, bool etcds) {
        assert_int_equal(symlink(target, at(name)), 0);
        if (etcds)
                assert_int_equal(lchown(at(name), ETCD, ETCD), 0);
}

static void expect_resolved(const char *name, const char *expected) {
        _cleanup_free_ char *real = NULL, *why = NULL;

        assert_int_equal(trusted_path_resolve(at(name), &real, &why), 0);
        assert_string_equal(real, at(expected));
}

static void test_resolve(void **state) {
        _cleanup_free_ char *real = NULL, *why = NULL;

        assert_int_equal(mkdir(at("a"), 0755), 0);
        assert_int_equal(mkdir(at("a/b"), 0755), 0);
        make_link("a", "relative", false);
        make_link(at("a/b"), "absolute", false);
        make_link("../relative/b", "a/up", false);
        make_link("loop", "loop", false);

        expect_resolved("a/b", "a/b");
        expect_resolved("relative/b", "a/b");
        expect_resolved("absolute/new/deeper", "a/b/new/deeper");
        expect_resolved("a/up", "a/b");
        assert_int_equal(trusted_path_resolve(at("loop"), &real, &why), -ELOOP);
        assert_int_equal(trusted_path_resolve("relative", &real, &why), -EINVAL);
}

static void test_make_and_remove(void **state) {
        assert_int_equal(trusted_path_make(at("new/deeper"), 0750), 0);
        assert_int_equal(trusted_path_make(at("new/deeper"), 0700), 0);
        assert_int_equal(mkdir(at("elsewhere"), 0755), 0);
        assert_int_equal(mkdir(at("elsewhere/empty"), 0755), 0);
        make_link("elsewhere", "link", false);

        assert_true(trusted_path_make(at("link/made"), 0700) < 0);
        assert_int_equal(path_exists(at("elsewhere/made")), 0);
        assert_true(trusted_path_remove(at("link/empty")) < 0);
        assert_int_equal(path_exists(at("elsewhere/empty")), 1);
        assert_true(trusted_path_remove(at("link")) < 0);

        assert_int_equal(trusted_path_remove(at("new")), -ENOTEMPTY);
        assert_int_equal(trusted_path_remove(at("new/deeper")), 0);
        assert_int_equal(trusted_path_remove(at("new")), 0);
        assert_int_equal(trusted_path_remove(at("new")), -ENOENT);
        assert_int_equal(trusted_path_remove("relative"), -EINVAL);
}

static void test_others_link(void **state) {
        _cleanup_free_ char *real = NULL, *why = NULL;

        if (geteuid() != 0)
                skip();
        assert_int_equal(mkdir(at("system"), 0755), 0);
        make_link("system", "data", true);
        make_link("data", "roots", false);
        assert_int_equal(trusted_path_resolve(at("data"), &real, &why), -EPERM);
        assert_int_equal(trusted_path_resolve(at("data/below"), &real, &why), -EPERM);
        assert_int_equal(trusted_path_resolve(at("roots"), &real, &why), -EPERM);
        assert_non_null(strstr(why, at("data")));
}

static void test_open(void **state) {
        _cleanup_close_ int fd = -EBADF, below = -EBADF;

        assert_int_equal(mkdir(at("a"), 0755), 0);
        assert_int_equal(mkdir(at("a/b"), 0755), 0);
        make_link("a", "link", false);
        fd = trusted_path_open(at("a/b"));
        assert_true(fd >= 0);
        assert_true(trusted_path_open(at("link/b")) < 0);
        assert_true(trusted_path_open(at("link")) < 0);
        assert_int_equal(trusted_path_open(at("a/none")), -ENOENT);

        /* Symlinks inside are followed, those that lead out are not. */
        make_link("b", "a/latest", false);
        make_link("..", "a/out", false);
        below = trusted_path_open_below(at("a/latest/file"), at("a"));
        assert_true(below >= 0);
        assert_int_equal(trusted_path_open_below(at("a/out/file"), at("a")), -EXDEV);
        assert_int_equal(trusted_path_open_below(at("a/b/file"), at("a/b")) >= 0, true);
        assert_int_equal(trusted_path_open_below(at("a/file"), at("a/b")), -EXDEV);
}

/* What was opened is written, although the path leads elsewhere by then. */
static void test_write_at(void **state) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL, *why = NULL;

        assert_int_equal(mkdir(at("ours"), 0755), 0);
        assert_int_equal(mkdir(at("system"), 0755), 0);
        assert_int_equal(write_file_durable(at("ours/ca"), "ours", 4, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(write_file_durable(at("system/ca"), "system", 6, 0600, (uid_t) -1, (gid_t) -1), 0);
        fd = trusted_path_open_below(at("ours/ca"), dir);
        assert_true(fd >= 0);
        assert_int_equal(rename(at("ours"), at("aside")), 0);
        make_link("system", "ours", false);

        assert_int_equal(authorities_add_file(fd, at("ours/ca"), "", &why), 0);
        assert_int_equal(replace_file_durable(file_at(fd, at("ours/ca"), (char[PATH_MAX]){}), "new", 3), 0);
        assert_int_equal(read_file(at("aside/ca"), 100, false, &text, NULL), 0);
        assert_string_equal(text, "new");
        free(TAKE_PTR(text));
        assert_int_equal(read_file(at("system/ca"), 100, false, &text, NULL), 0);
        assert_string_equal(text, "system");
        assert_string_equal(file_at(AT_FDCWD, "/x/y", (char[PATH_MAX]){}), "/x/y");
}

/* Who may write in the directory cannot keep a file in it from being written. */
static void test_odd_names_beside(void **state) {
        assert_int_equal(write_file_durable(at("file"), "old", 3, 0600, (uid_t) -1, (gid_t) -1), 0);
        make_link("nowhere", "file.dhetcd-link00", false);
        assert_int_equal(mkfifo(at("file.dhetcd-fifo00"), 0600), 0);
        assert_int_equal(mkdir(at("file.dhetcd-dir000"), 0700), 0);
        assert_int_equal(mkdir(at("file.dhetcd-dir000/x"), 0700), 0);
        assert_int_equal(mknod(at("file.dhetcd-socket"), S_IFSOCK | 0600, 0), 0);
        assert_int_equal(write_file_durable(at("file.dhetcd-left00"), "", 0, 0600, (uid_t) -1, (gid_t) -1), 0);

        assert_int_equal(replace_file_durable(at("file"), "new", 3), 0);
        assert_int_equal(path_exists(at("file.dhetcd-left00")), 0);
        assert_int_equal(path_exists(at("file.dhetcd-fifo00")), 1);
        assert_int_equal(unlink_durable(at("file")), 0);
}

static int find(const char *path, const char *elsewhere) {
        _cleanup_free_ char *real = NULL, *why = NULL;
        int r = data_path_find(path, elsewhere, &real, &why);

        assert_true(r >= 0 || why);
        return r;
}

static void test_data_path(void **state) {
        assert_int_equal(find("/var/lib/etcd/dh/c2ca0c898", NULL), 0);
        assert_int_equal(find("/var/lib/etcd", NULL), -EPERM);
        assert_int_equal(find("/var/lib/etcd2/x", NULL), -EPERM);
        assert_int_equal(find("/etc/systemd/system/sshd.service.d", NULL), -EPERM);
        assert_int_equal(find("/etc/systemd/system/sshd.service.d", "/etc"), -EPERM);
        assert_int_equal(find("/var/lib/dhetcd/store", "/var/lib"), -EPERM);
        assert_int_equal(find("/var/lib/etcd/../dhetcd/store", NULL), -EINVAL);
        assert_int_equal(find(at("data/x"), NULL), -EPERM);
        assert_int_equal(find(at("data/x"), dir), 0);
        assert_int_equal(find(at("data/x"), at("data/")), 0);
        assert_int_equal(find(at("data"), at("data")), -EPERM);

        make_link("/etc", "out", false);
        assert_int_equal(find(at("out/systemd"), dir), -EINVAL);
}

static int count(int fd, const char *path, const struct stat *st, void *userdata) {
        ++*(unsigned *) userdata;
        return 0;
}

/* A directory on the way that was exchanged for a symlink leads nowhere. */
static void test_data_directory(void **state) {
        unsigned n = 0;

        assert_int_equal(mkdir(at("system"), 0755), 0);
        assert_int_equal(mkdir(at("system/unit.d"), 0755), 0);
        assert_int_equal(write_file_durable(at("system/unit.d/x"), "x", 1, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(data_owner_each(at("system/unit.d"), count, &n, NULL), 0);
        assert_int_equal(n, 2);
        make_link("system", "dh", false);

        assert_true(data_owner_each(at("dh/unit.d"), count, &n, NULL) < 0);
        assert_int_equal(n, 2);
        assert_true(data_directory_move_aside(at("dh/unit.d"), "tag", NULL) < 0);
        assert_true(path_exists(at("system/unit.d/x")) > 0);
}

static void test_writable(void **state) {
        _cleanup_free_ char *why = NULL;

        assert_int_equal(data_path_check_writable(at("a/b/c"), &why), 0);
        assert_int_equal(write_file_durable(at("file"), "", 0, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(data_path_check_writable(at("file/a/b"), &why), -ENOTDIR);
        assert_non_null(strstr(why, "ReadWritePaths="));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_resolve),   TEST(test_make_and_remove), TEST(test_others_link),
                TEST(test_open),      TEST(test_write_at),        TEST(test_odd_names_beside),
                TEST(test_data_path), TEST(test_data_directory),  TEST(test_writable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
