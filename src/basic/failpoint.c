/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "failpoint.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fs.h"
#include "string-util.h"

#define FILE_WANTED "/var/lib/dhetcd/failpoints"
#define FILE_HIT FILE_WANTED ".hit"
#define FILE_REACHED FILE_WANTED ".reached"
#define FILE_SIZE_MAX (64U * 1024U)
#define WAIT_USEC (60 * USEC_PER_SEC)
#define WAIT_STEP_USEC (20 * USEC_PER_MSEC)
#define BROKEN_USEC (3 * USEC_PER_SEC)

static bool settling;
static int failing;        /* errno of every further write, 0: none */
static uint64_t mended_at; /* when the disk is as before, 0: nothing was written since it broke */

/* ---- a disk that fails: these two take the place of libc's ---- */

static bool must_fail(int fd) {
        struct stat st;

        if (failing == 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return false;
        if (mended_at == 0)
                mended_at = now_boot() + BROKEN_USEC;
        if (now_boot() >= mended_at || path_exists(FILE_WANTED) <= 0) /* without the file the test is over */
                failing = 0;
        return failing != 0;
}

ssize_t write(int fd, const void *data, size_t size) {
        if (must_fail(fd)) {
                errno = failing;
                return -1;
        }
        return syscall(SYS_write, fd, data, size);
}

int fsync(int fd) {
        if (must_fail(fd)) {
                errno = failing;
                return -1;
        }
        return (int) syscall(SYS_fsync, fd);
}

/* Also where it was broken and mended before in the life of this process. */
static void break_disk(int error) {
        failing = error;
        mended_at = 0;
}

/* ---- the points ---- */

static void note_hit(const char *name) {
        _cleanup_close_ int fd = open(FILE_HIT, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        _cleanup_free_ char *line = format("%s\n", name);

        if (fd < 0 || !line || syscall(SYS_write, fd, line, strlen(line)) < 0)
                abort(); /* a test that cannot be trusted */
}

/* How many lines of a file begin with `name`; what follows it on the last of them goes to *ret, for the caller to
 * free. */
static unsigned find_lines(const char *path, const char *name, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t n = strlen(name);
        unsigned found = 0;
        char *rest = NULL;

        if (read_file(path, FILE_SIZE_MAX, false, &text, NULL) < 0)
                return 0;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == '\0')) {
                        found++;
                        if (ret && line[n] == ' ') {
                                free(*ret);
                                *ret = strdup(line + n + 1);
                        }
                }
        return found;
}

static void wait_here(const char *name) {
        uint64_t deadline = now_boot() + WAIT_USEC;

        if (write_file_durable(FILE_REACHED, name, strlen(name), 0600, (uid_t) -1, (gid_t) -1) < 0)
                abort();
        while (path_exists(FILE_REACHED) > 0 && now_boot() < deadline)
                (void) usleep(WAIT_STEP_USEC);
}

/* A fault is single: who comes by a second time, a settling that is begun again for one, meets it no more. "2 ACTION"
 * is the fault for who comes by the second time: the job's second node. True: the answer is lost. */
static bool hit(const char *name) {
        unsigned before = find_lines(FILE_HIT, name, NULL), when = 1;
        _cleanup_free_ char *line = NULL;
        const char *action;

        note_hit(name);
        (void) find_lines(FILE_WANTED, name, &line);
        action = line;
        if (action && *action >= '1' && *action <= '9') {
                when = (unsigned) strtoul(action, (char **) &action, 10);
                action += strspn(action, " ");
        }
        if (before + 1 != when)
                action = NULL;
        if (streq(action, "kill"))
                (void) kill(getpid(), SIGKILL);
        else if (streq(action, "wait"))
                wait_here(name);
        else if (streq(action, "enospc"))
                break_disk(ENOSPC);
        else if (streq(action, "eio"))
                break_disk(EIO);
        return streq(action, "lose");
}

void failpoint_settling(void) {
        settling = true;
}

void failpoint(const char *phase, const char *step, const char *point) {
        _cleanup_free_ char *name =
                format("%s%s%s%s.%s", settling ? "settle-" : "", phase, step ? "." : "", step ?: "", point);

        if (!name)
                abort();
        (void) hit(name);
}

bool failpoint_loses(const char *call) {
        _cleanup_free_ char *name = format("reply.%s", call);

        if (!name)
                abort();
        return hit(name);
}
