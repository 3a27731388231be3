/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/cleanup.h"
#include "steps.h"

static const Step *const steps[] = {
        &step_preflight,   /* nothing is changed */
        &step_lock,        /* on every host, with a first snapshot of it */
        &step_backup,      /* etcd's data, kept */
        &step_generate,    /* the vendor's package for all nodes of the job */
        &step_merge,       /* the passwords and the CA that are in use */
        &step_trust,       /* only where the CA is new: trust both, before any certificate changes */
        &step_deploy,      /* the package unpacked on members and the new node */
        &step_narrow,      /* initial-cluster = members + this node */
        &step_restart,     /* only those that need it */
        &step_add_learner, /* no vote yet */
        &step_start,       &step_sync,   &step_promote, /* the point of no return */
        &step_finish,      &step_verify, &step_unlock,
};

const Plan plan_add = { steps, ELEMENTSOF(steps) };
