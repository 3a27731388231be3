/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the verbs share: the options of the command line, the bus, and how things are printed. Data goes to standard
 * output, everything said about it to standard error. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "basic/json-util.h"

/* The exit codes; they are promised in dhetcd(1). */
enum {
        EXIT_DONE = 0,
        EXIT_FAILED = 1, /* rejected, canceled, or the call itself failed */
        EXIT_USAGE = 2,
        EXIT_FOUND = 3, /* by the doctor */
        EXIT_ROLLED_BACK = 10,
        EXIT_STUCK = 11,
        EXIT_BUSY = 75,
        EXIT_SIGNAL = 128, /* and the signal that made us leave a job that goes on */
};

typedef enum JsonMode { JSON_OFF, JSON_PRETTY, JSON_SHORT } JsonMode;

typedef struct Args {
        bool help, version;
        JsonMode json;
        bool legend, no_pager;
        const char *host; /* whose dhetcdd, over ssh; NULL: this host's */
        bool quiet;
        bool ask_password;
        bool wait;  /* for jobs that are there */
        bool block; /* until the job has ended */
        bool unit;  /* run by dhetcd-add@.service: STATUS= instead of lines */
        bool all, takeover;
        bool force;                /* rollback, though files were changed since */
        const char *policy;        /* NULL: "all" */
        bool lose_quorum;          /* rescue: do it */
        const char *from_snapshot; /* rescue: NULL: this member's own data */
        const char *restart;       /* NULL: as configured */
        int move_data_aside;       /* -1: as configured */
        int require_odd;
        const char *on, *until;  /* schedule */
        bool check;              /* before scheduling */
        bool scheduled;          /* run by dhetcd-scheduled@.service */
        const char *fingerprint; /* trust */
        bool yes, list, remove;
        const char *installer_dir;   /* cnf, install, grow */
        const char *file, *host_key; /* cnf */
        char **roles;                /* of new nodes in cluster.cnf */
        bool dry_run;
        bool fix;                /* doctor */
        bool expect_setup_check; /* install */
} Args;

extern Args args;

/* options.c: fills `args` in; then, whether the verb takes all that was given. A failure has been said. Exit codes. */
int options_parse(int argc, char **argv);
int options_check(const char *verb);

/* The verbs; argv[0] is the verb. Each returns an exit code. */
int verb_cluster(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_plan(int argc, char **argv);
int verb_add(int argc, char **argv);
int verb_list(int argc, char **argv);
int verb_show(int argc, char **argv);
int verb_cancel(int argc, char **argv);
int verb_rollback(int argc, char **argv);
int verb_report(int argc, char **argv);
int verb_watch(int argc, char **argv);
int verb_settle(int argc, char **argv);
int verb_config(int argc, char **argv);
int verb_rescue(int argc, char **argv);
int verb_schedule(int argc, char **argv);
int verb_unschedule(int argc, char **argv);
int verb_trust(int argc, char **argv);
int verb_cnf(int argc, char **argv);
int verb_install(int argc, char **argv);
int verb_grow(int argc, char **argv);

/* client.c: org.dhetcd1.Manager of this host. A failure has been said on standard error and is an exit code. */
int client_open(sd_bus **ret);
int client_connect(sd_bus **ret); /* the same, silent, as an errno */
int client_check_host(void);      /* what -H names; an exit code */
/* The first two, with somebody to ask for passwords. */
int client_begin(const char *method, sd_bus **ret_bus, sd_bus_message **ret_call);
int client_new_call(sd_bus *bus, const char *method, sd_bus_message **ret);
int client_call(sd_bus *bus, sd_bus_message *call, sd_bus_message **ret);
int client_list_jobs(sd_bus *bus, json_t **ret); /* an array, as "dhetcd list --json=" has it */
int client_get_job(sd_bus *bus, const char *job, json_t **ret);
/* … whose answer is a string, which the caller frees; and a JSON object in one. */
int client_call_string(sd_bus *bus, sd_bus_message *call, char **ret);
int client_call_json(sd_bus *bus, sd_bus_message *call, json_t **ret);
/* The arguments of AddNodes, Plan and Schedule, from `args`. `window`: how long it may take at a later date, in
 * microseconds; 0: not said. */
int client_append_request(sd_bus_message *call, char **nodes, uint64_t window);
int client_error(const sd_bus_error *error); /* says it, and returns the exit code for it */
int client_fail(int error);                  /* the same for an errno */

/* password-agent.c: asks for passwords on the terminal, where there is one and it is needed. */
void password_agent_open(void);

/* output.c */
typedef enum Colour { COLOUR_NONE, COLOUR_GREY, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_BOLD } Colour;
const char *colour_on(int fd, Colour c); /* "" where there are no colours */
const char *colour_off(int fd);
Colour state_colour(const char *state);
int state_exit_code(const char *state); /* -1 where a job has not ended */
char *time_to_string(uint64_t usec);    /* local time; "-" for 0 */
char *user_to_string(json_int_t uid);   /* "alice (1001)", a number of another host; NULL on OOM */
int print_json(const json_t *v);        /* as --json= says; an exit code */
/* An object of one member. */
int print_json_string(const char *key, const char *value);
/* Prints text from elsewhere without its control characters. */
void print_clean(FILE *f, const char *text);
