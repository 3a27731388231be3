/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd plan, dhetcd check: what "add" would do, or why it would refuse. Nothing is changed. */

#include "basic/string-util.h"
#include "bus/names.h"
#include "pager.h"
#include "table.h"
#include "verb-cluster.h"
#include "verb-plan.h"

/* What a narrow terminal cuts comes last. */
static const Column columns[] = {
        { "#", .right = true },      { "STEP" },     { "TIME", .right = true },
        { "OUTAGE", .right = true }, { "RESTARTS" }, { "HOSTS" },
};

/* "10.0.0.1", "3 members", "perhaps 3", as short as that for the columns after it; NULL: none, or OOM. */
static char *restarts_to_string(const json_t *restarts, bool perhaps) {
        size_t n = json_array_size(restarts);

        if (n == 0)
                return NULL;
        if (perhaps)
                return format("perhaps %zu", n);
        return n == 1 ? strings_join(restarts) : format("%zu members", n);
}

static int add_step(Table *t, const json_t *s, size_t n_hosts) {
        const json_t *hosts = json_object_get(s, "hosts"), *restarts = json_object_get(s, "restarts");
        bool skipped = json_is_true(json_object_get(s, "skipped"));
        bool perhaps = json_is_true(json_object_get(s, "perhaps"));
        _cleanup_free_ char *on = json_array_size(hosts) == n_hosts ? strdup("all") : strings_join(hosts);
        _cleanup_free_ char *who = restarts_to_string(restarts, perhaps);
        char index[16], time[16], outage[24] = "none";
        json_int_t down = json_get_integer(s, "outage_seconds", 0);
        int r = 0;

        if (json_array_size(restarts) > 0 && !who)
                return -ENOMEM;
        (void) snprintf(index, sizeof(index), "%lld", (long long) json_get_integer(s, "index", 0));
        (void) snprintf(time, sizeof(time), "%llds", (long long) json_get_integer(s, "seconds", 0));
        if (down > 0)
                (void) snprintf(outage, sizeof(outage), perhaps ? "0..%llds" : "%llds", (long long) down);
        RET_GATHER(r, table_add(t, index));
        RET_GATHER(r, table_add_coloured(t, skipped ? COLOUR_GREY : COLOUR_NONE, json_get_string(s, "step")));
        RET_GATHER(r, table_add(t, skipped ? "skipped" : time));
        RET_GATHER(r, table_add_coloured(t, down > 0 && !perhaps ? COLOUR_RED : COLOUR_NONE, outage));
        RET_GATHER(r, table_add_coloured(t, who && !perhaps ? COLOUR_YELLOW : COLOUR_NONE, who ?: "none"));
        RET_GATHER(r, table_add(t, on));
        return r;
}

/* How many hosts there are at most in one step. */
static size_t count_hosts(const json_t *steps) {
        size_t most = 0, i;
        json_t *s;

        json_array_foreach ((json_t *) steps, i, s)
                if (json_array_size(json_object_get(s, "hosts")) > most)
                        most = json_array_size(json_object_get(s, "hosts"));
        return most;
}

/* Text is wrapped at words. */
static void print_wrapped(const char *label, const char *text) {
        size_t width = terminal_width(STDOUT_FILENO), column = 6 + text_width(label);

        width = width >= 40 ? width : 100;
        printf("      %s%s%s", colour_on(1, COLOUR_GREY), label, colour_off(1));
        while (*text) {
                _cleanup_free_ char *word = strndup(text, strcspn(text, " "));
                size_t w = text_width(word ?: "");

                if (column + 1 + w > width) {
                        fputs("\n        ", stdout);
                        column = 8;
                }
                putchar(' ');
                print_clean(stdout, word ?: "");
                column += 1 + w;
                text += strcspn(text, " ");
                text += strspn(text, " ");
        }
        putchar('\n');
}

/* Of a later node only what is not said of the first. */
static void print_details(const json_t *steps, const json_t *before) {
        size_t i;
        json_t *s;

        json_array_foreach ((json_t *) steps, i, s) {
                const char *why = json_get_string(s, "why"), *rollback = json_get_string(s, "rollback");

                if (before && streq(json_get_string(json_array_get(before, i), "why"), why))
                        continue;
                printf("%4lld  %s%s%s (%s)\n", (long long) json_get_integer(s, "index", 0), colour_on(1, COLOUR_BOLD),
                       json_get_string(s, "title") ?: "?", colour_off(1), json_get_string(s, "step") ?: "?");
                if (why)
                        print_wrapped("-", why);
                if (rollback)
                        print_wrapped("Rollback:", rollback);
        }
}

/* The outage, where all that is "perhaps" comes to pass. */
static json_int_t outage_at_most(const json_t *additions) {
        json_int_t sum = 0;
        json_t *addition, *s;
        size_t i, k;

        json_array_foreach ((json_t *) additions, i, addition)
                json_array_foreach (json_object_get(addition, "steps"), k, s)
                        sum += json_get_integer(s, "outage_seconds", 0);
        return sum;
}

static void print_totals(const json_t *v) {
        json_int_t outage = json_get_integer(v, "outage_seconds", 0);
        json_int_t most = outage_at_most(json_object_get(v, "additions"));

        printf("\nAbout %lld s for all of it; ", (long long) json_get_integer(v, "seconds", 0));
        if (outage > 0)
                printf("the cluster answers nobody for about %lld s.\n", (long long) outage);
        else if (most > 0)
                printf("no outage is expected, %lld s at most.\n", (long long) most);
        else
                puts("no outage is expected.");
        printf("Afterwards: %lld voting members.\n", (long long) json_get_integer(v, "members_after", 0));
}

static int print_addition(const json_t *steps, const json_t *before) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        size_t i;
        int r = t ? 0 : -ENOMEM;
        json_t *s;

        json_array_foreach ((json_t *) steps, i, s)
                if (r >= 0)
                        r = add_step(t, s, count_hosts(steps));
        if (r < 0)
                return client_fail(r);
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        putchar('\n');
        print_details(steps, before);
        return EXIT_DONE;
}

static int print_steps(const json_t *v) {
        const json_t *additions = json_object_get(v, "additions"), *first = json_object_get(v, "steps");
        size_t i, n = json_array_size(additions);
        json_t *addition;
        int k = EXIT_DONE;

        json_array_foreach ((json_t *) additions, i, addition) {
                if (k == EXIT_DONE && n > 1)
                        printf("%s%sNode %s%s (%zu of %zu), then %lld voting members\n\n", i > 0 ? "\n" : "",
                               colour_on(1, COLOUR_BOLD), json_get_string(addition, "node") ?: "?", colour_off(1),
                               i + 1, n, (long long) json_get_integer(addition, "members_after", 0));
                if (k == EXIT_DONE)
                        k = print_addition(json_object_get(addition, "steps"), i > 0 ? first : NULL);
        }
        if (k == EXIT_DONE)
                print_totals(v);
        return k;
}

static void print_hazards(const json_t *hazards) {
        json_t *text;
        size_t i;

        json_array_foreach ((json_t *) hazards, i, text) {
                printf("%sNote:%s ", colour_on(1, COLOUR_YELLOW), colour_off(1));
                print_clean(stdout, json_string_value(text) ?: "?");
                putchar('\n');
        }
}

static int print_plan(const json_t *v, const char *running) {
        const json_t *cluster = json_object_get(v, "cluster");
        _cleanup_free_ char *nodes = strings_join(json_object_get(v, "nodes"));
        int k = EXIT_DONE;

        if (json_is_object(cluster))
                k = cluster_print(cluster);
        putchar('\n');
        if (k == EXIT_DONE && !json_is_true(json_object_get(v, "rejected")))
                k = print_steps(v);
        print_hazards(json_object_get(v, "hazards"));
        if (*running)
                printf("Job %s runs: this one would %s.\n", running,
                       args.wait ? "wait for its turn" : "be refused, for --no-wait");
        if (args.legend && !json_is_true(json_object_get(v, "rejected")))
                printf("Nothing was changed. To do it: dhetcd add %s\n", nodes ?: "NODE");
        return k;
}

static int tell(const json_t *v, const char *running) {
        bool rejected = json_is_true(json_object_get(v, "rejected"));
        int k;

        pager_open();
        k = args.json != JSON_OFF ? print_json(v) : args.quiet ? EXIT_DONE : print_plan(v, running);

        if (k != EXIT_DONE)
                return k;
        if (rejected && args.json == JSON_OFF) {
                fflush(stdout);
                fputs("dhetcd: The job would be refused, with nothing changed: ", stderr);
                print_clean(stderr, json_get_string(v, "cause") ?: "?");
                fputc('\n', stderr);
        }
        return rejected ? EXIT_FAILED : *running && !args.wait ? EXIT_BUSY : EXIT_DONE;
}

int plan_nodes(char **nodes, uint64_t window, bool brief) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_free_ char *running = NULL;
        _cleanup_json_ json_t *v = NULL;
        int k, r;

        k = client_begin("Plan", &bus, &call);
        if (k != EXIT_DONE)
                return k;
        r = client_append_request(call, nodes, window);
        if (r < 0)
                return client_fail(r);
        k = client_call_json(bus, call, &v);
        if (k != EXIT_DONE)
                return k;
        if (json_get_string(v, "error")) {
                fprintf(stderr, "dhetcd: ");
                print_clean(stderr, json_get_string(v, "error"));
                fputc('\n', stderr);
                return EXIT_FAILED;
        }
        r = sd_bus_get_property_string(bus, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, "RunningJob", NULL, &running);
        if (brief && !json_is_true(json_object_get(v, "rejected")))
                return EXIT_DONE;
        return tell(v, r >= 0 ? running : "");
}

int verb_plan(int argc, char **argv) {
        return plan_nodes(argv + 1, 0, false);
}
