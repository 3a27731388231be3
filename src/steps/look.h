/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Looks at the cluster, and at what a job would do, without changing anything on any host. */

#include "addition.h"
#include "basic/json-util.h"

/* `request` is {"nodes": […], "options": {…}}; without nodes only the cluster is looked at. `dir` is an empty directory
 * that nobody else uses. The answer is always an object:
 *
 *   {"cluster": {"members": […], …}}                             what was asked without nodes, or
 *   {"findings": […], "cluster": …}                              for {"doctor": true}, see doctor.h, or
 *   {"error": "…"}                                               where not even the member list could be had
 *   {"cluster": …, "rejected": bool, "cause": "…", "nodes": […], "hazards": […], "steps": […], …} */
json_t *look(const char *request, const char *dir, int cancel_fd);

/* The value of "cluster". */
int look_at_cluster(Addition *a, json_t **ret, char **reterr) _must_check_;
