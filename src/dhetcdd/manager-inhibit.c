/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* logind is asked not to shut down while a transaction is open. Without logind, or where it refuses, the work goes
 * on: a shutdown then only means that the transaction is put back, or settled at the next boot. */

#include <fcntl.h>

#include "basic/string-util.h"
#include "manager-internal.h"

static int ask(Manager *m, const char *mode, sd_bus_message_handler_t callback) {
        return sd_bus_call_method_async(m->bus, &m->inhibit_slot, "org.freedesktop.login1", "/org/freedesktop/login1",
                                        "org.freedesktop.login1.Manager", "Inhibit", callback, m, "ssss",
                                        "shutdown:sleep", "dhetcd",
                                        "The etcd cluster is changed (see \"dhetcd watch\")", mode);
}

static int on_inhibited(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        Manager *m = userdata;
        int fd;

        m->inhibit_slot = sd_bus_slot_unref(m->inhibit_slot);
        if (!sd_bus_message_is_method_error(reply, NULL) && sd_bus_message_read(reply, "h", &fd) >= 0 && m->run)
                m->inhibit_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return 0;
}

/* Before systemd 257 "block" was what "block-weak" is: it keeps operators from it, and not root. */
static int on_inhibited_weakly(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        Manager *m = userdata;

        if (!sd_bus_message_is_method_error(reply, NULL))
                return on_inhibited(reply, userdata, unused);
        m->inhibit_slot = sd_bus_slot_unref(m->inhibit_slot);
        if (m->run)
                (void) ask(m, "block", on_inhibited);
        return 0;
}

void manager_inhibit(Manager *m) {
        if (m->inhibit_fd < 0 && !m->inhibit_slot)
                (void) ask(m, "block-weak", on_inhibited_weakly);
}

void manager_uninhibit(Manager *m) {
        m->inhibit_slot = sd_bus_slot_unref(m->inhibit_slot);
        if (m->inhibit_fd >= 0)
                close(TAKE_FD(m->inhibit_fd));
}
