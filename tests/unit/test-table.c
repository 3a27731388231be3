/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/string-util.h"
#include "cli/table.h"

Args args; /* of main.c */

int client_fail(int error) {
        return EXIT_FAILED;
}

static const Column columns[] = { { "ID" }, { "ADDRESS", .spare = true }, { "SIZE", .right = true }, { "HEALTH" } };

/* What a table of `cells` prints; the caller frees it. */
static char *printed(const char *const *cells, size_t width, bool legend) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        for (; *cells; cells++)
                assert_int_equal(table_add(t, **cells ? *cells : NULL), 0);
        table_print(t, f, -1, width, legend);
        fclose(f);
        return text;
}

static const char *const rows[] = { "a1", "10.0.0.1", "5", "healthy", "b", "10.0.0.200", "1234", "", NULL };

static void test_as_wide_as_it_is(void **state) {
        _cleanup_free_ char *text = printed(rows, 0, true);

        assert_string_equal(text, "ID  ADDRESS     SIZE  HEALTH\n"
                                  "a1  10.0.0.1       5  healthy\n"
                                  "b   10.0.0.200  1234  -\n");
}

static void test_spares_columns_then_cuts(void **state) {
        _cleanup_free_ char *spared = printed(rows, 24, true), *cut = printed(rows, 14, false);

        assert_string_equal(spared, "ID  SIZE  HEALTH\n"
                                    "a1     5  healthy\n"
                                    "b   1234  -\n");
        assert_string_equal(cut, "a1     5  hea…\n"
                                 "b   1234  -\n");
}

static void test_cells_are_cleaned(void **state) {
        static const char *const evil[] = { "\033[2J", "x\ny", "\t", "ü", NULL };
        _cleanup_free_ char *text = printed(evil, 0, false);

        assert_string_equal(text, " [2J  x y     ü\n");
}

static void test_cut(void **state) {
        static const struct {
                const char *text;
                size_t width;
                const char *expected;
        } cases[] = {
                { "abc", 3, "abc" }, { "abcd", 3, "ab…" }, { "äöüß", 3, "äö…" },
                { "abc", 1, "…" },   { "abc", 0, "" },     { "", 0, "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *cut = text_cut(cases[i].text, cases[i].width);

                assert_string_equal(cut, cases[i].expected);
        }
}

static void test_bar(void **state) {
        static const struct {
                uint64_t done, total;
                size_t width;
                bool blocks;
                const char *expected;
        } cases[] = {
                { 0, 100, 17, false, "[          ]   0%" },
                { 50, 100, 17, false, "[#####     ]  50%" },
                { 200, 100, 17, false, "[##########] 100%" },
                { 1, 0, 17, false, "[          ]   0%" },
                { 1, 2, 11, true, "[██  ]  50%" },
                { 1, 2, 3, false, "[]  50%" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *bar = progress_bar(cases[i].done, cases[i].total, cases[i].width, cases[i].blocks);

                assert_string_equal(bar, cases[i].expected);
        }
}

static void test_units(void **state) {
        char bytes[16], span[32];

        bytes_to_string(1023, bytes);
        assert_string_equal(bytes, "1023B");
        bytes_to_string(3 << 20, bytes);
        assert_string_equal(bytes, "3.0M");
        bytes_to_string(UINT64_MAX, bytes);
        assert_string_equal(bytes, "16777216.0T");
        span_to_string(850 * USEC_PER_MSEC, span);
        assert_string_equal(span, "850ms");
        span_to_string(2 * USEC_PER_SEC + 340 * USEC_PER_MSEC, span);
        assert_string_equal(span, "2.3s");
        span_to_string(200 * USEC_PER_SEC, span);
        assert_string_equal(span, "3min 20s");
        span_to_string(3700 * USEC_PER_SEC, span);
        assert_string_equal(span, "1h 1min");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_as_wide_as_it_is),
                cmocka_unit_test(test_spares_columns_then_cuts),
                cmocka_unit_test(test_cells_are_cleaned),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_bar),
                cmocka_unit_test(test_units),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
