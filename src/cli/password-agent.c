/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* polkit asks for passwords through an agent of the session; on a terminal without one, its own text agent is started
 * and dies with us. Root is never asked. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>

#include "basic/string-util.h"
#include "cli.h"

#define AGENT "/usr/bin/pkttyagent"
#define AGENT_READY_MSEC 5000

static void run_agent(int ready, pid_t parent) {
        char fd[16];

        (void) signal(SIGINT, SIG_IGN); /* ^C is a question to us, not to it */
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || fcntl(ready, F_SETFD, 0) < 0)
                _exit(EXIT_FAILED);
        (void) snprintf(fd, sizeof(fd), "%d", ready);
        (void) execv(AGENT, (char *const[]){ (char *) AGENT, (char *) "--notify-fd", fd, (char *) "--fallback", NULL });
        _exit(EXIT_FAILED);
}

void password_agent_open(void) {
        _cleanup_close_ int ready = -EBADF;
        pid_t self = getpid(), child;
        int fds[2];

        if (!args.ask_password || geteuid() == 0 || !isatty(STDIN_FILENO) || access(AGENT, X_OK) < 0 ||
            pipe2(fds, O_CLOEXEC) < 0)
                return;
        ready = fds[0];

        child = fork();
        if (child == 0)
                run_agent(fds[1], self);
        close(fds[1]);
        if (child > 0) /* it closes its end as soon as polkit knows it, and also where it fails */
                (void) poll(&(struct pollfd){ .fd = ready, .events = POLLIN }, 1, AGENT_READY_MSEC);
}
