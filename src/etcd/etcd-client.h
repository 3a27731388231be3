/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client of etcd's gRPC API: typed calls, each to one endpoint, each with a deadline. One HTTP/2 connection an
 * endpoint, kept and reused. Not thread-safe; blocking, but for a cancel descriptor that ends any call at once with
 * -ECANCELED.
 *
 * Errors: a negative errno and *reterr with endpoint, call, and what etcd said:
 *   -ETIMEDOUT      deadline passed, or DeadlineExceeded, or etcd's "request timed out"
 *   -ECONNREFUSED, -EHOSTUNREACH, -ECONNRESET …   no connection
 *   -EKEYREJECTED   the peer's certificate is not trusted, or ours is refused
 *   -EACCES         user or password wrong (InvalidArgument "authentication failed"), permission denied
 *   -EHOSTDOWN      Unavailable, "unhealthy cluster", no leader: may pass
 *   -EOPNOTSUPP     Unimplemented, or not supported for a learner
 *   -EEXIST         member or peer URL exists;  -ENOENT member not found;  -EBUSY too many learners
 *   -EAGAIN         learner not ready (not in sync with the leader)
 *   -EPROTO         an answer that is not gRPC, malformed, or too large
 *   -EREMOTEIO      any other status */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/cleanup.h"

typedef struct EtcdClient EtcdClient;

typedef struct EtcdOptions {
        const char *user, *password;      /* NULL: no login */
        const char *ca_file;              /* PEM bundle */
        const char *cert_file, *key_file; /* NULL: no client certificate */
        int cancel_fd;                    /* readable = end the call; -1: none */
} EtcdOptions;

int etcd_client_new(const EtcdOptions *options, EtcdClient **ret, char **reterr) _must_check_;
EtcdClient *etcd_client_free(EtcdClient *c); /* passwords and tokens are wiped */
DEFINE_CLEANUP(EtcdClient *, etcd_client_free)

void etcd_client_set_cancel(EtcdClient *c, int cancel_fd); /* -1: from now on nothing cancels (undo) */

/* Forgets connections, so that the next call reads the CA file and certificates anew. */
void etcd_client_reconnect(EtcdClient *c);

/* Endpoints tried for Authenticate when the called endpoint cannot (a learner): NULL-terminated, copied. */
int etcd_client_set_voters(EtcdClient *c, char *const *endpoints) _must_check_;

typedef struct EtcdMember {
        uint64_t id;
        char *name; /* "" while it has not started */
        char **peer_urls, **client_urls;
        bool learner;
} EtcdMember;

typedef struct EtcdMembers {
        uint64_t cluster_id;
        EtcdMember *items;
        size_t n;
} EtcdMembers;

EtcdMembers *etcd_members_free(EtcdMembers *m);
DEFINE_CLEANUP(EtcdMembers *, etcd_members_free)
const EtcdMember *etcd_members_find_peer(const EtcdMembers *m, const char *peer_url); /* NULL where none; borrowed */
const EtcdMember *etcd_members_find_id(const EtcdMembers *m, uint64_t id);

typedef struct EtcdStatus {
        uint64_t cluster_id, member_id, leader; /* leader 0: none known */
        uint64_t raft_term, raft_index, raft_applied_index;
        uint64_t db_size; /* bytes */
        int64_t revision; /* of the data it has applied */
        bool learner;
        char version[32];
        char *errors; /* NULL, or alarms and such, joined by "; " */
} EtcdStatus;
void etcd_status_done(EtcdStatus *s);

typedef struct EtcdHash {
        uint32_t hash;
        int64_t compact_revision, hash_revision, revision;
} EtcdHash;

/* `endpoint` is "https://ADDRESS:PORT"; timeouts are microseconds. Tokens are got, renewed and repeated once by the
 * client itself; Status goes first without a token, then (refused) with one. */
/* Not linearizable: what that one member knows; it is asked without a token first, which only a quorum gives. */
int etcd_member_list(EtcdClient *c, const char *endpoint, bool linearizable, uint64_t timeout, EtcdMembers **ret,
                     char **reterr) _must_check_;
int etcd_member_add_learner(EtcdClient *c, const char *endpoint, const char *peer_url, uint64_t timeout,
                            uint64_t *ret_id, char **reterr) _must_check_;
int etcd_member_promote(EtcdClient *c, const char *endpoint, uint64_t id, uint64_t timeout, char **reterr) _must_check_;
int etcd_member_remove(EtcdClient *c, const char *endpoint, uint64_t id, uint64_t timeout, char **reterr) _must_check_;
int etcd_status(EtcdClient *c, const char *endpoint, uint64_t timeout, EtcdStatus *ret, char **reterr) _must_check_;
int etcd_move_leader(EtcdClient *c, const char *endpoint, uint64_t target, uint64_t timeout,
                     char **reterr) _must_check_;
int etcd_hash_kv(EtcdClient *c, const char *endpoint, int64_t revision, uint64_t timeout, EtcdHash *ret,
                 char **reterr) _must_check_;
/* Active alarms as text ("NOSPACE at 8e9e05c52164694d"), joined by "; "; NULL where none. > 0 where there are any. */
int etcd_alarms(EtcdClient *c, const char *endpoint, uint64_t timeout, char **ret, char **reterr) _must_check_;

/* A write that the quorum acknowledges: Put of `key`, then a linearizable Range of it, which must give `value` back. */
int etcd_put_and_read(EtcdClient *c, const char *endpoint, const char *key, const char *value, uint64_t timeout,
                      char **reterr) _must_check_;
int etcd_delete(EtcdClient *c, const char *endpoint, const char *key, uint64_t timeout, char **reterr) _must_check_;

/* Streams a snapshot to `path` (temporary beside it, fsync, rename, fsync of the parent; mode 0600) in constant memory.
 * The trailing SHA-256 is verified over what was written (-EBADMSG). `timeout` bounds the time without progress.
 * `progress` (may be NULL) is told bytes so far and bytes still to come. */
typedef struct EtcdSnapshot {
        uint64_t bytes;  /* of the file, with the 32 of its hash */
        char sha256[65]; /* of the database part, hexadecimal */
} EtcdSnapshot;
/* A negative errno ends it; what a member sends is not trusted to end by itself. */
typedef int (*EtcdProgress)(uint64_t done, uint64_t remaining, void *userdata);
int etcd_snapshot(EtcdClient *c, const char *endpoint, const char *path, uint64_t timeout, EtcdProgress progress,
                  void *userdata, EtcdSnapshot *ret, char **reterr) _must_check_;

/* Reads "etcd_server_has_leader" from ENDPOINT/metrics, which needs neither token nor quorum: 1, 0, -ENODATA. */
int etcd_has_leader_metric(EtcdClient *c, const char *endpoint, uint64_t timeout, char **reterr) _must_check_;
/* Reads "etcd_server_is_learner" from ENDPOINT/metrics: 1, 0, -ENODATA where it is not there (before 3.4). */
int etcd_is_learner_metric(EtcdClient *c, const char *endpoint, uint64_t timeout, char **reterr) _must_check_;
