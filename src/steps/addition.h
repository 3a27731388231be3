/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One node addition: the world in which the steps work. Made from what was asked for (jobs/JOB/job.json); the rest is
 * found out by the preflight, written to plan.json before anything is changed, and read from there when a transaction
 * is settled. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/config.h"
#include "basic/event.h"
#include "basic/job-kind.h"
#include "basic/json-util.h"
#include "basic/string-util.h"
#include "bus/host-client.h"
#include "bus/names.h"
#include "etcd/etcd-client.h"
#include "txn/txn.h"

#define CALL_TIMEOUT (30 * USEC_PER_SEC) /* a host's or etcd's answer to a small question; ssh logins may be slow */
#define ETCD_TIMEOUT (10 * USEC_PER_SEC)
#define POLL_INTERVAL (200 * USEC_PER_MSEC)

/* Which hosts a step changes: Step.changes. */
enum {
        CHANGES_THIS_HOST = 1 << 0, /* where the job runs */
        CHANGES_MEMBERS = 1 << 1,
        CHANGES_NEW = 1 << 2,
};

typedef struct Host {
        char *address;
        char *name;      /* member name, "etcd-2"; NULL where the host is no node */
        unsigned number; /* node number, from 1; 0 where the host is no node */
        char *peer_url, *client_url;
        uint64_t member_id; /* 0: not known yet */
        bool this_host, member, new_node;
        bool asked_lock;     /* it may be held by the transaction */
        bool lost;           /* never comes back: the job was taken over from it, or it knows nothing of it */
        json_t *records;     /* what it told when the job was taken over; owned */
        char *config_digest; /* of its config.yaml without the three keys, before the transaction */
        HostClient *client;  /* owned */
} Host;

typedef struct Rescue { /* what was asked for, where the job is a rescue */
        bool confirmed;
        char *job;      /* the stuck one that ends with it; NULL: none */
        char *snapshot; /* of a job, or a file; NULL: this member's own data */
} Rescue;

typedef struct Addition {
        char *job, *txn; /* "7f3a9c21", "7f3a9c21-1" */
        JobKind kind;
        char *dir;    /* jobs/JOB/N */
        char **nodes; /* the job's nodes, in order */
        size_t index; /* which of them this transaction adds, from 0 */
        bool wait, restart_always, move_data_aside, require_odd, force;
        bool keep;             /* policy: a later node that fails does not undo this one */
        uint64_t wait_timeout; /* for the hosts' locks; microseconds */
        uint64_t deadline;     /* CLOCK_REALTIME: what is not promoted by then is rolled back; 0: none */
        Rescue rescue;
        Config *config;

        /* The plan. */
        char *cluster_id;
        Host *hosts; /* members and the new node by node number, then this host where it is no node */
        size_t n_hosts;
        bool promoted;         /* the new node has a vote */
        char *taken_over_from; /* the job's host, where this is not it; NULL otherwise */

        json_t *warnings;   /* of a look, which writes nothing to the journal; else NULL; owned */
        uint64_t db_size;   /* bytes of the largest member's database, as the preflight found it */
        uint64_t copy_rate; /* how fast they were read, bytes a second; 0: not known yet */

        EtcdClient *etcd;
        Txn *transaction;
        const Step *step; /* the present one, for the journal; index from 1 */
        unsigned step_index, step_count;
        const char *phase;
        int cancel_fd; /* readable: the operator wants it back; -1: too late */
} Addition;

/* Reads job.json and configuration; no connection is made yet. txn is "JOB-N". */
int addition_load(const char *txn, int cancel_fd, Addition **ret, char **reterr) _must_check_;
Addition *addition_free(Addition *a);
DEFINE_CLEANUP(Addition *, addition_free)

/* Not a transaction: only to look. `request` is {"nodes": […], "options": {…}}, `dir` is where it may keep files. */
int addition_new_look(const json_t *request, const char *dir, int cancel_fd, Addition **ret,
                      char **reterr) _must_check_;

/* The plan on disk. -ENOENT where the transaction never came so far. */
int addition_save_plan(Addition *a, char **reterr) _must_check_;
int addition_load_plan(Addition *a, char **reterr) _must_check_;

/* From now on the calls to the hosts say that this host works on the transaction. */
int addition_set_holder(Addition *a, char **reterr) _must_check_;

/* The plan as every host keeps it (host_keep_plan()), so that another one can take the job over. Caller frees. */
int addition_portable_plan(Addition *a, char **ret, char **reterr) _must_check_;

/* Adds a host (with its client) to the plan; strings are copied. */
int addition_add_host(Addition *a, const char *address, const char *name, unsigned number, const char *peer_url,
                      const char *client_url, uint64_t member_id, Host **ret) _must_check_;

/* Takes the newest one off again: a later node of the job that was only looked at. */
void addition_drop_last_host(Addition *a);
/* This host, where it is neither a member nor new: by one of the addresses in its facts. */
int addition_add_this_host(Addition *a, const json_t *facts, Host **ret, char **reterr) _must_check_;

Host *addition_new_node(Addition *a); /* NULL before the plan */
Host *addition_this_host(Addition *a);
Host *addition_find_member(Addition *a, uint64_t member_id);
size_t addition_members(const Addition *a); /* voters before the addition */

/* All of the plan; with the others below, only those that are not lost. */
#define FOREACH_PLANNED(h, a) for (Host *h = (a)->hosts; h && h < (a)->hosts + (a)->n_hosts; h++)
#define FOREACH_HOST(h, a)                                                                                             \
        FOREACH_PLANNED (h, a)                                                                                         \
                if (!h->lost)
#define FOREACH_MEMBER(h, a)                                                                                           \
        FOREACH_HOST (h, a)                                                                                            \
                if (h->member)
/* Members and the new node. */
#define FOREACH_NODE(h, a)                                                                                             \
        FOREACH_HOST (h, a)                                                                                            \
                if (h->number > 0)

/* Whether the host has a vote now. */
static inline bool host_is_voter(const Addition *a, const Host *h) {
        return h->member || (h->new_node && a->promoted);
}
#define FOREACH_VOTER(h, a)                                                                                            \
        FOREACH_HOST (h, a)                                                                                            \
                if (host_is_voter(a, h))

bool addition_changes(const Step *step, const Host *h);

/* Addresses of all nodes as the generator gets them: by number, the job's later nodes where no other is. Caller
 * frees. */
char **addition_all_nodes(const Addition *a);
/* initial-cluster for now: members and, when `with_new`, the new node. Caller frees; NULL on OOM. */
char *addition_initial_cluster(const Addition *a, bool with_new);

/* The CA certificates the worker trusts: DIR/trust.pem, durable. Adding some reconnects the client. */
int addition_trust(Addition *a, const char *pem, char **reterr) _must_check_;
char *addition_trust_path(const Addition *a);

/* (Re)makes the etcd client with the root client's user and password. */
int addition_open_etcd(Addition *a, char **reterr) _must_check_;

/* ---- telling ---- */

void addition_event(Addition *a, EventKind kind, int priority, const Host *h, const char *format, ...) _printf_(5, 6);
/* Progress of the present step: journal, and the status line of the unit. */
void addition_progress(Addition *a, const char *format, ...) _printf_(2, 3);
/* The same, about one host (may be NULL), and how far what takes long has come. */
typedef struct Progress {
        uint64_t done, total, rate; /* the rate a second; 0: not known */
        const char *what;           /* "bytes", "entries"; NULL: nothing is counted */
        const char *phase;          /* NULL: "progress" */
        const char *unit;           /* the systemd unit it is about, or NULL */
} Progress;
void addition_progress_of(Addition *a, const Host *h, const Progress *progress, const char *format, ...) _printf_(4, 5);
/* Relays what a script printed as a unit of another host into this host's journal. */
void addition_relay(Addition *a, const Host *h, const char *unit, char *const *lines);

/* ---- undoing ---- */

/* Before the hosts are released: `prove` must find each as it was when the first snapshots were taken. It is asked
 * until it has said so once, since a host that is released may be changed by the next job. */
int addition_prove_undone(Addition *a, int (*prove)(Addition *a, char **reterr), char **reterr) _must_check_;

/* ---- waiting ---- */

/* Sleeps, or returns -ECANCELED when the operator cancels. */
int addition_sleep(Addition *a, uint64_t usec) _must_check_;
void addition_no_cancel(void *world);

extern const TxnOps addition_ops;
