/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd list. */

#include "basic/string-util.h"
#include "cli.h"
#include "pager.h"
#include "schedules.h"

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

static void print_row(const Row *row) {
        _cleanup_free_ char *when = time_to_string(row->ended_usec > 0 ? row->ended_usec : row->queued_usec);
        _cleanup_free_ char *nodes = strv_join(row->nodes, ",");
        char position[16] = "-";

        if (streq(row->state, "queued"))
                (void) snprintf(position, sizeof(position), "%u", row->position);
        printf("%-8s %s%-11s%s %-5s %-19s %-30s ", row->id, colour_on(1, state_colour(row->state)), row->state,
               colour_off(1), position, when ?: "?", nodes ?: "?");
        print_clean(stdout, row->text);
        putchar('\n');
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
        schedules_print(bus, schedules);
        return EXIT_DONE;
}

int verb_list(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_json_ json_t *array = json_array();
        unsigned n = 0;
        Row row;
        int k, r;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_new_call(bus, "ListJobs", &call);
        if (k == EXIT_DONE)
                k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;

        pager_open();
        if (args.json == JSON_OFF && args.legend)
                printf("%-8s %-11s %-5s %-19s %-30s %s\n", "JOB", "STATE", "PLACE", "ENDED OR QUEUED", "NODES", "TEXT");
        r = sd_bus_message_enter_container(reply, 'a', "(sassttsu)");
        while (r >= 0 && (row = (Row){}, r = read_row(reply, &row)) > 0) {
                if (args.json == JSON_OFF)
                        print_row(&row);
                else
                        (void) json_array_append_new(array, row_to_json(&row));
                strv_free(row.nodes);
                n++;
        }
        if (r < 0)
                return client_fail(r);
        if (args.json != JSON_OFF)
                return print_json(array);
        if (args.legend)
                printf("\n%u job%s.%s\n", n, n == 1 ? "" : "s",
                       n > 0 ? " See \"dhetcd show JOB\" for one of them." : "");
        return list_schedules(bus);
}
