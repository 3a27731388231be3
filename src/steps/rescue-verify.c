/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "cluster.h"
#include "rescue.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        int r;

        r = rescue_wait_alone(a, a->config->step_timeout_usec, reterr);
        if (r >= 0)
                r = cluster_prove_write(a, addition_this_host(a), reterr);
        if (r < 0)
                return r;
        rescue_tell_next(a);
        return 0;
}

const Step step_rescue_verify = {
        .name = "rescue-verify",
        .title = "Verifying that this member is a healthy cluster of its own",
        .apply = apply,
};
