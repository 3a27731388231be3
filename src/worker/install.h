/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "basic/cleanup.h"

/* "dhetcd-worker install ID": the main process of dhetcd-install-ID.service. Runs the vendor's installer, its jar
 * and master_install.sh, each as a transient unit under the user who owns its folder, and writes how it ended to
 * its record. `cancel_fd` becomes readable at SIGTERM. Returns an exit status: 0 where the record has the end. */
int install_run(const char *id, int cancel_fd);

/* "dhetcd-worker install-end ID": its ExecStopPost=. What a worker that died has left running is ended. */
int install_end(const char *id);
