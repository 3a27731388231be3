/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What node_exporter's textfile collector may show of the jobs of this host. Nothing here knows the bus. */

#include "job-queue.h"

#define METRICS_FILE "dhetcd.prom"

/* The metrics as text, in Prometheus' exposition format: how many jobs of each state there are, and of the job that
 * ended last its result, its times and its steps, as the logs below `jobs_dir` tell. NULL on OOM. */
char *metrics_format(const JobQueue *q, const char *jobs_dir);

/* Replaces DIRECTORY/dhetcd.prom at once, so that the collector never reads half of it, readable by everybody. Nothing
 * where `directory` is "" or does not exist: there is no collector. */
int metrics_write(const char *directory, const JobQueue *q, const char *jobs_dir, char **reterr) _must_check_;
