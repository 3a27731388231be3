/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/time-of-day.h"
#include "dhetcdd/schedule.h"
#include "test-util.h"

static void test_on(void **state) {
        assert_true(schedule_on_is_valid("Sat 02:00"));
        assert_true(schedule_on_is_valid("Mon..Fri *-*-1/2,7~3 02:00:00 Europe/Berlin"));
        assert_false(schedule_on_is_valid(""));
        assert_false(schedule_on_is_valid("   "));
        assert_false(schedule_on_is_valid("Sat\nExecStart=/bin/sh"));
        assert_false(schedule_on_is_valid("%H"));
        assert_false(schedule_on_is_valid("Sat;02:00"));
}

static void test_end(void **state) {
        const uint64_t noon = UINT64_C(1795780800) * USEC_PER_SEC; /* 2026-11-27 12:00 UTC */
        uint64_t end;

        setenv("TZ", "UTC", 1);
        tzset();
        assert_int_equal(time_of_day_after("13:30", noon, &end), 0);
        assert_int_equal((end - noon) / USEC_PER_SEC, 5400);
        assert_int_equal(time_of_day_after("12:00:01", noon, &end), 0);
        assert_int_equal((end - noon) / USEC_PER_SEC, 1);
        assert_int_equal(time_of_day_after("12:00", noon, &end), 0);
        assert_int_equal((end - noon) / USEC_PER_SEC, 86400);
        assert_int_equal(time_of_day_after("05:00", noon, &end), 0);
        assert_int_equal((end - noon) / USEC_PER_SEC, 17 * 3600);
        for (const char *const *bad = (const char *const[]){ "", "5", "24:00", "05:60", "05:00:60", "05:00x", "-1:00",
                                                             "05:00:00:00", " 05:00", NULL };
             *bad; bad++)
                assert_int_equal(time_of_day_after(*bad, noon, &end), -EINVAL);
}

static void test_record(void **state) {
        _cleanup_json_ json_t *options = json_pack("{s:s}", "restart", "always");
        char dir[] = "/tmp/test-schedule-XXXXXX", *nodes[] = { "10.0.0.2", "10.0.0.3", NULL };
        _cleanup_(schedule_freep) Schedule *s = NULL, *again = NULL;
        _cleanup_strv_ char **names = NULL, **none = NULL;
        _cleanup_free_ char *dropin = NULL, *text = NULL;

        assert_non_null(mkdtemp(dir));
        assert_int_equal(schedule_new(nodes, options, "Sat 02:00", "05:00", 7, &s), 0);
        s->armed = true;
        assert_int_equal(schedule_save(s, dir, NULL), 0);
        assert_int_equal(schedule_list(dir, &names), 0);
        assert_int_equal(strv_length(names), 1);
        assert_int_equal(schedule_load(dir, names[0], &again, NULL), 0);
        assert_string_equal(again->nodes[1], "10.0.0.3");
        assert_string_equal(again->on, "Sat 02:00");
        assert_string_equal(again->until, "05:00");
        assert_int_equal(again->uid, 7);
        assert_true(again->armed);
        assert_int_equal(schedule_write_timer(s, dir, NULL), 0);
        dropin = format("%s/dhetcd-add@10.0.0.2.timer.d/50-schedule.conf", dir);
        assert_int_equal(read_file(dropin, 4096, false, &text, NULL), 0);
        assert_non_null(strstr(text, "\nOnCalendar=\nOnCalendar=Sat 02:00\n"));
        assert_int_equal(schedule_remove_timer(dir, "10.0.0.2"), 0);
        assert_int_equal(schedule_remove_timer(dir, "10.0.0.2"), 0);
        assert_int_equal(path_exists(dropin), 0);
        assert_int_equal(schedule_remove(dir, "10.0.0.2"), 0);
        assert_int_equal(schedule_list(dir, &none), 0);
        assert_null(none);
        assert_int_equal(remove_tree(dir), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_on),
                cmocka_unit_test(test_end),
                cmocka_unit_test(test_record),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
