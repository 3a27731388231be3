/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/data-directory.h"
#include "host/data-place.h"

static char dir[] = "/tmp/test-data-place-XXXXXX", *parent, *data;

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        parent = format("%s/dh", dir);
        data = format("%s/c2ca0c898", parent);
        return 0;
}

static int drop_dir(void **state) {
        free(parent);
        free(data);
        return remove_tree(dir);
}

static void make(const char *path) {
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chmod(path, 02750), 0);
        if (geteuid() == 0)
                assert_int_equal(chown(path, 1234, 4321), 0);
}

/* As a script that knows no better. */
static void spoil(const char *path) {
        (void) mkdir(path, 0755);
        assert_int_equal(chmod(path, 0755), 0);
        if (geteuid() == 0)
                assert_int_equal(chown(path, 0, 0), 0);
}

static void fill(const char *path, const char *name) {
        _cleanup_free_ char *file = format("%s/%s", path, name);

        assert_int_equal(write_file_durable(file, "x", 1, 0600, (uid_t) -1, (gid_t) -1), 0);
}

static void expect_difference(const json_t *was, const char *expected) {
        _cleanup_free_ char *actual = data_place_difference(was, false), *text = NULL;

        text = expected ? format("%s %s", json_get_string(was, "path"), expected) : NULL;
        if (text && actual && strncmp(actual, text, strlen(text)) == 0)
                return;
        if (text || actual)
                fail_msg("'%s' instead of '%s'", actual ?: "", text ?: "");
}

static void expect_restored(const json_t *was) {
        assert_int_equal(data_place_restore(was, NULL), 0);
        assert_true(data_place_is_restored(was));
        expect_difference(was, NULL);
}

static void test_absent(void **state) {
        _cleanup_json_ json_t *was_parent = data_place_look(parent, true), *was = data_place_look(data, false);
        _cleanup_free_ char *foreign = NULL;

        expect_restored(was_parent);
        expect_restored(was);
        make(parent);
        make(data);
        expect_difference(was_parent, "was not there and is now");
        expect_difference(was, "was absent and is empty");
        foreign = data_place_difference(was, true);
        assert_string_equal(foreign + strlen(data), " was absent and is empty");
        assert_false(data_place_is_restored(was));

        assert_int_equal(data_place_keep(was, NULL), 0); /* only of what was there */
        assert_int_equal(data_place_restore(was, NULL), 1);
        assert_int_equal(data_place_restore(was_parent, NULL), 1);
        expect_restored(was);
        expect_restored(was_parent);
        assert_int_equal(path_exists(parent), 0);
}

/* What etcd wrote is never removed, and what was moved aside may stay. */
static void test_absent_and_now_in_use(void **state) {
        _cleanup_json_ json_t *was_parent = data_place_look(parent, true), *was = data_place_look(data, false);
        _cleanup_free_ char *aside = format("%s.dhetcd-ab12cd34-1.start-failed", data);

        make(parent);
        make(data);
        fill(data, "file");
        assert_int_equal(data_place_restore(was, NULL), 0);
        assert_true(data_place_is_restored(was)); /* as far as it can be */
        expect_difference(was, "was absent and is in-use");
        expect_difference(was_parent, "was not there and is now");
        assert_null(data_place_difference(was, true)); /* we did not write it */
        assert_null(data_place_difference(was_parent, true));

        assert_int_equal(rename(data, aside), 0);
        expect_restored(was);
        expect_restored(was_parent);
        make(data);
        expect_difference(was_parent, "was not there and is now");
}

static void test_empty(void **state) {
        _cleanup_json_ json_t *was = NULL, *again = NULL;

        make(parent);
        make(data);
        was = data_place_look(data, false);
        spoil(data);
        expect_difference(was, "belonged to");
        assert_int_equal(data_place_restore(was, NULL), 1);
        expect_restored(was);

        assert_int_equal(rmdir(data), 0);
        expect_difference(was, "was empty and is absent");
        assert_int_equal(data_place_restore(was, NULL), 1);
        expect_restored(was);
        again = data_place_look(data, false);
        assert_true(json_equal(was, again));
}

static void test_in_use(void **state) {
        _cleanup_json_ json_t *was = NULL, *was_parent = NULL;
        _cleanup_free_ char *other = format("%s/other", parent);

        make(parent);
        make(data);
        fill(data, "file");
        was = data_place_look(data, false);
        was_parent = data_place_look(parent, true);
        spoil(data);
        spoil(parent);
        assert_int_equal(data_place_keep(was, NULL), 1);
        assert_int_equal(data_place_keep(was, NULL), 0);
        expect_difference(was, NULL);
        expect_difference(was_parent, "belonged to");
        assert_int_equal(data_place_restore(was_parent, NULL), 1);
        expect_restored(was_parent);

        /* Others in the parent are not ours to tell of; what is lost is told, and no empty one takes its place. */
        make(other);
        expect_difference(was_parent, NULL);
        assert_int_equal(remove_tree(data), 0);
        assert_int_equal(data_place_restore(was, NULL), 0);
        assert_int_equal(path_exists(data), 0);
        expect_difference(was, "was in-use and is absent");
}

static void test_symlink(void **state) {
        _cleanup_json_ json_t *was = NULL;
        _cleanup_free_ char *link = format("%s/link", parent), *why = NULL;
        DataPlace p;

        make(parent);
        make(data);
        assert_int_equal(symlink(data, link), 0);
        if (geteuid() != 0)
                skip();
        was = data_place_look(link, false);
        spoil(data);
        assert_int_equal(data_place_restore(was, NULL), 1);
        expect_restored(was);

        assert_int_equal(lchown(link, 1234, 4321), 0);
        assert_int_equal(data_place_find(link, &p, &why), -EPERM);
        assert_non_null(strstr(why, "root did not make"));
        assert_null(data_place_look(link, false));
        spoil(data);
        assert_true(data_place_restore(was, NULL) < 0);
        expect_difference(was, "cannot be looked at any more");
}

static void test_paths(void **state) {
        static const char *const bad[] = { "",          "/",           "/var",        "var/lib",    "/var/lib/",
                                           "/var//lib", "/var/../lib", "/var/lib/..", "/var/./lib", "/var/lib/." };
        DataPlace p;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(data_place_find(bad[i], &p, NULL), -EINVAL);
        assert_int_equal(data_place_find("/var/lib/etcd/dh/c2ca0c898", &p, NULL), 0);
        assert_string_equal(p.path, "/var/lib/etcd/dh/c2ca0c898");
        assert_string_equal(p.parent, "/var/lib/etcd/dh");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_absent, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_absent_and_now_in_use, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_empty, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_in_use, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_symlink, make_dir, drop_dir),
                cmocka_unit_test(test_paths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
