/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/string-util.h"

static void expect_limited(const char *s, size_t max, bool printable, const char *expected) {
        _cleanup_free_ char *text = text_limit(s, max, printable);

        assert_string_equal(text, expected);
        assert_true(strlen(text) <= max);
}

static void test_text_limit(void **state) {
        expect_limited("", 10, true, "");
        expect_limited("0123456789", 10, false, "0123456789");
        expect_limited("0123456789a", 10, false, "0123456…");
        expect_limited("012345äöü", 10, false, "012345…"); /* never half a character */
        expect_limited("two\nlines\t", 20, false, "two\nlines\t");
        expect_limited("two\nlines\t", 20, true, "two lines ");
        expect_limited("\033[2J\177\xC2\x9B"
                       "äc",
                       20, true, " [2J   äc");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
