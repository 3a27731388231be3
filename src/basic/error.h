/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cleanup.h"

/* The error convention of the whole tree.
 *
 * A function that can fail returns a negative errno; 0 or more is success, and > 0 is documented at the
 * prototype. Where an operator will read the failure, it also takes `char **reterr`: on failure, and only
 * then, *reterr is set to a sentence of its own (cause, host, then the command that mends it); the caller
 * frees it. reterr may be NULL. A text that is already there is replaced. Functions of basic, bus, etcd, txn
 * and host never log above debug. */

/* Sets *reterr and returns `error`, which must be negative: a zero or positive one is a mistake of the caller and
 * becomes -ENOTRECOVERABLE, so that an error path can never return success. */
int fail(char **reterr, int error, const char *format, ...) _printf_(3, 4);

/* Puts "context: " in front of the text in *reterr (strerror(error) where there is none) and returns `error`. */
int fail_prefix(char **reterr, int error, const char *format, ...) _printf_(3, 4);

/* strdup()ed text of *reterr, or strerror(error). Never NULL but on OOM; for messages. */
const char *error_text(const char *text, int error);
