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
#undef fail_msg
#define fail_msg(message, ...)                                                                                         \
        do {                                                                                                           \
                print_error("ERROR: " message "\n", ##__VA_ARGS__);                                                    \
                _fail(__FILE__, __LINE__);                                                                             \
        } while (false)
