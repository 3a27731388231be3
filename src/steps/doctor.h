/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* dhetcd doctor: what is wrong with the cluster and its hosts. The facts are gathered once; each check is a small
 * function that reads nothing but them, and a line in one of two tables: doctor-host.c, doctor-cluster.c.
 *
 * Facts: { "now_usec": int, "own": address, "cluster": null | as Look has it, "cluster_error": s|null,
 *          "hosts": [ { "address", "this_host": bool, "facts": null | as host_examine() has them, "error": s|null,
 *                       "admin": null | { "user", "uid", "gid" }, "admin_error": s|null } ] } */

#include "addition.h"

#define DOCTOR_DAYS 30 /* before a certificate ends */

typedef struct DoctorCheck DoctorCheck;

typedef struct Doctor {
        const json_t *facts, *cluster, *members, *hosts; /* borrowed; members and hosts are arrays */
        uint64_t now;
        const DoctorCheck *check; /* the present one */
        json_t *findings;
} Doctor;

struct DoctorCheck {
        const char *id;
        const char *severity;   /* "error": it does not work; "warning": it will not; "note": good to know */
        const char *cause;      /* a sentence without a full stop */
        void (*run)(Doctor *d); /* once; */
        void (*host)(Doctor *d, const char *address, const json_t *facts); /* or of each host that answers; */
        void (*member)(Doctor *d, const json_t *member, const char *address, const json_t *facts); /* or each member;
                                                                                      facts may be NULL */
};

typedef struct DoctorTable {
        const DoctorCheck *checks;
        size_t n;
} DoctorTable;
extern const DoctorTable doctor_host_checks, doctor_cluster_checks;

/* ---- for the checks ---- */

/* Adds a finding about a host (NULL: the cluster) with its evidence, and gives it, borrowed. */
json_t *doctor_found(Doctor *d, const char *host, const char *evidence, ...) _printf_(3, 4);
/* The command that mends it, on that host (NULL: here). */
void doctor_command(json_t *finding, const char *where, const char *command, ...) _printf_(3, 4);
/* What a host or etcd said, fit for a command that somebody pastes into a shell; else `otherwise`. */
const char *doctor_plain(const char *s, const char *otherwise);
/* What --fix needs to know; stolen. */
void doctor_fix(json_t *finding, json_t *fix);

const json_t *doctor_host(const Doctor *d, const char *address);       /* its entry in hosts; NULL where none */
const json_t *doctor_host_facts(const Doctor *d, const char *address); /* NULL where it does not answer */
const json_t *doctor_member(const Doctor *d, const char *address);     /* NULL where it is none */
bool doctor_never_started(const json_t *member);
bool doctor_is_healthy(const json_t *member); /* NULL is not */

/* ---- for its users ---- */

/* doctor-gather.c: connects to all hosts, and changes nothing. A host or a cluster that does not answer is a fact. */
int doctor_gather(Addition *a, json_t **ret, char **reterr) _must_check_;

/* All findings, an array of { "id", "severity", "host": s|null, "cause", "evidence", "command", "where": s|null,
 * "fixable": bool, "fix" }. NULL on OOM. */
json_t *doctor_examine(const json_t *facts);
