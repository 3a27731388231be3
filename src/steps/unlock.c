/* SPDX-License-Identifier: LGPL-2.1-or-later */

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
        .apply = apply,
};
