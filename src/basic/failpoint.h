/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Named points at which a test makes this process fail, compiled in only with -Dfailpoints=true; nothing of them is in
 * any other build. The engine's are PHASE.STEP.POINT, "run.deploy.applied"; `dhetcd-worker failpoints KIND` lists
 * them. Of dhetcdd, which lists them too, they are host.METHOD.POINT, around what it is asked to do to its host,
 * manager.STATE.POINT, around the writing of a job in that state, and boot.repair.POINT of dhetcd-repair.service.
 *
 *   /var/lib/dhetcd/failpoints            lines "NAME ACTION": what happens when a point is reached for the first time
 *   /var/lib/dhetcd/failpoints.hit        gets the name of each point that was reached, a line each
 *   /var/lib/dhetcd/failpoints.reached    made by "wait", with the name; it goes on when this file is removed
 *
 * They are there, and not in /run, because the worker may write there and a power cut must not hide what was hit.
 * Actions: kill (SIGKILL to oneself), wait (at most 60 s), enospc and eio (every write and fsync of a regular file by
 * this process fails with that errno, from now until 3 s after the first that did, or until the first of these files is
 * removed). "reply.CALL lose", with a call that changes etcd's members: etcd did it, and its answer is lost; these are
 * not listed. */

#include <stdbool.h>

#if DHETCD_FAILPOINTS
/* A process that settles says so first: its points begin with "settle-". */
void failpoint_settling(void);
/* `step` may be NULL. */
void failpoint(const char *phase, const char *step, const char *point);
bool failpoint_loses(const char *call);

#define FAILPOINT_SETTLING() failpoint_settling()
#define FAILPOINT(phase, step, point) failpoint(phase, step, point)
#define FAILPOINT_LOSES(call) failpoint_loses(call)
#else
#define FAILPOINT_SETTLING() ((void) 0)
#define FAILPOINT(phase, step, point) ((void) 0)
#define FAILPOINT_LOSES(call) false
#endif
