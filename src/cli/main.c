/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd: the operator's command. It does nothing itself: it asks the dhetcdd of this host and shows what comes of it.
 */

#include <locale.h>

#include "basic/string-util.h"
#include "cli.h"
#include "pager.h"

Args args = {
        .legend = true,
        .ask_password = true,
        .wait = true,
        .block = true,
        .check = true,
        .move_data_aside = -1,
        .require_odd = -1,
};

typedef struct Verb {
        const char *name;
        int min, max; /* arguments after the verb; max -1: any number */
        int (*run)(int argc, char **argv);
        const char *synopsis, *help;
} Verb;

static const Verb verbs[] = {
        { "list", 0, 0, verb_list, "list", "List the jobs (this is done without a verb, too)" },
        { "add", 1, -1, verb_add, "add NODE...", "Add hosts, by address, to the etcd cluster" },
        { "cluster", 0, 0, verb_cluster, "cluster", "Show the members of the cluster and their status" },
        { "plan", 1, -1, verb_plan, "plan NODE...", "Show what \"add\" would do, or why it would refuse" },
        { "check", 1, -1, verb_plan, "check NODE...", "The same as plan" },
        { "doctor", 0, 0, verb_doctor, "doctor", "Find what is wrong, and what mends it" },
        { "schedule", 0, -1, verb_schedule, "schedule NODE...", "Add them at a date (--on); without NODE: list" },
        { "unschedule", 1, 1, verb_unschedule, "unschedule NODE", "Take a schedule back" },
        { "show", 1, 1, verb_show, "show JOB", "Show one job and each of its additions" },
        { "report", 1, 1, verb_report, "report JOB", "Write all that is known of a job as one HTML page" },
        { "watch", 0, 1, verb_watch, "watch [JOB|ID]", "Follow a job, or a run of the installer, to its end" },
        { "cancel", 1, 1, verb_cancel, "cancel JOB|ID", "Cancel a job, or a run of the installer" },
        { "rollback", 1, 1, verb_rollback, "rollback JOB", "Take the nodes of a finished job out again" },
        { "settle", 0, 1, verb_settle, "settle JOB", "Bring a stuck job to an end, forward or back" },
        { "config", 0, 0, verb_config, "config", "Show the configuration and where each value is from" },
        { "rescue", 0, 1, verb_rescue, "rescue [JOB]", "The quorum is lost: go on with this member alone" },
        { "trust", 0, 1, verb_trust, "trust HOST", "Show a host's ssh key, and pin it" },
        { "cnf", 1, -1, verb_cnf, "cnf show|add|check", "Show, extend, check the installer's cluster.cnf" },
        { "install", 0, 0, verb_install, "install", "Run the installer in --installer-dir=" },
        { "grow", 1, -1, verb_grow, "grow NODE...", "cluster.cnf, installer, addition, installer: the whole page" },
};

static void help(void) {
        printf("dhetcd [OPTION...] [VERB] [ARGUMENT...]\n\n"
               "Adds nodes to the etcd cluster of a Deephaven installation. Either every new node is a\n"
               "healthy voting member and every host has the new configuration, or all is as it was\n"
               "before; this holds after any crash of any process or host.\n\nVerbs:\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                printf("  %-22s %s\n", verbs[i].synopsis, verbs[i].help);
        printf("\nOptions of add, plan, check, schedule and grow:\n"
               "     --no-wait           Refuse where another job runs or waits (exit code 75)\n"
               "     --restart=WHEN      Restart members \"needed\" or \"always\", as the vendor's page\n"
               "     --move-data-aside   Move a data directory that is in use on the new node aside\n"
               "     --require-odd       Refuse where the cluster would have an even number of members\n"
               "     --policy=POLICY     When a later node fails, take back \"all\" or \"keep\" the earlier\n"
               "     --until=HH:MM       What is not promoted by then is rolled back\n"
               "Options of other verbs:\n"
               "     --no-block          With add, rollback, settle, rescue, doctor --fix, install, grow:\n"
               "                         do not wait for the end; print the id\n"
               "     --on=DATE           With schedule: when, as systemd.time(7) has it: \"Sat 02:00\"\n"
               "     --no-check          With schedule: do not check everything now, too\n"
               "     --force             With rollback: though files were changed since\n"
               "     --all               With settle: wait for all that a crash left open\n"
               "     --takeover          With settle: the job is another host's, which never comes back\n"
               "     --yes-i-lose-quorum With rescue: do it; without, only the plan is shown\n"
               "     --from-snapshot=JOB|FILE\n"
               "                         With rescue: restore a snapshot instead of this member's data\n"
               "     --fix               With doctor: mend what is safe to mend, as one job\n"
               "     --fingerprint=FP    With trust: accept this key (SHA256:...) alone, without asking\n"
               "     --yes               With trust: accept what the host offers, unseen\n"
               "     --list --remove     With trust: show the keys that are known; forget a host's\n"
               "                         With install: show the earlier runs\n"
               "     --file=FILE         With cnf: this file, not /etc/sysconfig/deephaven/cluster.cnf\n"
               "     --installer-dir=DIR With cnf, install, grow: the folder of the installer\n"
               "     --role=ROLE[=false] With cnf add: a role of the new nodes besides ETCD, like QUERY\n"
               "     --host-key=KEY      With cnf add: DH_NODE_n_KEY names a node's host\n"
               "     --dry-run           With cnf add: only show what would be changed\n"
               "     --expect=etcd-setup-check\n"
               "                         With install: the vendor's expected failure is a success\n"
               "Options of all:\n"
               "     --json=MODE         \"pretty\", \"short\" or \"off\"\n"
               "  -H --host=[USER@]HOST  Ask the dhetcdd of another host, over ssh\n"
               "     --no-pager          Do not pipe output into a pager\n"
               "     --no-legend         No headings and hints\n"
               "     --no-ask-password   Do not ask for passwords\n"
               "  -q --quiet             No lines while a job runs; the exit code tells\n"
               "  -h --help              Show this\n"
               "     --version           Show the version\n\n"
               "Exit codes: 0 done, 1 failed or refused, 2 usage, 3 doctor found something, 10 rolled back,\n"
               "11 stuck, 75 busy, 130 and 143 interrupted, while the job goes on.\n"
               "See dhetcd(1).\n");
}

/* What is done with this host's own files, and not by its dhetcdd. */
static bool is_local(const char *verb) {
        static const char *const local[] = { "config", "report", "rescue", "trust", "cnf", "install", "grow" };

        for (size_t i = 0; i < ELEMENTSOF(local); i++)
                if (streq(local[i], verb))
                        return true;
        return false;
}

static int check_host(const char *verb) {
        if (!args.host || !is_local(verb))
                return client_check_host();
        fprintf(stderr, "dhetcd: \"%s\" is not done with -H; run it there: ssh -t %s dhetcd %s\n", verb, args.host,
                verb);
        return EXIT_USAGE;
}

static int run_verb(int argc, char **argv) {
        static char *nothing[] = { (char *) "list", NULL };

        if (argc == 0) {
                argc = 1;
                argv = nothing;
        }
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                const Verb *v = &verbs[i];

                if (!streq(v->name, argv[0]))
                        continue;
                if (argc - 1 >= v->min && (v->max < 0 || argc - 1 <= v->max)) {
                        int k = options_check(v->name);

                        if (k == EXIT_DONE)
                                k = check_host(v->name);
                        return k == EXIT_DONE ? v->run(argc, argv) : k;
                }
                fprintf(stderr, "dhetcd: Too %s arguments; the form is: dhetcd %s\n",
                        argc - 1 < v->min ? "few" : "many", v->synopsis);
                return EXIT_USAGE;
        }
        fprintf(stderr, "dhetcd: There is no verb \"%s\"; see \"dhetcd --help\"\n", argv[0]);
        return EXIT_USAGE;
}

int main(int argc, char **argv) {
        int k;

        (void) setlocale(LC_ALL, "");
        k = options_parse(argc, argv);
        if (k != EXIT_DONE)
                return k;
        if (args.help)
                help();
        else if (args.version)
                puts("dhetcd " DHETCD_VERSION);
        else
                k = run_verb(argc - optind, argv + optind);
        pager_close();
        return k;
}
