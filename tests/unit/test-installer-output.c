/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include <stdlib.h>

#include "basic/string-util.h"
#include "host/installer-output.h"

#define FAILED "FAILED: etcd_configure.sh.setup_check: the etcd servers are not those of config.yaml"

static void expect(InstallerVerdict verdict, bool good, const char *text) {
        _cleanup_(installer_output_done) InstallerOutput o = {};

        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "\n");
                _cleanup_free_ char *line = installer_line_clean(p, n);

                assert_int_equal(installer_output_add(&o, line), 0);
                p += n + (p[n] == '\n');
        }
        if (installer_output_verdict(&o, good) != verdict)
                fail_msg("%d, not %d: %s", (int) installer_output_verdict(&o, good), (int) verdict, text);
}

static void test_success(void **state) {
        expect(INSTALLER_SUCCEEDED, true, "");
        expect(INSTALLER_SUCCEEDED, true, "[etcd] etcd_configure.sh.setup_check\nInstallation complete");
        expect(INSTALLER_SUCCEEDED, true, "dh1 : ok=5 changed=1 unreachable=0 failed=0\n0 errors, no failures");
        expect(INSTALLER_SUCCEEDED, true, "Could not find an old version; installing anew");
}

static void test_expected(void **state) {
        expect(INSTALLER_FAILED_AS_EXPECTED, false, "[etcd] etcd_configure.sh.setup_check\n" FAILED);
        expect(INSTALLER_FAILED_AS_EXPECTED, false, FAILED "\nERROR: master_install.sh failed with exit status 1");
        expect(INSTALLER_FAILED_AS_EXPECTED, false, "dh2: ok=5 failed=0\n\033[0;31m" FAILED "\033[0m");
        expect(INSTALLER_FAILED_AS_EXPECTED, false, "etcd is unhealthy: error\n" FAILED);
        expect(INSTALLER_FAILED_AS_EXPECTED, false, "running etcd_configure.sh.setup_check ...");
        /* a script that says it and exits with 0 */
        expect(INSTALLER_FAILED_AS_EXPECTED, true, FAILED);
}

static void test_other(void **state) {
        expect(INSTALLER_FAILED, false, "");
        expect(INSTALLER_FAILED, false, "all well");
        expect(INSTALLER_FAILED, false, "ERROR: no space left on device");
        expect(INSTALLER_FAILED, true, "ERROR: master_install: Permission denied");
        expect(INSTALLER_FAILED, false, "scp: error: host unreachable\n" FAILED);
        expect(INSTALLER_FAILED, false, FAILED "\ndh3: No space left on device");
        expect(INSTALLER_FAILED, false,
               "[etcd] etcd_configure.sh.setup_check\nERROR: etcd_configure.sh.health_check: sick");
        expect(INSTALLER_FAILED, false, FAILED "\nERROR: etcd_configure.sh.health_check: sick");
        expect(INSTALLER_FAILED, false, "etcd_configure.sh.setup_check\netcd_configure.sh.health_check");
        expect(INSTALLER_FAILED, false, "[etcd] etcd_configure.sh.setup_check\nError: java: OutOfMemory");
        expect(INSTALLER_FAILED, false, "FAILED: etcd_configure.sh.setup_checker");
        expect(INSTALLER_FAILED, false, "[etcd] etcd_configure.sh.setup_check\nsudo: a password is required");
        expect(INSTALLER_FAILED, false, "failed=1");
        expect(INSTALLER_FAILED, true, "[ERROR] x");
        expect(INSTALLER_FAILED, false, "10 errors\n" FAILED);
}

static void test_lines(void **state) {
        _cleanup_(installer_output_done) InstallerOutput o = {};
        char *const *lines;

        assert_null(installer_output_lines(&o));
        for (unsigned i = 0; i < 50; i++) {
                _cleanup_free_ char *line = format("line %u", i);

                assert_int_equal(installer_output_add(&o, line), 0);
        }
        lines = installer_output_lines(&o);
        assert_int_equal(strv_length(lines), INSTALLER_LINES_MAX);
        assert_string_equal(lines[INSTALLER_LINES_MAX - 1], "line 49");
        for (unsigned i = 0; i < 50; i++)
                assert_int_equal(installer_output_add(&o, i ? "error again" : "error first"), 0);
        lines = installer_output_lines(&o);
        assert_int_equal(strv_length(lines), INSTALLER_LINES_MAX);
        assert_string_equal(lines[0], "error first");
}

static void test_clean(void **state) {
        static const struct {
                const char *text, *is;
        } cases[] = {
                { "", "" },
                { "a\tb\x01", "a b " },
                { "\033[1;31mred\033[0m \033]0;title\007x\033", "red x" },
                { "\033[", "" },
                { " 10%\r 20%\r100%", "100%" },
                { "line\r", "line" },
                { "\xff\xfe", "??" },
                { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
        };
        _cleanup_free_ char *large = malloc(100000), *cut = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *got = installer_line_clean(cases[i].text, strlen(cases[i].text));

                assert_string_equal(got, cases[i].is);
        }
        memset(large, 'x', 100000);
        cut = installer_line_clean(large, 100000);
        assert_int_equal(strlen(cut), INSTALLER_LINE_SIZE_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_success), cmocka_unit_test(test_expected), cmocka_unit_test(test_other),
                cmocka_unit_test(test_lines),   cmocka_unit_test(test_clean),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
