/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* verb-schedule.c, for the other verbs. Each that returns int returns an exit code, and has said a failure. */

#include <systemd/sd-bus.h>

#include "basic/json-util.h"

int schedules_read(sd_bus *bus, json_t **ret);
int schedules_print(sd_bus *bus, const json_t *schedules);
int schedules_list(void);

/* Whether now is a date of the schedule of this node, a minute late at most. */
int schedules_check_date(sd_bus *bus, const char *node);
