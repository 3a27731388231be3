/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several steps do to hosts. */

#include "addition.h"

/* For check(): there is nothing to do, and why. Returns 0. */
int skip_step(char **ret_why, const char *why);

/* Runs a vendor script (see host_run_script()), relays its output, and makes anything but success an error. */
int run_vendor_script(Addition *a, Host *h, const char *step, const char *script, char *const *arguments,
                      char **reterr) _must_check_;

/* Undo of a step: every host it changes gets back its snapshot from before the step, and what the step's scripts there
 * printed is relayed where it was not yet. Past failures; the first is returned. */
int restore_hosts(Addition *a, const Step *step, char **reterr) _must_check_;
