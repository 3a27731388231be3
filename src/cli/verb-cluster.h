/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli.h"

/* "cluster" of what Look of org.dhetcd1 answers; an exit code. */
int cluster_print(const json_t *cluster);
bool cluster_is_healthy(const json_t *cluster);
