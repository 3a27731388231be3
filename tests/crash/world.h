/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The tree that the transaction of this folder changes, in its two states. BASE/world is the tree, BASE/txn the
 * transaction's log, BASE/store the snapshots, BASE/record the host record. */

#include <stdbool.h>
#include <stddef.h>

/* Sets BASE for everything in this folder. */
void world_set_base(const char *base);
/* BASE/RELATIVE in one of a few buffers that are used in turn. Allocates nothing. */
const char *in(const char *relative);

/* The roots that the snapshots are of. */
char **world_roots(void);

/* What a file of the tree holds: "@N" stands for N bytes of a pattern, anything else for itself. */
typedef struct Content {
        const char *data;
        size_t size;
} Content;
Content content(const char *text);

/* Makes BASE with the old tree in it and nothing else; what was there goes. All of it is on disk. */
int world_prepare(void);

/* Whether the tree is the old (new) one, entry by entry, and has nothing else in it: content, type, owner, mode, link
 * target, attribute, and the time of what is the same in both. Says what differs. */
bool world_is(bool is_new);

/* What "world/etc/config", the stand-in for what a service reads at its start, holds before, in and after it all. */
#define CONFIG_OLD "name: etcd-1\ninitial-cluster: one\n"
#define CONFIG_EDITED "name: etcd-1\ninitial-cluster: one,two\n"
#define CONFIG_NEW CONFIG_EDITED "state: new\n"

/* Whether it is there and whole, as it must be at any instant. Says when it is not. */
bool world_config_is_whole(void);

/* Prints to standard error, with the base, and returns false. */
bool complain(const char *text, ...) __attribute__((format(printf, 1, 2)));
