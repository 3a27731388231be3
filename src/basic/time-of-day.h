/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "cleanup.h"

/* The first time after `from` (both CLOCK_REALTIME, microseconds) at which a clock in this process' time zone shows
 * `text`, "HH:MM" or "HH:MM:SS". -EINVAL for anything else. */
int time_of_day_after(const char *text, uint64_t from, uint64_t *ret) _must_check_;
