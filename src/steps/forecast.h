/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a plan's steps will come to, from the steps themselves, after the preflight has found the hosts:
 *
 *   {"steps": [{"index", "step", "title", "hosts", "changes", "skipped", "restarts", "perhaps", "why", "seconds",
 *               "outage_seconds", "rollback", "point_of_no_return"}], "seconds", "outage_seconds"}
 *
 * Times are estimates, for one node. NULL on OOM. */

#include "addition.h"
#include "steps.h"

json_t *forecast_plan(Addition *a, const Plan *plan);

/* What one step takes, about, in seconds. */
unsigned forecast_seconds(Addition *a, const Step *step);

/* Appends to `list` what is known to go wrong with this version of etcd, as sentences. */
void forecast_hazards(const char *version, json_t *list);
