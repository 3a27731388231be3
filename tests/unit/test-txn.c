/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Forward: what fails or dies anywhere, and where it ends. */

#include "txn-world.h"

static void test_commits(void **state) {
        new_world();
        assert_end(drive(false, 0), TXN_COMMITTED);
        for (unsigned i = 0; i < STEPS; i++)
                assert_int_equal(w->applied[i], 1);
        assert_int_equal(drive(false, 0), -EEXIST);
}

static void test_skips(void **state) {
        new_world();
        w->skip_second = true;
        assert_int_equal(drive(false, 0), TXN_COMMITTED);
        assert_int_equal(w->applied[1], 0);

        new_world();
        w->skip_second = true;
        w->fail_step = 2;
        w->fail_point = AFTER_APPLY;
        assert_end(drive(false, 0), TXN_ROLLED_BACK);
        assert_int_equal(w->n_undo, 2); /* what was skipped is not undone */
}

static unsigned records_of(const char *step) {
        _cleanup_json_ json_t *records = NULL;
        unsigned n = 0;

        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), 0);
        for (size_t i = 0; i < json_array_size(records); i++)
                n += streq(json_get_string(json_array_get(records, i), "step"), step);
        return n;
}

static void test_fails_everywhere(void **state) {
        for (unsigned step = 0; step < STEPS; step++)
                for (int point = MAY_BEGIN; point <= AFTER_PROVE; point++) {
                        bool happens = step > COMMIT || (step == COMMIT && point >= AFTER_APPLY);

                        new_world();
                        w->fail_step = (int) step;
                        w->fail_point = point;
                        assert_end(drive(false, 60 * USEC_PER_SEC), happens     ? TXN_COMMITTED
                                                                    : step == 0 ? TXN_REJECTED
                                                                                : TXN_ROLLED_BACK);
                        for (unsigned i = 1; i < w->n_undo; i++)
                                assert_true(w->undo_order[i] < w->undo_order[i - 1]);
                        if (point == MAY_BEGIN) /* no intent of it; after the commit nobody is asked */
                                assert_int_equal(records_of(plan[step]->name), step > COMMIT ? 3 : 1);
                        assert_int_equal(w->fail_times, point == MAY_BEGIN && step > COMMIT);
                }
}

static void test_forward_never_works(void **state) {
        new_world();
        w->fail_step = 4;
        w->fail_point = BEFORE_APPLY;
        w->fail_times = UINT_MAX;
        assert_int_equal(drive(false, 0), TXN_STUCK);
        assert_int_equal(w->n_undo, 0);
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_COMMITTED);
}

/* A step that is tried again takes no second snapshot: what its first try has left is nothing to keep. */
static void test_tried_again_without_a_snapshot(void **state) {
        new_world();
        w->fail_step = 4;
        w->fail_point = AFTER_APPLY;
        w->fail_times = 3;
        assert_end(drive(false, 60 * USEC_PER_SEC), TXN_COMMITTED);
        assert_int_equal(w->applied[4], 4);
        assert_int_equal(w->snapshots[4], 1);
}

/* The worker is killed at every point of every step, and again while settling. */
static void test_killed_everywhere(void **state) {
        for (unsigned step = 0; step < STEPS; step++)
                for (int point = BEFORE_CHECK; point < BEFORE_UNDO; point++)
                        for (unsigned again = 0; again <= STEPS; again++) {
                                bool happens = step > COMMIT || (step == COMMIT && point >= AFTER_APPLY);

                                new_world();
                                assert_true(killed_at(step, point, run));
                                if (again < STEPS) /* killed a second time, if settling comes there */
                                        (void) killed_at(again, happens ? AFTER_APPLY : AFTER_UNDO, settle);
                                /* Killed before its first record nothing is known of it, and nothing was done. */
                                assert_int_equal(drive(true, 0), happens     ? TXN_COMMITTED
                                                                 : step == 0 ? TXN_REJECTED
                                                                 : step == 1 && point == BEFORE_CHECK
                                                                         ? TXN_REJECTED
                                                                         : TXN_ROLLED_BACK);
                                assert_int_equal(bits(), happens ? (1 << STEPS) - 1 : 0);
                        }
}

static void test_remembers(void **state) {
        _cleanup_(txn_freep) Txn *t = NULL;

        new_world();
        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        assert_null(txn_recall(t, "id"));
        assert_int_equal(txn_remember(t, "id", json_integer(7), NULL), 0);
        assert_int_equal(txn_remember(t, "id", json_integer(8), NULL), 0);
        t = txn_free(t);
        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        assert_int_equal(json_integer_value(txn_recall(t, "id")), 8);
}

static bool bit_is_set(void *world, const Step *s) {
        return w->bit[s - plan[0]];
}

/* The log was lost with its host: what was begun is known from the world alone. */
static void test_assumes(void **state) {
        for (unsigned begun = 1; begun <= STEPS; begun++) {
                bool committed = begun > COMMIT;

                new_world();
                for (unsigned i = 0; i < begun; i++)
                        w->bit[i] = true;
                for (unsigned twice = 0; twice < 2; twice++) { /* a crash came between */
                        _cleanup_(txn_freep) Txn *t = NULL;

                        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
                        assert_int_equal(txn_assume(t, bit_is_set, committed, false, "its host is gone", NULL), 0);
                }
                assert_end(drive(true, 0), committed ? TXN_COMMITTED : begun == 1 ? TXN_REJECTED : TXN_ROLLED_BACK);
                for (unsigned i = 0; i <= COMMIT; i++)
                        assert_int_equal(w->applied[i], 0);
                if (!committed)
                        assert_string_equal(w->last_why, "its host is gone");
        }
}

/* The other host was taking it back: so does whoever goes on, though the point of no return is in force still. */
static void assume_reverted(bool committed) {
        new_world();
        for (unsigned i = 0; i < STEPS; i++)
                w->bit[i] = true;
        for (unsigned twice = 0; twice < 2; twice++) {
                _cleanup_(txn_freep) Txn *t = NULL;

                assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
                assert_int_equal(txn_assume(t, bit_is_set, committed, true, "its host is gone", NULL), 0);
        }
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
        for (unsigned i = 0; i <= COMMIT; i++)
                assert_false(w->bit[i]);
}

static void test_assumes_reverted(void **state) {
        assume_reverted(true);
        assume_reverted(false); /* nobody knew whether it had happened: it is undone as if it had */
}

static void test_ends(void **state) {
        _cleanup_(txn_freep) Txn *t = NULL;

        new_world();
        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        assert_int_equal(txn_end(t, TXN_ROLLED_BACK, "by another host", NULL), TXN_ROLLED_BACK);
        t = txn_free(t);
        assert_int_equal(w->ended, TXN_ROLLED_BACK);
        assert_int_equal(drive(true, 0), TXN_ROLLED_BACK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_commits),
                cmocka_unit_test(test_skips),
                cmocka_unit_test(test_fails_everywhere),
                cmocka_unit_test(test_forward_never_works),
                cmocka_unit_test(test_tried_again_without_a_snapshot),
                cmocka_unit_test(test_killed_everywhere),
                cmocka_unit_test(test_remembers),
                cmocka_unit_test(test_assumes),
                cmocka_unit_test(test_assumes_reverted),
                cmocka_unit_test(test_ends),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
