/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The report of one job as a page that needs nothing else: no script, no other file. */

#include <stdio.h>

#include "basic/json-util.h"

/* `data`: {"job": what GetJob returns, "lines": [{"usec", "priority", "message", …}], "gaps": of report_gaps()}. All
 * text of it is escaped. NULL on OOM. */
char *report_html(const json_t *data);

/* Text between tags or in a quoted attribute; control characters become spaces. */
void html_escape(FILE *f, const char *text);

/* report-gaps.c: when the cluster took no writes, where that is known: an array of {"host": the one that was restarted,
 * "from_usec", "until_usec"}, of upper bounds. NULL on OOM. */
json_t *report_gaps(const json_t *data);

/* report-svg.c: the timeline; nothing where no step was begun. */
void report_svg(FILE *f, const json_t *data);
