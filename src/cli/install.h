/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs of the installer, for "install" and "grow". Failures have been said and are exit codes. */

#include <systemd/sd-bus.h>

#include "basic/json-util.h"

/* --installer-dir= as an absolute path without symlinks. */
int install_dir(char **ret);

/* Sends the call of Install or Grow; the id it answers with. */
int install_ask(sd_bus *bus, sd_bus_message *call, char **ret_id);

/* Stays with it, unless --no-block; says how it ended. The exit code. */
int install_stay(sd_bus *bus, const char *id, uint64_t since, bool expect, const char *next);

/* Shows its lines until it has ended; its record then. */
int install_follow(sd_bus *bus, const char *id, uint64_t since, json_t **ret);

/* Says how it ended, with the lines that matter where it is no success, and `next`, the command that goes on (NULL:
 * the same again). `expect`: the expected failure is one. The exit code for it. */
int install_tell(const json_t *record, bool expect, const char *next);
