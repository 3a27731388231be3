/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reads lines back from the journal, newest last; made printable, each at most 1 KiB and all together at most 128 KiB
 * (the oldest go first). *ret is NULL where there are none. */

#include <stddef.h>
#include <stdint.h>

#include "basic/cleanup.h"

/* What the processes of a unit printed, in all of its runs. *ret_earlier: so many lines are left out, counted up to
 * JOURNAL_EARLIER_MAX. */
#define JOURNAL_EARLIER_MAX 10000U
int journal_read_output(const char *unit, size_t max, char ***ret, size_t *ret_earlier) _must_check_;

/* What a unit printed, and what systemd said of it, since then (CLOCK_REALTIME). */
int journal_read_unit(const char *unit, uint64_t since, size_t max, char ***ret) _must_check_;
