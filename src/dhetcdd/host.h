/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.dhetcd1.Host: what a host does to itself, for whoever polkit here allows it. */

#include <stdbool.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/cleanup.h"

typedef struct Host Host;

/* Adds the interface to the object on the bus; event loop and bus are borrowed and must outlive it. */
int host_new(sd_event *event, sd_bus *bus, Host **ret) _must_check_;
Host *host_free(Host *h);
DEFINE_CLEANUP(Host *, host_free)

/* Before the first start of dh-etcd after a crash: files that a step left half-written are put back, so that etcd never
 * starts on them. Needs no bus. The number of transactions repaired. */
int host_repair(char **reterr) _must_check_;

/* Forgets what old transactions left on this host, and what the killed writers of one that was just released (or NULL)
 * did. */
void host_prune(Host *h, const char *released);

/* Prints the names of the failpoints of all methods and of host_repair(), one a line. Only with -Dfailpoints=true. */
void host_failpoints(FILE *out);

/* Nothing is being done and nobody waits for an answer. */
bool host_is_idle(const Host *h);
