/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of the manager share:
 *
 *   manager.c          the object, the queue's turns, how a job begins and ends
 *   manager-save.c     what becomes of a job, on disk and for whoever watches
 *   manager-bus.c      org.dhetcd1.Manager
 *   manager-look.c     Look, Plan and Examine
 *   manager-request.c  what AddNodes may ask for
 *   manager-gather.c   what several units of one systemctl command ask for
 *   manager-rescue.c   Rescue
 *   manager-repair.c   Repair
 *   manager-takeover.c TakeOver
 *   manager-install.c  Install, GetInstall, ListInstalls: the vendor's installer
 *   manager-schedule.c Schedule, Unschedule, and what the timers ask for
 *   manager-inhibit.c  logind, asked not to shut down
 *   manager-txn.c      one transaction's unit, from its start until it is gone
 *   manager-unit.c     the properties of that unit */

#include <stdint.h>

#include "basic/config.h"
#include "basic/event.h"
#include "basic/string-util.h"
#include "bus/polkit.h"
#include "job-queue.h"
#include "manager.h"

#define TXN_ATTEMPTS_MAX 2U /* units started for one transaction before it is called stuck */

typedef struct TxnRun TxnRun;
typedef struct Look Look;
typedef struct ScheduleRun ScheduleRun;
typedef struct InstallStart InstallStart;
typedef struct Gather Gather;

struct Manager {
        sd_event *event;
        sd_bus *bus;
        char *jobs_dir;
        JobQueue queue;
        TxnRun *run; /* the transaction being worked on; at most one */
        Look *looks; /* the answers somebody waits for */
        Polkit *polkit;
        Gather *gather;        /* the job that others may join; at most one */
        InstallStart *install; /* being started; at most one */
        ScheduleRun *schedule; /* the schedule being armed or taken away; at most one */
        char **swept_names;    /* schedules this daemon has tried to take away */
        int inhibit_fd;

        sd_bus_slot *vtable_slot, *subscribe_slot, *inhibit_slot;
        sd_event_source *dispatch_source; /* deferred: manager_dispatch() never runs inside a method call */
        sd_event_source *wait_source;     /* when the next waiting job has waited too long */
        sd_event_source *save_source;     /* when to write again what the disk did not take */
        sd_event_source *install_source;  /* when to look whether the installer still runs */
};

/* Without it nothing can be begun, and nothing is known: this daemon is about to leave, and the next one goes on. */
static inline bool manager_has_bus(const Manager *m) {
        return sd_bus_is_open(m->bus) > 0;
}

/* manager.c */
void manager_kick(Manager *m); /* runs the queue in the next turn of the loop */
void manager_end_job(Manager *m, Job *j, JobState state, const char *text);
int manager_add_job(Manager *m, Job *j, char **reterr); /* takes the job over on success */
void manager_cancel_job(Manager *m, Job *j);
/* A stuck job none of whose transactions is open: one failed, and those before it could not be taken back. It ends, and
 * they stay. False for any other. */
bool manager_let_stay(Manager *m, Job *j);
void manager_settle_job(Manager *m, Job *j);                 /* a stuck one */
void manager_retry_job(Manager *m, Job *j);                  /* … for a short while only, as the timer does */
int manager_revert_job(Manager *m, Job *j, const char *why); /* a committed one, or what is committed of it */
Job *manager_running_job(const Manager *m);                  /* NULL where none */
void manager_txn_ended(Manager *m, Job *j, size_t n, TxnState state, const char *reason);

/* manager-save.c */
void manager_set_job(Manager *m, Job *j, JobState state, const char *text);
void manager_tell_job(Manager *m, const Job *j); /* whoever watches */

/* manager-bus.c */
int manager_bus_register(Manager *m);
void manager_emit_job_changed(Manager *m, const Job *j);
void manager_emit_running_job(Manager *m);

/* Refuses with Busy where a job runs or waits; `advice` ends the sentence. */
int manager_refuse_while_busy(const Manager *m, const char *advice, sd_bus_error *error);
int manager_set_error(sd_bus_error *error, int r, const char *text); /* text may be NULL */

/* manager-schedule.c */
int manager_method_schedule(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_unschedule(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_add_scheduled(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_list_schedules(sd_bus_message *message, void *userdata, sd_bus_error *error);
void manager_schedule_done(Manager *m, const Job *j); /* j is committed: the schedule it came from, if any, ends */
void manager_schedule_sweep(Manager *m);              /* takes away what an earlier daemon left half done */
ScheduleRun *schedule_run_free(ScheduleRun *s);

/* manager-inhibit.c */
void manager_inhibit(Manager *m);
void manager_uninhibit(Manager *m);

/* manager-rescue.c */
int manager_method_rescue(sd_bus_message *message, void *userdata, sd_bus_error *error);
void manager_end_rescued(Manager *m, const Job *j); /* j is committed: the stuck job whose place it took has ended */

/* manager-repair.c */
int manager_method_repair(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* manager-request.c: one a{sv} of a call, into `options`. */
typedef struct RequestOption {
        const char *name;
        char type;
        const char *values[3]; /* of strings; none: any */
} RequestOption;
int request_read_options(sd_bus_message *message, const RequestOption *known, size_t n_known, json_t *options,
                         char **reterr);

/* manager-request.c: the nodes and options of one AddNodes call. 0, -EINVAL with what is wrong, -ENOMEM. */
typedef struct AddRequest {
        char **nodes;
        json_t *options; /* complete: what was not said comes from the configuration */
        char **warnings; /* of the configuration */
        bool wait;
        bool gather; /* others that ask at the same time may join */
} AddRequest;
void add_request_done(AddRequest *a);
/* Sets "deadline" of the options from their "until" or "window", and waits no longer than it. */
int add_request_window(json_t *options, char **reterr);
int add_request_read(sd_bus_message *message, const Config *config, AddRequest *a, char **reterr);

/* manager-gather.c */
void manager_gather_begin(Manager *m, const Job *j); /* j was just queued */
bool manager_gathers(Manager *m);                    /* the next job is not to be begun yet */
/* 1: its nodes are part of *ret now. 0: it is for a job of its own. */
int manager_gather_join(Manager *m, const AddRequest *a, uid_t uid, Job **ret, char **reterr);
Gather *gather_free(Gather *g);

/* manager-look.c */
int manager_method_look(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_examine(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error);
void looks_free(Look *first);

/* manager-bus.c: what AddNodes and Plan take. */
int manager_read_add_request(sd_bus_message *message, AddRequest *a, sd_bus_error *error);

/* manager-install.c */
int manager_method_install(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_grow(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_get_install(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_list_installs(sd_bus_message *message, void *userdata, sd_bus_error *error);
/* 1 while the installer runs, with its ID; no job is begun then. */
int manager_install_runs(const Manager *m, char ret_id[static JOB_ID_DIGITS + 1]);
/* Who asked for the installation that runs; -EINVAL where it is another one, or none. */
int manager_install_asker(const Manager *m, const char *id, uid_t *ret, char **reterr);
/* CancelJob for the ID of an installation: 1 answered or to be called again, 0 it is none, negative as a handler. */
int manager_cancel_install(Manager *m, sd_bus_message *message, const char *id, sd_bus_message_handler_t handler,
                           sd_bus_error *error);
InstallStart *install_start_free(InstallStart *s);

/* manager-takeover.c */
int manager_method_take_over(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* manager-txn.c */
int txn_run_begin(Manager *m, Job *j, size_t n);
Job *txn_run_job(const TxnRun *t);
void txn_run_cancel(TxnRun *t);
TxnRun *txn_run_free(TxnRun *t);

/* manager-unit.c */
char *txn_unit_name(const Job *j, size_t n);
/* StartTransientUnit for transaction n, without the optional properties named in `without`. */
/* `verb` is of dhetcd-worker; `budget` (with "retry") in seconds, or NULL. */
int txn_unit_message(sd_bus *bus, const Job *j, size_t n, const char *verb, const char *budget, char *const *without,
                     sd_bus_message **ret);
/* dhetcd-look-ID.service, whose answer is written to `fd`. */
#define LOOK_USEC (150 * USEC_PER_SEC) /* how long it may take; the callers wait a little longer */
int look_unit_message(sd_bus *bus, const char *id, const char *request, int fd, char *const *without,
                      sd_bus_message **ret);
/* dhetcd-install-ID.service. */
#define INSTALL_STOP_USEC (90 * USEC_PER_SEC)
int install_unit_message(sd_bus *bus, const char *id, uint64_t timeout, char *const *without, sd_bus_message **ret);
/* What systemd's refusal says must be left out: 1 and one more name in *without, 0 when it is another error. */
int txn_unit_learn(const char *why, char ***without);
