/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/data-directory.h"

#define TAG "ab12cd34-1"

static char dir[] = "/tmp/test-data-directory-XXXXXX", *data, *aside, *failed;

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        data = format("%s/c2ca0c898", dir);
        aside = format("%s.dhetcd-" TAG, data);
        failed = format("%s-failed", aside);
        return 0;
}

static int drop_dir(void **state) {
        free(data);
        free(aside);
        free(failed);
        return remove_tree(dir);
}

static void make(const char *path, const char *content) {
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(chmod(path, 02750), 0);
        if (geteuid() == 0)
                assert_int_equal(chown(path, 1234, 4321), 0);
        if (content) {
                _cleanup_free_ char *file = format("%s/file", path);

                assert_int_equal(write_file_durable(file, content, strlen(content), 0600, (uid_t) -1, (gid_t) -1), 0);
        }
}

/* What is at the path: its content, "" for an empty directory, NULL for nothing. */
static char *content_of(const char *path) {
        _cleanup_free_ char *file = format("%s/file", path);
        char *text;

        if (path_exists(path) == 0)
                return NULL;
        if (dir_is_empty(path) > 0)
                return strdup("");
        assert_int_equal(read_file(file, 100, false, &text, NULL), 0);
        return text;
}

static void expect(const char *path, const char *expected) {
        _cleanup_free_ char *actual = content_of(path);
        struct stat st;

        if (!expected) {
                assert_null(actual);
                return;
        }
        assert_non_null(actual);
        assert_string_equal(actual, expected);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 02750);
        if (geteuid() == 0) {
                assert_int_equal(st.st_uid, 1234);
                assert_int_equal(st.st_gid, 4321);
        }
}

static void expect_state(DataDirectoryState expected) {
        DataDirectoryState actual;

        assert_int_equal(data_directory_state(data, &actual, NULL), 0);
        assert_int_equal(actual, expected);
}

static void test_state(void **state) {
        _cleanup_free_ char *link = format("%s/link", dir), *why = NULL, *file = format("%s/plain", dir);
        DataDirectoryState s;

        expect_state(DATA_DIRECTORY_ABSENT);
        make(data, NULL);
        expect_state(DATA_DIRECTORY_EMPTY);
        assert_int_equal(symlink("c2ca0c898", link), 0);
        assert_int_equal(data_directory_state(link, &s, NULL), 0);
        assert_int_equal(s, DATA_DIRECTORY_EMPTY);
        assert_int_equal(write_file_durable(file, "", 0, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(data_directory_state(file, &s, &why), -ENOTDIR);
        assert_non_null(strstr(why, file));
        assert_int_equal(data_directory_state("relative", &s, &why), -EINVAL);
        assert_int_equal(data_directory_move_aside(data, "a/b", &why), -EINVAL);
        assert_int_equal(data_directory_move_aside(data, "", &why), -EINVAL);
}

static void test_round_trip(void **state) {
        make(data, "old");
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 1);
        expect(data, "");
        expect(aside, "old");
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 0);
        expect(aside, "old");

        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
        expect(aside, NULL);
        expect(failed, NULL);
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 0);
        expect(data, "old");
}

/* What a crash between rename() and mkdir() leaves is mended by the next call, in either direction. */
static void test_interrupted(void **state) {
        make(data, "old");
        assert_int_equal(rename(data, aside), 0);
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 0);
        expect(data, "");

        assert_int_equal(chmod(data, 0700), 0);
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 0);
        expect(data, "");

        assert_int_equal(rmdir(data), 0);
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
}

static void test_failed_is_kept(void **state) {
        _cleanup_free_ char *second = format("%s-2", failed);

        make(data, "old");
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 1);
        assert_int_equal(rmdir(data), 0);
        make(data, "learner");
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 0);
        expect(data, "learner");
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
        expect(failed, "learner");

        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 1);
        assert_int_equal(rmdir(data), 0);
        make(data, "again");
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
        expect(failed, "learner");
        expect(second, "again");
}

typedef struct BackCase {
        DataDirectoryState was;
        const char *now; /* NULL, "" or a content */
        int result;
        const char *data, *failed;
} BackCase;

/* Nothing was moved aside. */
static void test_back_alone(void **state) {
        static const BackCase cases[] = {
                { DATA_DIRECTORY_ABSENT, NULL, 0, NULL, NULL },
                { DATA_DIRECTORY_ABSENT, "", 1, NULL, NULL },
                { DATA_DIRECTORY_ABSENT, "learner", 1, NULL, "learner" },
                { DATA_DIRECTORY_EMPTY, "", 0, "", NULL },
                { DATA_DIRECTORY_EMPTY, "learner", 1, "", "learner" },
                { DATA_DIRECTORY_IN_USE, "old", 0, "old", NULL },
                { DATA_DIRECTORY_IN_USE, "", -ENOENT, "", NULL },
                { DATA_DIRECTORY_IN_USE, NULL, -ENOENT, NULL, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const BackCase *c = &cases[i];

                if (c->now)
                        make(data, streq(c->now, "") ? NULL : c->now);
                for (unsigned j = 0; j < 2; j++) {
                        int r = data_directory_move_back(data, TAG, c->was, NULL);

                        assert_int_equal(r, j == 0 || c->result < 0 ? c->result : 0);
                        expect(data, c->data);
                        expect(failed, c->failed);
                }
                assert_int_equal(remove_tree(data), 0);
                assert_int_equal(remove_tree(failed), 0);
        }

        /* Interrupted: it was empty, etcd's was moved away, the empty one not made yet. */
        make(failed, "learner");
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_EMPTY, NULL), 1);
        expect(data, "");
}

/* What fills it died half-way, and begins again. */
static void test_make_empty(void **state) {
        make(data, "old");
        assert_int_equal(data_directory_move_aside(data, TAG, NULL), 1);
        assert_int_equal(data_directory_make_empty(data, TAG, NULL), 0);
        assert_int_equal(rmdir(data), 0);
        make(data, "half");
        assert_int_equal(data_directory_make_empty(data, TAG, NULL), 1);
        expect(data, "");
        expect(failed, "half");
        assert_int_equal(rmdir(data), 0); /* it died before that was made again */
        assert_int_equal(data_directory_make_empty(data, TAG, NULL), 1);
        expect(data, "");
        expect(aside, "old");
        assert_int_equal(data_directory_move_back(data, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
}

static void test_through_symlink(void **state) {
        _cleanup_free_ char *link = format("%s/link", dir), *moved = format("%s/link.dhetcd-" TAG, dir);

        make(data, "old");
        assert_int_equal(symlink(data, link), 0);
        assert_int_equal(data_directory_move_aside(link, TAG, NULL), 1);
        expect(data, "");
        expect(aside, "old");
        expect(moved, NULL);
        assert_int_equal(data_directory_move_back(link, TAG, DATA_DIRECTORY_IN_USE, NULL), 1);
        expect(data, "old");
}

#define test(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void) {
        static const struct CMUnitTest tests[] = {
                test(test_state),      test(test_round_trip), test(test_interrupted),     test(test_failed_is_kept),
                test(test_back_alone), test(test_make_empty), test(test_through_symlink),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
