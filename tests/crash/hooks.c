/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The names are those that the linker sees: with 64-bit file offsets open() is open64(). */

#include "hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static Hook hook;
static bool armed;
static unsigned suspended;
static HookCount *count;

HookCount *hooks_count(void) {
        return count;
}

void hooks_arm(const Hook *h) {
        hook = *h;
        *count = (HookCount){ .trace = count->trace };
        armed = true;
}

void hooks_disarm(void) {
        armed = false;
}

void hooks_suspend(void) {
        suspended++;
}

void hooks_resume(void) {
        suspended--;
}

/* Where writes are torn, only they are counted. */
static bool tears(void) {
        return hook.mode == HOOK_TORN || hook.mode == HOOK_TORN_ZEROES;
}

/* Whether the call is to fail; errno is set. */
static bool enter(HookKind kind, const char *name, size_t size) {
        if (!armed || suspended > 0 || hook.kind != kind)
                return false;
        if (tears() && strcmp(name, "write") != 0)
                return false;
        count->n++;
        if (count->hits == 0) {
                count->name = name;
                count->size = size;
        }
        if (count->trace != 0)
                dprintf(STDERR_FILENO, "%s\n", name);

        if (hook.mode == HOOK_KILL && count->n == hook.at)
                raise(SIGKILL);
        if (hook.mode != HOOK_FAIL || count->n < hook.at || (count->n > hook.at && !hook.persistent))
                return false;
        count->hits++;
        errno = kind == HOOK_ALLOCATIONS ? ENOMEM : hook.error;
        return true;
}

static void leave(const char *name) {
        int saved = errno;

        if (armed && suspended == 0 && hook.mode == HOOK_PICTURE) {
                suspended++;
                hook.picture(name);
                suspended--;
        }
        errno = saved;
}

/* ---- calls that change files ---- */

#define CALL(type, name, parameters, arguments)                                                                        \
        type __real_##name parameters;                                                                                 \
        type __wrap_##name parameters;                                                                                 \
        type __wrap_##name parameters {                                                                                \
                type r;                                                                                                \
                                                                                                                       \
                if (enter(HOOK_CALLS, #name, 0))                                                                       \
                        return -1;                                                                                     \
                r = __real_##name arguments;                                                                           \
                leave(#name);                                                                                          \
                return r;                                                                                              \
        }

CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
CALL(int, syncfs, (int fd), (fd))
CALL(int, rename, (const char *a, const char *b), (a, b))
CALL(int, renameat, (int ad, const char *a, int bd, const char *b), (ad, a, bd, b))
CALL(int, renameat2, (int ad, const char *a, int bd, const char *b, unsigned flags), (ad, a, bd, b, flags))
CALL(int, link, (const char *a, const char *b), (a, b))
CALL(int, linkat, (int ad, const char *a, int bd, const char *b, int flags), (ad, a, bd, b, flags))
CALL(int, unlink, (const char *path), (path))
CALL(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
CALL(int, rmdir, (const char *path), (path))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode))
CALL(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
CALL(int, symlink, (const char *target, const char *path), (target, path))
CALL(int, symlinkat, (const char *target, int fd, const char *path), (target, fd, path))
CALL(int, chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode))
CALL(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), (fd, path, mode, flags))
CALL(int, chown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
CALL(int, lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
CALL(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
CALL(int, fchownat, (int fd, const char *path, uid_t uid, gid_t gid, int flags), (fd, path, uid, gid, flags))
CALL(int, utimensat, (int fd, const char *path, const struct timespec times[2], int flags), (fd, path, times, flags))
CALL(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
CALL(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
     (fd, name, value, size, flags))
CALL(int, lsetxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags))
CALL(int, fremovexattr, (int fd, const char *name), (fd, name))
CALL(int, lremovexattr, (const char *path, const char *name), (path, name))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size))
CALL(int, fallocate64, (int fd, int mode, off64_t offset, off64_t size), (fd, mode, offset, size))
CALL(int, mkostemp64, (char *path, int flags), (path, flags))
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t offset), (fd, data, size, offset))

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size) {
        ssize_t r;

        if (enter(HOOK_CALLS, "write", size))
                return -1;
        if (armed && suspended == 0 && tears() && count->n == hook.at) {
                static const char zeroes[65536];

                (void) !__real_write(fd, data, hook.cut);
                if (hook.mode == HOOK_TORN_ZEROES)
                        (void) !__real_write(fd, zeroes, size - hook.cut);
                raise(SIGKILL);
        }
        r = __real_write(fd, data, size);
        leave("write");
        return r;
}

/* Opening counts only where it can make or change a file. */
static bool can_change(int flags) {
        return (flags & (O_CREAT | O_TRUNC)) != 0;
}

static mode_t mode_of(int flags, va_list ap) {
        return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) {
        va_list ap;
        mode_t mode;
        int fd;

        va_start(ap, flags);
        mode = mode_of(flags, ap);
        va_end(ap);
        if (can_change(flags) && enter(HOOK_CALLS, "open", 0))
                return -1;
        fd = __real_open64(path, flags, mode);
        if (can_change(flags))
                leave("open");
        return fd;
}

int __real_openat64(int dir_fd, const char *path, int flags, ...);
int __wrap_openat64(int dir_fd, const char *path, int flags, ...);
int __wrap_openat64(int dir_fd, const char *path, int flags, ...) {
        va_list ap;
        mode_t mode;
        int fd;

        va_start(ap, flags);
        mode = mode_of(flags, ap);
        va_end(ap);
        if (can_change(flags) && enter(HOOK_CALLS, "openat", 0))
                return -1;
        fd = __real_openat64(dir_fd, path, flags, mode);
        if (can_change(flags))
                leave("openat");
        return fd;
}

/* ---- allocations ---- */

#define ALLOCATION(type, name, parameters, arguments)                                                                  \
        type *__real_##name parameters;                                                                                \
        type *__wrap_##name parameters;                                                                                \
        type *__wrap_##name parameters {                                                                               \
                return enter(HOOK_ALLOCATIONS, #name, 0) ? NULL : __real_##name arguments;                             \
        }

ALLOCATION(void, malloc, (size_t size), (size))
ALLOCATION(void, calloc, (size_t n, size_t size), (n, size))
ALLOCATION(void, realloc, (void *p, size_t size), (p, size))
ALLOCATION(void, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
ALLOCATION(char, strdup, (const char *s), (s))
ALLOCATION(char, strndup, (const char *s, size_t n), (s, n))
ALLOCATION(char, realpath, (const char *path, char *resolved), (path, resolved))
ALLOCATION(FILE, fopen64, (const char *path, const char *mode), (path, mode))
ALLOCATION(DIR, opendir, (const char *path), (path))
ALLOCATION(DIR, fdopendir, (int fd), (fd))

int __real_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap) {
        if (enter(HOOK_ALLOCATIONS, "vasprintf", 0)) {
                *ret = NULL;
                return -1;
        }
        return __real_vasprintf(ret, format, ap);
}

/* libcrypto's own handling of it is not ours to test: what the engine asks of it fails as a whole. */
EVP_MD_CTX *__real_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void);
EVP_MD_CTX *__wrap_EVP_MD_CTX_new(void) {
        return enter(HOOK_ALLOCATIONS, "EVP_MD_CTX_new", 0) ? NULL : __real_EVP_MD_CTX_new();
}

/* Nor is jansson's parser, which ends the process with an assertion when it is out of memory in the midst of a number:
 * it fails as a whole. */
json_t *__real_json_loadb(const char *buffer, size_t size, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *buffer, size_t size, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *buffer, size_t size, size_t flags, json_error_t *error) {
        json_t *r = NULL;

        if (enter(HOOK_ALLOCATIONS, "json_loadb", 0)) {
                if (error) {
                        *error = (json_error_t){ .position = 0 };
                        error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
                }
                return NULL;
        }
        suspended++;
        r = __real_json_loadb(buffer, size, flags, error);
        suspended--;
        return r;
}

void hooks_setup(void) {
        count = mmap(NULL, sizeof(HookCount), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (count == MAP_FAILED)
                abort();
        json_set_alloc_funcs(malloc, free);
}
