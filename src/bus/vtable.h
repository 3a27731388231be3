/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A method with the names of its arguments, or without where libsystemd is too old to show them. */

#include <systemd/sd-bus.h>

#ifdef SD_BUS_METHOD_WITH_NAMES
#define METHOD(name, in, in_names, out, out_names, handler)                                                            \
        SD_BUS_METHOD_WITH_NAMES(name, in, in_names, out, out_names, handler, SD_BUS_VTABLE_UNPRIVILEGED)
#define ARG(name) SD_BUS_PARAM(name)
#define SIGNAL(name, in, in_names) SD_BUS_SIGNAL_WITH_NAMES(name, in, in_names, 0)
#else
#define METHOD(name, in, in_names, out, out_names, handler)                                                            \
        SD_BUS_METHOD(name, in, out, handler, SD_BUS_VTABLE_UNPRIVILEGED)
#define ARG(name)
#define SIGNAL(name, in, in_names) SD_BUS_SIGNAL(name, in, 0)
#endif
