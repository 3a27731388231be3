/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd cluster: members and their status in one table; who does not answer is a row that says so. */

#include "basic/string-util.h"
#include "pager.h"
#include "table.h"
#include "verb-cluster.h"

static const Column columns[] = {
        { "ID" },
        { "NAME" },
        { "ADDRESS", .spare = true },
        { "ROLE" },
        { "VERSION", .spare = true },
        { "DB SIZE", .right = true },
        { "INDEX", .right = true },
        { "LAG", .right = true },
        { "HEALTH" },
};

static int add_number(Table *t, const json_t *row, const char *key) {
        char text[32];

        if (!json_is_integer(json_object_get(row, key)))
                return table_add(t, NULL);
        (void) snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_get_integer(row, key, 0));
        return table_add(t, text);
}

static int add_row(Table *t, const json_t *row) {
        const char *health = json_get_string(row, "health"), *role = json_get_string(row, "role");
        char size[16] = "";
        int r = 0;

        if (json_object_get(row, "db_size"))
                bytes_to_string((uint64_t) json_get_integer(row, "db_size", 0), size);
        RET_GATHER(r, table_add(t, json_get_string(row, "id")));
        RET_GATHER(r, table_add(t, json_get_string(row, "name")));
        RET_GATHER(r, table_add(t, json_get_string(row, "address")));
        RET_GATHER(r, table_add_coloured(t, streq(role, "leader") ? COLOUR_BOLD : COLOUR_NONE, role));
        RET_GATHER(r, table_add(t, json_get_string(row, "version")));
        RET_GATHER(r, table_add(t, size));
        RET_GATHER(r, add_number(t, row, "raft_applied_index"));
        RET_GATHER(r, add_number(t, row, "raft_lag"));
        RET_GATHER(r, table_add_coloured(t, streq(health, "healthy") ? COLOUR_GREEN : COLOUR_RED, health));
        return r;
}

static void print_causes(const json_t *members) {
        json_t *row;
        size_t i;

        json_array_foreach ((json_t *) members, i, row) {
                const char *error = json_get_string(row, "error");

                if (!error)
                        continue;
                printf("%s: ", json_get_string(row, "name") ?: json_get_string(row, "endpoint") ?: "?");
                print_clean(stdout, error);
                putchar('\n');
        }
}

static void print_summary(const json_t *cluster) {
        json_int_t voters = json_get_integer(cluster, "voters", 0);
        json_int_t healthy = json_get_integer(cluster, "healthy_voters", 0);
        json_int_t quorum = json_get_integer(cluster, "quorum", 0);

        printf("%lld of %lld voters healthy, quorum %lld: ", (long long) healthy, (long long) voters,
               (long long) quorum);
        if (healthy < quorum)
                puts("it is LOST; nothing can be written. See \"dhetcd rescue\".");
        else if (healthy == quorum)
                puts("it bears no failure.");
        else
                printf("it bears %lld failure%s.\n", (long long) (healthy - quorum), healthy - quorum > 1 ? "s" : "");
        if (json_get_string(cluster, "alarms")) {
                fputs("Alarms: ", stdout);
                print_clean(stdout, json_get_string(cluster, "alarms"));
                puts(". See \"etcdctl.sh alarm list\".");
        }
        if (!streq(json_get_string(cluster, "list"), "quorum"))
                printf("The member list is %s.\n", streq(json_get_string(cluster, "list"), "none")
                                                           ? "not known: these are the root client's endpoints"
                                                           : "what one member alone knows");
}

bool cluster_is_healthy(const json_t *cluster) {
        json_t *row;
        size_t i;

        if (!streq(json_get_string(cluster, "list"), "quorum") || json_get_string(cluster, "alarms"))
                return false;
        json_array_foreach (json_object_get(cluster, "members"), i, row)
                if (!streq(json_get_string(row, "health"), "healthy"))
                        return false;
        return true;
}

int cluster_print(const json_t *cluster) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        const json_t *members = json_object_get(cluster, "members");
        json_t *row;
        size_t i;
        int r = t ? 0 : -ENOMEM;

        json_array_foreach ((json_t *) members, i, row)
                if (r >= 0)
                        r = add_row(t, row);
        if (r < 0)
                return client_fail(r);
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        putchar('\n');
        print_causes(members);
        print_summary(cluster);
        return EXIT_DONE;
}

int verb_cluster(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_json_ json_t *v = NULL;
        const json_t *cluster;
        int k;

        k = client_begin("Look", &bus, &call);
        if (k == EXIT_DONE)
                k = client_call_json(bus, call, &v);
        if (k != EXIT_DONE)
                return k;
        if (json_get_string(v, "error")) {
                fputs("dhetcd: ", stderr);
                print_clean(stderr, json_get_string(v, "error"));
                fputc('\n', stderr);
                return EXIT_FAILED;
        }
        cluster = json_object_get(v, "cluster");
        pager_open();
        k = args.json != JSON_OFF ? print_json(cluster) : cluster_print(cluster);
        return k != EXIT_DONE || cluster_is_healthy(cluster) ? k : EXIT_FAILED;
}
