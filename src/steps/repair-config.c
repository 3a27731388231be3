/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* config.yaml becomes what the member list says: initial-cluster the voters, the state "new", as the vendor leaves
 * it. A running etcd reads neither again, so nothing is restarted. */

#include "repair.h"
#include "scripts.h"
#include "steps.h"

static const char *value_for(const Addition *a, const Host *h, const char *id, const char *key) {
        return json_get_string(json_object_get(repair_find(a, id, h->address), "fix"), key);
}

static int check(void *world, char **ret_why) {
        Addition *a = world;

        return repair_find(a, "config-list", NULL) || repair_find(a, "config-state", NULL)
                       ? 1
                       : skip_step(ret_why, "every config.yaml is as the member list");
}

static int apply(void *world, char **reterr) {
        Addition *a = world;

        FOREACH_MEMBER (h, a) {
                const char *list = value_for(a, h, "config-list", "initial-cluster"),
                           *state = value_for(a, h, "config-state", "initial-cluster-state");
                int r = list || state ? host_edit_config(h->client, a->txn, step_repair_config.name, list, state,
                                                         CALL_TIMEOUT, reterr)
                                      : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_repair_config, reterr);
}

const Step step_repair_config = {
        .name = "repair-config",
        .title = "Writing the member list to config.yaml",
        .changes = CHANGES_MEMBERS,
        .check = check,
        .apply = apply,
        .undo = undo,
};
