/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "plan.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "dhetcdd/host-record.h"
#include "hooks.h"
#include "promise.h"
#include "store.h"
#include "txn/snapshot.h"
#include "txn/txn.h"
#include "world.h"

#define CHANGES 1U
#define FIRST "first" /* the snapshot that the undo of all is proved against */

/* The present scenario begins behind the point of no return. */
static bool forward_only;

/* What one process does with the transaction. */
static struct {
        const char *fails;  /* the step whose proof fails, or NULL */
        const char *before; /* the process dies before (after) this step's change, or NULL */
        const char *after;
} orders;

/* ---- what the steps are made of: each tells what it was promised ---- */

static int write_to(const char *path, const char *text, mode_t mode, uid_t uid, gid_t gid) {
        Content c = content(text);
        int r;

        promise_begin(path);
        r = write_file_durable(in(path), c.data, c.size, mode, uid, gid);
        if (r >= 0)
                promise_path(path);
        return r;
}

static int replace(const char *path, const char *text) {
        int r;

        promise_begin(path);
        r = replace_file_durable(in(path), text, strlen(text));
        if (r >= 0)
                promise_path(path);
        return r;
}

static int move(const char *from, const char *to) {
        int r;

        promise_begin(from);
        promise_begin(to);
        r = rename_durable(in(from), in(to));
        if (r >= 0) {
                promise_path(from);
                promise_path(to);
        }
        return r;
}

static int forget(const char *path) {
        int r;

        promise_begin(path);
        r = unlink_durable(in(path));
        if (r >= 0)
                promise_path(path);
        return r;
}

static int make_folder(const char *path) {
        int r;

        promise_begin(path);
        r = mkdir_durable(in(path), 0700);
        if (r >= 0)
                promise_path(path);
        return r;
}

static int take(const char *name, char ret_digest[static DIGEST_HEX_SIZE], char **reterr) {
        int r = snapshot_take(in("store"), name, world_roots(), NULL, ret_digest, reterr);

        if (r >= 0)
                promise_snapshot(name, ret_digest);
        return r;
}

static int restore(const char *name, char **reterr) {
        static const char *const roots[] = { "world/etc", "world/later", "world/way", "world/lone" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(roots); i++)
                promise_begin(roots[i]);
        r = snapshot_restore(in("store"), name, reterr);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(roots); i++)
                promise_path(roots[i]);
        return r == -ENOENT ? 0 : r; /* the worker died before it was taken, and so before any change */
}

/* As a vendor's script writes: nothing of it is synced. */
static int scribble(const char *path, const char *text) {
        _cleanup_close_ int fd = open(in(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

        return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

/* As a host does what it is asked: an intent in its record, the work, and the answer. */
static int recorded(const char *step, const char *operation, int (*work)(const char *step, char **reterr),
                    char **reterr) {
        const HostKey key = { step, operation, NULL, "arguments" };
        _cleanup_(host_record_freep) HostRecord *record = NULL;
        _cleanup_json_ json_t *answer = NULL;
        int r, k;

        r = host_record_open(in("record"), &record, reterr);
        if (r < 0)
                return r;
        if (host_record_find(record, &key, NULL) == HOST_RECORD_DONE)
                return 0;
        r = host_record_intent(record, &key, NULL, reterr);
        if (r < 0)
                return r;
        promise_log("record");

        k = work(step, reterr);
        answer = json_pack("[b]", k > 0);
        if (!answer)
                return -ENOMEM;
        r = k < 0 ? host_record_failed(record, &key, "failed", NULL) : host_record_done(record, &key, answer, reterr);
        if (r >= 0)
                promise_log("record");
        return k < 0 ? k : r;
}

static int die_or_fail(const char *step, char **reterr) {
        if (streq(orders.after, step))
                raise(SIGKILL);
        return streq(orders.fails, step) ? fail(reterr, -EREMOTEIO, "%s is told to fail", step) : 0;
}

/* ---- the steps ---- */

static int look(void *world, char **reterr) {
        return path_exists(in("world/lone")) == 1 ? 1 : fail(reterr, -ENOENT, "there is no world");
}

static int lock_apply(void *world, char **reterr) {
        char digest[DIGEST_HEX_SIZE];
        int r;

        r = write_to("world/lock", "held\n", 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? r : take(FIRST, digest, reterr);
}

/* As a host does that is released: what is not needed goes, and nobody waits for it. */
static int release(void) {
        int r = forget("world/lock");

        if (r >= 0)
                (void) (snapshot_prune(in("store"), NULL) < 0);
        return r;
}

/* The last word of the undo: all is as it was, and only then the lock goes. */
static int lock_undo(void *world, char **reterr) {
        _cleanup_strv_ char **differences = NULL;
        int r;

        r = snapshot_compare(in("store"), FIRST, &differences, reterr);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r > 0)
                return fail(reterr, -EUCLEAN, "not as it was: %s", differences[0]);
        return release();
}

static int config_work(const char *step, char **reterr) {
        int r = replace("world/etc/config", CONFIG_EDITED);

        return r < 0 ? r : write_to("world/etc/fresh", "fresh\n", 0600, 12, 34);
}

static int config_apply(void *world, char **reterr) {
        return recorded("config", "EditConfig", config_work, reterr);
}

static int clients_work(const char *step, char **reterr) {
        static const struct {
                const char *path, *text;
                mode_t mode;
                uid_t uid;
                gid_t gid;
        } files[] = {
                { "world/etc/clients.new/a.pem", "@7000", 0600, 12, 34 },
                { "world/etc/clients.new/c.pem", "new c\n", 0640, 0, 0 },
                { "world/etc/clients.new/sub/d.pem", "new d\n", 0600, 0, 0 },
        };
        int r;

        r = make_folder("world/etc/clients.new/sub");
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(files); i++)
                r = write_to(files[i].path, files[i].text, files[i].mode, files[i].uid, files[i].gid);
        if (r < 0)
                return r;

        promise_begin("world/etc/clients");
        r = exchange_durable(in("world/etc/clients.new"), in("world/etc/clients"));
        if (r < 0)
                return r;
        promise_path("world/etc/clients");
        r = remove_tree(in("world/etc/clients.new"));
        if (r >= 0)
                promise_path("world/etc/clients.new");
        return r;
}

static int clients_apply(void *world, char **reterr) {
        return recorded("clients", "Unpack", clients_work, reterr);
}

/* What a script wrote is on disk before its end is told. */
static int sync_world(void) {
        _cleanup_close_ int fd = open(in("world"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || syncfs(fd) < 0 ? -errno : 0;
}

static int script_work(const char *step, char **reterr) {
        static const char *const changed[] = { "world/etc/keys", "world/etc/settings", "world/etc/settings.new",
                                               "world/etc/stale" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(changed); i++)
                promise_begin(changed[i]);
        if (mkdir(in("world/etc/keys"), 0750) < 0 && errno != EEXIST)
                return -errno;
        r = scribble("world/etc/keys/root.key", "a key\n");
        if (r >= 0)
                r = scribble("world/etc/settings.new", "new settings\n");
        if (r < 0)
                return r;
        if (rename(in("world/etc/settings.new"), in("world/etc/settings")) < 0 ||
            (unlink(in("world/etc/stale")) < 0 && errno != ENOENT))
                return -errno;

        r = sync_world();
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(changed); i++)
                promise_path(changed[i]);
        return r;
}

static int script_apply(void *world, char **reterr) {
        return recorded("script", "RunScript", script_work, reterr);
}

static int links_apply(void *world, char **reterr) {
        int r;

        if (symlink("etc/fresh", in("world/way.new")) < 0 && errno != EEXIST)
                return -errno;
        r = move("world/way.new", "world/way");
        if (r >= 0)
                r = forget("world/etc/obsolete");
        return r < 0 ? r : move("world/etc/data", "world/etc/data.aside");
}

static int links_prove(void *world, char **reterr) {
        return die_or_fail("links", reterr);
}

static int config_undo(void *world, char **reterr) {
        return recorded("config", "Restore", restore, reterr);
}

static int clients_undo(void *world, char **reterr) {
        return recorded("clients", "Restore", restore, reterr);
}

static int script_undo(void *world, char **reterr) {
        return recorded("script", "Restore", restore, reterr);
}

static int links_undo(void *world, char **reterr) {
        int r = forget("world/way.new"); /* lies outside the roots */

        return r < 0 ? r : restore("links", reterr);
}

static int promote_apply(void *world, char **reterr) {
        int r;

        if (streq(orders.before, "promote"))
                raise(SIGKILL);
        r = write_to("world/promoted", "a voter\n", 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? r : die_or_fail("promote", reterr);
}

static int promote_happened(void *world, char **reterr) {
        return path_exists(in("world/promoted"));
}

/* Whoever has a vote keeps it: it would be taken back only by who did not look. */
static int promote_undo(void *world, char **reterr) {
        return promote_happened(world, reterr) == 0 ? forget("world/promoted")
                                                    : fail(reterr, -EBUSY, "what has happened is not undone");
}

static int finish_work(const char *step, char **reterr) {
        int r = replace("world/etc/config", CONFIG_NEW);

        return r < 0 ? r : write_to("world/later", "made later\n", 0644, (uid_t) -1, (gid_t) -1);
}

static int finish_apply(void *world, char **reterr) {
        return recorded("finish", "EditConfig", finish_work, reterr);
}

static int unlock_apply(void *world, char **reterr) {
        return release();
}

static const Step all[] = {
        { .name = "look", .title = "Looking", .rejects = true, .check = look },
        { .name = "lock", .title = "Locking", .undo_last = true, .apply = lock_apply, .undo = lock_undo },
        { .name = "config", .title = "Editing", .changes = CHANGES, .apply = config_apply, .undo = config_undo },
        { .name = "clients", .title = "Unpacking", .changes = CHANGES, .apply = clients_apply, .undo = clients_undo },
        { .name = "script", .title = "Running", .changes = CHANGES, .apply = script_apply, .undo = script_undo },
        { .name = "links",
          .title = "Moving",
          .changes = CHANGES,
          .apply = links_apply,
          .prove = links_prove,
          .undo = links_undo },
        { .name = "promote",
          .title = "Promoting",
          .point_of_no_return = true,
          .apply = promote_apply,
          .undo = promote_undo,
          .happened = promote_happened },
        { .name = "finish", .title = "Finishing", .changes = CHANGES, .apply = finish_apply },
        { .name = "unlock", .title = "Unlocking", .apply = unlock_apply },
};
static const Step *const steps[] = { all, all + 1, all + 2, all + 3, all + 4, all + 5, all + 6, all + 7, all + 8 };

/* ---- the transaction ---- */

static int ops_snapshot(void *world, const Step *step, json_t *digests, char **reterr) {
        char digest[DIGEST_HEX_SIZE];
        int r;

        promise_log("txn"); /* the intent */
        r = take(step->name, digest, reterr);
        if (r < 0)
                return r;
        return json_object_set_new(digests, "here", json_string(digest)) < 0 ? -ENOMEM : 0;
}

static void ops_no_cancel(void *world) {
        promise_log("txn");
}

static void ops_report(void *world, const TxnReport *report) {
        promise_log("txn");
        if (report->phase == TXN_PHASE_END)
                promise_end(report->state);
}

static void ops_pause(void *world, uint64_t usec) {
}

static const TxnOps ops = {
        .snapshot = ops_snapshot,
        .no_cancel = ops_no_cancel,
        .report = ops_report,
        .pause = ops_pause,
};

static int drive(bool settle, uint64_t settle_usec, char **reterr) {
        _cleanup_(txn_freep) Txn *t = NULL;
        int r;

        r = mkdir_durable(in("txn"), 0700);
        if (r >= 0)
                r = txn_new(in("txn"), steps, ELEMENTSOF(steps), &ops, &(TxnLimits){ .settle_usec = settle_usec }, NULL,
                            &t, reterr);
        if (r < 0)
                return r;
        return settle ? txn_settle(t, reterr) : txn_run(t, reterr);
}

int plan_settle(uint64_t settle_usec, char **reterr) {
        orders.before = orders.after = orders.fails = NULL;
        return drive(true, settle_usec, reterr);
}

const char *scenario_to_string(Scenario s) {
        static const char *const names[_SCENARIO_MAX] = { "commit", "rollback", "settle-back", "settle-forward" };

        return names[s];
}

Scenario scenario_from_string(const char *name) {
        Scenario s = 0;

        while (s < _SCENARIO_MAX && !streq(scenario_to_string(s), name))
                s++;
        return s;
}

int scenario_prepare(Scenario s) {
        int status, r = world_prepare();
        pid_t pid;

        forward_only = s == SCENARIO_SETTLE_FORWARD;
        if (r < 0 || s < SCENARIO_SETTLE_BACK)
                return r;
        pid = fork();
        if (pid == 0) {
                *(s == SCENARIO_SETTLE_BACK ? &orders.before : &orders.after) = "promote";
                (void) (drive(false, 0, NULL) < 0);
                _exit(1);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return -errno;
        return WIFSIGNALED(status) ? 0 : -ENOTRECOVERABLE;
}

int scenario_run(Scenario s, uint64_t settle_usec) {
        if (s >= SCENARIO_SETTLE_BACK)
                return plan_settle(settle_usec, NULL);
        orders.fails = s == SCENARIO_ROLLBACK ? "links" : NULL;
        return drive(false, settle_usec, NULL);
}

/* ---- the oracle ---- */

bool plan_must_commit(void) {
        return forward_only || path_exists(in("world/promoted")) == 1;
}

static int fingerprint(char ret[static 3 * DIGEST_HEX_SIZE]) {
        static const char *const logs[] = { "txn/log.jsonl", "record/log.jsonl" };
        char path[PATH_MAX], *roots[] = { path, NULL };
        int r;

        (void) snprintf(path, sizeof(path), "%s", in("world"));
        r = snapshot_digest_now(roots, ret, NULL);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(logs); i++) {
                char *digest = ret + (i + 1) * DIGEST_HEX_SIZE;

                (void) memset(digest, 0, DIGEST_HEX_SIZE);
                r = digest_file(in(logs[i]), digest);
                r = r == -ENOENT ? 0 : r;
        }
        return r;
}

static bool only_log_in(const char *folder) {
        _cleanup_(closedirp) DIR *dir = opendir(in(folder));
        struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' && !streq(entry->d_name, "log.jsonl"))
                        return complain("%s/%s is left over", folder, entry->d_name);
        return true;
}

int plan_check(bool must_commit) {
        char before[3 * DIGEST_HEX_SIZE], after[3 * DIGEST_HEX_SIZE];
        _cleanup_json_ json_t *records = NULL;
        _cleanup_free_ char *why = NULL;
        TxnState state;
        bool torn, is_new;
        int r;

        r = txn_log_read(in("txn"), &records, &torn, &why);
        if (r < 0)
                return complain("%s", error_text(why, r)) ? 0 : r;
        state = txn_state_of(records);
        if (torn || (state != TXN_COMMITTED && state != TXN_ROLLED_BACK && state != TXN_REJECTED))
                return complain("the log ends %s, %s: %s", torn ? "torn" : "well", txn_state_to_string(state),
                                txn_reason_of(records)),
                       -EUCLEAN;
        is_new = state == TXN_COMMITTED;
        if (must_commit && !is_new)
                return complain("what is not undone had happened, and the log says %s", txn_state_to_string(state)),
                       -EUCLEAN;
        if (!world_is(is_new) || !store_is_clean(in("store")) || !only_log_in("txn") || !only_log_in("record"))
                return complain("and the log says %s", txn_state_to_string(state)), -EUCLEAN;

        r = fingerprint(before);
        if (r >= 0)
                r = plan_settle(0, NULL);
        if (r >= 0 && r != (int) state)
                return complain("settled again it is %s", txn_state_to_string((TxnState) r)), -EUCLEAN;
        if (r >= 0)
                r = fingerprint(after);
        if (r < 0)
                return complain("cannot be checked: %s", strerror(-r)), r;
        if (memcmp(before, after, sizeof(before)) != 0)
                return complain("settling again changed something"), -EUCLEAN;
        return is_new ? TXN_COMMITTED : TXN_ROLLED_BACK;
}

int plan_settle_and_check(void) {
        _cleanup_free_ char *why = NULL;
        bool must_commit = plan_must_commit();
        int r;

        if (!world_config_is_whole())
                return -EUCLEAN;
        r = plan_settle(0, &why);
        if (r < 0)
                return complain("cannot be settled: %s", error_text(why, r)) ? 0 : r;
        return plan_check(must_commit);
}
