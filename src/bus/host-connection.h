/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One D-Bus connection to one host, and calls over it that end by a deadline or when something asks them to. The remote
 * end is an ssh process of ours on one end of a socket pair, with its standard error on a pipe: so it can be ended and
 * waited for, and its last words are known. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "basic/cleanup.h"

#define HOST_LAST_WORDS_MAX 4096U

typedef struct HostConnection {
        sd_bus *bus;
        bool was_ready;                      /* the host's bus has answered once */
        pid_t ssh;                           /* 0: none */
        int stderr_fd;                       /* -EBADF: none */
        char words[HOST_LAST_WORDS_MAX + 1]; /* the end of what ssh has said */
        size_t n_words;
} HostConnection;

HostConnection *host_connection_free(HostConnection *c); /* ends ssh and waits for it */
DEFINE_CLEANUP(HostConnection *, host_connection_free)

int host_connection_new_local(HostConnection **ret) _must_check_;
int host_connection_new_ssh(char *const *command, HostConnection **ret) _must_check_;

/* Sends a method call and waits. *ret is the answer, an error answer too (then r >= 0 and sd_bus_message_get_error()).
 * -ETIMEDOUT; -ECANCELED when cancel_fd (or -1) is readable; -ECONNRESET when the connection is not or no longer there.
 */
int host_connection_call(HostConnection *c, sd_bus_message *m, uint64_t deadline, int cancel_fd,
                         sd_bus_message **ret) _must_check_;

/* ssh's last line that is not empty, or NULL; waits a little for what it may still say. Borrowed. */
const char *host_connection_last_words(HostConnection *c);
