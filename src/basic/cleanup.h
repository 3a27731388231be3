/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Ownership in one word: every owner is declared with one of these, and hands over with TAKE_PTR() or
 * TAKE_FD(). gcc runs cleanups in reverse order of declaration: declare the outer resource first. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _must_check_ __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

/* Defines `static inline void name##p(type *p)`, for _cleanup_(namep). */
#define DEFINE_CLEANUP(type, name)                                                                                     \
        static inline void name##p(type *p) {                                                                          \
                if (*p)                                                                                                \
                        name(*p);                                                                                      \
        }

#define TAKE_PTR(p)                                                                                                    \
        ({                                                                                                             \
                __typeof__(p) *_pp = &(p), _taken = *_pp;                                                              \
                *_pp = NULL;                                                                                           \
                _taken;                                                                                                \
        })

#define TAKE_FD(fd)                                                                                                    \
        ({                                                                                                             \
                int *_fdp = &(fd), _taken = *_fdp;                                                                     \
                *_fdp = -EBADF;                                                                                        \
                _taken;                                                                                                \
        })

/* Remembers the first error and goes on: for undo and for fan-out over hosts. */
#define RET_GATHER(acc, r)                                                                                             \
        ({                                                                                                             \
                int _r = (r);                                                                                          \
                if ((acc) >= 0 && _r < 0)                                                                              \
                        (acc) = _r;                                                                                    \
                _r;                                                                                                    \
        })

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        int saved = errno;

        if (*fd >= 0)
                close(*fd);
        errno = saved;
}

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(DIR *, closedir)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
