/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/cleanup.h"
#include "steps.h"

static const Step *const steps[] = {
        &step_rescue_look,    /* tells the plan; without --yes-i-lose-quorum that is the end */
        &step_rescue_lock,    /* this host alone, from the job that is stuck */
        &step_rescue_stop,    /* etcd */
        &step_rescue_data,    /* the data directory moved aside; a copy of it, or a snapshot, in its place */
        &step_rescue_config,  /* initial-cluster = this member; force-new-cluster for one start */
        &step_rescue_start,   /* the point of no return: clients may write again */
        &step_rescue_release, /* without force-new-cluster again */
        &step_rescue_verify,  &step_unlock,
};

const Plan plan_rescue = { steps, ELEMENTSOF(steps) };
