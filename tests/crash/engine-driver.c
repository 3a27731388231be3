/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine's transaction over a tree of files, and every way to interrupt it. See README.md. */

#include <getopt.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "hooks.h"
#include "sweep.h"
#include "world.h"

static const char usage[] =
        "Usage: engine-driver prepare|run|settle|check DIR\n"
        "       engine-driver prepare|trace SCENARIO DIR\n"
        "       engine-driver kills|kills-twice|calls|allocations|torn|damage SCENARIO DIR "
        "[--share=N] [--seed=N] [--stop]\n"
        "       engine-driver ext4|xfs SCENARIO DIR [--share=N] [--seed=N] [--stop] [--killed=CALL]\n";

static int told(int r, const char *why) {
        if (r < 0) {
                (void) fprintf(stderr, "%s\n", error_text(why, r));
                return EXIT_FAILURE;
        }
        (void) printf("%s\n", txn_state_to_string((TxnState) r));
        return EXIT_SUCCESS;
}

static int simple(const char *verb, const char *dir) {
        _cleanup_free_ char *why = NULL;

        world_set_base(dir);
        if (streq(verb, "prepare"))
                return told(scenario_prepare(SCENARIO_COMMIT), NULL);
        if (streq(verb, "run"))
                return told(scenario_run(SCENARIO_COMMIT, 0), NULL);
        if (streq(verb, "settle"))
                return told(plan_settle(0, &why), why);
        if (streq(verb, "check"))
                return told(plan_check(false), NULL);
        (void) fputs(usage, stderr);
        return 2;
}

static int trace(Scenario s) {
        hooks_count()->trace = 1;
        hooks_arm(&(Hook){ .mode = HOOK_COUNT });
        return told(scenario_run(s, 0), NULL);
}

static int sweep(const char *kind, const char *scenario, const char *dir, const Choice *c) {
        Scenario s = scenario_from_string(scenario);
        Tally t = { 0 };
        int r = 0;

        if (s == _SCENARIO_MAX) {
                (void) fputs(usage, stderr);
                return 2;
        }
        world_set_base(dir);
        if (streq(kind, "prepare"))
                return told(scenario_prepare(s), NULL);
        if (streq(kind, "trace"))
                return trace(s);
        if (streq(kind, "kills") || streq(kind, "kills-twice"))
                sweep_kills(s, c, streq(kind, "kills-twice"), &t);
        else if (streq(kind, "calls"))
                sweep_failing_calls(s, c, &t);
        else if (streq(kind, "allocations"))
                sweep_failing_allocations(s, c, &t);
        else if (streq(kind, "torn"))
                sweep_torn(s, c, &t);
        else if (streq(kind, "damage"))
                sweep_damage(s, c, &t);
        else
                r = sweep_images(kind, s, dir, c, &t);
        if (r < 0)
                (void) fprintf(stderr, "%s: %s: %s\n", kind, dir, strerror(-r));
        if (r != 0)
                return r < 0 ? EXIT_FAILURE : r;

        (void) printf("%lu %lu %lu %lu %lu\n", t.points, t.old, t.new, t.refused, t.other);
        return t.other > 0 || t.points == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = { { "share", required_argument, NULL, 's' },
                                                 { "seed", required_argument, NULL, 'r' },
                                                 { "stop", no_argument, NULL, 'x' },
                                                 { "killed", required_argument, NULL, 'k' },
                                                 { NULL, 0, NULL, 0 } };
        Choice choice = { .share = 1 };
        int c;

        (void) umask(022);
        hooks_setup();
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        choice.share = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                case 'r':
                        choice.seed = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                case 'k':
                        choice.killed = strtoul(optarg, NULL, 10);
                        break;
                case 'x':
                        choice.stop = true;
                        break;
                default:
                        (void) fputs(usage, stderr);
                        return 2;
                }

        if (argc - optind == 2)
                return simple(argv[optind], argv[optind + 1]);
        if (argc - optind == 3)
                return sweep(argv[optind], argv[optind + 1], argv[optind + 2], &choice);
        (void) fputs(usage, stderr);
        return 2;
}
