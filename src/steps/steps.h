/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every step, one file each; plan-add.c is the one place that lists them in order. */

#include <stdint.h>

#include "txn/step.h"

extern const Step step_preflight, step_lock, step_backup, step_generate, step_merge, step_trust, step_deploy,
        step_narrow, step_restart, step_add_learner, step_start, step_sync, step_promote, step_finish, step_verify,
        step_unlock;

/* lock's own: the durable lock of every host; where the job is to wait, for so many microseconds. */
struct Addition;
int lock_hosts(struct Addition *a, uint64_t timeout, char **reterr);

extern const Step step_rescue_look, step_rescue_lock, step_rescue_stop, step_rescue_data, step_rescue_config,
        step_rescue_start, step_rescue_release, step_rescue_verify;

extern const Step step_repair_look, step_repair_lock, step_repair_config, step_repair_owner, step_repair_verify,
        step_repair_learner;

typedef struct Plan {
        const Step *const *steps;
        unsigned n;
} Plan;

/* plan-add.c: of one node addition. */
extern const Plan plan_add;
/* plan-rescue.c */
extern const Plan plan_rescue;
/* plan-repair.c */
extern const Plan plan_repair;
