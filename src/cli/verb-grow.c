/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd grow: the whole of the vendor's page, asked of dhetcdd. */

#include "basic/string-util.h"
#include "cli.h"
#include "install.h"

static int ask(sd_bus *bus, const char *dir, char **nodes, char **ret_id) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k, r;

        k = client_new_call(bus, "Grow", &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append_basic(call, 's', dir);
        if (r >= 0)
                r = client_append_request(call, nodes, 0);
        return r < 0 ? client_fail(r) : client_call_string(bus, call, ret_id);
}

int verb_grow(int argc, char **argv) {
        _cleanup_free_ char *dir = NULL, *id = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        uint64_t since = now_real();
        int k;

        k = install_dir(&dir);
        if (k != EXIT_DONE)
                return k;
        password_agent_open();
        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = ask(bus, dir, argv + 1, &id);
        return k == EXIT_DONE ? install_stay(bus, id, since) : k;
}
