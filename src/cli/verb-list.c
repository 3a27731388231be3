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

typedef struct Row {
        const char *id, *state, *text; /* of the reply */
        char **nodes;
        uint64_t queued_usec, ended_usec;
        uint32_t position;
} Row;

static int read_row(sd_bus_message *reply, Row *ret) {
        int r;

        r = sd_bus_message_enter_container(reply, 'r', "sassttsu");
        if (r <= 0)
                return r;
        r = sd_bus_message_read_basic(reply, 's', &ret->id);
        if (r >= 0)
                r = sd_bus_message_read_strv(reply, &ret->nodes);
        if (r >= 0)
                r = sd_bus_message_read(reply, "sttsu", &ret->state, &ret->queued_usec, &ret->ended_usec, &ret->text,
                                        &ret->position);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(reply);
        return r < 0 ? r : 1;
}

static json_t *row_to_json(const Row *row) {
        json_t *nodes = json_array();

        STRV_FOREACH (node, row->nodes)
                (void) json_array_append_new(nodes, json_string(*node));
        return json_pack("{s:s, s:o, s:s, s:I, s:I, s:s, s:i}", "job", row->id, "nodes", nodes, "state", row->state,
                         "queued_usec", (json_int_t) row->queued_usec, "ended_usec", (json_int_t) row->ended_usec,
                         "text", row->text, "position", (int) row->position);
}

/* What is still to come, below the jobs. */
static int list_schedules(sd_bus *bus) {
        _cleanup_json_ json_t *schedules = NULL;
        int k = args.legend ? schedules_read(bus, &schedules) : EXIT_DONE;

        if (k != EXIT_DONE || json_array_size(schedules) == 0)
                return k;
        printf("\n");
        return schedules_print(bus, schedules);
}

static int read_jobs(sd_bus_message *reply, json_t *jobs) {
        Row row;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "(sassttsu)");
        while (r >= 0 && (row = (Row){}, r = read_row(reply, &row)) > 0) {
                if (json_array_append_new(jobs, row_to_json(&row)) < 0)
                        r = -ENOMEM;
                strv_free(row.nodes);
        }
        return r;
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
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_json_ json_t *jobs = json_array();
        int k, r;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_new_call(bus, "ListJobs", &call);
        if (k == EXIT_DONE)
                k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;

        r = read_jobs(reply, jobs);
        if (r < 0)
                return client_fail(r);
        pager_open();
        if (args.json != JSON_OFF)
                return print_json(jobs);
        k = print_jobs(jobs);
        return k == EXIT_DONE ? list_schedules(bus) : k;
}
