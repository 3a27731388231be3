/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between the engine and the C library: the linker's --wrap leads every call that can change a file, and every
 * allocation, through here, where the process can be killed before it, it can fail, be torn, or be followed by a
 * picture of the disk. */

#include <stdbool.h>
#include <stddef.h>

typedef enum HookMode {
        HOOK_COUNT,       /* nothing but counting */
        HOOK_KILL,        /* SIGKILL before the `at`th call */
        HOOK_FAIL,        /* the `at`th call fails with `error` (and each after it, where `persistent`) */
        HOOK_TORN,        /* the `at`th write() gets only `cut` bytes to the file, then SIGKILL */
        HOOK_TORN_ZEROES, /* the same, and the rest of it is zeroes */
        HOOK_PICTURE,     /* picture(name) after each call */
} HookMode;

typedef enum HookKind {
        HOOK_CALLS,
        HOOK_ALLOCATIONS,
} HookKind;

typedef struct Hook {
        HookMode mode;
        HookKind kind;
        unsigned long at; /* from 1 */
        bool persistent;
        int error;
        size_t cut;
        void (*picture)(const char *name);
} Hook;

/* What other processes may read after this one has died. */
typedef struct HookCount {
        unsigned long n;     /* calls of the kind so far */
        unsigned long hits;  /* how many failed */
        const char *name;    /* of the newest, or of the first that failed */
        size_t size;         /* of the newest write() */
        unsigned long trace; /* != 0: each call's name goes to standard error */
} HookCount;

/* From now on; the counts are shared with the parent. */
void hooks_arm(const Hook *hook);
void hooks_disarm(void);
/* For what the tests do themselves in the middle of it. Nests. */
void hooks_suspend(void);
void hooks_resume(void);
HookCount *hooks_count(void);

/* To be called once, first: jansson's allocations are led here too. */
void hooks_setup(void);
