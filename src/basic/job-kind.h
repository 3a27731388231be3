/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a job may do, and the words in which its daemon and its worker tell of it. A new kind is a line in job-kind.c, a
 * plan of steps, and a method of org.dhetcd1.Manager that asks for it. */

typedef enum JobKind {
        JOB_ADD,    /* a node to the cluster, one transaction each */
        JOB_RESCUE, /* a member that has lost its quorum: one transaction, and one node: itself */
        JOB_REPAIR, /* what the doctor finds: one transaction, and one node: this host */
        _JOB_KIND_MAX,
        _JOB_KIND_INVALID = -22, /* -EINVAL */
} JobKind;

typedef struct JobWords {
        const char *name;              /* "add": in job.json, and what was asked for */
        const char *adds;              /* "job 1234abcd, which adds 10.0.0.2" */
        const char *adding, *Adding;   /* "Adding etcd node 10.0.0.2" */
        const char *addition;          /* "the addition of etcd node 10.0.0.2" */
        const char *added;             /* "etcd node 10.0.0.2 was not added" */
        const char *node_is, *job_did; /* how a node, and a job, ended well */
} JobWords;

/* Never NULL. */
const JobWords *job_words(JobKind kind);

/* NULL is JOB_ADD: jobs of before there were others. _JOB_KIND_INVALID for what is not known. */
JobKind job_kind_from_string(const char *name);
