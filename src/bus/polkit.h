/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks polkit whether the sender of a method call may do it, without blocking: the handler calls polkit_check() before
 * any side effect; where the answer is not known yet it returns 1 to sd-bus at once, and is called again with the same
 * message when polkit has answered. The userdata must outlive the Polkit object.
 *
 * Root is allowed without asking, so that all of it works where there is no polkit. */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "basic/cleanup.h"

#define POLKIT_INSPECT "org.dhetcd1.inspect"
#define POLKIT_ADD_NODE "org.dhetcd1.add-node"
#define POLKIT_ROLLBACK "org.dhetcd1.rollback"
#define POLKIT_RESCUE "org.dhetcd1.rescue"
#define POLKIT_INSTALL "org.dhetcd1.install"
#define POLKIT_REPAIR "org.dhetcd1.repair"
#define POLKIT_SCHEDULE "org.dhetcd1.schedule"
#define POLKIT_HOST_MANAGE "org.dhetcd1.host-manage"

/* A detail: what the user is asked, where the action's own message does not fit. */
#define POLKIT_MESSAGE "polkit.message"

typedef struct Polkit Polkit;

int polkit_new(sd_bus *bus, Polkit **ret) _must_check_;
Polkit *polkit_free(Polkit *p); /* questions that are open are dropped without an answer */
DEFINE_CLEANUP(Polkit *, polkit_free)
bool polkit_is_idle(const Polkit *p);

/* 1: allowed. 0: asked; the caller must `return 1` and will be called again as handler(m, userdata, …). Negative:
 * denied (logged, with the caller's uid) or polkit failed; reterr is set. `details` are pairs of strings that end with
 * NULL, for polkit's rules and its question to a user; may be NULL. */
int polkit_check(Polkit *p, sd_bus_message *m, const char *action, const char *const *details,
                 sd_bus_message_handler_t handler, void *userdata, sd_bus_error *reterr) _must_check_;

/* The effective uid of a message's sender, as the bus itself says. */
int polkit_caller_uid(sd_bus_message *m, uid_t *ret);
