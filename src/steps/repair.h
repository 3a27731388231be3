/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the steps of a repair (dhetcd doctor --fix) share. Its plan has this host, the voters that answer, and the hosts
 * that are mended; all others are "lost": they have no part in it. */

#include "doctor.h"

/* The findings that it mends, [{ "id", "host", "fix" }], borrowed; remembered by repair-look. */
const json_t *repair_list(const Addition *a);
/* The first of that id, about that host (NULL: any); NULL where none. */
const json_t *repair_find(const Addition *a, const char *id, const char *host);

/* The one of that address in a list of the doctor's facts. */
const json_t *repair_entry_of(const json_t *list, const char *address);
