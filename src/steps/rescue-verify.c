/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "cluster.h"
#include "rescue.h"
#include "steps.h"

/* Where dh-etcd is not enabled no boot starts it, also not the one that goes on with this. */
static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        uint64_t timeout = a->config->step_timeout_usec;
        int r;

        r = host_manage_unit(own->client, a->txn, step_rescue_verify.name, "start", timeout, reterr);
        if (r >= 0)
                r = rescue_wait_alone(a, timeout, reterr);
        if (r >= 0)
                r = cluster_prove_write(a, own, reterr);
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
