/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "basic/cleanup.h"

/* The first `n` dates (CLOCK_REALTIME, microseconds) of a calendar event that come after `after`, as systemd itself
 * works them out: systemd-analyze calendar, of systemd 244 or later. Returns how many there are, at most n; -EINVAL
 * for what is no calendar event, -ENOENT where there is no systemd-analyze. */
int calendar_dates(const char *event, uint64_t after, uint64_t *ret, size_t n) _must_check_;

/* What it printed, up to n dates; for calendar_dates(). */
size_t calendar_parse(const char *output, uint64_t *ret, size_t n);
