/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Looks at the cluster, and at what a job would do, without changing anything on any host. */

#include "basic/json-util.h"

/* `request` is {"nodes": […], "options": {…}}; without nodes only the cluster is looked at. `dir` is an empty directory
 * that nobody else uses. The answer is always an object:
 *
 *   {"cluster": {"members": […], …}}                             what was asked without nodes, or
 *   {"error": "…"}                                               where not even the member list could be had
 *   {"cluster": …, "rejected": bool, "cause": "…", "nodes": […], "hazards": […], "steps": […], …} */
json_t *look(const char *request, const char *dir, int cancel_fd);
