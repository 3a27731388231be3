/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/file.h>

#include "test-util.h"

#include "basic/fs.h"
#include "basic/string-util.h"

static char dir[] = "/tmp/test-fs-XXXXXX";

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
        return remove_tree(dir);
}

static int touch(const char *name) {
        _cleanup_free_ char *path = format("%s/%s", dir, name);

        return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static bool is_there(const char *name) {
        _cleanup_free_ char *path = format("%s/%s", dir, name);

        return path_exists(path) > 0;
}

static void test_unfinished(void **state) {
        static const char *const gone[] = { "a.json.dhetcd-Ab12xY", "b.dhetcd-b.dhetcd-ab12xy" }, *const kept[] = {
                "a.json", "a.dhetcd-1", "a.dhetcd-Ab12xYz", ".dhetcd-Ab12xY"
        };
        int fd;

        for (size_t i = 0; i < ELEMENTSOF(gone); i++)
                close(touch(gone[i]));
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                close(touch(kept[i]));
        fd = touch("c.dhetcd-Living"); /* its writer lives */
        assert_int_equal(flock(fd, LOCK_EX), 0);

        assert_int_equal(remove_unfinished(dir), ELEMENTSOF(gone));
        for (size_t i = 0; i < ELEMENTSOF(gone); i++)
                assert_false(is_there(gone[i]));
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                assert_true(is_there(kept[i]));
        assert_true(is_there("c.dhetcd-Living"));
        close(fd);
        assert_int_equal(remove_unfinished("/nowhere/at/all"), 0);
}

/* Who writes a file removes what others left of that file alone. */
static void test_leftovers_of_one_file(void **state) {
        _cleanup_free_ char *path = format("%s/a", dir);

        close(touch("a.dhetcd-Ab12xY"));
        close(touch("ab.dhetcd-Ab12xY"));
        assert_int_equal(write_file_durable(path, "x", 1, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_false(is_there("a.dhetcd-Ab12xY"));
        assert_true(is_there("ab.dhetcd-Ab12xY"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unfinished, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_leftovers_of_one_file, make_dir, drop_dir),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
