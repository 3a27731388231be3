/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd add: asks for the job, then stays with it. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"

int verb_add(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        uint64_t since = now_real();
        const char *job;
        int k, r;

        password_agent_open();
        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_new_call(bus, "AddNodes", &call);
        if (k != EXIT_DONE)
                return k;
        r = client_append_request(call, argv + 1);
        if (r < 0)
                return client_fail(r);
        k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_read_basic(reply, 's', &job);
        if (r < 0)
                return client_fail(r);

        if (!args.block) {
                if (args.json != JSON_OFF) {
                        _cleanup_json_ json_t *v = json_pack("{s:s}", "job", job);

                        return v ? print_json(v) : client_fail(-ENOMEM);
                }
                puts(job);
                return EXIT_DONE;
        }
        if (!args.quiet && args.json == JSON_OFF && !args.unit)
                fprintf(stderr, "Job %s. It goes on without this command; \"dhetcd watch %s\" comes back to it.\n", job,
                        job);
        return follow_job(job, since, FOLLOW_OWN);
}
