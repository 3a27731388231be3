/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tries a TCP connection to each https://ADDRESS:PORT, all at once, for 5 s at most, and sends nothing. A line on
 * stdout for each: "connected", "refused", or the error. 0, or a negative errno. */
int connect_all(char *const *urls, unsigned n);
