/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The snapshot before it is what the job leaves: when it is taken back one day, all must still be so. */

#include "basic/error.h"
#include "addition.h"
#include "steps.h"
#include "takeover.h"

static int apply(void *world, char **reterr) {
        return takeover_release(world, "committed", reterr);
}

const Step step_unlock = {
        .name = "unlock",
        .title = "Releasing every host",
        .changes = CHANGES_THIS_HOST | CHANGES_MEMBERS | CHANGES_NEW,
        .apply = apply,
};
