/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "addition.h"

/* What the worker trusts from now on: what this host's etcd trusts (of its facts), what lies beside the root client,
 * and what the configuration names. */
int preflight_seed_trust(Addition *a, const json_t *facts, char **reterr) _must_check_;

/* Everything of it but that the plan is written down: a->hosts, which must be empty, and a->cluster_id are set. */
int preflight_look(Addition *a, char **reterr) _must_check_;

/* preflight-wait.c: another job may be about to change the cluster, and what is planned now would not be true then.
 * Waits for the end of the one that holds this host, of whose facts the newest are in *facts then; and, where there is
 * a learner, of the one that holds a voter: it may be that one's. -EBUSY where nobody wants to wait, or too long. */
int preflight_wait_for_host(Addition *a, HostClient *own, json_t **facts, char **reterr) _must_check_;
int preflight_wait_for_learner(Addition *a, EtcdMembers **members, char **reterr) _must_check_;

/* The linearizable member list, of one entry at least, from the first of this host's endpoints that answers. Caller
 * frees. */
int preflight_members(Addition *a, EtcdMembers **ret, char **reterr) _must_check_;

/* The client URLs that this host's root client has, one at least. */
int preflight_endpoints(char ***ret, char **reterr) _must_check_;

/* The hosts of the plan, by node number. config_generator.sh names nodes by their order, so numbers have no gaps; where
 * a lost member has left one, the job's nodes take those numbers first. */
int preflight_plan_hosts(Addition *a, const EtcdMembers *members, char **reterr) _must_check_;

/* Everything that one host can be asked before anything is changed. Each failure names the host, the cause and the
 * command that mends it. */

/* Any host. */
int preflight_host(const char *address, const json_t *facts, char **reterr) _must_check_;
/* A voter: its config.yaml agrees with the member list. */
int preflight_member(const Addition *a, const Host *h, const json_t *facts, char **reterr) _must_check_;
/* A node to be added, this transaction's or a later one's: nothing of etcd is in use there. db_size in bytes. */
int preflight_new(const Addition *a, const char *address, const json_t *facts, uint64_t db_size,
                  char **reterr) _must_check_;
/* The two clocks, at most a minute apart; `local` and `remote` are facts. */
int preflight_clock(const char *address, const json_t *local, const json_t *remote, char **reterr) _must_check_;
/* Whether the host reaches all that it must be able to. */
int preflight_connect(const Addition *a, const Host *h, char **reterr) _must_check_;
