/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "basic/json-util.h"
#include "bus/unit-state.h"

/* What Describe() answers, but for the unit, which must be asked about first. NULL on OOM. */
json_t *host_facts(const UnitState *unit);
