/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps of a transaction as its log tells them, in the order in which they began:
 *
 *   [{"step", "state", "started_usec", "ended_usec", "undo_usec", "undone_usec", "why", "hosts": {ADDRESS: SHA-256}}]
 * state is "running", "done", "skipped", "failed", "undoing" or "undone"; what has not happened is null. "hosts"
 * are those it changes, with the hash of what each had before. NULL on OOM. */

#include "basic/json-util.h"

json_t *job_steps(const json_t *records);

/* {"path", "bytes", "sha256"} of the snapshot of etcd's data; borrowed, NULL where there is none. */
const json_t *job_backup(const json_t *records);
