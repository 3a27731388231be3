/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd add: asks for the job, then stays with it. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"
#include "schedules.h"

/* What dhetcd-scheduled@.service asks for. */
static int append_scheduled(sd_bus *bus, const char *node, sd_bus_message **ret) {
        int k, r;

        k = schedules_check_date(bus, node);
        if (k == EXIT_DONE)
                k = client_new_call(bus, "AddScheduled", ret);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append_basic(*ret, 's', node);
        return r < 0 ? client_fail(r) : EXIT_DONE;
}

static int append_nodes(sd_bus *bus, char **nodes, sd_bus_message **ret) {
        int k, r;

        k = client_new_call(bus, "AddNodes", ret);
        if (k != EXIT_DONE)
                return k;
        r = client_append_request(*ret, nodes, 0);
        return r < 0 ? client_fail(r) : EXIT_DONE;
}

int verb_add(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        uint64_t since = now_real();
        int k;

        password_agent_open();
        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = args.scheduled ? append_scheduled(bus, argv[1], &call) : append_nodes(bus, argv + 1, &call);
        return k == EXIT_DONE ? follow_call(bus, call, since) : k;
}
