/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The queue of jobs of this host as org.dhetcd1.Manager: it takes orders, starts a transient unit for each node
 * addition, and reads its outcome from the transaction's log. It does none of the work itself. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/cleanup.h"

typedef struct Manager Manager;

/* Reads the jobs on disk and goes on with them as soon as the event loop runs. The bus must be attached to the loop. */
int manager_new(sd_event *event, sd_bus *bus, Manager **ret) _must_check_;
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager *, manager_free)

/* No job runs or waits: the daemon may exit. */
bool manager_is_idle(const Manager *m);
/* Somebody waits for an answer, which another daemon could not give. Jobs go on without us. */
bool manager_is_asked(const Manager *m);
