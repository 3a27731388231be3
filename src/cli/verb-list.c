/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd list. */

#include "basic/string-util.h"
#include "cli.h"
#include "pager.h"
#include "schedules.h"
#include "table.h"

static const Column columns[] = {
        { "JOB" },   { "STATE" }, { "PLACE", .right = true, .spare = true }, { "ENDED OR QUEUED", .spare = true },
        { "NODES" }, { "TEXT" },
};

/* What is still to come, below the jobs. */
static int list_schedules(sd_bus *bus) {
        _cleanup_json_ json_t *schedules = NULL;
        int k = args.legend ? schedules_read(bus, &schedules) : EXIT_DONE;

        if (k != EXIT_DONE || json_array_size(schedules) == 0)
                return k;
        printf("\n");
        return schedules_print(bus, schedules);
}

static int add_row(Table *t, const json_t *job) {
        uint64_t ended = (uint64_t) json_get_integer(job, "ended_usec", 0);
        const char *state = json_get_string(job, "state");
        _cleanup_free_ char *when =
                time_to_string(ended > 0 ? ended : (uint64_t) json_get_integer(job, "queued_usec", 0));
        char position[16] = "";
        int r;

        if (streq(state, "queued"))
                (void) snprintf(position, sizeof(position), "%lld", (long long) json_get_integer(job, "position", 0));
        r = table_add(t, json_get_string(job, "job"));
        if (r >= 0)
                r = table_add_coloured(t, state_colour(state), state);
        if (r >= 0)
                r = table_add(t, position);
        if (r >= 0)
                r = table_add(t, when);
        if (r >= 0)
                r = table_add_strings(t, json_object_get(job, "nodes"));
        return r < 0 ? r : table_add(t, json_get_string(job, "text"));
}

static int print_jobs(const json_t *jobs) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        size_t i, n = json_array_size(jobs);
        json_t *job;

        if (!t)
                return client_fail(-ENOMEM);
        json_array_foreach ((json_t *) jobs, i, job)
                if (add_row(t, job) < 0)
                        return client_fail(-ENOMEM);
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        if (args.legend)
                printf("\n%zu job%s.%s\n", n, n == 1 ? "" : "s",
                       n > 0 ? " See \"dhetcd show JOB\" for one of them." : "");
        return EXIT_DONE;
}

int verb_list(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *jobs = NULL;
        int k;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_list_jobs(bus, &jobs);
        if (k != EXIT_DONE)
                return k;
        pager_open();
        if (args.json != JSON_OFF)
                return print_json(jobs);
        k = print_jobs(jobs);
        return k == EXIT_DONE ? list_schedules(bus) : k;
}
