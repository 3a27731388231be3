/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "sweep.h"

#include <stdint.h>
#include <sys/wait.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "hooks.h"
#include "promise.h"
#include "world.h"

#define ENDED 100    /* exit status of a child: this and the state */
#define NO_STATE 120 /* a negative errno, and nothing claimed */
#define LEAKED 98
#define RETRY_USEC (2 * USEC_PER_SEC)
#define LARGE 512U /* writes above it are torn at every LARGE/8th byte only */

/* Where this is built with LeakSanitizer. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static uint64_t mix(uint64_t x) {
        x ^= x >> 31;
        x *= 0x94d049bb133111ebU;
        return x ^ (x >> 33);
}

/* One of each `share` points that follow each other. */
bool chosen(const Choice *c, unsigned long point) {
        unsigned long group = (point - 1) / c->share, which = (point - 1) % c->share;

        return which == mix(group * 0x9e3779b97f4a7c15U + (c->seed + 1U) * 0xd1b54a32d192ed03U) % c->share;
}

Choice choice_among(const Choice *c, unsigned long total) {
        Choice r = *c;

        if (r.share > total)
                r.share = total > 0 ? (unsigned) total : 1;
        return r;
}

int in_child(int (*function)(void *userdata), void *userdata) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(function(userdata));
        if (pid < 0 || waitpid(pid, &status, 0) < 0) {
                perror("fork");
                exit(1);
        }
        return status;
}

typedef struct Order {
        Scenario scenario;
        Hook hook;
        uint64_t settle_usec;
} Order;

static int run_hooked(void *userdata) {
        const Order *o = userdata;
        int r;

        hooks_arm(&o->hook);
        r = scenario_run(o->scenario, o->settle_usec);
        hooks_disarm();
        if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0)
                return LEAKED;
        return r < 0 ? NO_STATE : ENDED + r;
}

static int settle_hooked(void *userdata) {
        const Order *o = userdata;
        int r;

        hooks_arm(&o->hook);
        r = plan_settle(o->settle_usec, NULL);
        return r < 0 ? NO_STATE : ENDED + r;
}

static int settle_and_check(void *userdata) {
        int r = plan_settle_and_check();

        return r < 0 ? NO_STATE : ENDED + r;
}

static void prepare(Scenario s) {
        int r = scenario_prepare(s);

        if (r >= 0)
                return;
        (void) complain("cannot be prepared: %s", strerror(-r));
        exit(1);
}

/* Counts what settling came to; where it is not what was claimed before (0: nothing was), that is wrong too. */
static bool count_outcome(Tally *t, const char *point, unsigned long at, int claimed) {
        int status = in_child(settle_and_check, NULL), outcome = WIFEXITED(status) ? WEXITSTATUS(status) - ENDED : -1;
        bool is_new = outcome == TXN_COMMITTED, is_old = outcome == TXN_ROLLED_BACK;

        t->points++;
        if ((claimed == TXN_COMMITTED && !is_new) ||
            ((claimed == TXN_ROLLED_BACK || claimed == TXN_REJECTED) && !is_old)) {
                (void) complain("claimed %s before", txn_state_to_string((TxnState) claimed));
                is_new = is_old = false;
        }
        t->new += is_new;
        t->old += is_old;
        t->other += !is_new && !is_old;
        if (!is_new && !is_old)
                (void) complain("FAILED at %s, call %lu (status %#x)", point, at, (unsigned) status);
        return is_new || is_old;
}

bool settle_and_count(Tally *t, const char *point, unsigned long at) {
        return count_outcome(t, point, at, 0);
}

/* ---- killed ---- */

bool run_killed(Scenario s, unsigned long at) {
        Order o = { .scenario = s, .hook = { .mode = HOOK_KILL, .at = at } };

        return WIFSIGNALED(in_child(run_hooked, &o));
}

static bool kill_run(Scenario s, unsigned long at) {
        prepare(s);
        return run_killed(s, at);
}

static bool kill_settling(Scenario s, const Choice *c, unsigned long at, Tally *t) {
        for (unsigned long again = 1;; again++) {
                Order o = { .hook = { .mode = HOOK_KILL, .at = again } };

                (void) kill_run(s, at);
                if (!WIFSIGNALED(in_child(settle_hooked, &o)))
                        return true;
                if (!settle_and_count(t, "killed twice before", again)) {
                        (void) complain("killed first before call %lu of %s", at, scenario_to_string(s));
                        if (c->stop)
                                return false;
                }
        }
}

/* How many calls (allocations) the scenario makes when nothing happens to it. */
static unsigned long count_points(Scenario s, HookKind kind) {
        Order o = { .scenario = s, .hook = { .mode = HOOK_COUNT, .kind = kind } };

        prepare(s);
        (void) in_child(run_hooked, &o);
        return hooks_count()->n;
}

void sweep_kills(Scenario s, const Choice *c, bool twice, Tally *t) {
        unsigned long total = count_points(s, HOOK_CALLS);
        Choice among = choice_among(c, total);

        for (unsigned long at = 1;; at++) {
                char name[64];

                if (at <= total && !chosen(&among, at))
                        continue;
                if (!kill_run(s, at))
                        return;
                (void) snprintf(name, sizeof(name), "%s, killed before %s", scenario_to_string(s), hooks_count()->name);
                if (twice ? !kill_settling(s, c, at, t) : !settle_and_count(t, name, at) && c->stop)
                        return;
        }
}

/* ---- failing ---- */

/* False when the fault was not reached: the operation completed untouched. */
static bool fail_run(const Order *o, Tally *t, bool *ret_good) {
        char name[80];
        int status, claimed;

        prepare(o->scenario);
        status = in_child(run_hooked, (void *) o);
        if (hooks_count()->hits == 0)
                return false;

        (void) snprintf(name, sizeof(name), "%s, %s %s with %s", scenario_to_string(o->scenario), hooks_count()->name,
                        o->hook.persistent ? "and all later fail" : "fails",
                        strerrorname_np(o->hook.kind == HOOK_ALLOCATIONS ? ENOMEM : o->hook.error));
        if (!WIFEXITED(status) || WEXITSTATUS(status) < ENDED) {
                t->points++;
                t->other++;
                *ret_good = complain("FAILED at %s, call %lu: crash or leak (status %#x)", name, o->hook.at,
                                     (unsigned) status);
                return true;
        }
        claimed = WEXITSTATUS(status) == NO_STATE ? 0 : WEXITSTATUS(status) - ENDED;
        *ret_good = count_outcome(t, name, o->hook.at, claimed);
        return true;
}

static void sweep_failing(Scenario s, const Choice *c, HookKind kind, int error, bool persistent, Tally *t) {
        unsigned long total = count_points(s, kind);
        Choice among = choice_among(c, total);
        Order o = { .scenario = s, .settle_usec = persistent ? 0 : RETRY_USEC };
        bool good = true;

        for (unsigned long at = 1;; at++) {
                if (at <= total && !chosen(&among, at))
                        continue;
                o.hook = (Hook){ .mode = HOOK_FAIL, .kind = kind, .at = at, .error = error, .persistent = persistent };
                if (!fail_run(&o, t, &good) || (!good && c->stop))
                        return;
        }
}

void sweep_failing_calls(Scenario s, const Choice *c, Tally *t) {
        for (unsigned i = 0; i < 4; i++)
                sweep_failing(s, c, HOOK_CALLS, i < 2 ? ENOSPC : EIO, i % 2 != 0, t);
}

void sweep_failing_allocations(Scenario s, const Choice *c, Tally *t) {
        sweep_failing(s, c, HOOK_ALLOCATIONS, 0, false, t);
        sweep_failing(s, c, HOOK_ALLOCATIONS, 0, true, t);
}

/* ---- torn ---- */

/* Returns the size of the write, 0 where there is no such write any more. */
static size_t tear(Scenario s, HookMode mode, unsigned long at, size_t cut, Tally *t, bool *ret_good) {
        Order o = { .scenario = s, .hook = { .mode = mode, .at = at, .cut = cut } };
        char name[64];

        prepare(s);
        if (!WIFSIGNALED(in_child(run_hooked, &o)))
                return 0;
        (void) snprintf(name, sizeof(name), "%s, write %lu torn at byte", scenario_to_string(s), at);
        *ret_good = settle_and_count(t, name, cut);
        return hooks_count()->size;
}

void sweep_torn(Scenario s, const Choice *c, Tally *t) {
        unsigned long tried = 0;

        for (unsigned long at = 1;; at++) {
                bool good = true;
                size_t size = tear(s, HOOK_TORN, at, 0, t, &good);

                if (size == 0)
                        return;
                for (size_t cut = 1; cut < size && (good || !c->stop); cut += size > LARGE ? LARGE / 8 : 1) {
                        if (!chosen(c, ++tried))
                                continue;
                        (void) tear(s, HOOK_TORN, at, cut, t, &good);
                        if (good || !c->stop)
                                (void) tear(s, HOOK_TORN_ZEROES, at, cut, t, &good);
                }
                if (!good && c->stop)
                        return;
        }
}

/* ---- damaged ---- */

typedef struct Damage {
        Scenario scenario;
        bool ended;       /* the scenario is run to its end first */
        const char *file; /* the log */
        char *text;
        size_t size;
} Damage;

static int read_log(Damage *d) {
        free(TAKE_PTR(d->text));
        return read_file(in(d->file), TXN_LOG_SIZE_MAX, false, &d->text, &d->size);
}

static bool make_log(Damage *d) {
        Order o = { .scenario = d->scenario };

        prepare(d->scenario);
        if (d->ended)
                (void) in_child(run_hooked, &o);
        return read_log(d) >= 0;
}

static int put_log(const Damage *d) {
        return write_file_durable(in(d->file), d->text, d->size, 0600, (uid_t) -1, (gid_t) -1);
}

/* Either it ends as it should, or it says what is wrong, with the path and what to do: never a wrong success. */
static int settle_damaged(void *userdata) {
        const Damage *d = userdata;
        bool must_commit = plan_must_commit();
        _cleanup_json_ json_t *records = NULL;
        _cleanup_free_ char *why = NULL;
        const char *said;
        int r;

        r = plan_settle(0, &why);
        if (r >= 0 && r != TXN_STUCK) {
                r = plan_check(must_commit);
                return r < 0 ? NO_STATE : ENDED + r;
        }
        said = why;
        if (r == TXN_STUCK && txn_log_read(in("txn"), &records, NULL, NULL) >= 0)
                said = txn_reason_of(records);
        if (said && (strstr(said, "not as it was") || (strstr(said, in(d->file)) && strstr(said, "Keep the file"))))
                return ENDED + TXN_STUCK;
        (void) complain("refused without saying why: %s", said);
        return NO_STATE;
}

static bool flip(Damage *d, size_t at, unsigned bit, Tally *t) {
        int status, outcome;

        d->text[at] ^= (char) (1U << bit);
        if (put_log(d) < 0)
                return complain("%s cannot be written", d->file);
        status = in_child(settle_damaged, d);
        d->text[at] ^= (char) (1U << bit);
        outcome = WIFEXITED(status) ? WEXITSTATUS(status) - ENDED : -1;

        t->points++;
        t->refused += outcome == TXN_STUCK;
        t->new += outcome == TXN_COMMITTED;
        t->old += outcome == TXN_ROLLED_BACK;
        if (outcome == TXN_STUCK || outcome == TXN_COMMITTED || outcome == TXN_ROLLED_BACK)
                return true;
        t->other++;
        return complain("FAILED at byte %zu, bit %u of %s (%s)", at, bit, d->file, scenario_to_string(d->scenario));
}

/* Where the last record begins. */
static size_t last_record(const Damage *d) {
        size_t i = d->size - 1;

        while (i > 0 && d->text[i - 1] != '\n')
                i--;
        return i;
}

static void sweep_log(Damage *d, const Choice *c, Tally *t) {
        bool fresh = make_log(d);

        for (size_t at = 0; fresh && at < d->size; at++)
                for (unsigned bit = 0; bit < 8; bit++) {
                        unsigned long refused = t->refused;

                        if (!chosen(c, at * 8 + bit + 1))
                                continue;
                        if (!flip(d, at, bit, t) && c->stop)
                                return;
                        /* What was settled, or begun to be, is made again; elsewhere the good log is put back. */
                        if (t->refused == refused || at >= last_record(d) || streq(d->file, "record/log.jsonl"))
                                fresh = make_log(d);
                        else
                                fresh = put_log(d) >= 0;
                        if (!fresh)
                                (void) complain("%s cannot be made again", d->file);
                }
}

void sweep_damage(Scenario s, const Choice *c, Tally *t) {
        const bool begun = s >= SCENARIO_SETTLE_BACK;
        Damage log = { .scenario = s, .file = "txn/log.jsonl", .ended = !begun };
        Damage record = { .scenario = s, .file = "record/log.jsonl", .ended = !begun };

        sweep_log(&log, c, t);
        free(log.text);
        if (begun)
                sweep_log(&record, c, t);
        free(record.text);
}
