/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "addition.h"
#include "steps.h"

static int apply(void *world, char **reterr) {
        Addition *a = world;
        int result = 0;

        FOREACH_HOST (h, a)
                RET_GATHER(result, host_unlock(h->client, a->txn, CALL_TIMEOUT, result < 0 ? NULL : reterr));
        return result;
}

const Step step_unlock = {
        .name = "unlock",
        .title = "Releasing every host",
        .apply = apply,
};
