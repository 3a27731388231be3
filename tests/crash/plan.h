/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A transaction of the engine over the tree of world.h: eight steps that do to files what the steps of an addition do,
 * with a snapshot before each, a point of no return, a step after it, and the host's own record of what it did. */

#include "txn/txn-log.h"

typedef enum Scenario {
        SCENARIO_COMMIT,         /* from the beginning to the end */
        SCENARIO_ROLLBACK,       /* the last step before the point of no return fails */
        SCENARIO_SETTLE_BACK,    /* the worker died just before the point of no return: what settles it */
        SCENARIO_SETTLE_FORWARD, /* the worker died just after it */
        _SCENARIO_MAX,
} Scenario;
const char *scenario_to_string(Scenario s);
Scenario scenario_from_string(const char *name); /* _SCENARIO_MAX where there is none of that name */

/* Makes BASE what it is when the scenario begins. */
int scenario_prepare(Scenario s);

/* Runs (settles) the transaction. Fails as the engine does; the state it ended in, or a negative errno. A failing undo
 * or forward step is tried again for `settle_usec`. */
int scenario_run(Scenario s, uint64_t settle_usec);
int plan_settle(uint64_t settle_usec, char **reterr);

/* Whether the transaction can only end as committed: what is not undone has happened. To be asked before
 * plan_settle(). */
bool plan_must_commit(void);

/* The oracle, after plan_settle(): the log has ended, and the tree is on the log's side of the commit, with nothing
 * left over; settling once more changes nothing. TXN_COMMITTED: new, TXN_ROLLED_BACK: old; < 0: neither, and said. */
int plan_check(bool must_commit);

/* Settles what was interrupted, and asks the oracle. */
int plan_settle_and_check(void);
