/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Back: undo, taking back what was committed, and what is stuck. */

#include <sys/stat.h>

#include "txn-world.h"

static void test_undo_fails_once(void **state) {
        for (unsigned step = 0; step < COMMIT; step++)
                for (int point = BEFORE_UNDO; point <= AFTER_UNDO; point++) {
                        new_world();
                        w->fail_step = (int) step;
                        w->fail_point = point;
                        /* Then the settling must undo, and its undo fails once. */
                        assert_true(killed_at(COMMIT - 1, AFTER_PROVE, run));
                        assert_end(drive(true, 60 * USEC_PER_SEC), TXN_ROLLED_BACK);
                }
}

static void test_undo_never_works(void **state) {
        new_world();
        w->fail_step = 1;
        w->fail_point = BEFORE_UNDO;
        w->fail_times = UINT_MAX;
        assert_true(killed_at(2, AFTER_APPLY, run));
        assert_int_equal(drive(true, 0), TXN_STUCK);
        /* Left are the failing one, and the one whose undo is the last word; the other was undone all the same. */
        assert_int_equal(bits(), 1 << 1 | 1 << 0);
        assert_non_null(strstr(w->last_why, "step 1 fails"));

        /* Once the cause is gone, settling ends it. */
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
}

static int take_back(void) {
        _cleanup_(txn_freep) Txn *t = NULL;

        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        return txn_revert(t, "asked for", NULL);
}

/* As long as the point of no return may be in force, nothing that it stands on is undone. */
static void test_undo_of_the_commit_never_works(void **state) {
        for (int point = BEFORE_UNDO; point <= AFTER_UNDO; point++) {
                new_world();
                assert_int_equal(drive(false, 0), TXN_COMMITTED);
                w->fail_step = COMMIT;
                w->fail_point = point;
                w->fail_times = UINT_MAX;
                assert_int_equal(take_back(), TXN_STUCK);
                assert_int_equal(bits() & ((1 << COMMIT) - 1), (1 << COMMIT) - 1);
                assert_false(w->bit[4]);
                assert_int_equal(drive(true, 0), TXN_STUCK);
                assert_int_equal(bits() & ((1 << COMMIT) - 1), (1 << COMMIT) - 1);

                w->fail_times = 0;
                assert_end(drive(true, 0), TXN_ROLLED_BACK);
        }
}

/* Killed while what did not happen is undone: it is asked once more, as a boot may have started it again. */
static void test_commit_happens_late(void **state) {
        for (int late = 0; late < 2; late++)
                for (int point = BEFORE_UNDO; point <= AFTER_UNDO; point++) {
                        new_world();
                        w->fail_step = w->die_step = COMMIT;
                        w->fail_point = BEFORE_APPLY;
                        w->fail_times = 1;
                        w->die_point = point;
                        if (fork() == 0) {
                                (void) drive(false, 0);
                                _exit(0);
                        }
                        assert_true(wait(NULL) > 0);
                        assert_int_equal(w->die_step, -1);
                        w->bit[COMMIT] = late;
                        assert_end(drive(true, 0), late ? TXN_COMMITTED : TXN_ROLLED_BACK);
                        if (!late)
                                assert_string_equal(w->last_why, "three: step 3 fails at 2");
                }
}

static void test_revert(void **state) {
        new_world();
        assert_int_equal(take_back(), -EINVAL); /* nothing is committed */
        assert_int_equal(drive(false, 0), TXN_COMMITTED);
        w->no_cancel = false;
        assert_int_equal(take_back(), TXN_ROLLED_BACK);
        assert_int_equal(w->n_undo, STEPS);
        for (unsigned i = 0; i < STEPS; i++)
                assert_int_equal(w->undo_order[i], STEPS - 1 - i);
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
        assert_int_equal(take_back(), -EINVAL);
}

/* Killed while a committed transaction is taken back: settling goes on backwards. */
static void test_revert_killed_everywhere(void **state) {
        for (unsigned step = 0; step < STEPS; step++)
                for (int point = BEFORE_UNDO; point <= AFTER_UNDO; point++) {
                        new_world();
                        assert_int_equal(drive(false, 0), TXN_COMMITTED);
                        assert_true(killed_at(step, point, take_back));
                        assert_int_equal(drive(true, 0), TXN_ROLLED_BACK);
                        assert_int_equal(bits(), 0);
                }
}

static void test_refuse_revert(void **state) {
        _cleanup_(txn_freep) Txn *t = NULL;
        _cleanup_json_ json_t *records = NULL;

        new_world();
        assert_int_equal(drive(false, 0), TXN_COMMITTED);
        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        assert_int_equal(txn_refuse_revert(t, "somebody changed it", NULL), 0);
        assert_true(txn_is_committed(t));
        t = txn_free(t);
        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), 0);
        assert_int_equal(txn_state_of(records), TXN_COMMITTED);
        assert_string_equal(txn_reason_of(records), "somebody changed it");
}

static TxnState logged_state(bool *ret_looking) {
        _cleanup_json_ json_t *records = NULL;

        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), 0);
        *ret_looking = txn_is_looking(records);
        return txn_state_of(records);
}

/* Who looks holds the hosts: until that is over, it is not at its end, stuck in between or not. */
static void test_look(void **state) {
        _cleanup_(txn_freep) Txn *t = NULL;
        bool looking;

        new_world();
        assert_int_equal(drive(false, 0), TXN_COMMITTED);
        assert_int_equal(txn_new(dir, plan, STEPS, &ops, &(TxnLimits){}, NULL, &t, NULL), 0);
        assert_int_equal(logged_state(&looking), TXN_COMMITTED);
        assert_false(looking);
        assert_int_equal(txn_look(t, NULL), 0);
        assert_int_equal(logged_state(&looking), TXN_FORWARD);
        assert_true(looking);
        assert_int_equal(txn_end(t, TXN_STUCK, "a host is away", NULL), TXN_STUCK);
        assert_int_equal(logged_state(&looking), TXN_STUCK);
        assert_true(looking);
        assert_int_equal(txn_refuse_revert(t, "too late", NULL), 0);
        assert_int_equal(logged_state(&looking), TXN_COMMITTED);
        assert_false(looking);

        assert_int_equal(txn_look(t, NULL), 0);
        assert_int_equal(txn_revert(t, "asked for", NULL), TXN_ROLLED_BACK);
        assert_int_equal(logged_state(&looking), TXN_ROLLED_BACK);
        assert_false(looking);
        assert_int_equal(bits(), 0);
}

static long log_size(void) {
        _cleanup_free_ char *path = format("%s/log.jsonl", dir);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return (long) st.st_size;
}

/* A host that stays away for weeks: what is tried in vain is told once, and does not fill the log. */
static void assert_bounded(const char *why) {
        char first[sizeof(w->last_why)];
        unsigned loud;
        long size;

        assert_int_equal(drive(true, 0), TXN_STUCK);
        size = log_size();
        loud = w->loud;
        strcpy(first, w->last_why);
        assert_non_null(strstr(first, why));
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(drive(true, 0), TXN_STUCK);
        assert_int_equal(log_size(), size);
        assert_int_equal(w->loud, loud);
        assert_string_equal(w->last_why, first);
}

static void test_stuck_again_and_again(void **state) {
        new_world();
        w->fail_step = 1;
        w->fail_point = BEFORE_UNDO;
        w->fail_times = UINT_MAX;
        assert_true(killed_at(2, AFTER_APPLY, run));
        assert_bounded("step 1 fails");
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
        assert_null(strstr(w->last_why, "undo is not complete"));

        new_world();
        w->fail_step = 4;
        w->fail_point = AFTER_APPLY;
        w->fail_times = UINT_MAX;
        assert_int_equal(drive(false, 0), TXN_STUCK);
        assert_bounded("step 4 fails");
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_COMMITTED);
}

/* Stuck because nobody knew whether it had happened: that is asked again, not taken for a no. */
static void test_stuck_without_an_answer(void **state) {
        new_world();
        w->fail_step = COMMIT;
        w->fail_point = AFTER_APPLY;
        w->unknown = true;
        assert_int_equal(drive(false, 0), TXN_STUCK);
        assert_bounded("cannot be found out");
        assert_int_equal(w->n_undo, 0);
        w->unknown = false;
        assert_end(drive(true, 0), TXN_COMMITTED);
}

/* A host that shuts down tries nothing twice, and is not stuck: the next boot settles. */
static void assert_waits_for_boot(int step, unsigned point, bool unknown, int end) {
        new_world();
        w->fail_step = step;
        w->fail_point = point;
        w->fail_times = UINT_MAX;
        w->unknown = unknown;
        w->down = true;
        assert_int_equal(drive(false, 3600 * USEC_PER_SEC), -ESHUTDOWN);
        assert_int_equal(drive(true, 3600 * USEC_PER_SEC), -ESHUTDOWN);
        assert_int_equal(w->ended, 0);
        w->down = w->unknown = false;
        w->fail_times = 0;
        assert_end(drive(true, 0), end);
}

static void test_going_down(void **state) {
        assert_waits_for_boot(4, AFTER_APPLY, false, TXN_COMMITTED);
        assert_waits_for_boot(COMMIT, AFTER_APPLY, true, TXN_COMMITTED);

        new_world();
        w->fail_step = 1;
        w->fail_point = BEFORE_UNDO;
        w->fail_times = UINT_MAX;
        assert_true(killed_at(2, AFTER_APPLY, run));
        w->down = true;
        assert_int_equal(drive(true, 3600 * USEC_PER_SEC), -ESHUTDOWN);
        w->down = false;
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_undo_fails_once),
                cmocka_unit_test(test_undo_never_works),
                cmocka_unit_test(test_undo_of_the_commit_never_works),
                cmocka_unit_test(test_commit_happens_late),
                cmocka_unit_test(test_revert),
                cmocka_unit_test(test_revert_killed_everywhere),
                cmocka_unit_test(test_refuse_revert),
                cmocka_unit_test(test_look),
                cmocka_unit_test(test_stuck_again_and_again),
                cmocka_unit_test(test_stuck_without_an_answer),
                cmocka_unit_test(test_going_down),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
