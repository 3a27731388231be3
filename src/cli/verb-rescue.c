/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd rescue: the last resort where the quorum is lost. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"

static int append_text(sd_bus_message *call, const char *name, const char *value) {
        return value ? sd_bus_message_append(call, "{sv}", name, "s", value) : 0;
}

static int append_request(sd_bus_message *call, const char *job, const char *snapshot) {
        int r;

        r = sd_bus_message_open_container(call, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(call, "{sv}", "yes-i-lose-quorum", "b", (int) args.lose_quorum);
        if (r >= 0)
                r = append_text(call, "job", job);
        if (r >= 0)
                r = append_text(call, "from-snapshot", snapshot);
        if (r >= 0)
                r = sd_bus_message_close_container(call);
        return r < 0 ? r : sd_bus_message_append(call, "t", (uint64_t) 0);
}

/* A file as an absolute path; a job's id as it is. NULL where there is no such file, which has been said. */
static char *find_snapshot(const char *asked) {
        char *path;

        if (!strchr(asked, '/'))
                return strdup(asked);
        path = realpath(asked, NULL);
        if (!path)
                fprintf(stderr, "dhetcd: %s: %s\n", asked, strerror(errno));
        return path;
}

int verb_rescue(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_free_ char *snapshot = NULL;
        uint64_t since = now_real();
        int k, r;

        if (args.from_snapshot) {
                snapshot = find_snapshot(args.from_snapshot);
                if (!snapshot)
                        return EXIT_FAILED;
        }
        k = client_begin("Rescue", &bus, &call);
        if (k != EXIT_DONE)
                return k;
        r = append_request(call, argc > 1 ? argv[1] : NULL, snapshot);
        return r < 0 ? client_fail(r) : follow_call(bus, call, since);
}
