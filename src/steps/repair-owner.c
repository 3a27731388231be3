/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "repair.h"
#include "scripts.h"
#include "steps.h"

static int check(void *world, char **ret_why) {
        return repair_find(world, "data-owner", NULL) ? 1 : skip_step(ret_why, "every data directory is etcd's");
}

static int apply(void *world, char **reterr) {
        Addition *a = world;

        FOREACH_HOST (h, a) {
                int r = repair_find(a, "data-owner", h->address)
                                ? host_own_data_directory(h->client, a->txn, step_repair_owner.name, CALL_TIMEOUT,
                                                          reterr)
                                : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        int result = 0;

        FOREACH_HOST (h, a)
                if (repair_find(a, "data-owner", h->address))
                        RET_GATHER(result, host_disown_data_directory(h->client, a->txn, step_repair_owner.name,
                                                                      CALL_TIMEOUT, result < 0 ? NULL : reterr));
        return result;
}

const Step step_repair_owner = {
        .name = "repair-owner",
        .title = "Giving data directories to etcd",
        .check = check,
        .apply = apply,
        .undo = undo,
};
