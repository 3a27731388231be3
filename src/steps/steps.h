/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every step, one file each; plan-add.c is the one place that lists them in order. */

#include "txn/step.h"

extern const Step step_preflight, step_lock, step_backup, step_generate, step_merge, step_trust, step_deploy,
        step_narrow, step_restart, step_add_learner, step_start, step_sync, step_promote, step_finish, step_verify,
        step_unlock;

/* The plan of one node addition. */
extern const Step *const plan_add[];
extern const unsigned plan_add_size;
