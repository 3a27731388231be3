/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/cleanup.h"
#include "steps.h"

static const Step *const steps[] = {
        &step_repair_look,    /* what the doctor finds now, and of it what is safe to mend */
        &step_repair_lock,    /* every host that takes part, also from a job that has ended; a first snapshot */
        &step_repair_config,  /* initial-cluster = the voters, state "new" */
        &step_repair_owner,   /* of data directories */
        &step_repair_verify,  /* the doctor once more: else all of it is put back */
        &step_repair_learner, /* the point of no return: a learner that is removed has no way back */
        &step_unlock,
};

const Plan plan_repair = { steps, ELEMENTSOF(steps) };
