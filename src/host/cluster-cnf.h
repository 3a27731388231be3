/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cluster.cnf, the installer's configuration: lines KEY=value, which the vendor's scripts source. Pure functions on
 * bytes; what is not understood is kept byte for byte, and nothing is ever expanded or run.
 *
 * From the first DH_NODE_COUNT= on the file is what the installer's jar generated ("the generated part"); above it is
 * what an operator wrote, and only there nodes are looked for. How a node names its host is not documented: it is the
 * one key, besides roles, that every node has with a value of its own (DH_NODE_1_ADDRESS=, …_2_ADDRESS=). */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

#define CNF_FILE "cluster.cnf"
#define CNF_INSTALLED "/etc/sysconfig/deephaven/" CNF_FILE
#define CNF_SIZE_MAX (1024U * 1024U)
#define CNF_NODES_MAX 999U

typedef enum CnfLineState { CNF_KEPT, CNF_DROPPED, CNF_ADDED } CnfLineState;

/* One line with its end ("\n", "\r\n" or, the last, none). */
typedef struct CnfLine {
        char *text;
        CnfLineState state;
} CnfLine;

typedef struct CnfEntry {
        size_t line; /* index */
        bool generated;
        unsigned node;      /* DH_NODE_n_…; 0: another key */
        char *key;          /* whole */
        const char *suffix; /* of a node's: what follows DH_NODE_n_; else NULL. Borrowed from key */
        char *value;        /* without its quotes */
        char quote;         /* '"', '\'' or '\0' */
} CnfEntry;

typedef struct CnfFinding {
        bool error;  /* else a warning */
        size_t line; /* from 1; 0: the whole file */
        char *text;
} CnfFinding;

typedef struct ClusterCnf {
        CnfLine *lines;
        size_t n_lines;
        CnfEntry *entries;
        size_t n_entries;
        CnfFinding *findings;
        size_t n_findings;
        unsigned n_nodes;     /* the highest n above the generated part */
        size_t generated;     /* its first line; n_lines where there is none */
        const char *host_key; /* suffix; NULL where none can be told. Borrowed */
        const char *eol;
} ClusterCnf;

/* Reads it; only what can be no text (-EINVAL: NUL, too large) fails, all else is a finding. */
int cluster_cnf_parse(const char *data, size_t size, ClusterCnf **ret, char **reterr) _must_check_;
ClusterCnf *cluster_cnf_free(ClusterCnf *c);
DEFINE_CLEANUP(ClusterCnf *, cluster_cnf_free)

/* The first finding that is an error, or NULL. */
const CnfFinding *cluster_cnf_error(const ClusterCnf *c);

static inline bool cluster_cnf_has_generated(const ClusterCnf *c) {
        return c->generated < c->n_lines;
}

/* Entry DH_NODE_node_SUFFIX above the generated part, or NULL. */
const CnfEntry *cluster_cnf_find(const ClusterCnf *c, unsigned node, const char *suffix);
const char *cluster_cnf_host(const ClusterCnf *c, unsigned node);         /* or NULL */
unsigned cluster_cnf_node_of_host(const ClusterCnf *c, const char *host); /* 0: none */
bool cluster_cnf_is_etcd(const ClusterCnf *c, unsigned node);

/* Of the generated part: 1 it is there for just the nodes above it, 0 there is none, -ESTALE for others. */
int cluster_cnf_generated_check(const ClusterCnf *c) _must_check_;

/* ---- cluster-cnf-edit.c ---- */

typedef struct CnfAddition {
        char *const *hosts;   /* none: only the generated part is dropped */
        char *const *roles;   /* "QUERY=true"; of the new nodes, besides ETCD=true */
        const char *host_key; /* NULL: as the nodes that are there */
} CnfAddition;

/* "QUERY" (true) or "QUERY=false" as it is written; -EINVAL with what is wrong. ETCD=false is refused. */
int cluster_cnf_role(const char *text, char **ret, char **reterr) _must_check_;

/* Drops the generated part, and makes each host an etcd node: DH_NODE_n_… with the next n, or ROLE_ETCD=true for one
 * that is there in other roles. Refused (-EINVAL, nothing changed) where the file has errors, or a host is an etcd node
 * in it already. The lines' states tell what was changed; parse the new text to read on. */
int cluster_cnf_add(ClusterCnf *c, const CnfAddition *a, char **reterr) _must_check_;

/* The whole as it is now. NULL on OOM. */
char *cluster_cnf_text(const ClusterCnf *c, size_t *ret_size);

/* What was changed, as a unified diff with three lines of context; "" where nothing was. NULL on OOM. */
char *cluster_cnf_diff(const ClusterCnf *c, const char *path);

/* cluster-cnf.c, for the edit: inserts a line (stolen, freed on failure too) before index `at`. */
int cluster_cnf_insert(ClusterCnf *c, size_t at, char *text) _must_check_;
