/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-state.h"

#include <systemd/sd-bus.h>

#include "basic/string-util.h"
#include "unit-job.h"

#define ASK_USEC (3 * USEC_PER_SEC)

bool host_goes_down(void) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *ask = NULL, *answer = NULL;
        const char *state = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &ask, SYSTEMD_SERVICE, SYSTEMD_PATH,
                                                   "org.freedesktop.DBus.Properties", "Get");
        if (r >= 0)
                r = sd_bus_message_append(ask, "ss", SYSTEMD_MANAGER, "SystemState");
        if (r >= 0)
                r = sd_bus_call(bus, ask, ASK_USEC, NULL, &answer);
        if (r >= 0)
                r = sd_bus_message_read(answer, "v", "s", &state);
        return r >= 0 && streq(state, "stopping");
}
