/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The ssh command that carries D-Bus to another host: no prompt, no unknown host key, nothing forwarded, and a dead
 * connection noticed in 15 seconds. */

#include "host-client.h"

/* The argument vector, NULL-terminated; free with strv_free(). -EINVAL for an address that is none (address_check()), a
 * user name that ssh could take for something else, or a path with characters that ssh's own quoting and expansion
 * would change. */
int ssh_command(const char *address, const SshOptions *options, char ***ret, char **reterr) _must_check_;
