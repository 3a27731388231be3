/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "txn-world.h"

#include <signal.h>
#include <sys/mman.h>

World *w;
char dir[] = "/tmp/test-txn-XXXXXX";

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
const Step *const plan[STEPS] = { all, all + 1, all + 2, all + 3, all + 4 };

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

const TxnOps ops = {
        .snapshot = snapshot,
        .no_cancel = no_cancel,
        .report = report,
        .pause = pause_nothing,
        .going_down = going_down,
        .may_begin = may_begin,
};

int setup(void **state) {
        w = mmap(NULL, sizeof(World), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return w == MAP_FAILED || !mkdtemp(dir) ? -1 : 0;
}

int teardown(void **state) {
        munmap(w, sizeof(World));
        return remove_tree(dir);
}

void new_world(void) {
        _cleanup_free_ char *path = format("%s/log.jsonl", dir);

        assert_int_equal(unlink_durable(path), 0);
        *w = (World){ .fail_step = -1, .die_step = -1, .fail_times = 1 };
}

int drive(bool settle, uint64_t settle_usec) {
        _cleanup_(txn_freep) Txn *t = NULL;
        int r = txn_new(dir, plan, STEPS, &ops, &(TxnLimits){ .settle_usec = settle_usec }, NULL, &t, NULL);

        if (r < 0)
                return r;
        return settle ? txn_settle(t, NULL) : txn_run(t, NULL);
}

int run(void) {
        return drive(false, 0);
}

int settle(void) {
        return drive(true, 0);
}

bool killed_at(unsigned step, int point, int (*work)(void)) {
        int status;
        pid_t pid;

        w->die_step = (int) step;
        w->die_point = point;
        pid = fork();
        if (pid == 0) {
                (void) work();
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        w->die_step = -1;
        return WIFSIGNALED(status);
}

unsigned bits(void) {
        unsigned n = 0;

        for (unsigned i = 0; i < STEPS; i++)
                n |= (unsigned) w->bit[i] << i;
        return n;
}

void assert_end(int state, TxnState expected) {
        assert_string_equal(txn_state_to_string((TxnState) state), txn_state_to_string(expected));
        assert_int_equal(bits(), expected == TXN_COMMITTED ? (1 << STEPS) - 1 : 0);
        assert_int_equal(w->ended, expected);
        /* Settling what has ended changes nothing. */
        w->ended = TXN_EMPTY;
        assert_int_equal(drive(true, 0), expected);
        assert_int_equal(w->ended, TXN_EMPTY);
}
