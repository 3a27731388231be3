/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Whether the extended attribute is the kernel's own to write: IMA's and EVM's, and every other of security.* that this
 * process has no right to set. Such a one is neither kept, nor compared, nor copied. */
bool xattr_is_kernels(const char *name);

/* Whether it does not matter that setting or removing it failed with the errno: a security module has its own mind. */
bool xattr_may_fail(const char *name, int error);
