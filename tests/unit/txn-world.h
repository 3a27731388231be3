/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The transaction over a world of five bits: each step sets its own, each undo clears it. The transaction may end with
 * all bits set or none, whatever fails, and wherever the worker dies. */

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

extern World *w;
extern char dir[];
extern const Step *const plan[STEPS];
extern const TxnOps ops;

int setup(void **state);
int teardown(void **state);
void new_world(void);

/* Runs it, or settles what is there; the state it ends in. */
int drive(bool settle, uint64_t settle_usec);
/* A worker of its own runs it, settles it or does `work`, and is killed at that point; false: not there. */
int run(void);
int settle(void);
bool killed_at(unsigned step, int point, int (*work)(void));
unsigned bits(void);
void assert_end(int state, TxnState expected);
