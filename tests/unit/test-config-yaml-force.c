/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/config-yaml-force.h"

#define LINE "force-new-cluster: true # added by dhetcd for one start, and removed after it"

static void expect(const char *before, bool force, const char *after) {
        _cleanup_free_ char *got = NULL, *why = NULL;
        size_t size = 0;
        int r = config_yaml_force(before, strlen(before), force, &got, &size, &why);

        if (r < 0)
                fail_msg("%s: %s", before, why);
        assert_string_equal(got, after);
        assert_int_equal(size, strlen(after));
        assert_int_equal(r, !streq(before, after));
}

/* There and back: every byte is what it was. */
static void round_trip(const char *before, const char *forced) {
        expect(before, true, forced);
        expect(forced, true, forced);
        expect(forced, false, before);
        expect(before, false, before);
}

static void test_added_and_removed(void **state) {
        round_trip("name: a\n", "name: a\n" LINE "\n");
        round_trip("name: a", "name: a\n" LINE);
        round_trip("# c\r\nname: 'a'\r\n\r\n", "# c\r\nname: 'a'\r\n\r\n" LINE "\n");
        round_trip("t:\n  x: 1\n  list: [a, b]\n", "t:\n  x: 1\n  list: [a, b]\n" LINE "\n");
        round_trip("a: |\n  text\n  more\n", "a: |\n  text\n  more\n" LINE "\n");
        round_trip("t:\n  force-new-cluster: true\n", "t:\n  force-new-cluster: true\n" LINE "\n");
}

static void test_line_in_the_middle(void **state) {
        expect("name: a\n" LINE "\nb: c\n", false, "name: a\nb: c\n");
        expect(LINE "\nb: c\n", false, "b: c\n");
}

static void test_key_of_somebody_else(void **state) {
        round_trip("force-new-cluster: false # ours\nb: c\n", "force-new-cluster: true # ours\nb: c\n");
        expect("force-new-cluster: true\nb: c\n", false, "force-new-cluster: false\nb: c\n");
}

static void refuse(const char *text) {
        _cleanup_free_ char *got = NULL, *why = NULL;
        size_t size = 0;

        assert_true(config_yaml_force(text, strlen(text), true, &got, &size, &why) < 0);
        assert_non_null(why);
        assert_null(got);
}

static void test_refused(void **state) {
        refuse("{name: a}\n");
        refuse("name: a\n...\n");
        refuse("  name: a\n  b: c\n");
        refuse("force-new-cluster: [true]\n");
        refuse("force-new-cluster: \"false\"\n");
        refuse("force-new-cluster:\n");
        refuse("name: [\n");
        refuse("");
}

static void test_file(void **state) {
        char path[] = "/tmp/dhetcd-test-force-XXXXXX";
        int fd = mkstemp(path);
        _cleanup_free_ char *text = NULL, *again = NULL;
        struct stat st;

        assert_true(fd >= 0);
        assert_int_equal(write_all(fd, "name: a\n", 8), 0);
        close(fd);
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(config_yaml_force_file(AT_FDCWD, path, true, NULL), 1);
        assert_int_equal(config_yaml_force_file(AT_FDCWD, path, true, NULL), 0);
        assert_int_equal(read_file(path, 1000, false, &text, NULL), 0);
        assert_string_equal(text, "name: a\n" LINE "\n");
        assert_int_equal(config_yaml_force_file(AT_FDCWD, path, false, NULL), 1);
        assert_int_equal(config_yaml_force_file(AT_FDCWD, path, false, NULL), 0);
        assert_int_equal(read_file(path, 1000, false, &again, NULL), 0);
        assert_string_equal(again, "name: a\n");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0640);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(config_yaml_force_file(AT_FDCWD, path, true, NULL), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_added_and_removed),
                cmocka_unit_test(test_line_in_the_middle),
                cmocka_unit_test(test_key_of_somebody_else),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
