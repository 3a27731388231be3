/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What systemd says of a unit, asked without blocking. */

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "basic/cleanup.h"

#define INVOCATION_ID_SIZE 33U /* 32 hexadecimal digits and the NUL */

typedef struct UnitState {
        char *load_state, *active_state, *sub_state;
        char *unit_file_state;                  /* read from disk now; "" where there is no unit file */
        char *result;                           /* of a service: "success", "exit-code", … */
        char invocation_id[INVOCATION_ID_SIZE]; /* "" where it never ran */
        uint32_t n_restarts, main_pid, job;     /* job: 0 where none is queued */
        int32_t exec_main_code, exec_main_status;
} UnitState;

void unit_state_done(UnitState *s);

typedef struct UnitQuery UnitQuery;

/* Called once from the event loop. With r >= 0 `state` is the callback's to keep (unit_state_done()). It may free the
 * query. */
typedef void (*UnitQueryCallback)(void *userdata, int r, UnitState *state, const char *why);

/* Asks; freeing the query drops the wait. */
int unit_query_new(sd_bus *bus, const char *unit, UnitQueryCallback callback, void *userdata,
                   UnitQuery **ret) _must_check_;
UnitQuery *unit_query_free(UnitQuery *q);
DEFINE_CLEANUP(UnitQuery *, unit_query_free)
