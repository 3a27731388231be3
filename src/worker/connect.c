/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "connect.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "basic/cleanup.h"
#include "basic/fs.h"
#include "basic/string-util.h"

#define CONNECT_TIMEOUT (5 * USEC_PER_SEC)

static socklen_t make_sockaddr(const char *address, uint16_t port, struct sockaddr_storage *ret) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *) ret;
        struct sockaddr_in *four = (struct sockaddr_in *) ret;

        *ret = (struct sockaddr_storage){};
        if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
                four->sin_family = AF_INET;
                four->sin_port = htons(port);
                return sizeof(*four);
        }
        if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
                six->sin6_family = AF_INET6;
                six->sin6_port = htons(port);
                return sizeof(*six);
        }
        return 0;
}

/* A socket that connects, left to the end of the process; or -1, and *ret_error says what became of it at once. */
static int begin(const char *url, int *ret_error) {
        struct sockaddr_storage to;
        char address[ADDRESS_MAX];
        uint16_t port;
        socklen_t size = address_from_url(url, address, &port) < 0 ? 0 : make_sockaddr(address, port, &to);
        int fd = size > 0 ? socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;

        if (size == 0)
                errno = EINVAL;
        *ret_error = fd >= 0 && connect(fd, (struct sockaddr *) &to, size) >= 0 ? 0 : errno;
        return *ret_error == EINPROGRESS ? fd : -1;
}

/* The sockets that have come to an end are -1 afterwards. */
static int wait_for_all(struct pollfd *fds, int *errors, unsigned n) {
        uint64_t deadline = now_boot() + CONNECT_TIMEOUT, now;

        while ((now = now_boot()) < deadline) {
                bool open = false;

                if (poll(fds, n, (int) ((deadline - now) / USEC_PER_MSEC) + 1) < 0 && errno != EINTR)
                        return -errno;
                for (unsigned i = 0; i < n; i++) {
                        socklen_t size = sizeof(int);

                        if (fds[i].fd >= 0 && fds[i].revents != 0) {
                                if (getsockopt(fds[i].fd, SOL_SOCKET, SO_ERROR, errors + i, &size) < 0)
                                        errors[i] = errno;
                                fds[i].fd = -1;
                        }
                        open = open || fds[i].fd >= 0;
                }
                if (!open)
                        break;
        }
        return 0;
}

static const char *word_of(int error) {
        switch (error) {
        case 0:
                return "connected";
        case ECONNREFUSED:
                return "refused";
        case EINPROGRESS:
                return strerror(ETIMEDOUT);
        default:
                return strerror(error);
        }
}

int connect_all(char *const *urls, unsigned n) {
        _cleanup_free_ struct pollfd *fds = calloc(n, sizeof(struct pollfd));
        _cleanup_free_ int *errors = calloc(n, sizeof(int));
        int r;

        if (n > 0 && (!fds || !errors))
                return -ENOMEM;
        for (unsigned i = 0; i < n; i++)
                fds[i] = (struct pollfd){ .fd = begin(urls[i], errors + i), .events = POLLOUT };
        r = wait_for_all(fds, errors, n);
        for (unsigned i = 0; i < n && r >= 0; i++)
                if (puts(word_of(errors[i])) == EOF)
                        r = -EIO;
        return r < 0 ? r : fflush(stdout) == EOF ? -EIO : 0;
}
