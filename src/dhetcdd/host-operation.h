/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One call of a method of org.dhetcd1.Host, from its message to its answer. An operation that must wait (for systemd,
 * for a script) returns to the event loop and goes on in a continuation; a second call that asks for the same while it
 * is under way only waits for its answer too.
 *
 * Life: host_operation_new() reads and checks the arguments → polkit → host_operation_start(): the record of what was
 * done answers, or the method's begin() runs, its continuations after it, and the answer goes to everybody who waits.
 */

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/event.h"
#include "basic/failpoint.h"
#include "basic/json-util.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "bus/polkit.h"
#include "bus/unit-job.h"
#include "bus/unit-state.h"
#include "host-history.h"
#include "host-record.h"
#include "host.h"

/* host-interface.c lists them. */
#define HOST_FAILPOINT(op, point) FAILPOINT("host", (op)->method->name, point)

#define CALLERS_MAX 64U
#define JOB_SIZE 9U /* 8 digits and the NUL */

typedef struct HostOperation HostOperation;

/* 1: ended, op->answer is set. 0: waits. Negative: failed, op->why says why. */
typedef int (*HostNext)(HostOperation *op) _must_check_;

typedef struct HostMethod {
        const char *name;
        const char *
                arguments; /* names, separated by spaces; their types are the message's, which the vtable has checked */
        const char *answer;                           /* its signature */
        const char *action;                           /* polkit's */
        bool recorded;                                /* has intent and done */
        bool replayed;                                /* answered from the record where it was done */
        bool forward;                                 /* not to be done in a step that was restored */
        bool locked;                                  /* refused while another job holds this host's lock */
        int (*check)(HostOperation *op) _must_check_; /* the arguments that are its own; NULL: none */
        HostNext begin;
} HostMethod;

typedef struct AdminUser {
        char *name;
        uint32_t uid, gid, etcd_uid;
        bool has_etcd;
} AdminUser;

struct Host {
        sd_event *event; /* borrowed, as the bus */
        sd_bus *bus;
        Polkit *polkit;
        sd_bus_slot *vtable;
        HostOperation *operations;
        struct HostTransaction *transactions; /* their open records */
};

struct HostOperation {
        Host *host;
        const HostMethod *method;
        HostOperation *next;
        sd_bus_message *callers[CALLERS_MAX];
        size_t n_callers;

        json_t *arguments; /* an object; but for bytes: */
        const void *data;  /* borrowed from the first caller's message */
        size_t size;
        const char *txn, *step; /* borrowed from the arguments, or NULL */
        const char *verb;       /* what tells two operations of a step apart, or NULL */
        const char *unit_name;  /* that its events are about, or NULL; borrowed */
        char job[JOB_SIZE];
        char holder[ADDRESS_MAX];     /* who asks, as the lock names it; "" where it was not said */
        char digest[DIGEST_HEX_SIZE]; /* of the arguments */
        HostRecord *record;           /* borrowed; NULL where nothing is recorded */
        bool was_open;                /* it was begun before, and then we died */
        bool fresh;                   /* done once more where the record has it as done: that may not last */
        const json_t *extra;          /* what that intent kept; borrowed */
        bool intended;                /* the intent is on disk */
        bool canceled;                /* its step is being restored: do not begin what you have not begun */

        bool changed; /* it has changed something */

        json_t *answer; /* an array, one entry for each type of the method's answer */
        char *why;
        const char *error_name; /* DHETCD_ERROR_FAILED where NULL */

        HostNext then; /* after the present wait */
        UnitQuery *query;
        UnitState unit; /* what the newest query found */
        UnitJob *unit_job;
        int job_error; /* how the newest job ended */
        char *job_result, *job_why;
        sd_event_source *timer;
        HostNext then_admin; /* after host_operation_admin_user() */
        AdminUser admin;
        int output_fd;
        void *own; /* the method's own state, and what frees it */
        void (*free_own)(void *own);
};

/* ---- for the interface ---- */

int host_operation_new(Host *h, const HostMethod *method, sd_bus_message *m, HostOperation **ret,
                       char **reterr) _must_check_;
HostOperation *host_operation_free(HostOperation *op);
DEFINE_CLEANUP(HostOperation *, host_operation_free)

/* Takes the operation over and answers the message, now or later. Always 1 or a negative errno, for sd-bus. */
int host_operation_start(HostOperation *op, sd_bus_message *m, sd_bus_error *reterr) _must_check_;

/* ---- for the methods ---- */

/* Opens the host's record of the transaction, which keeps room on the disk for the records to come. */
int host_operation_open_record(HostOperation *op) _must_check_;

/* The intent, with what to know again (may be NULL; stolen). */
int host_operation_intent(HostOperation *op, json_t *extra) _must_check_;

/* Sets the answer (stolen); 1, or -ENOMEM. */
int host_operation_answer(HostOperation *op, json_t *answer) _must_check_;

/* Refuses: DHETCD_ERROR_REJECTED. Always negative. */
int host_operation_reject(HostOperation *op, const char *format, ...) _printf_(2, 3);

/* Waits; each returns 0, or a negative errno. */
int host_operation_query(HostOperation *op, const char *unit, HostNext then) _must_check_;
int host_operation_job(HostOperation *op, HostNext then, UnitJob **ret) _must_check_; /* made, not sent */
int host_operation_sleep(HostOperation *op, uint64_t usec, HostNext then) _must_check_;
int host_operation_admin_user(HostOperation *op, HostNext then) _must_check_; /* op->admin */

/* host-command.c: op->job_error, then the output, of which the first size - 1 bytes are read, as a string. */
typedef struct HostCommand {
        const char *name; /* of its unit, dhetcd-NAME-… */
        const char *description;
        const char *const *argv;
        uint64_t timeout;
} HostCommand;
int host_operation_command(HostOperation *op, const HostCommand *c, HostNext then) _must_check_;
int host_operation_output(HostOperation *op, char *ret, size_t size) _must_check_;

/* Writes an event with the operation's fields. `before` and `after` are digests or NULL. */
void host_operation_event(HostOperation *op, EventKind kind, int priority, const char *before, const char *after,
                          const char *format, ...) _printf_(6, 7);

static inline const char *host_operation_string(const HostOperation *op, const char *name) {
        return json_get_string(op->arguments, name);
}

char *host_transaction_dir(const char *txn);                 /* host/TXN */
char *host_snapshot_name(const char *txn, const char *step); /* TXN.STEP */
int host_forget_record(Host *h, const char *txn);            /* closes it */
bool step_is_valid(const char *step);

/* host-address.c: this host as the others call it: its peer address, else its first address, else its name. Never NULL.
 */
const char *host_own_address(char ret[static 256]);

/* host-lock.c */
typedef struct HostLock {
        char *job, *holder;
        char *txn; /* NULL where an older version wrote it */
        uint64_t since_usec;
} HostLock;
void host_lock_done(HostLock *lock);
int host_lock_read(HostLock *ret, char **reterr) _must_check_; /* 1 held, 0 not */
int begin_lock(HostOperation *op) _must_check_;
int begin_unlock(HostOperation *op) _must_check_;
int check_lock(HostOperation *op) _must_check_;
/* -EBUSY where another job holds it, -ESTALE where another host works on the job now, or has ended it. */
int host_lock_check(HostOperation *op) _must_check_;
int host_lock_write(HostOperation *op, const char *holder) _must_check_;
int host_lock_remove(HostOperation *op) _must_check_;

/* host-takeover.c: the hosts' copies of a job's plan, from which another host can end it. */
char *host_plan_path(const char *txn);
int host_takeover_fail(HostOperation *op, const char *holder, const char *outcome) _must_check_; /* -ESTALE */
int host_takeover_check(HostOperation *op) _must_check_; /* the same where its transaction was ended for it */
int check_keep_plan(HostOperation *op) _must_check_;
int begin_keep_plan(HostOperation *op) _must_check_;
int check_take_lock(HostOperation *op) _must_check_;
int begin_take_lock(HostOperation *op) _must_check_;
int begin_recall(HostOperation *op) _must_check_;
int check_close(HostOperation *op) _must_check_;
int begin_close(HostOperation *op) _must_check_;

/* host-snapshot.c */
int begin_snapshot(HostOperation *op) _must_check_;
int begin_compare(HostOperation *op) _must_check_;
int begin_forget(HostOperation *op) _must_check_;
extern char *const *const host_unit_roots; /* the unit's part of what a snapshot holds */

/* host-places.c: the directories of etcd's data, as a snapshot's note has them: [place], see data-place.h. */
json_t *host_places_look(const char *txn, const char *data_dir); /* data_dir may be NULL; NULL: no memory */
/* -ENOENT where there is no snapshot. 1 when anything was changed. */
int host_places_restore(const char *txn, const char *step, char **reterr) _must_check_;
bool host_places_are_restored(const char *txn, const char *step);
/* What was there before the step keeps its owner and mode, whatever a script has made of them. */
int host_places_keep(HostOperation *op) _must_check_;
int host_places_compare(HostOperation *op, const json_t *places, json_t *list) _must_check_; /* appends sentences */

/* host-restore.c */
int begin_restore(HostOperation *op) _must_check_;

/* Makes the files, and the directories of etcd's data, what they were before the step. 1: something was changed; 0:
 * nothing, or there is no snapshot. *ret_units (may be NULL): what systemd reads may have been changed. The event is
 * written here. */
int host_restore_files(const char *txn, const char *step, bool *ret_units, char **reterr) _must_check_;

/* Whether a step before this one was restored already. An undo that waits for another host begins with the newest step
 * each time, and would bring back what that step had found here. */
bool host_is_further_back(const HostRecord *record, const char *txn, const char *step);

/* host-files.c */
int check_edit_config(HostOperation *op) _must_check_;
int begin_edit_config(HostOperation *op) _must_check_;
int check_trust_authorities(HostOperation *op) _must_check_;
int begin_trust_authorities(HostOperation *op) _must_check_;
int check_deliver(HostOperation *op) _must_check_;
int begin_deliver(HostOperation *op) _must_check_;

/* host-data.c */
int begin_prepare_data_directory(HostOperation *op) _must_check_;
int begin_restore_data_directory(HostOperation *op) _must_check_;

/* The data directory that config.yaml names (a symlink that root made is followed), the directory it is in, and where
 * PrepareDataDirectory moves it aside to in `step`. */
typedef struct HostDataPaths {
        char *path, *parent, *aside;
} HostDataPaths;
void host_data_paths_done(HostDataPaths *p);
int host_data_paths(HostOperation *op, HostDataPaths *ret) _must_check_;
bool host_data_is_vendors(const char *parent); /* the directory above, without symlinks */

/* host-owner.c */
int begin_own_data_directory(HostOperation *op) _must_check_;
int begin_disown_data_directory(HostOperation *op) _must_check_;

/* host-script.c */
int check_run_script(HostOperation *op) _must_check_;
int begin_run_script(HostOperation *op) _must_check_;
/* host-script-output.c */
int check_script_output(HostOperation *op) _must_check_;
int begin_script_output(HostOperation *op) _must_check_;
/* Stops every script of the operation's transaction, also those an earlier daemon began, and cancels what waits to
 * begin. */
int host_scripts_stop(HostOperation *op, HostNext then) _must_check_;

/* host-unit.c */
int check_manage_unit(HostOperation *op) _must_check_;
int begin_manage_unit(HostOperation *op) _must_check_;

/* host-connect.c */
int check_try_connect(HostOperation *op) _must_check_;
int begin_try_connect(HostOperation *op) _must_check_;

/* host-unpacked.c */
int begin_check_unpacked(HostOperation *op) _must_check_;

/* host-facts.c, host-examine.c, host-admin.c */
int begin_examine(HostOperation *op) _must_check_;
int begin_describe(HostOperation *op) _must_check_;
int begin_admin_user(HostOperation *op) _must_check_;
