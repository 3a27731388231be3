/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a job's steps will come to, from the steps themselves, after the preflight has found the hosts:
 *
 *   {"additions": [{"node", "members_after", "seconds", "outage_seconds", "steps": […]}], one for each node,
 *    "steps" of the first, and "members_after", "seconds", "outage_seconds" of all}
 *
 * A step: {"index", "step", "title", "hosts", "changes", "skipped", "restarts", "perhaps", "why", "seconds",
 *               "outage_seconds", "rollback", "point_of_no_return"}
 *
 * Times are estimates. `a` is of no other use afterwards: its nodes have become members of it. NULL on OOM. */

#include "addition.h"
#include "steps.h"

json_t *forecast_job(Addition *a, const Plan *plan);

/* What one step takes, about, in seconds. */
unsigned forecast_seconds(Addition *a, const Step *step);

/* Appends to `list` what is known to go wrong with this version of etcd, as sentences. */
void forecast_hazards(const char *version, json_t *list);
