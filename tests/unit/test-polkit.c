/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

/* What is tested is not seen from outside. */
#include "bus/polkit.c"

/* One user who asks and asks keeps nobody else waiting, and all of them together are not many. */
static void test_limits(void **state) {
        Question questions[QUESTIONS_MAX] = {};
        Polkit p = {};

        for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
                assert_true(may_ask(&p, 1000 + i / QUESTIONS_OF_USER_MAX));
                questions[i] = (Question){ .uid = 1000 + i / QUESTIONS_OF_USER_MAX, .next = p.questions };
                p.questions = &questions[i];
                p.n++;
                if (i + 1 == QUESTIONS_OF_USER_MAX) {
                        assert_false(may_ask(&p, 1000));
                        assert_true(may_ask(&p, 1001));
                }
        }
        assert_false(may_ask(&p, 5000));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
