/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the daemon may not do itself, since it would wait or needs a network, and what no host is changed by: a command
 * in a transient unit that can write nothing, its output in a memfd. */

#include <sys/mman.h>

#include "host-operation.h"

#define ANSWER_GRACE (10 * USEC_PER_SEC)

static int append_properties(sd_bus_message *m, const HostCommand *c, int output_fd) {
        int r;

        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", c->description, "Type", "s", "oneshot",
                                  "Slice", "s", "dhetcd.slice", "CollectMode", "s", "inactive-or-failed");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "TimeoutStartUSec", "t", c->timeout, "ProtectSystem",
                                          "s", "strict", "PrivateTmp", "b", true, "NoNewPrivileges", "b", true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "StandardOutputFileDescriptor", "h", output_fd);
        return r < 0 ? r : unit_job_transient_command(m, c->argv);
}

int host_operation_command(HostOperation *op, const HostCommand *c, HostNext then) {
        static unsigned counter = 0; /* a name for each: units of one name cannot run at once */
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *unit = format("dhetcd-%s-%d-%u.service", c->name, (int) getpid(), counter++);
        UnitJob *j;
        int r;

        closep(&op->output_fd);
        op->output_fd = memfd_create(c->name, MFD_CLOEXEC);
        if (op->output_fd < 0 || !unit)
                return -ENOMEM;

        r = unit_job_transient_open(op->host->bus, unit, &m);
        if (r >= 0)
                r = append_properties(m, c, op->output_fd);
        if (r >= 0)
                r = unit_job_transient_close(m);
        if (r >= 0)
                r = host_operation_job(op, then, &j);
        return r < 0 ? r : unit_job_send(j, m, unit, c->timeout + ANSWER_GRACE);
}

int host_operation_output(HostOperation *op, char *ret, size_t size) {
        ssize_t n = pread(op->output_fd, ret, size - 1, 0);

        if (n < 0)
                return -errno;
        ret[n] = '\0';
        closep(&op->output_fd);
        op->output_fd = -EBADF;
        return 0;
}
