/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* From here on standard output (and standard error, where it is a terminal) goes to a pager, as with systemctl: where
 * standard output is a terminal, and neither --no-pager nor an empty $SYSTEMD_PAGER or $PAGER says otherwise. Call it
 * when all that may ask or wait is done. Once is enough; without a pager nothing happens. */
void pager_open(void);

/* Waits until the reader has seen enough. Before the end of main(). */
void pager_close(void);

/* The terminal behind `fd`: another descriptor where a pager has taken its place. */
int pager_terminal(int fd);

/* The words of a pager's command line, as environment variables have it; no quotes. NULL: none is wanted. Caller frees
 * with strv_free(). `secure`: only less, and in its restricted mode, is trusted. */
char **pager_command(const char *systemd_pager, const char *pager, bool secure);
