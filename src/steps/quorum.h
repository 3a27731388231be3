/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether the cluster still has a quorum, judged without one: nothing here needs a token, which only a quorum gives. */

#include "addition.h"

typedef enum QuorumAnswer {
        QUORUM_SILENT,    /* nothing answers there */
        QUORUM_NO_LEADER, /* etcd answers, and knows no leader */
        QUORUM_LEADER,
        QUORUM_UNCLEAR, /* something answers that cannot be asked: it counts as alive */
} QuorumAnswer;

typedef struct QuorumVoter {
        char *address, *client_url;
        QuorumAnswer answer;
        char *why; /* NULL, or what it said instead of answering */
} QuorumVoter;

typedef struct Quorum {
        QuorumVoter *voters;
        size_t n, alive, silent;
        bool leader; /* one of them knows a leader */
} Quorum;

void quorum_done(Quorum *q);
int quorum_add(Quorum *q, const char *address, const char *client_url) _must_check_;

/* Asks each of them anew. 0, or -ECANCELED. */
int quorum_ask(Addition *a, Quorum *q) _must_check_;
/* The same until it is lost in several rounds, over more time than an election takes, or is there in one. 1: lost, as
 * less than a majority is alive and nobody knows a leader. 0: it is there, or comes back by itself. */
int quorum_is_lost(Addition *a, Quorum *q) _must_check_;

/* "answers, and knows no leader". */
const char *quorum_words(const QuorumVoter *v);

/* For a transaction that is stuck: what to run where its quorum is lost. NULL: it is not, or nobody knows. Caller
 * frees. */
char *quorum_advice(Addition *a);
