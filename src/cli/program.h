/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "basic/cleanup.h"

#define PROGRAM_OUTPUT_MAX (256U * 1024U)

/* Runs a program (found in PATH; no shell) with a small environment of its own, in English and in the host's time zone,
 * and waits for its end at most `timeout` microseconds; then it is killed: -ETIMEDOUT. Returns its exit status (0 to
 * 255), and what it wrote to standard output; standard error goes nowhere. -E2BIG for more than PROGRAM_OUTPUT_MAX. */
int program_read(const char *const *argv, uint64_t timeout, char **ret_output) _must_check_;
