/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The picture of a running job that a terminal shows: fed with the journal's lines, drawn as text. It knows neither
 * terminal nor journal. */

#include "cli.h"
#include "journal-follow.h"

typedef struct Live Live;

Live *live_new(const char *job); /* NULL on OOM */
Live *live_free(Live *l);
DEFINE_CLEANUP(Live *, live_free)

/* The job has ended: its time stands still until it goes on after all. */
void live_end(Live *l, uint64_t usec);

void live_feed(Live *l, const JournalLine *line);

/* At most `height` lines (3 or more) of at most `width` columns, each ended by a newline; `now` is CLOCK_REALTIME.
 * Colours where descriptor `fd` has them. NULL on OOM. */
char *live_draw(const Live *l, size_t width, size_t height, uint64_t now, int fd);
