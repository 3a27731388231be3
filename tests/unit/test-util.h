/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cmocka with what it needs, without its fail(), which is ours. */

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef fail
