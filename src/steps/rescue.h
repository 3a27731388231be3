/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the steps of a rescue share. Its plan has one host, this one: the member that survived. */

#include "addition.h"
#include "quorum.h"

/* A snapshot of etcd's data that a job of this host saved, or that was named. */
typedef struct RescueSnapshot {
        char *job, *path;
        unsigned n; /* the job's node */
        uint64_t bytes, usec;
        char sha256[DIGEST_HEX_SIZE]; /* of the database; "" where no log tells */
} RescueSnapshot;
void rescue_snapshot_done(RescueSnapshot *s);

/* rescue-snapshot.c: the newest of all jobs of this host, or of one (NULL: all). 1, or 0 where there is none. */
int rescue_snapshot_newest(const char *job, RescueSnapshot *ret, char **reterr) _must_check_;
/* The one that was asked for. -ENOENT where there is none. */
int rescue_snapshot_find(Addition *a, RescueSnapshot *ret, char **reterr) _must_check_;
/* Its SHA-256, read from the disk now, is what the job's log says, and what etcd wrote at its end. */
int rescue_snapshot_verify(RescueSnapshot *s, char **reterr) _must_check_;
/* Where restore-data finds it: a file that was named is copied to this transaction's directory, verified once more. */
int rescue_snapshot_take_in(Addition *a, RescueSnapshot *s, char **reterr) _must_check_;

/* What rescue-look found. */
typedef struct RescueView {
        const json_t *facts; /* this host's */
        Host *own;
        Quorum quorum; /* all voters, this one too */
        RescueSnapshot newest, chosen;
        bool has_newest;
} RescueView;

/* rescue-tell.c: the plan, to the journal; what to do with the members that were lost. */
void rescue_tell_plan(Addition *a, const RescueView *v);
char *rescue_command(const Addition *a); /* what really does it; caller frees */
void rescue_tell_next(Addition *a);

/* rescue-alone.c: waits until this member answers a linearizable read as a cluster of one voter. 0, or why not. */
int rescue_wait_alone(Addition *a, uint64_t timeout, char **reterr) _must_check_;

/* rescue-start.c: starts and enables etcd, and waits until it answers; also where a part of it was done before. */
int rescue_start_alone(Addition *a, const char *step, char **reterr) _must_check_;
bool rescue_has_answered(const Addition *a); /* and so it is noted in the log */
