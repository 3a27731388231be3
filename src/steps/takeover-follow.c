/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The job's own host, back after another one took the job over, or was about to: it asks the others before it touches
 * anything, its own files included. A takeover fences every host that knows the transaction before it decides, so one
 * of those that says nothing of it is proof enough. */

#include "takeover-follow.h"

#include "basic/error.h"
#include "cluster.h"
#include "steps.h"
#include "takeover.h"

typedef enum Finding {
        NOBODY,    /* took it over */
        UNDER_WAY, /* somebody has it and has not ended it yet */
        ENDED,     /* somebody ended it */
        NOT_KNOWN, /* no host of those that know the transaction answered */
} Finding;

typedef struct Takeover {
        char *by, *outcome, *why;
} Takeover;

static void takeover_done(Takeover *t) {
        free(t->by);
        free(t->outcome);
        free(t->why);
        *t = (Takeover){};
}

static int keep(char **where, const char *text) {
        char *copy = strdup(text);

        if (!copy)
                return -ENOMEM;
        free(*where);
        *where = copy;
        return 0;
}

/* What one host says. */
static int look_at(Addition *a, Host *h, Finding *ret, Takeover *t) {
        _cleanup_free_ char *why = NULL;
        _cleanup_json_ json_t *records = NULL;
        const char *outcome, *holder;
        int r;

        r = host_recall(h->client, a->txn, CALL_TIMEOUT, &records, &why);
        if (r < 0) {
                *ret = NOT_KNOWN;
                return keep(&t->why, error_text(why, r));
        }
        outcome = json_get_string(records, "outcome");
        holder = json_get_string(records, "holder");
        if (outcome) {
                *ret = ENDED;
                r = keep(&t->outcome, outcome);
                return r < 0 ? r : keep(&t->by, json_get_string(records, "by") ?: "another host");
        }
        if (holder && !streq(holder, addition_this_host(a)->address)) {
                *ret = UNDER_WAY;
                return keep(&t->by, holder);
        }
        *ret = NOBODY;
        return json_is_true(json_object_get(records, "known"));
}

static int look(Addition *a, Finding *ret, Takeover *t) {
        bool silent = false, known = false;

        *ret = NOBODY;
        FOREACH_HOST (h, a) {
                Finding found;
                int r;

                if (h->this_host)
                        continue;
                r = look_at(a, h, &found, t);
                if (r < 0)
                        return r;
                if (found == ENDED || found == UNDER_WAY) {
                        *ret = found;
                        if (found == ENDED)
                                return 0;
                }
                silent = silent || found == NOT_KNOWN;
                known = known || (found == NOBODY && r > 0);
        }
        if (*ret == NOBODY && silent && !known)
                *ret = NOT_KNOWN;
        return 0;
}

int takeover_was_lost(Addition *a) {
        _cleanup_(takeover_done) Takeover t = {};
        Finding found = NOBODY;

        return look(a, &found, &t) >= 0 && (found == UNDER_WAY || found == ENDED);
}

/* ---- this host ---- */

/* What makes a restart necessary: a running etcd has read its other settings and the CAs when it was started. */
static int digest_of_settings(Host *own, char ret[static DIGEST_HEX_SIZE], char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = host_describe(own->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        text = format("%s %s", json_get_string(facts, "config_digest") ?: "",
                      json_get_string(facts, "authorities") ?: "");
        return text ? digest_bytes(text, strlen(text), ret) : -ENOMEM;
}

/* How it was before the first try is remembered: the second one finds the files restored. */
static int restore(Addition *a, Host *own, char **reterr) {
        const char *before = json_string_value(txn_recall(a->transaction, "settings-before"));
        char now[DIGEST_HEX_SIZE];
        int r = 0;

        if (!before) {
                r = digest_of_settings(own, now, reterr);
                if (r >= 0)
                        r = txn_remember(a->transaction, "settings-before", json_string(now), reterr);
                before = json_string_value(txn_recall(a->transaction, "settings-before"));
        }
        if (r >= 0)
                r = host_restore(own->client, a->txn, step_lock.name, CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = digest_of_settings(own, now, reterr);
        if (r < 0 || !own->member || streq(before, now))
                return r;
        return cluster_restart_member(a, "follow", own, reterr);
}

static int prove(Addition *a, Host *own, char **reterr) {
        _cleanup_strv_ char **differences = NULL;
        _cleanup_free_ char *list = NULL;
        int r;

        if (!txn_recall(a->transaction, "snapshots-taken"))
                return 0;
        r = host_compare(own->client, a->txn, step_lock.name, CALL_TIMEOUT, &differences, reterr);
        if (r < 0)
                return r;
        list = strv_join(differences, "; ");
        return differences && *differences ? fail(reterr, -EUCLEAN, "%s is not as it was: %s", own->address, list ?: "")
                                           : 0;
}

/* etcd asks nobody whose job it is: what this host asked of it last may have come after the other one had looked. */
static int remove_learner(Addition *a, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        const EtcdMember *found;
        int r;

        if (addition_new_node(a)->member_id == 0)
                return 0;
        r = cluster_members(a, &members, reterr);
        if (r < 0)
                return r;
        found = etcd_members_find_id(members, addition_new_node(a)->member_id);
        return found && found->learner ? step_add_learner.undo(a, reterr) : 0;
}

static int settle_here(Addition *a, const Takeover *t, char **reterr) {
        Host *own = addition_this_host(a);
        int r = 0;

        if (streq(t->outcome, "rolled-back")) {
                r = remove_learner(a, reterr);
                if (r >= 0)
                        r = restore(a, own, reterr);
                if (r >= 0)
                        r = prove(a, own, reterr);
        }
        return r < 0 ? r : host_unlock(own->client, a->txn, CALL_TIMEOUT, reterr);
}

static int end_here(Addition *a, const Takeover *t, char **reterr) {
        _cleanup_free_ char *text = format("%s took the job over and ended this addition: %s", t->by, t->outcome);
        int r;

        if (!text)
                return -ENOMEM;
        addition_event(a, EVENT_TXN_FOLLOWED, LOG_WARNING, NULL,
                       "Host %s took job %s over and ended it as %s; this host's own files are on the same side now.",
                       t->by, a->job, t->outcome);
        r = txn_remember(a->transaction, TAKEOVER_NOTE, json_pack("{ss ss}", "by", t->by, "outcome", t->outcome),
                         reterr);
        if (r < 0)
                return r;
        return txn_end(a->transaction, streq(t->outcome, "committed") ? TXN_COMMITTED : TXN_ROLLED_BACK, text, reterr);
}

/* ---- all of it ---- */

static int follow_once(Addition *a, Takeover *t, Finding *found, char **reterr) {
        int r = look(a, found, t);

        if (r < 0 || *found == NOBODY)
                return r;
        if (*found == NOT_KNOWN)
                return fail(reterr, -EAGAIN,
                            "no other host of the job answers, so it is not known whether one took the job over: %s",
                            t->why ?: "");
        if (*found == UNDER_WAY)
                return fail(reterr, -EAGAIN, "%s took the job over and has not ended it; see there: dhetcd show %s",
                            t->by, a->job);
        if (!streq(t->outcome, "committed") && !streq(t->outcome, "rolled-back"))
                return fail(reterr, -EBADMSG, "%s ended the job, but how is not known; see there: dhetcd show %s",
                            t->by, a->job);
        a->promoted = streq(t->outcome, "committed");
        return settle_here(a, t, reterr);
}

static int wait_and_follow(Addition *a, const TxnLimits *limits, char **reterr) {
        uint64_t deadline = now_boot() + limits->settle_usec;
        _cleanup_free_ char *told = NULL;

        for (;;) {
                _cleanup_(takeover_done) Takeover t = {};
                _cleanup_free_ char *why = NULL;
                Finding found;
                int r = follow_once(a, &t, &found, &why);

                if (r >= 0)
                        return found == NOBODY ? 0 : end_here(a, &t, reterr);
                if (r == -ENOMEM)
                        return r;
                if (now_boot() >= deadline)
                        return txn_end(a->transaction, TXN_STUCK, error_text(why, r), reterr);
                if (!streq(told, why))
                        addition_progress(a, "waiting: %s", error_text(why, r));
                free(told);
                told = TAKE_PTR(why);
                r = addition_sleep(a, limits->pause_usec);
                if (r < 0)
                        return r;
        }
}

/* Only a transaction that has asked something of other hosts can have been taken over. */
int takeover_follow(Addition *a, const TxnLimits *limits, char **reterr) {
        _cleanup_json_ json_t *records = NULL;
        json_t *record;
        size_t i;
        int r;

        r = txn_log_read(a->dir, &records, NULL, reterr);
        if (r < 0)
                return r;
        json_array_foreach (records, i, record)
                if (streq(json_get_string(record, "type"), "intent") &&
                    streq(json_get_string(record, "step"), step_lock.name))
                        return wait_and_follow(a, limits, reterr);
        return 0;
}
