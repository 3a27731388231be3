/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A host as the worker sees it: one connection to the dhetcdd there (the local system bus, or one ssh connection that
 * carries D-Bus: systemd-stdio-bridge), and the methods of org.dhetcd1.Host as typed calls.
 *
 * Every mutating method takes (txn, step) and is idempotent by them: the host remembers durably what it did and what
 * it answered, and a repeated call gives the same answer. So where the connection is lost, a call is repeated on a new
 * one; for 15 s it is tried to make that, the last try to its own end. A txn is "JOB-N": 8 hexadecimal digits, '-',
 * the addition's number in the job from 1.
 *
 * Every call has a deadline in microseconds and ends early with -ECANCELED when the cancel descriptor becomes readable.
 * Failures: negative errno and *reterr beginning with the host's address. -EBUSY for DHETCD_ERROR_BUSY, -EINVAL for
 * DHETCD_ERROR_REJECTED, -EREMOTEIO for DHETCD_ERROR_FAILED, -EACCES for denied, by ssh or there, -ENOPKG where no
 * dhetcdd is there, -ESTALE for DHETCD_ERROR_TAKEN_OVER, -EHOSTUNREACH where ssh could not reach it (text: ssh's own
 * last line), -ETIMEDOUT. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/digest.h"
#include "basic/json-util.h"

typedef struct SshOptions {
        const char *user;          /* default "root" */
        const char *identity_file; /* NULL: ssh's own default */
        const char *known_hosts;   /* besides /etc/ssh/ssh_known_hosts; NULL: that alone */
        unsigned port;             /* 0: 22 */
        unsigned connect_timeout;  /* seconds; 0: 10 */
} SshOptions;

typedef struct HostClient HostClient;

/* Does not connect yet: the first call does. `local`: the system bus of this machine. cancel_fd may be -1; borrowed. */
int host_client_new(const char *address, bool local, const SshOptions *ssh, int cancel_fd,
                    HostClient **ret) _must_check_;
HostClient *host_client_free(HostClient *h); /* closes; ends the ssh process and waits for it */
DEFINE_CLEANUP(HostClient *, host_client_free)
const char *host_client_address(const HostClient *h);
void host_client_disconnect(HostClient *h);
void host_client_set_cancel(HostClient *h, int cancel_fd); /* -1: from now on nothing cancels (undo) */
/* Who works on the transactions of the calls: where another does, they fail with -ESTALE. */
int host_client_set_holder(HostClient *h, const char *holder) _must_check_;

/* Describe() → s: the host's facts as JSON, nothing changed, no secrets:
 * { "version", "hostname", "machine_id", "boot_id", "time_usec": int, "addresses": [s],
 *   "vendor_scripts": { "config_generator.sh": bool, "config_packager.sh": bool,
 *                       "enable_dh_etcd_systemd.sh": bool, "dh_users": bool },
 *   "cluster_id": s|null (basename of the link latest), "latest": s|null (the link's text),
 *   "config": null | { "name", "data_dir", "initial_cluster", "initial_cluster_state", "initial_cluster_token",
 *               "listen_peer_urls", "listen_client_urls", "initial_advertise_peer_urls", "advertise_client_urls",
 *               "strict_reconfig_check": bool, "force_new_cluster": bool,
 *               "client": { "cert_file", "key_file", "trusted_ca_file", "client_cert_auth": bool }, "peer": { same } },
 *   "config_digest": s|null (of config.yaml with the values of the three keys blanked),
 *   "config_error": s|null, "config_mode": int,
 *   "authorities": s (PEM of all CA certificates that its config.yaml trusts, peer's and client's),
 *   "certificates": [ { "file": s, "not_before_usec": int, "not_after_usec": int } ],
 *   "data_directory": { "path": s|null, "state": "absent"|"empty"|"in-use", "uid": int, "gid": int,
 *                       "used_bytes": int, "free_bytes": int },
 *   "data_directories": { NAME: "empty"|"in-use" } (all of /var/lib/etcd/dh),
 *   "state_free_bytes": int,
 *   "unit": { "load_state", "active_state", "sub_state", "unit_file_state", "result", "invocation_id",
 *             "n_restarts": int, "main_pid": int, "job": bool (one is queued, or under way) },
 *   "package_digest": s|null, "listening": [int] (of 2379 and 2380, those something listens on),
 *   "lock": null | { "job", "txn", "holder", "since_usec" } } */
int host_describe(HostClient *h, uint64_t timeout, json_t **ret, char **reterr) _must_check_;

/* Examine() → s: the same, and what only a doctor asks for:
 * { "journal": [s] (the newest lines of dh-etcd, of a day at most), "etcd_uid": int|null,
 *   "open_jobs": [ { "job", "state", "text" } ] (of this host, those that have not ended for good),
 *   "data_owners": [ { "path": s (below the data directory, "" itself), "uid", "gid" } ] (one of each owner),
 *   "data_parent": null | { "uid", "gid" }, "root_client_lacks": [s] (of endpoints, user, password),
 *   "authority_files": [ { "file": s, "not_before_usec": int, "not_after_usec": int } ] } */
int host_examine(HostClient *h, uint64_t timeout, json_t **ret, char **reterr) _must_check_;

/* AdminUser() → (suu): DH_ADMIN_USER as dh_users sets it (sourced in a transient unit), with its uid and gid. */
int host_admin_user(HostClient *h, uint64_t timeout, char **ret_user, uint32_t *ret_uid, uint32_t *ret_gid,
                    char **reterr) _must_check_;

/* Lock(s txn, s holder), Unlock(s txn): one durable lock a host, held by a job (any transaction of the same job may
 * take it again). holder: the address of the job's host. -EBUSY: the text names job and holder. */
int host_lock(HostClient *h, const char *txn, const char *holder, uint64_t timeout, char **reterr) _must_check_;
int host_unlock(HostClient *h, const char *txn, uint64_t timeout, char **reterr) _must_check_;

/* KeepPlan(s txn, s plan): host/TXN/plan.json, from which another host can take the job over:
 * { "format": 1, "txn", "holder": s, "job": { "nodes", "options", "uid", "queued_usec" }, "plan": {…},
 *   "authorities": s (PEM) }
 * Recall(s txn) → s: what this host knows of a transaction:
 * { "known": bool (it has the plan), "job": bool (it is the job's own host), "holder": s|null (while the job holds it),
 *   "outcome": "committed"|"rolled-back"|null (ended by a takeover), "by": s|null, "snapshots": [step],
 *   "intents": ["STEP OPERATION VERB"] } */
int host_keep_plan(HostClient *h, const char *txn, const char *plan, uint64_t timeout, char **reterr) _must_check_;
int host_recall(HostClient *h, const char *txn, uint64_t timeout, json_t **ret, char **reterr) _must_check_;

/* TakeLock(s txn, s from, s holder): what `from` holds, or nobody, is from now on `holder`'s, and no other's calls are
 * heeded.
 * Close(s txn, s outcome): the end of a transaction that was taken over, and of its lock: nobody else can change
 * anything for it any more. */
int host_take_lock(HostClient *h, const char *txn, const char *from, const char *holder, uint64_t timeout,
                   char **reterr) _must_check_;
int host_close(HostClient *h, const char *txn, const char *outcome, uint64_t timeout, char **reterr) _must_check_;

/* Snapshot(s txn, s step) → s digest: of /etc/etcd/dh, /etc/sysconfig/deephaven/etcd, the dh-etcd unit's files under
 * /etc/systemd/system (dh-etcd.service, dh-etcd.service.d, its wants/ link), with a note of the unit's state (active,
 * enabled) and of the data directory and its parent (presence, owner, mode). Named TXN.STEP in the store. The first for
 * (txn, step) counts; later calls return its digest. */
int host_snapshot(HostClient *h, const char *txn, const char *step, uint64_t timeout,
                  char ret_digest[static DIGEST_HEX_SIZE], char **reterr) _must_check_;

/* Restore(s txn, s step) → b changed: the files of that snapshot, then daemon-reload when unit files changed; owner and
 * mode of the data directory and of its parent, which are removed where they were not there and are empty. Units, and
 * what is in the data directory, are not touched. Where there is no such snapshot: nothing was changed since, so false.
 * Scripts of the transaction that still run are stopped first. From then on RunScript, EditConfig, TrustAuthorities,
 * Deliver and PrepareDataDirectory of that step are refused. */
int host_restore(HostClient *h, const char *txn, const char *step, uint64_t timeout, char **reterr) _must_check_;

/* TryConnect(as urls) → as results: for each https://ADDRESS:PORT "connected", "refused" (its kernel says that nobody
 * listens), or why it cannot be reached; within 5 s. The caller frees *ret, which has as many. */
int host_try_connect(HostClient *h, char *const *urls, uint64_t timeout, char ***ret, char **reterr) _must_check_;

/* Compare(s txn, s step) → as: what differs now: files, unit active and enabled state, presence ("absent",
 * "empty", "in-use"), owner and mode of the data directory and of its parent. *ret NULL when all is as it was. */
int host_compare(HostClient *h, const char *txn, const char *step, uint64_t timeout, char ***ret,
                 char **reterr) _must_check_;

/* Deliver(s txn, s step, ay package, s digest): kept as host/TXN/package/dh_etcd_config.tgz, 0600; verified against the
 * digest. */
int host_deliver(HostClient *h, const char *txn, const char *step, const void *data, size_t size, const char *digest,
                 uint64_t timeout, char **reterr) _must_check_;

/* RunScript(s txn, s step, s script, as arguments, t timeout) → (s result, i status, as output): a vendor script as the
 * transient unit dhetcd-exec-TXN-STEP-SCRIPT.service (oneshot, slice dhetcd.slice, job's fields on every line in that
 * host's journal, TimeoutStartSec = timeout, DH_ADMIN_USER set, working directory the delivered package's where it
 * needs it). Scripts and their arguments:
 *   generate           ADDRESS… as --servers, then "--cluster-id", ID:
 *                            config_generator.sh --self-signed --servers … --cluster-id ID --root-user-dhadmin
 *   unpackage-server   N:    config_packager.sh etcd unpackage-server N     (in the delivered package's folder)
 *   unpackage-client         config_packager.sh etcd unpackage-client       (there too)
 *   enable                   enable_dh_etcd_systemd.sh
 *   copy-data                no script of the vendor's: the data directory that PrepareDataDirectory moved aside in
 *                            this step, copied back
 *   restore-data       JOB N: nor this: the etcd.snapshot of JOB's node N there restored to it, as the data of a
 *                            cluster of this member alone
 * result: "success", or systemd's ("exit-code", "timeout", "signal", …); output: at most the last 500 lines, the first
 * of which says so where that is not all. */
typedef struct ScriptResult {
        char *result;
        int status;
        char **output;
} ScriptResult;
void script_result_done(ScriptResult *s);
int host_run_script(HostClient *h, const char *txn, const char *step, const char *script, char *const *arguments,
                    uint64_t timeout, ScriptResult *ret, char **reterr) _must_check_;

/* CheckUnpacked(s txn) → as: what is not as it must be after unpackage-server and unpackage-client: the clients' files
 * against the package that was delivered, and what etcd itself could not read. *ret NULL when all is right. */
int host_check_unpacked(HostClient *h, const char *txn, uint64_t timeout, char ***ret, char **reterr) _must_check_;

/* ScriptOutput(s txn, s step, s script) → as output: the same lines once more, for whoever did not get that answer.
 * None where the script was never begun. */
int host_script_output(HostClient *h, const char *txn, const char *step, const char *script, uint64_t timeout,
                       char ***ret, char **reterr) _must_check_;

/* EditConfig(s txn, s step, a{ss}) → b changed: the three keys of config.yaml; all other bytes stay. NULL value: key
 * left alone. A fourth key, force-new-cluster, is "true" or "false": its line is added, and taken away again. */
int host_edit_config(HostClient *h, const char *txn, const char *step, const char *initial_cluster,
                     const char *initial_cluster_state, uint64_t timeout, char **reterr) _must_check_;

int host_force_new_cluster(HostClient *h, const char *txn, const char *step, bool force, uint64_t timeout,
                           char **reterr) _must_check_;

/* TrustAuthorities(s txn, s step, s pem) → b changed: the CA certificates are appended to every trusted-ca-file of
 * config.yaml. */
int host_trust_authorities(HostClient *h, const char *txn, const char *step, const char *pem, uint64_t timeout,
                           char **reterr) _must_check_;

/* PrepareDataDirectory(s txn, s step, b move_aside) → b moved: the data directory of config.yaml is absent or empty,
 * else it is moved aside where that is allowed, else -EREMOTEIO. Owner and mode of it and of /var/lib/etcd/dh are set
 * right (etcd:DH_ADMIN_USER).
 * RestoreDataDirectory(s txn, s step): undoes it; what etcd wrote meanwhile is moved aside, never deleted. */
int host_prepare_data_directory(HostClient *h, const char *txn, const char *step, bool move_aside, uint64_t timeout,
                                char **reterr) _must_check_;
int host_restore_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout,
                                char **reterr) _must_check_;

/* OwnDataDirectory(s txn, s step): the data directory of config.yaml, /var/lib/etcd/dh and what is in them become
 * etcd's (the directories also the group's of DH_ADMIN_USER), though they are in use. -EREMOTEIO, with nothing changed,
 * where something of another owner in it is no plain file with one name.
 * DisownDataDirectory(s txn, s step): undoes it. */
int host_own_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout,
                            char **reterr) _must_check_;
int host_disown_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout,
                               char **reterr) _must_check_;

/* ManageUnit(s txn, s step, s verb, t timeout) → s result: dh-etcd.service through systemd's own bus interface, its job
 * waited for. Verbs: start, stop, restart (reset-failed first), enable, disable. A verb is done again when the same
 * (txn, step, verb) comes again unless the record says it was done, and nothing was restored in this transaction since.
 * result "done", or systemd's ("failed", "timeout", "canceled", …); an unknown one is an error.
 * Not done → -EREMOTEIO with the unit's last journal lines in the text. */
int host_manage_unit(HostClient *h, const char *txn, const char *step, const char *verb, uint64_t timeout,
                     char **reterr) _must_check_;

/* Forget(s txn): the transaction has ended: its snapshots, records and delivered package go. */
int host_forget(HostClient *h, const char *txn, uint64_t timeout, char **reterr) _must_check_;
