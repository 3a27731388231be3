/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The transaction over a world of five bits: each step sets its own, each undo clears it. The transaction may end with
 * all bits set or none, whatever fails, and wherever the worker dies. */

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/txn.h"

#define STEPS 5U
#define COMMIT 3U /* the point of no return, from 0 */

enum { MAY_BEGIN, BEFORE_CHECK, BEFORE_APPLY, AFTER_APPLY, AFTER_PROVE, BEFORE_UNDO, AFTER_UNDO };

/* Shared with children that are killed: this is what "the world" outlives. */
typedef struct World {
        bool bit[STEPS];
        int fail_step, fail_point; /* -1: none */
        int die_step, die_point;
        unsigned fail_times; /* how often; UINT_MAX: always */
        unsigned undo_order[64], n_undo;
        unsigned applied[STEPS], snapshots[STEPS];
        bool no_cancel;
        char last_why[256];
        TxnState ended;
        unsigned loud;      /* reports that were not told before */
        bool down, unknown; /* whether the point of no return was passed cannot be found out */
        bool skip_second;
} World;

static World *w;
static char dir[] = "/tmp/test-txn-XXXXXX";

static int at(unsigned step, int point, char **reterr) {
        if (w->die_step == (int) step && w->die_point == point) {
                w->die_step = -1;
                raise(SIGKILL);
        }
        if (w->fail_step == (int) step && w->fail_point == point && w->fail_times > 0) {
                if (w->fail_times != UINT_MAX)
                        w->fail_times--;
                return fail(reterr, -EREMOTEIO, "step %u fails at %d", step, point);
        }
        return 0;
}

static int check(unsigned i, char **reterr) {
        int r = at(i, BEFORE_CHECK, reterr);

        if (r < 0)
                return r;
        if (i == 1 && w->skip_second) {
                (void) fail(reterr, -EALREADY, "not needed");
                return 0;
        }
        return 1;
}

static int apply(unsigned i, char **reterr) {
        int r = at(i, BEFORE_APPLY, reterr);

        if (r < 0)
                return r;
        w->bit[i] = true;
        w->applied[i]++;
        return at(i, AFTER_APPLY, reterr);
}

static int prove(unsigned i, char **reterr) {
        return w->bit[i] ? at(i, AFTER_PROVE, reterr) : -EUCLEAN;
}

static int undo(unsigned i, char **reterr) {
        int r = at(i, BEFORE_UNDO, reterr);

        if (r < 0)
                return r;
        assert_true(w->no_cancel);
        w->bit[i] = false;
        w->undo_order[w->n_undo++ % ELEMENTSOF(w->undo_order)] = i;
        return at(i, AFTER_UNDO, reterr);
}

static int happened(unsigned i, char **reterr) {
        return w->unknown ? fail(reterr, -EHOSTUNREACH, "nobody answers") : w->bit[i];
}

#define STEP_FUNCTIONS(i)                                                                                              \
        static int check##i(void *world, char **e) {                                                                   \
                return check(i, e);                                                                                    \
        }                                                                                                              \
        static int apply##i(void *world, char **e) {                                                                   \
                return apply(i, e);                                                                                    \
        }                                                                                                              \
        static int prove##i(void *world, char **e) {                                                                   \
                return prove(i, e);                                                                                    \
        }                                                                                                              \
        static int undo##i(void *world, char **e) {                                                                    \
                return undo(i, e);                                                                                     \
        }
STEP_FUNCTIONS(0)
STEP_FUNCTIONS(1)
STEP_FUNCTIONS(2)
STEP_FUNCTIONS(3)
STEP_FUNCTIONS(4)

static int happened3(void *world, char **reterr) {
        return happened(3, reterr);
}

static const Step all[STEPS] = {
        { .name = "zero",
          .title = "0",
          .rejects = true,
          .undo_last = true,
          .check = check0,
          .apply = apply0,
          .prove = prove0,
          .undo = undo0 },
        { .name = "one", .title = "1", .changes = 1, .check = check1, .apply = apply1, .prove = prove1, .undo = undo1 },
        { .name = "two", .title = "2", .changes = 1, .check = check2, .apply = apply2, .prove = prove2, .undo = undo2 },
        { .name = "three",
          .title = "3",
          .point_of_no_return = true,
          .check = check3,
          .apply = apply3,
          .prove = prove3,
          .undo = undo3,
          .happened = happened3 },
        { .name = "four",
          .title = "4",
          .changes = 1,
          .check = check4,
          .apply = apply4,
          .prove = prove4,
          .undo = undo4 },
};
static const Step *const plan[STEPS] = { all, all + 1, all + 2, all + 3, all + 4 };

static int snapshot(void *world, const Step *step, json_t *digests, char **reterr) {
        for (unsigned i = 0; i < STEPS; i++)
                w->snapshots[i] += step == plan[i];
        return json_object_set_new(digests, "host", json_string(step->name));
}

static void no_cancel(void *world) {
        w->no_cancel = true;
}

static void report(void *world, const TxnReport *r) {
        if (r->why)
                (void) snprintf(w->last_why, sizeof(w->last_why), "%s", r->why);
        w->loud += !r->again;
        if (r->phase == TXN_PHASE_END)
                w->ended = r->state;
}

static void pause_nothing(void *world, uint64_t usec) {
}

static bool going_down(void *world) {
        return w->down;
}

static int may_begin(void *world, const Step *step, char **reterr) {
        return at((unsigned) (step - all), MAY_BEGIN, reterr);
}

static const TxnOps ops = {
        .snapshot = snapshot,
        .no_cancel = no_cancel,
        .report = report,
        .pause = pause_nothing,
        .going_down = going_down,
        .may_begin = may_begin,
};

static int setup(void **state) {
        w = mmap(NULL, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return w == MAP_FAILED || !mkdtemp(dir) ? -1 : 0;
}

static int teardown(void **state) {
        munmap(w, sizeof(World));
        return remove_tree(dir);
}

static void new_world(void) {
        _cleanup_free_ char *path = format("%s/log.jsonl", dir);

        assert_int_equal(unlink_durable(path), 0);
        *w = (World){ .fail_step = -1, .die_step = -1, .fail_times = 1 };
}

static int drive(bool settle, uint64_t settle_usec) {
        _cleanup_(txn_freep) Txn *t = NULL;
        int r = txn_new(dir, plan, STEPS, &ops, &(TxnLimits){ .settle_usec = settle_usec }, NULL, &t, NULL);

        if (r < 0)
                return r;
        return settle ? txn_settle(t, NULL) : txn_run(t, NULL);
}

static unsigned bits(void) {
        unsigned n = 0;

        for (unsigned i = 0; i < STEPS; i++)
                n |= (unsigned) w->bit[i] << i;
        return n;
}

static void assert_end(int state, TxnState expected) {
        assert_string_equal(txn_state_to_string((TxnState) state), txn_state_to_string(expected));
        assert_int_equal(bits(), expected == TXN_COMMITTED ? (1 << STEPS) - 1 : 0);
        assert_int_equal(w->ended, expected);
        /* Settling what has ended changes nothing. */
        w->ended = TXN_EMPTY;
        assert_int_equal(drive(true, 0), expected);
        assert_int_equal(w->ended, TXN_EMPTY);
}

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
                                assert_int_equal(records_of(all[step].name), step > COMMIT ? 3 : 1);
                        assert_int_equal(w->fail_times, point == MAY_BEGIN && step > COMMIT);
                }
}

static void test_undo_fails_once(void **state) {
        for (unsigned step = 0; step < COMMIT; step++)
                for (int point = BEFORE_UNDO; point <= AFTER_UNDO; point++) {
                        new_world();
                        w->fail_step = (int) step;
                        w->fail_point = point;
                        w->die_step = COMMIT - 1; /* then the settling must undo, and its undo fails once */
                        w->die_point = AFTER_PROVE;
                        if (fork() == 0) {
                                (void) drive(false, 0);
                                _exit(0);
                        }
                        assert_true(wait(NULL) > 0);
                        assert_end(drive(true, 60 * USEC_PER_SEC), TXN_ROLLED_BACK);
                }
}

static void test_undo_never_works(void **state) {
        new_world();
        w->fail_step = 1;
        w->fail_point = BEFORE_UNDO;
        w->fail_times = UINT_MAX;
        w->die_step = 2;
        w->die_point = AFTER_APPLY;
        if (fork() == 0) {
                (void) drive(false, 0);
                _exit(0);
        }
        assert_true(wait(NULL) > 0);
        assert_int_equal(drive(true, 0), TXN_STUCK);
        /* Left are the failing one, and the one whose undo is the last word; the other was undone all the same. */
        assert_int_equal(bits(), 1 << 1 | 1 << 0);
        assert_non_null(strstr(w->last_why, "step 1 fails"));

        /* Once the cause is gone, settling ends it. */
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
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
                                int status;
                                pid_t pid;

                                new_world();
                                w->die_step = (int) step;
                                w->die_point = point;
                                pid = fork();
                                if (pid == 0) {
                                        (void) drive(false, 0);
                                        _exit(0);
                                }
                                assert_int_equal(waitpid(pid, &status, 0), pid);
                                assert_true(WIFSIGNALED(status));

                                if (again < STEPS) { /* killed a second time, if settling comes there */
                                        w->die_step = (int) again;
                                        w->die_point = happens ? AFTER_APPLY : AFTER_UNDO;
                                        pid = fork();
                                        if (pid == 0) {
                                                (void) drive(true, 0);
                                                _exit(0);
                                        }
                                        assert_int_equal(waitpid(pid, &status, 0), pid);
                                        w->die_step = -1;
                                }
                                /* Killed before its first record nothing is known of it, and nothing was done. */
                                assert_int_equal(drive(true, 0), happens     ? TXN_COMMITTED
                                                                 : step == 0 ? TXN_REJECTED
                                                                 : step == 1 && point == BEFORE_CHECK
                                                                         ? TXN_REJECTED
                                                                         : TXN_ROLLED_BACK);
                                assert_int_equal(bits(), happens ? (1 << STEPS) - 1 : 0);
                        }
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
                        w->die_step = (int) step;
                        w->die_point = point;
                        if (fork() == 0) {
                                (void) take_back();
                                _exit(0);
                        }
                        assert_true(wait(NULL) > 0);
                        assert_int_equal(w->die_step, -1);
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
        w->die_step = 2;
        w->die_point = AFTER_APPLY;
        if (fork() == 0) {
                (void) drive(false, 0);
                _exit(0);
        }
        assert_true(wait(NULL) > 0);
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
        w->die_step = 2;
        w->die_point = AFTER_APPLY;
        if (fork() == 0) {
                (void) drive(false, 0);
                _exit(0);
        }
        assert_true(wait(NULL) > 0);
        w->down = true;
        assert_int_equal(drive(true, 3600 * USEC_PER_SEC), -ESHUTDOWN);
        w->down = false;
        w->fail_times = 0;
        assert_end(drive(true, 0), TXN_ROLLED_BACK);
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
        return w->bit[s - all];
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
                        assert_int_equal(txn_assume(t, bit_is_set, committed, "its host is gone", NULL), 0);
                }
                assert_end(drive(true, 0), committed ? TXN_COMMITTED : begun == 1 ? TXN_REJECTED : TXN_ROLLED_BACK);
                for (unsigned i = 0; i <= COMMIT; i++)
                        assert_int_equal(w->applied[i], 0);
                if (!committed)
                        assert_string_equal(w->last_why, "its host is gone");
        }
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
                cmocka_unit_test(test_undo_fails_once),
                cmocka_unit_test(test_undo_never_works),
                cmocka_unit_test(test_undo_of_the_commit_never_works),
                cmocka_unit_test(test_forward_never_works),
                cmocka_unit_test(test_tried_again_without_a_snapshot),
                cmocka_unit_test(test_killed_everywhere),
                cmocka_unit_test(test_remembers),
                cmocka_unit_test(test_assumes),
                cmocka_unit_test(test_ends),
                cmocka_unit_test(test_revert),
                cmocka_unit_test(test_revert_killed_everywhere),
                cmocka_unit_test(test_refuse_revert),
                cmocka_unit_test(test_stuck_again_and_again),
                cmocka_unit_test(test_stuck_without_an_answer),
                cmocka_unit_test(test_going_down),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
