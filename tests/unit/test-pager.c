/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/string-util.h"
#include "cli/cli.h"
#include "cli/pager.h"

Args args;

static void assert_command(const char *systemd_pager, const char *pager, bool secure, const char *expected) {
        _cleanup_strv_ char **command = pager_command(systemd_pager, pager, secure);
        _cleanup_free_ char *line = command ? strv_join(command, "|") : NULL;

        if (!expected)
                assert_null(command);
        else
                assert_string_equal(line, expected);
}

static void test_variables(void **state) {
        assert_command(NULL, NULL, false, "less");
        assert_command(NULL, "most -w", false, "most|-w");
        assert_command("  more\t-d ", "most", false, "more|-d");
        assert_command("", "most", false, NULL);
        assert_command(NULL, "", false, NULL);
        assert_command("cat", NULL, false, NULL);
}

static void test_nothing_of_the_caller_runs_with_more_rights(void **state) {
        assert_command("sh", "sh", true, "less");
        assert_command("", NULL, true, "less");
}

static void test_no_terminal_no_pager(void **state) {
        pager_open(); /* standard output of a test is no terminal */
        assert_int_equal(pager_terminal(1), 1);
        pager_close();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_variables),
                cmocka_unit_test(test_nothing_of_the_caller_runs_with_more_rights),
                cmocka_unit_test(test_no_terminal_no_pager),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
