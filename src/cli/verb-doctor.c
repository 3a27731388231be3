/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd doctor: what is wrong with the cluster and its hosts, and the command that mends it. */

#include "basic/string-util.h"
#include "cli.h"
#include "follow.h"
#include "pager.h"
#include "table.h"

static const Column columns[] = {
        { "SEVERITY" },
        { "FINDING" },
        { "HOST" },
        { "CAUSE", .spare = true },
};

static bool is_note(const json_t *finding) {
        return streq(json_get_string(finding, "severity"), "note");
}

static Colour severity_colour(const char *severity) {
        return streq(severity, "error") ? COLOUR_RED : streq(severity, "warning") ? COLOUR_YELLOW : COLOUR_GREY;
}

static int add_row(Table *t, const json_t *finding) {
        const char *severity = json_get_string(finding, "severity");
        int r = 0;

        RET_GATHER(r, table_add_coloured(t, severity_colour(severity), severity));
        RET_GATHER(r, table_add(t, json_get_string(finding, "id")));
        RET_GATHER(r, table_add(t, json_get_string(finding, "host")));
        RET_GATHER(r, table_add(t, json_get_string(finding, "cause")));
        return r;
}

static void print_line(const char *before, const char *text) {
        fputs(before, stdout);
        print_clean(stdout, text);
        putchar('\n');
}

static void print_details(const json_t *findings) {
        json_t *f;
        size_t i;

        json_array_foreach ((json_t *) findings, i, f) {
                const char *host = json_get_string(f, "host"), *where = json_get_string(f, "where");

                printf("\n%s%s%s%s%s: ", colour_on(STDOUT_FILENO, severity_colour(json_get_string(f, "severity"))),
                       json_get_string(f, "id") ?: "?", colour_off(STDOUT_FILENO), host ? " on " : "", host ?: "");
                print_line("", json_get_string(f, "cause") ?: "?");
                print_line("  seen: ", json_get_string(f, "evidence") ?: "?");
                if (json_get_string(f, "command")) {
                        printf("  mend%s%s", where ? " on " : "", where ?: "");
                        print_line(": ", json_get_string(f, "command"));
                }
        }
}

static size_t count(const json_t *findings, bool fixable) {
        size_t i, n = 0;
        json_t *f;

        json_array_foreach ((json_t *) findings, i, f)
                n += fixable ? json_is_true(json_object_get(f, "fixable")) : !is_note(f);
        return n;
}

static void print_summary(const json_t *findings) {
        size_t n = count(findings, false), fixable = count(findings, true);

        if (n == 0)
                puts("Nothing is wrong.");
        else
                printf("%zu thing%s wrong.\n", n, n == 1 ? " is" : "s are");
        if (fixable > 0)
                printf("\"dhetcd doctor --fix\" mends %zu of them, as one job that is put back if it fails.\n",
                       fixable);
}

static int print_findings(const json_t *findings) {
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        json_t *f;
        size_t i;
        int r = t ? 0 : -ENOMEM;

        json_array_foreach ((json_t *) findings, i, f)
                if (r >= 0)
                        r = add_row(t, f);
        if (r < 0)
                return client_fail(r);
        if (json_array_size(findings) > 0)
                table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        print_details(findings);
        if (json_array_size(findings) > 0)
                putchar('\n');
        print_summary(findings);
        return EXIT_DONE;
}

static int ask(sd_bus *bus, json_t **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k = client_new_call(bus, "Examine", &call);

        if (k == EXIT_DONE)
                k = client_call_json(bus, call, ret);
        if (k == EXIT_DONE && !json_is_array(json_object_get(*ret, "findings"))) {
                fputs("dhetcd: ", stderr);
                print_clean(stderr, json_get_string(*ret, "error") ?: "the daemon's answer has no findings");
                fputc('\n', stderr);
                k = EXIT_FAILED;
        }
        return k;
}

static int show(const json_t *findings) {
        int k = args.json != JSON_OFF ? print_json(findings) : print_findings(findings);

        return k == EXIT_DONE && count(findings, false) > 0 ? EXIT_FOUND : k;
}

/* What is found first, then the job, then what is left; the job's end where it is a bad one. */
static int fix(sd_bus *bus, const json_t *findings) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_json_ json_t *after = NULL;
        uint64_t since = now_real();
        int k, r;

        if (count(findings, true) == 0)
                return show(findings);
        if (args.json == JSON_OFF && !args.quiet)
                (void) print_findings(findings);
        k = client_new_call(bus, "Repair", &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append(call, "t", (uint64_t) 0);
        k = r < 0 ? client_fail(r) : follow_call(bus, call, since);
        if (k != EXIT_DONE || args.json != JSON_OFF || !args.block)
                return k;
        k = ask(bus, &after);
        return k == EXIT_DONE ? show(json_object_get(after, "findings")) : k;
}

int verb_doctor(int argc, char **argv) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_json_ json_t *v = NULL;
        const json_t *findings;
        int k;

        password_agent_open();
        k = client_open(&bus);
        if (k == EXIT_DONE)
                k = ask(bus, &v);
        if (k != EXIT_DONE)
                return k;
        findings = json_object_get(v, "findings");
        if (args.fix)
                return fix(bus, findings);
        pager_open();
        return show(findings);
}
