/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several steps ask of the etcd cluster. All errors say endpoint or host. */

#include "addition.h"

/* Whether etcd may answer in a moment what it does not now: no leader, no connection, no answer in time. */
bool cluster_may_pass(int error);
/* Asks until it is answered, or the cause is none that may pass, or for 15 s, as calls to hosts wait for one that is
 * away for a moment. 0 or more, or the last error. */
int cluster_persist(Addition *a, int (*ask)(Addition *a, void *userdata, char **reterr), void *userdata,
                    char **reterr) _must_check_;

/* The voter that leads, as all voters that answer say. -EHOSTDOWN where none does, or they disagree. */
int cluster_leader(Addition *a, Host **ret, char **reterr) _must_check_;

/* The linearizable member list, from any voter that answers. It has everything that was asked before: a change whose
 * answer was lost may still be in the leader's log, uncommitted, and a read alone does not wait for it; so one more
 * entry, as with cluster_mark(), comes after it first. */
int cluster_members(Addition *a, EtcdMembers **ret, char **reterr) _must_check_;

/* A change of members, asked of one voter. */
typedef int (*ClusterCall)(Addition *a, const Host *voter, void *userdata, char **reterr);

/* The call to the leader and, where it refuses it as "unhealthy cluster" (-EHOSTDOWN), to each other voter that is not
 * the new node; the leader's error where all refuse. A voter checks its own connections only, and etcd 3.5 may take a
 * connected peer for lost until it is restarted: a dial that times out after the streams are up again says so last
 * (server/etcdserver/api/rafthttp/pipeline.go), and nothing takes it back. */
int cluster_change(Addition *a, ClusterCall call, void *userdata, char **reterr) _must_check_;

/* Whether a member is in quorum now: answers, knows a leader, and has applied what the leader had committed before it
 * was asked, but for the margin. 1 yes; 0 no, with why in *reterr; -ECANCELED. */
int cluster_caught_up(Addition *a, const Host *h, uint64_t margin, uint64_t *ret_index, uint64_t *ret_leader_index,
                      char **reterr) _must_check_;
/* Makes the leader write one more raft entry, which changes nothing, and gives an index at or after it: whoever has
 * applied that is not merely near, but connected now. (etcd passes each Alarm request through raft, GET too:
 * server/etcdserver/v3_server.go.) */
int cluster_mark(Addition *a, uint64_t *ret_index, char **reterr) _must_check_;

/* Waits until it is caught up. -ETIMEDOUT with the last reason. */
int cluster_wait_caught_up(Addition *a, const Host *h, uint64_t timeout, char **reterr) _must_check_;

/* A write at this member that the quorum acknowledges, read back and deleted again. */
int cluster_prove_write(Addition *a, const Host *h, char **reterr) _must_check_;
/* What is left of it where a worker died in between, or an answer was lost. */
int cluster_forget_probe(Addition *a, const Host *h, char **reterr) _must_check_;

/* Compares the member list with the plan: every member of it a voter, started, with its peer URL; `with_new`: the new
 * node too, and no other. */
int cluster_check_members(Addition *a, const EtcdMembers *m, bool with_new, char **reterr) _must_check_;

/* Restarts those of the members for which `wanted` says so, one at a time, the leader last and, where there are other
 * voters, only after it has handed over; each is in quorum again before the next. `step` names the calls. */
int cluster_rolling_restart(Addition *a, const char *step, bool (*wanted)(Addition *a, const Host *h),
                            char **reterr) _must_check_;

/* MoveLeader to another voter that is in quorum; nothing where there is none. */
int cluster_hand_over(Addition *a, Host *leader, char **reterr) _must_check_;

/* RestartUnit on one host, and proof that it is in quorum again. */
int cluster_restart_member(Addition *a, const char *step, Host *h, char **reterr) _must_check_;
