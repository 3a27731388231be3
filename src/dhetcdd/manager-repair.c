/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Repair: a job of the kind "repair", of what the doctor finds and is safe to mend. */

#include "basic/error.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host-operation.h"
#include "manager-internal.h"

static int new_job(sd_bus_message *message, char *address, Job **ret, char **reterr) {
        _cleanup_json_ json_t *options = json_object();
        char *nodes[] = { address, NULL };
        uid_t uid;
        int r;

        if (address_check(address) < 0)
                return fail(reterr, -EINVAL, "This host has no address that others could reach");
        r = options ? polkit_caller_uid(message, &uid) : -ENOMEM;
        if (r >= 0)
                r = job_new(nodes, options, uid, ret);
        if (r >= 0)
                (*ret)->kind = JOB_REPAIR;
        return r;
}

int manager_method_repair(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(job_freep) Job *owned = NULL;
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        char address[256];
        uint64_t flags;
        Job *j;
        int r;

        r = sd_bus_message_rewind(message, true);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 't', &flags);
        if (r < 0)
                return r;
        if (flags != 0)
                return manager_set_error(error, -EINVAL, "Flags must be 0");
        (void) host_own_address(address);
        r = polkit_check(m->polkit, message, POLKIT_REPAIR, (const char *const[]){ "nodes", address, NULL },
                         manager_method_repair, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = manager_refuse_while_busy(m, "", error);
        if (r < 0)
                return r;
        r = new_job(message, address, &owned, &text);
        if (r >= 0)
                r = manager_add_job(m, owned, &text);
        if (r < 0)
                return manager_set_error(error, r == -EXFULL ? -EBUSY : r, text);
        j = TAKE_PTR(owned);
        return sd_bus_reply_method_return(message, "s", j->id);
}
