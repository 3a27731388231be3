/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Prunes the store, and looks at what is left: the manifests, the objects that they name, and nothing else. Says what
 * is wrong. A store that is not there is clean. */
bool store_is_clean(const char *store);
