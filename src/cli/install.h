/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs of the installer, for "install" and "grow". Failures have been said and are exit codes. */

#include <systemd/sd-bus.h>

#include "basic/json-util.h"

/* --installer-dir= as an absolute path without symlinks. */
int install_dir(char **ret);

/* Stays with it, unless --no-block: shows its lines from `since` on, and says how it ended. The exit code for that. */
int install_stay(sd_bus *bus, const char *id, uint64_t since);

/* The same for one that is there, from its beginning. */
int install_watch(sd_bus *bus, const char *id);
