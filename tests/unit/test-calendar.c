/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/calendar.h"
#include "test-util.h"

#define SEC UINT64_C(1000000)

/* As systemd 252 and 257 print it, with a time zone and in UTC. */
static void test_parse(void **state) {
        static const char zone[] = "  Original form: Sat 02:00\n"
                                   "Normalized form: Sat *-*-* 02:00:00\n"
                                   "    Next elapse: Sat 2026-11-28 02:00:00 CET\n"
                                   "       (in UTC): Sat 2026-11-28 01:00:00 UTC\n"
                                   "       From now: 4 days left\n"
                                   "       Iter. #2: Sat 2026-12-05 02:00:00 CET\n"
                                   "       (in UTC): Sat 2026-12-05 01:00:00 UTC\n"
                                   "       From now: 1 week 4 days left\n";
        static const char utc[] = "Normalized form: 2026-11-28 02:00:00\n"
                                  "    Next elapse: Sat 2026-11-28 02:00:00 UTC\n"
                                  "       From now: 4 days left\n"
                                  "   Iteration #2: Sat 2026-12-05 02:00:00 UTC\n";
        uint64_t dates[3];

        assert_int_equal(calendar_parse(zone, dates, 3), 2);
        assert_int_equal(dates[0], 1795827600 * SEC);
        assert_int_equal(dates[1], (1795827600 + 7 * 86400) * SEC);
        assert_int_equal(calendar_parse(utc, dates, 3), 2);
        assert_int_equal(dates[0], 1795831200 * SEC);
        assert_int_equal(calendar_parse(utc, dates, 1), 1);
        assert_int_equal(calendar_parse("    Next elapse: never\n", dates, 3), 0);
        assert_int_equal(calendar_parse("", dates, 3), 0);
}

static void test_dates(void **state) {
        uint64_t dates[3];
        int r = calendar_dates("2026-11-28 02:00:00 UTC", 1795000000 * SEC, dates, 3);

        if (r == -ENOENT)
                skip();
        assert_int_equal(r, 1);
        assert_int_equal(dates[0], 1795831200 * SEC);
        assert_int_equal(calendar_dates("Sat 02:00 UTC", 1795000000 * SEC, dates, 3), 3);
        assert_int_equal(dates[0], 1795226400 * SEC);
        assert_int_equal(dates[2] - dates[1], 7 * 86400 * SEC);
        assert_int_equal(calendar_dates("yesterday-ish", 1795000000 * SEC, dates, 3), -EINVAL);
        assert_int_equal(calendar_dates("1999-01-01", 1795000000 * SEC, dates, 3), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_dates) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
