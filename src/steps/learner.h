/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "addition.h"

/* Whether the learner is alive and in sync now: several samples in a row, each within the configured margin of what the
 * leader had just before, the last of them with an entry written for this, and no restart of its unit in between. etcd
 * itself promotes a learner that is dead or 10 % behind. 1 in sync; 0 not yet (*reterr says why); negative: it cannot
 * become so, or canceled. */
int learner_in_sync(Addition *a, char **reterr) _must_check_;
