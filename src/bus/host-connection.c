/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-connection.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "basic/string-util.h"

#define LAST_WORDS_WAIT (500 * USEC_PER_MSEC)
#define SSH_END_WAIT (2 * USEC_PER_SEC)

/* ---- the ssh process ---- */

static uint64_t left_until(uint64_t deadline) {
        uint64_t now = now_boot();

        return deadline > now ? deadline - now : 0;
}

/* Polls its end, as nothing else tells it everywhere (pidfd_open() is younger than the oldest kernel we run on). */
static bool wait_for_exit(pid_t pid, uint64_t usec) {
        uint64_t deadline = now_boot() + usec;

        for (;;) {
                pid_t p = waitpid(pid, NULL, WNOHANG);

                if (p == pid || (p < 0 && errno != EINTR))
                        return true;
                if (left_until(deadline) == 0)
                        return false;
                (void) nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
        }
}

static void end_ssh(HostConnection *c) {
        if (c->ssh <= 0)
                return;
        (void) kill(c->ssh, SIGTERM);
        if (!wait_for_exit(c->ssh, SSH_END_WAIT)) {
                (void) kill(c->ssh, SIGKILL);
                while (waitpid(c->ssh, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        c->ssh = 0;
}

HostConnection *host_connection_free(HostConnection *c) {
        if (!c)
                return NULL;
        if (c->bus)
                sd_bus_close(c->bus);
        sd_bus_unref(c->bus);
        end_ssh(c);
        closep(&c->stderr_fd);
        free(c);
        return NULL;
}

static HostConnection *connection_alloc(void) {
        HostConnection *c = calloc(1, sizeof(HostConnection));

        if (c)
                c->stderr_fd = -EBADF;
        return c;
}

/* The caller may block signals for a signalfd; ssh must be born without that, or nothing but SIGKILL would end it. */
static int spawn(char *const *command, int stdio, int stderr_fd, pid_t *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        sigemptyset(&none);
        sigfillset(&all);
        sigdelset(&all, SIGKILL);
        sigdelset(&all, SIGSTOP);

        r = posix_spawn_file_actions_adddup2(&actions, stdio, STDIN_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, stdio, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
        if (r == 0)
                r = posix_spawnattr_setsigmask(&attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(&attributes, &all);
        /* A process group of its own: a ^C on a terminal is ours to handle, not ssh's. */
        if (r == 0)
                r = posix_spawnattr_setflags(&attributes,
                                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        if (r == 0)
                r = posix_spawnp(ret, command[0], &actions, &attributes, command, environ);

        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static int start_ssh(HostConnection *c, char *const *command, int *ret_fd) {
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF, words_in = -EBADF, words_out = -EBADF;
        int pair[2];
        int r;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        words_in = pair[0];
        words_out = pair[1];
        /* Ours alone: ssh's end may block, which is how a flood of messages stops itself. */
        if (fcntl(words_in, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        r = spawn(command, theirs, words_out, &c->ssh);
        if (r < 0)
                return r;
        c->stderr_fd = TAKE_FD(words_in);
        *ret_fd = TAKE_FD(ours);
        return 0;
}

/* ---- connecting ---- */

int host_connection_new_local(HostConnection **ret) {
        _cleanup_(host_connection_freep) HostConnection *c = connection_alloc();
        int r;

        if (!c)
                return -ENOMEM;
        r = sd_bus_open_system(&c->bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

int host_connection_new_ssh(char *const *command, HostConnection **ret) {
        _cleanup_(host_connection_freep) HostConnection *c = connection_alloc();
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!c)
                return -ENOMEM;
        r = start_ssh(c, command, &fd);
        if (r >= 0)
                r = sd_bus_new(&c->bus);
        if (r >= 0)
                r = sd_bus_set_description(c->bus, "host");
        if (r >= 0)
                r = sd_bus_set_fd(c->bus, fd, fd);
        if (r < 0)
                return r;
        TAKE_FD(fd); /* the bus closes it */
        r = sd_bus_set_bus_client(c->bus, true);
        if (r >= 0)
                r = sd_bus_start(c->bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

/* ---- ssh's words ---- */

/* Keeps the end of what was said. > 0 while there may be more to come. */
static int read_words(HostConnection *c) {
        for (;;) {
                char chunk[1024];
                ssize_t n = read(c->stderr_fd, chunk, sizeof(chunk));
                size_t size, keep;

                if (n < 0)
                        return errno == EAGAIN ? 1 : errno == EINTR ? 1 : 0;
                if (n == 0)
                        return 0;
                size = (size_t) n;
                keep = c->n_words + size > HOST_LAST_WORDS_MAX ? HOST_LAST_WORDS_MAX - size : c->n_words;
                memmove(c->words, c->words + c->n_words - keep, keep);
                memcpy(c->words + keep, chunk, size);
                c->n_words = keep + size;
        }
}

static void make_printable(char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        *s = ' ';
}

const char *host_connection_last_words(HostConnection *c) {
        uint64_t deadline = now_boot() + LAST_WORDS_WAIT;
        char *line;

        while (c->stderr_fd >= 0 && read_words(c) > 0 && left_until(deadline) > 0) {
                struct pollfd p = { .fd = c->stderr_fd, .events = POLLIN };

                if (poll(&p, 1, (int) (left_until(deadline) / USEC_PER_MSEC) + 1) <= 0)
                        break;
        }

        while (c->n_words > 0 && strchr("\r\n \t", c->words[c->n_words - 1]))
                c->n_words--;
        c->words[c->n_words] = '\0';
        line = strrchr(c->words, '\n');
        line = line ? line + 1 : c->words;
        make_printable(line);
        return *line ? line : NULL;
}

/* ---- calls ---- */

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        sd_bus_message **answer = userdata;

        *answer = sd_bus_message_ref(m);
        return 0;
}

static uint64_t bus_deadline(sd_bus *bus, uint64_t deadline) {
        struct timespec now;
        uint64_t until, monotonic;

        if (sd_bus_get_timeout(bus, &until) < 0 || until == UINT64_MAX)
                return deadline;
        clock_gettime(CLOCK_MONOTONIC, &now);
        monotonic = (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / 1000;
        until = now_boot() + (until > monotonic ? until - monotonic : 0);
        return until < deadline ? until : deadline;
}

/* Waits until the bus can go on. */
static int wait_for_bus(HostConnection *c, uint64_t deadline, int cancel_fd) {
        struct pollfd fds[3] = {
                { .fd = sd_bus_get_fd(c->bus), .events = (short) sd_bus_get_events(c->bus) },
                { .fd = cancel_fd, .events = POLLIN },
                { .fd = c->stderr_fd, .events = POLLIN },
        };
        struct timespec timeout;
        uint64_t left;

        if (fds[0].fd < 0 || fds[0].events < 0)
                return -ECONNRESET;
        left = left_until(bus_deadline(c->bus, deadline));
        timeout = (struct timespec){ .tv_sec = (time_t) (left / USEC_PER_SEC),
                                     .tv_nsec = (long) (left % USEC_PER_SEC) * 1000 };
        if (ppoll(fds, ELEMENTSOF(fds), &timeout, NULL) < 0)
                return errno == EINTR ? 0 : -errno;
        if (fds[1].revents)
                return -ECANCELED;
        /* At its end it would be readable for ever. */
        if (fds[2].revents && read_words(c) == 0) {
                closep(&c->stderr_fd);
                c->stderr_fd = -EBADF;
        }
        return 0;
}

static int wait_for_answer(HostConnection *c, sd_bus_message **answer, uint64_t deadline, int cancel_fd) {
        for (;;) {
                int r = sd_bus_process(c->bus, NULL);

                if (sd_bus_is_ready(c->bus) > 0)
                        c->was_ready = true;
                if (*answer)
                        return 0;
                if (r < 0)
                        return -ECONNRESET;
                if (sd_bus_is_open(c->bus) <= 0)
                        return -ECONNRESET;
                if (r > 0)
                        continue;
                if (left_until(deadline) == 0)
                        return -ETIMEDOUT;
                r = wait_for_bus(c, deadline, cancel_fd);
                if (r < 0)
                        return r;
        }
}

int host_connection_call(HostConnection *c, sd_bus_message *m, uint64_t deadline, int cancel_fd, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        int r;

        r = sd_bus_call_async(c->bus, &slot, m, on_answer, &answer, UINT64_MAX);
        if (r < 0)
                return r == -ENOTCONN || r == -EPIPE ? -ECONNRESET : r;
        r = wait_for_answer(c, &answer, deadline, cancel_fd);
        if (r < 0)
                return r;
        /* sd-bus itself answers for a connection that is closing. */
        if (sd_bus_message_is_method_error(answer, NULL) && sd_bus_is_open(c->bus) <= 0)
                return -ECONNRESET;
        *ret = TAKE_PTR(answer);
        return 0;
}
