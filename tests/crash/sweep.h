/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What each sweep found: how often settling ended in the old and in the new state, and how often in anything else. */

#include "plan.h"

typedef struct Tally {
        unsigned long points, old, new, refused, other;
        bool verbose; /* says the point of each failure */
} Tally;

/* Which of the points are tried: all of them, or about one in `share`, chosen by the seed. */
typedef struct Choice {
        unsigned share, seed;
        bool stop; /* at the first failure */
        unsigned long
                killed; /* images only: killed before this call (0: not), and pictures of the settling are taken */
} Choice;
bool chosen(const Choice *c, unsigned long point); /* from 1 */
/* The same with at least one of `total` points. */
Choice choice_among(const Choice *c, unsigned long total);

/* Runs in a child, and returns its wait status. */
int in_child(int (*function)(void *userdata), void *userdata);

/* Runs the scenario, and kills it before its `at`th call. False where it ended by itself before. */
bool run_killed(Scenario s, unsigned long at);

/* Settles and checks, in a child of its own: counts the outcome. True unless it is neither old nor new. */
bool settle_and_count(Tally *t, const char *point, unsigned long at);

/* Killed before every call that changes a file, and settled. `twice`: the settling is killed everywhere as well. */
void sweep_kills(Scenario s, const Choice *c, bool twice, Tally *t);
/* Every call (allocation) fails, once and from then on, and what is left is settled. */
void sweep_failing_calls(Scenario s, const Choice *c, Tally *t);
void sweep_failing_allocations(Scenario s, const Choice *c, Tally *t);
/* Every write is torn at every byte, with nothing and with zeroes after it. */
void sweep_torn(Scenario s, const Choice *c, Tally *t);
/* Every bit of the finished logs is flipped. */
void sweep_damage(Scenario s, const Choice *c, Tally *t);

/* A power cut after every call, on a file system of its own in a file. 77 where that cannot be mounted. */
int sweep_images(const char *fstype, Scenario s, const char *folder, const Choice *c, Tally *t);
