/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options of the command line: what they set, and which verbs take them. */

#include <getopt.h>

#include "basic/string-util.h"
#include "cli.h"

#define REQUEST "add plan check schedule grow" /* what asks for an addition, or would */
#define FIRST_KEY 0x100                        /* of those without a letter; then by their place in the table */

typedef struct Option {
        const char *name;
        int has_arg;
        const char *verbs; /* which take it, separated by spaces; NULL: all */
        bool *set, *clear; /* one of these */
        int *on;
        const char **text;
        int (*parse)(const char *s); /* an errno, said */
        char letter;
} Option;

static int parse_json_mode(const char *s) {
        if (streq(s, "pretty"))
                args.json = JSON_PRETTY;
        else if (streq(s, "short"))
                args.json = JSON_SHORT;
        else if (streq(s, "off"))
                args.json = JSON_OFF;
        else {
                fprintf(stderr, "dhetcd: --json= takes \"pretty\", \"short\" or \"off\", not \"%s\"\n", s);
                return -EINVAL;
        }
        return 0;
}

static int parse_restart(const char *s) {
        if (!streq(s, "needed") && !streq(s, "always")) {
                fprintf(stderr, "dhetcd: --restart= takes \"needed\" or \"always\", not \"%s\"\n", s);
                return -EINVAL;
        }
        args.restart = s;
        return 0;
}

static int parse_policy(const char *s) {
        if (!streq(s, "all") && !streq(s, "keep")) {
                fprintf(stderr, "dhetcd: --policy= takes \"all\" or \"keep\", not \"%s\"\n", s);
                return -EINVAL;
        }
        args.policy = s;
        return 0;
}

static int parse_expect(const char *s) {
        if (!streq(s, "etcd-setup-check")) {
                fprintf(stderr, "dhetcd: --expect= takes \"etcd-setup-check\", not \"%s\"\n", s);
                return -EINVAL;
        }
        args.expect_setup_check = true;
        return 0;
}

static int parse_role(const char *s) {
        return strv_append(&args.roles, s);
}

static const Option options[] = {
        { "no-wait", no_argument, REQUEST, .clear = &args.wait },
        { "no-block", no_argument, "add rollback settle rescue doctor install grow", .clear = &args.block },
        { "restart", required_argument, REQUEST, .parse = parse_restart },
        { "move-data-aside", no_argument, REQUEST, .on = &args.move_data_aside },
        { "require-odd", no_argument, REQUEST, .on = &args.require_odd },
        { "policy", required_argument, REQUEST, .parse = parse_policy },
        { "force", no_argument, "rollback", .set = &args.force },
        { "all", no_argument, "settle", .set = &args.all },
        { "yes-i-lose-quorum", no_argument, "rescue", .set = &args.lose_quorum },
        { "from-snapshot", required_argument, "rescue", .text = &args.from_snapshot },
        { "takeover", no_argument, "settle", .set = &args.takeover },
        { "unit", no_argument, "add settle", .set = &args.unit },
        { "on", required_argument, "schedule", .text = &args.on },
        { "until", required_argument, REQUEST, .text = &args.until },
        { "no-check", no_argument, "schedule", .clear = &args.check },
        { "scheduled", no_argument, "add", .set = &args.scheduled },
        { "fingerprint", required_argument, "trust", .text = &args.fingerprint },
        { "yes", no_argument, "trust", .set = &args.yes },
        { "list", no_argument, "trust install", .set = &args.list },
        { "remove", no_argument, "trust", .set = &args.remove },
        { "file", required_argument, "cnf", .text = &args.file },
        { "installer-dir", required_argument, "cnf install grow", .text = &args.installer_dir },
        { "role", required_argument, "cnf", .parse = parse_role },
        { "host-key", required_argument, "cnf", .text = &args.host_key },
        { "dry-run", no_argument, "cnf", .set = &args.dry_run },
        { "expect", required_argument, "install", .parse = parse_expect },
        { "fix", no_argument, "doctor", .set = &args.fix },
        { "json", required_argument, NULL, .parse = parse_json_mode },
        { "host", required_argument, NULL, .text = &args.host, .letter = 'H' },
        { "no-pager", no_argument, NULL, .set = &args.no_pager },
        { "no-legend", no_argument, NULL, .clear = &args.legend },
        { "no-ask-password", no_argument, NULL, .clear = &args.ask_password },
        { "quiet", no_argument, NULL, .set = &args.quiet, .letter = 'q' },
        { "help", no_argument, NULL, .set = &args.help, .letter = 'h' },
        { "version", no_argument, NULL, .set = &args.version },
};

static bool given[ELEMENTSOF(options)];

static int key_of(size_t i) {
        return options[i].letter ?: FIRST_KEY + (int) i;
}

static int use(const Option *o) {
        if (o->set)
                *o->set = true;
        if (o->clear)
                *o->clear = false;
        if (o->on)
                *o->on = true;
        if (o->text)
                *o->text = optarg;
        return o->parse ? o->parse(optarg) : 0;
}

int options_parse(int argc, char **argv) {
        struct option long_options[ELEMENTSOF(options) + 1] = {};
        int c;

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                long_options[i] = (struct option){ options[i].name, options[i].has_arg, NULL, key_of(i) };
        while ((c = getopt_long(argc, argv, "qhH:", long_options, NULL)) >= 0) {
                size_t i = 0;

                while (i < ELEMENTSOF(options) && key_of(i) != c)
                        i++;
                if (i == ELEMENTSOF(options) || use(options + i) < 0)
                        return EXIT_USAGE; /* said by getopt, or by use() */
                given[i] = true;
        }
        return EXIT_DONE;
}

static bool takes(const Option *o, const char *verb) {
        size_t n = strlen(verb);

        for (const char *p = o->verbs; p && *p; p += strcspn(p, " "), p += strspn(p, " "))
                if (strncmp(p, verb, n) == 0 && strcspn(p, " ") == n)
                        return true;
        return !o->verbs;
}

int options_check(const char *verb) {
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (given[i] && !takes(options + i, verb)) {
                        fprintf(stderr, "dhetcd: \"%s\" takes no --%s; it is for: %s\n", verb, options[i].name,
                                options[i].verbs);
                        return EXIT_USAGE;
                }
        return EXIT_DONE;
}
