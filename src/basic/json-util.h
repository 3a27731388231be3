/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <jansson.h>

#include "cleanup.h"

DEFINE_CLEANUP(json_t *, json_decref)

#define _cleanup_json_ _cleanup_(json_decrefp)
