/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include "basic/error.h"
#include "preflight.h"

#define CONNECT_TIMEOUT (5 * USEC_PER_SEC)

static int make_sockaddr(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_size) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *) ret;
        struct sockaddr_in *four = (struct sockaddr_in *) ret;

        *ret = (struct sockaddr_storage){};
        if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
                four->sin_family = AF_INET;
                four->sin_port = htons(port);
                *ret_size = sizeof(*four);
        } else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
                six->sin6_family = AF_INET6;
                six->sin6_port = htons(port);
                *ret_size = sizeof(*six);
        } else
                return -EINVAL;
        return 0;
}

/* 0: somebody listens. Negative: what connect() says, -ETIMEDOUT or -ECANCELED. */
static int try_connect(const struct sockaddr_storage *to, socklen_t size, int cancel_fd) {
        _cleanup_close_ int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct pollfd fds[2] = { { .fd = fd, .events = POLLOUT }, { .fd = cancel_fd, .events = POLLIN } };
        uint64_t deadline = now_boot() + CONNECT_TIMEOUT;
        socklen_t error_size = sizeof(int);
        int r, error = 0;

        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) to, size) == 0)
                return 0;
        if (errno != EINPROGRESS)
                return -errno;

        do {
                uint64_t now = now_boot();

                r = now < deadline ? poll(fds, 2, (int) ((deadline - now) / USEC_PER_MSEC) + 1) : 0;
        } while (r < 0 && errno == EINTR);
        if (r < 0)
                return -errno;
        if (r == 0)
                return -ETIMEDOUT;
        if (fds[1].revents != 0)
                return -ECANCELED;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0)
                return -errno;
        return -error;
}

int preflight_port(const Addition *a, const char *address, uint16_t port, char **reterr) {
        struct sockaddr_storage to;
        socklen_t size;
        int r;

        r = make_sockaddr(address, port, &to, &size);
        if (r >= 0)
                r = try_connect(&to, size, a->cancel_fd);
        if (r == -ECONNREFUSED || r == 0)
                return 0;
        if (r == -ECANCELED)
                return r;
        return fail(reterr, r,
                    "%s: port %u cannot be reached from this host (%s), so its etcd could not be either. Open it in "
                    "the firewalls between the nodes; on %s \"nft list ruleset\" shows that host's",
                    address, port, strerror(-r), address);
}
