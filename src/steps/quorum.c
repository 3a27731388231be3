/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "quorum.h"

#include "basic/error.h"
#include "cluster.h"

#define ASK_TIMEOUT (3 * USEC_PER_SEC)
#define ROUNDS 4U
#define ROUND_PAUSE (2 * USEC_PER_SEC) /* an election takes one second, and two in a bad network */

void quorum_done(Quorum *q) {
        for (size_t i = 0; i < q->n; i++) {
                free(q->voters[i].address);
                free(q->voters[i].client_url);
                free(q->voters[i].why);
        }
        free(q->voters);
        *q = (Quorum){};
}

int quorum_add(Quorum *q, const char *address, const char *client_url) {
        QuorumVoter *grown = reallocarray(q->voters, q->n + 1, sizeof(QuorumVoter)), *v;

        if (!grown)
                return -ENOMEM;
        q->voters = grown;
        v = q->voters + q->n++;
        *v = (QuorumVoter){ .address = strdup(address), .client_url = strdup(client_url) };
        return v->address && v->client_url ? 0 : -ENOMEM;
}

static int ask(Addition *a, QuorumVoter *v) {
        int r;

        free(v->why);
        v->why = NULL;
        r = etcd_has_leader_metric(a->etcd, v->client_url, ASK_TIMEOUT, &v->why);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                v->answer = cluster_may_pass(r) ? QUORUM_SILENT : QUORUM_UNCLEAR;
        else
                v->answer = r > 0 ? QUORUM_LEADER : QUORUM_NO_LEADER;
        return 0;
}

int quorum_ask(Addition *a, Quorum *q) {
        q->alive = q->silent = 0;
        q->leader = false;
        for (size_t i = 0; i < q->n; i++) {
                QuorumVoter *v = q->voters + i;
                int r = ask(a, v);

                if (r < 0)
                        return r;
                q->leader = q->leader || v->answer == QUORUM_LEADER;
                q->silent += v->answer == QUORUM_SILENT;
                q->alive += v->answer != QUORUM_SILENT;
        }
        return 0;
}

int quorum_is_lost(Addition *a, Quorum *q) {
        for (unsigned round = 0; round < ROUNDS; round++) {
                int r;

                r = round > 0 ? addition_sleep(a, ROUND_PAUSE) : 0;
                if (r >= 0)
                        r = quorum_ask(a, q);
                if (r < 0)
                        return r;
                if (q->alive >= q->n / 2 + 1)
                        return 0;
        }
        return !q->leader;
}

const char *quorum_words(const QuorumVoter *v) {
        static const char *const words[] = {
                [QUORUM_SILENT] = "does not answer",
                [QUORUM_NO_LEADER] = "answers, and knows no leader",
                [QUORUM_LEADER] = "answers, and knows a leader",
                [QUORUM_UNCLEAR] = "answers, but not as it should",
        };

        return words[v->answer];
}

/* Where the rescue is to be run: here, where this is a survivor, else on the first one that answers. */
static char *advice_of(Addition *a, const Quorum *q) {
        const Host *this = addition_this_host(a);
        _cleanup_strv_ char **silent = NULL;
        _cleanup_free_ char *lost = NULL;
        const char *on = NULL;

        for (size_t i = 0; i < q->n; i++) {
                const QuorumVoter *v = q->voters + i;

                if (v->answer != QUORUM_SILENT && (!on || (this && streq(v->address, this->address))))
                        on = v->address;
                if (v->answer == QUORUM_SILENT && strv_append(&silent, v->address) < 0)
                        return NULL;
        }
        lost = strv_join(silent, ", ");
        return format("The quorum is lost: %zu of %zu members answer. Bring %s back (boot it; there: systemctl "
                      "start " DH_ETCD_UNIT "). Where a lost one never comes back, run on %s: dhetcd rescue %s",
                      q->alive, q->n, lost ?: "the others", on ?: "the member with the newest data", a->job);
}

char *quorum_advice(Addition *a) {
        _cleanup_(quorum_done) Quorum q = {};

        if (!a->etcd)
                return NULL;
        FOREACH_PLANNED (h, a)
                if (host_is_voter(a, h) && quorum_add(&q, h->address, h->client_url) < 0)
                        return NULL;
        return q.n > 1 && quorum_is_lost(a, &q) > 0 ? advice_of(a, &q) : NULL;
}
