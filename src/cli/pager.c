/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pager of list, show, plan and others: the variables are those of systemctl(1). */

#include "pager.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "basic/string-util.h"
#include "cli.h"

#define LESS_OPTIONS "FRSXMK" /* systemd's: ends by itself where all fits on the screen; ^C ends it */

static pid_t pager = 0;
static int terminal = -EBADF; /* what standard output was */
static bool took_stderr = false;

int pager_terminal(int fd) {
        return pager > 0 && (fd == STDOUT_FILENO || (fd == STDERR_FILENO && took_stderr)) ? terminal : fd;
}

char **pager_command(const char *systemd_pager, const char *pager_variable, bool secure) {
        const char *asked = secure ? NULL : systemd_pager ?: pager_variable;
        char **words = NULL;

        asked = asked ?: "less";
        while (*(asked += strspn(asked, " \t"))) {
                size_t n = strcspn(asked, " \t");
                _cleanup_free_ char *word = strndup(asked, n);

                if (!word || strv_append(&words, word) < 0) {
                        strv_free(words);
                        return NULL;
                }
                asked += n;
        }
        if (words && words[0] && streq(words[0], "cat")) {
                strv_free(words);
                return NULL;
        }
        return words;
}

/* Somebody else's rights must not become a shell by less' "!". */
static bool must_be_secure(void) {
        const char *said = getenv("SYSTEMD_PAGERSECURE");

        if (said)
                return !streq(said, "0") && !streq(said, "no") && !streq(said, "false");
        return geteuid() != getuid() || getenv("SUDO_UID") || getenv("PKEXEC_UID");
}

static int spawn_pager(char *const *command, int input) {
        posix_spawn_file_actions_t actions;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        r = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        if (r == 0)
                r = posix_spawnp(&pager, command[0], &actions, NULL, command, environ);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                pager = 0;
        return -r;
}

static void set_variables(bool secure) {
        (void) setenv("LESS", getenv("SYSTEMD_LESS") ?: LESS_OPTIONS, 1);
        (void) setenv("LESSCHARSET", getenv("SYSTEMD_LESSCHARSET") ?: "utf-8", 1);
        if (secure)
                (void) setenv("LESSSECURE", "1", 1);
}

void pager_open(void) {
        _cleanup_strv_ char **command = NULL;
        _cleanup_close_ int in = -EBADF, out = -EBADF;
        const char *term = getenv("TERM");
        bool secure = must_be_secure();
        int pair[2];

        if (pager > 0 || args.no_pager || !isatty(STDOUT_FILENO) || !term || streq(term, "dumb"))
                return;
        command = pager_command(getenv("SYSTEMD_PAGER"), getenv("PAGER"), secure);
        if (!command || pipe2(pair, O_CLOEXEC) < 0)
                return;
        in = pair[0];
        out = pair[1];
        terminal = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        set_variables(secure);
        fflush(stdout);
        if (terminal < 0 || (spawn_pager(command, in) < 0 && spawn_pager((char *[]){ (char *) "more", NULL }, in) < 0))
                return;
        (void) signal(SIGPIPE, SIG_IGN); /* who has read enough changes no exit code */
        took_stderr = isatty(STDERR_FILENO) && dup2(out, STDERR_FILENO) >= 0;
        (void) dup2(out, STDOUT_FILENO);
}

void pager_close(void) {
        if (pager <= 0)
                return;
        fflush(stdout);
        (void) dup2(terminal, STDOUT_FILENO); /* the pipe's last writing ends */
        if (took_stderr)
                (void) dup2(terminal, STDERR_FILENO);
        while (waitpid(pager, NULL, 0) < 0 && errno == EINTR)
                ;
        pager = 0;
}
