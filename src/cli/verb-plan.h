/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Asks what an addition of these nodes would do, and tells; `brief`: only where it would be refused. `window` is as of
 * client_append_request(). An exit code. */
int plan_nodes(char **nodes, uint64_t window, bool brief);
