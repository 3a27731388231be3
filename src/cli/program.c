/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "basic/string-util.h"

static int spawn(const char *const *argv, int output, pid_t *ret) {
        static const char *const environment[] = {
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL=C",
                "SYSTEMD_COLORS=0",
                NULL,
        };
        posix_spawn_file_actions_t actions;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, NULL, (char *const *) argv, (char *const *) environment);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* Up to the end of the output. */
static int read_output(int fd, uint64_t deadline, char *buffer, size_t size) {
        size_t n = 0;

        for (;;) {
                uint64_t now = now_boot();
                struct pollfd p = { .fd = fd, .events = POLLIN };
                ssize_t k;
                int r = poll(&p, 1, deadline > now ? (int) ((deadline - now) / USEC_PER_MSEC) + 1 : 0);

                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0)
                        return -ETIMEDOUT;
                if (r < 0)
                        continue;
                k = read(fd, buffer + n, size - n - 1);
                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k == 0) {
                        buffer[n] = '\0';
                        return memchr(buffer, '\0', n) ? -EBADMSG : 0;
                }
                n += k > 0 ? (size_t) k : 0;
                if (n >= size - 1)
                        return -E2BIG;
        }
}

int program_read(const char *const *argv, uint64_t timeout, char **ret_output) {
        _cleanup_free_ char *buffer = malloc(PROGRAM_OUTPUT_MAX);
        _cleanup_close_ int in = -EBADF, out = -EBADF;
        int pair[2], r, status;
        pid_t pid;

        if (!buffer)
                return -ENOMEM;
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        in = pair[0];
        out = pair[1];
        r = spawn(argv, out, &pid);
        if (r < 0)
                return r;
        close(TAKE_FD(out));

        r = read_output(in, now_boot() + timeout, buffer, PROGRAM_OUTPUT_MAX);
        if (r < 0)
                (void) kill(pid, SIGKILL);
        /* It has closed its output or was killed: this does not last. */
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (r < 0)
                return r;
        if (!WIFEXITED(status))
                return -EIO;
        *ret_output = TAKE_PTR(buffer);
        return WEXITSTATUS(status);
}
