/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/event.h"
#include "basic/string-util.h"
#include "cli/live.h"

Args args; /* of main.c */

int client_fail(int error) {
        return EXIT_FAILED;
}

static JournalLine line(uint64_t seconds, unsigned index, const char *step, EventKind kind, const char *message) {
        return (JournalLine){ .usec = seconds * USEC_PER_SEC,
                              .priority = 6,
                              .step_index = index,
                              .step_count = 16,
                              .txn = "0123abcd-1",
                              .node = "10.0.0.2",
                              .step = step,
                              .message_id = event_message_id(kind),
                              .message = message };
}

static void feed(Live *l, JournalLine one) {
        live_feed(l, &one);
}

static char *draw(const Live *l, size_t width, size_t height, uint64_t seconds) {
        return live_draw(l, width, height, seconds * USEC_PER_SEC, -1);
}

static void test_steps(void **state) {
        _cleanup_(live_freep) Live *l = live_new("0123abcd");
        _cleanup_free_ char *text = NULL;
        JournalLine unpacking = line(13, 2, "deploy", EVENT_STEP_PROGRESS, "[2/16] deploy: unpacking");

        unpacking.host = "10.0.0.1";
        feed(l, line(10, 1, "lock", EVENT_STEP_STARTED, "[1/16] lock: Locking"));
        feed(l, line(12, 1, "lock", EVENT_STEP_DONE, "[1/16] lock: done"));
        feed(l, line(12, 2, "deploy", EVENT_STEP_STARTED, "[2/16] deploy: Unpacking"));
        feed(l, unpacking);
        text = draw(l, 80, 24, 20);
        assert_string_equal(text, "Job 0123abcd: node 10.0.0.2, 10s\n"
                                  "✓  1/16 lock             2.0s  \n"
                                  "▶  2/16 deploy           8.0s  10.0.0.1  unpacking\n");
}

static void test_progress(void **state) {
        _cleanup_(live_freep) Live *l = live_new("0123abcd");
        JournalLine progress = line(12, 3, "backup", EVENT_STEP_PROGRESS, "[3/16] backup: 1 of 4 MiB");
        _cleanup_free_ char *during = NULL, *narrow = NULL, *after = NULL;

        progress.what = "bytes";
        progress.done = 1 << 20;
        progress.total = 4 << 20;
        progress.rate = 1 << 20;
        feed(l, line(10, 3, "backup", EVENT_STEP_STARTED, "x"));
        feed(l, progress);
        during = draw(l, 80, 24, 12);
        assert_non_null(strstr(during, "] ")); /* a bar, and all of the numbers */
        assert_non_null(strstr(during, " 25% 1.0M of 4.0M, 1.0M/s, left: 3.0s\n"));
        narrow = draw(l, 40, 24, 12); /* the numbers rather than the bar */
        assert_non_null(strstr(narrow, " 1.0M of 4.0M, 1.0M/s, left: 3.0s\n"));
        assert_null(strstr(narrow, "] "));
        feed(l, line(13, 3, "backup", EVENT_STEP_DONE, "x"));
        after = draw(l, 100, 24, 13);
        assert_null(strstr(after, "4.0M"));
}

/* No line is wider than asked for, and there are no more of them: the picture would not be erased as a whole. */
static void test_fits(void **state) {
        _cleanup_(live_freep) Live *l = live_new("0123abcd");
        char names[20][16];

        for (unsigned i = 0; i < 20; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "step-%u", i);
                feed(l, line(i, i + 1, names[i], EVENT_STEP_STARTED,
                             "a very long sentence\nwith \033[2J what a terminal must not get, and more of it"));
        }
        for (size_t height = 3; height < 30; height++)
                for (size_t width = 1; width < 60; width += 7) {
                        _cleanup_free_ char *text = draw(l, width, height, 30);
                        size_t lines = 0, columns = 0;

                        assert_null(strchr(text, '\033'));
                        for (const char *c = text; *c; c++) {
                                columns = *c == '\n' ? 0 : columns + (((unsigned char) *c & 0xc0) != 0x80);
                                lines += *c == '\n';
                                assert_true(columns <= width);
                        }
                        assert_true(lines <= height);
                }
}

static void test_next_node_begins_anew(void **state) {
        _cleanup_(live_freep) Live *l = live_new("0123abcd");
        JournalLine second = line(20, 1, "preflight", EVENT_STEP_STARTED, "x");
        _cleanup_free_ char *text = NULL;

        feed(l, line(10, 9, "unlock", EVENT_STEP_DONE, "x"));
        second.txn = "0123abcd-2";
        feed(l, second);
        text = draw(l, 80, 24, 21);
        assert_null(strstr(text, "unlock"));
        assert_non_null(strstr(text, "preflight"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_steps),
                cmocka_unit_test(test_progress),
                cmocka_unit_test(test_fits),
                cmocka_unit_test(test_next_node_begins_anew),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
