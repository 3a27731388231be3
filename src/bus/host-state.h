/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Whether this host's systemd is shutting down. Blocks for at most 3 s; false where it cannot be asked. */
bool host_goes_down(void);
