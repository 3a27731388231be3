/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd show: one job, each of its additions, and their steps. */

#include "basic/string-util.h"
#include "pager.h"
#include "table.h"

static void print_field(const char *name, const char *value) {
        printf("%12s: ", name);
        print_clean(stdout, value);
        putchar('\n');
}

static void print_options(const json_t *options) {
        const char *name;
        json_t *value;

        printf("%12s:", "Options");
        json_object_foreach ((json_t *) options, name, value) {
                _cleanup_free_ char *text = json_to_text(value, JSON_ENCODE_ANY);

                printf(" %s=%s", name, json_string_value(value) ?: text ?: "?");
        }
        putchar('\n');
}

static const Column columns[] = {
        { "STEP" }, { "STATE" }, { "STARTED" }, { "TOOK", .right = true }, { "UNDO", .right = true }, { "HOSTS" },
};

/* "12s"; "" where it has not ended. */
static void span_between(const json_t *step, const char *from, const char *to, char ret[static 32]) {
        json_int_t begun = json_get_integer(step, from, 0), ended = json_get_integer(step, to, 0);

        *ret = '\0';
        if (begun > 0 && ended >= begun)
                span_to_string((uint64_t) (ended - begun), ret);
}

/* "10.0.0.1 (1f4c09a2) 10.0.0.2 (…)": what each had before. */
static char *hosts_to_string(const json_t *hosts) {
        _cleanup_strv_ char **all = NULL;
        const char *address;
        json_t *digest;

        json_object_foreach ((json_t *) hosts, address, digest) {
                _cleanup_free_ char *one = format("%s (%.8s)", address, json_string_value(digest) ?: "?");

                if (!one || strv_append(&all, one) < 0)
                        return NULL;
        }
        return strv_join(all, " ");
}

static Colour step_colour(const char *state) {
        static const struct {
                const char *state;
                Colour colour;
        } colours[] = {
                { "done", COLOUR_GREEN },     { "failed", COLOUR_RED },   { "undone", COLOUR_YELLOW },
                { "undoing", COLOUR_YELLOW }, { "skipped", COLOUR_GREY }, { "running", COLOUR_BOLD },
        };

        for (size_t i = 0; i < ELEMENTSOF(colours); i++)
                if (streq(colours[i].state, state))
                        return colours[i].colour;
        return COLOUR_NONE;
}

static int add_step(Table *t, const json_t *s) {
        _cleanup_free_ char *hosts = hosts_to_string(json_object_get(s, "hosts"));
        _cleanup_free_ char *begun = time_to_string((uint64_t) json_get_integer(s, "started_usec", 0));
        const char *state = json_get_string(s, "state");
        char took[32], undo[32];
        int r = 0;

        span_between(s, "started_usec", "ended_usec", took);
        span_between(s, "undo_usec", "undone_usec", undo);
        RET_GATHER(r, table_add(t, json_get_string(s, "step")));
        RET_GATHER(r, table_add_coloured(t, step_colour(state), state));
        RET_GATHER(r, table_add(t, begun && strlen(begun) > 11 ? begun + 11 : begun)); /* the time of day */
        RET_GATHER(r, table_add(t, took));
        RET_GATHER(r, table_add(t, undo));
        RET_GATHER(r, table_add(t, hosts));
        return r;
}

static void print_steps(const json_t *transaction) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        const json_t *steps = json_object_get(transaction, "steps"), *backup = json_object_get(transaction, "backup");
        json_t *step;
        size_t i;

        if (!t || json_array_size(steps) == 0)
                return;
        json_array_foreach ((json_t *) steps, i, step)
                if (add_step(t, step) < 0)
                        return;
        putchar('\n');
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        if (json_get_string(backup, "sha256"))
                printf("\nSnapshot of etcd's data: %s, revision %" JSON_INTEGER_FORMAT ", SHA-256 %s\n",
                       json_get_string(backup, "path") ?: "?", json_get_integer(backup, "revision", 0),
                       json_get_string(backup, "sha256"));
        putchar('\n');
}

static void print_transactions(const json_t *transactions) {
        json_t *t;
        size_t i;

        json_array_foreach (transactions, i, t) {
                const char *reason = json_get_string(t, "reason"), *state = json_get_string(t, "state") ?: "?";

                printf("%12s: %s %s%s%s", json_get_string(t, "txn") ?: "?", json_get_string(t, "node") ?: "?",
                       colour_on(1, state_colour(state)), streq(state, "empty") ? "not begun" : state, colour_off(1));
                if (reason) {
                        fputs(", ", stdout);
                        print_clean(stdout, reason);
                }
                putchar('\n');
                print_steps(t);
        }
}

int verb_show(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *queued = NULL, *ended = NULL, *user = NULL;
        _cleanup_json_ json_t *v = NULL;
        const char *state;
        int k;

        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = client_get_job(bus, argv[1], &v);
        if (k != EXIT_DONE)
                return k;
        pager_open();
        if (args.json != JSON_OFF)
                return print_json(v);

        state = json_get_string(v, "state") ?: "?";
        queued = time_to_string((uint64_t) json_get_integer(v, "queued_usec", 0));
        ended = time_to_string((uint64_t) json_get_integer(v, "ended_usec", 0));
        print_field("Job", argv[1]);
        printf("%12s: %s%s%s\n", "State", colour_on(1, state_colour(state)), state, colour_off(1));
        user = user_to_string(json_get_integer(v, "uid", -1));
        print_field("Text", json_get_string(v, "text") ?: "");
        print_field("Queued", queued ?: "?");
        print_field("Ended", ended ?: "?");
        print_field("Asked by", user ?: "?");
        print_options(json_object_get(v, "options"));
        print_transactions(json_object_get(v, "transactions"));
        if (args.legend)
                printf("\nAll of its lines: journalctl DHETCD_JOB=%s\n", argv[1]);
        return EXIT_DONE;
}
