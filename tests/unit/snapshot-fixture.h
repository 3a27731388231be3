/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A folder with all that a snapshot may meet, made before each test and removed after it: the roots are a tree, a lone
 * file, a symlink and a path where nothing is. And the ways in which a test changes them. */

#include <sys/types.h>

#include "test-util.h"

#include "txn/snapshot.h"

#define ACL_SIZE 44

extern char dir[], *store, *tree, *lone, *link_root, *absent;
extern char *roots[5];
extern const unsigned char acl[ACL_SIZE];

int make_all(void **state);
int drop_all(void **state);
#define test(f) cmocka_unit_test_setup_teardown(f, make_all, drop_all)

/* A path in the folder; one of eight buffers that take turns. */
char *at(const char *name);
/* Writes a file; owned by `owner` and the group after it where we are root. */
void put(const char *name, const char *text, mode_t mode, uid_t owner);
unsigned count_entries(const char *path, const char *containing);

void take(const char *name, char ret_digest[static DIGEST_HEX_SIZE]);
void restore(const char *name, int expected);
void expect_digest(const char *expected);
void expect_no_leftovers(void);

typedef struct Change {
        const char *what;
        void (*make)(void);
        const char *difference; /* a part of the first sentence */
        int roots;
} Change;

extern const Change changes[]; /* the last has no `what` */

void change_content(void);
void change_link(void);
void change_all_gone(void);
void change_lone(void);
void change_tree_to_link(void);
