/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The vendor's scripts: what may be asked of each, and the transient unit that it runs as. */

#include "host-operation.h"

int script_arguments_check(HostOperation *op) _must_check_; /* rejects */
int script_prepare(HostOperation *op) _must_check_;         /* what it needs is there */
char *script_unit_name(const char *txn, const char *step, const char *script);

/* The StartTransientUnit call, complete. op->admin must be known. */
int script_unit_message(HostOperation *op, const char *unit, sd_bus_message **ret) _must_check_;
