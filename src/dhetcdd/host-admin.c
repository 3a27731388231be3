/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DH_ADMIN_USER: the vendor's dh_users is a piece of shell that sets it, so a shell must read it: one of its own, in a
 * transient unit that can write nothing, with fixed arguments, its output in a memfd. User and group ids are asked
 * there too: a name service may wait for a network, and we may not. */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "basic/fs.h"
#include "host-operation.h"

#define USERS_TIMEOUT (30 * USEC_PER_SEC)
#define OUTPUT_SIZE_MAX 1024U
#define LINES 4U

/* systemd takes "$$" for a dollar: one alone it would replace itself. */
static const char *const command[] = {
        "/bin/bash",
        "--noprofile",
        "--norc",
        "-c",
        "source \"$$1\" >/dev/null 2>&1\n"
        "u=$${DH_ADMIN_USER-}\n"
        "g=$$(getent group -- \"$$u\" 2>/dev/null) && g=$${g#*:*:} && g=$${g%%:*} || g=$$(id -g -- \"$$u\" "
        "2>/dev/null)\n"
        "printf '%s\\n' \"$$u\" \"$$(id -u -- \"$$u\" 2>/dev/null)\" \"$$g\" \"$$(id -u -- etcd 2>/dev/null)\"\n",
        "dh_users",
        DH_USERS_FILE,
        NULL,
};

/* ---- asking ---- */

static int append_properties(sd_bus_message *m, int output_fd) {
        int r;

        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", "Who is DH_ADMIN_USER", "Type", "s",
                                  "oneshot", "Slice", "s", "dhetcd.slice", "CollectMode", "s", "inactive-or-failed");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "TimeoutStartUSec", "t", (uint64_t) USERS_TIMEOUT,
                                          "ProtectSystem", "s", "strict", "PrivateTmp", "b", true, "NoNewPrivileges",
                                          "b", true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "StandardOutputFileDescriptor", "h", output_fd);
        return r < 0 ? r : unit_job_transient_command(m, command);
}

/* ---- reading ---- */

static int parse_id(const char *s, uint32_t *ret) {
        uint64_t n;
        char *end;

        errno = 0;
        n = strtoull(s, &end, 10);
        if (*s < '0' || *s > '9' || *end || errno || n >= UINT32_MAX)
                return -EINVAL;
        *ret = (uint32_t) n;
        return 0;
}

static bool user_is_plausible(const char *s) {
        size_t n = strlen(s);

        return n > 0 && n <= 64 && s[0] != '-' &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static int parse_output(HostOperation *op, char *text) {
        char *lines[LINES] = {}, *save = text;

        for (size_t i = 0; i < LINES; i++) {
                lines[i] = strsep(&save, "\n");
                if (!lines[i])
                        return fail(&op->why, -EBADMSG, "%s cannot be sourced; try: bash -xc 'source %s'",
                                    DH_USERS_FILE, DH_USERS_FILE);
        }
        if (!user_is_plausible(lines[0]))
                return fail(&op->why, -ENODATA, "%s sets no DH_ADMIN_USER that is the name of a user; correct it",
                            DH_USERS_FILE);
        if (parse_id(lines[1], &op->admin.uid) < 0 || parse_id(lines[2], &op->admin.gid) < 0)
                return fail(&op->why, -ESRCH, "the user %s, DH_ADMIN_USER of %s, is not known on this host; see: id %s",
                            lines[0], DH_USERS_FILE, lines[0]);
        op->admin.has_etcd = parse_id(lines[3], &op->admin.etcd_uid) >= 0;

        free(op->admin.name);
        op->admin.name = strdup(lines[0]);
        return op->admin.name ? 0 : -ENOMEM;
}

static int users_read(HostOperation *op) {
        char text[OUTPUT_SIZE_MAX + 1];
        ssize_t n;
        int r;

        if (op->job_error < 0)
                return fail(&op->why, op->job_error, "%s cannot be sourced: %s", DH_USERS_FILE,
                            error_text(op->job_why, op->job_error));
        n = pread(op->output_fd, text, OUTPUT_SIZE_MAX, 0);
        if (n < 0)
                return fail(&op->why, -errno, "what %s says cannot be read: %s", DH_USERS_FILE, strerror(errno));
        text[n] = '\0';
        closep(&op->output_fd);
        op->output_fd = -EBADF;

        r = parse_output(op, text);
        return r < 0 ? r : op->then_admin(op);
}

int host_operation_admin_user(HostOperation *op, HostNext then) {
        static unsigned counter = 0; /* a name for each: units of one name cannot run at once */
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *unit = format("dhetcd-users-%d-%u.service", (int) getpid(), counter++);
        UnitJob *j;
        int r;

        if (path_exists(DH_USERS_FILE) <= 0)
                return fail(&op->why, -ENOENT, "%s is not there; install Deephaven on this host first", DH_USERS_FILE);

        op->then_admin = then;
        closep(&op->output_fd);
        op->output_fd = memfd_create("dh_users", MFD_CLOEXEC);
        if (op->output_fd < 0 || !unit)
                return fail(&op->why, -ENOMEM, "there is no memory to read %s", DH_USERS_FILE);

        r = unit_job_transient_open(op->host->bus, unit, &m);
        if (r >= 0)
                r = append_properties(m, op->output_fd);
        if (r >= 0)
                r = unit_job_transient_close(m);
        if (r >= 0)
                r = host_operation_job(op, users_read, &j);
        if (r >= 0)
                r = unit_job_send(j, m, unit, USERS_TIMEOUT + 10 * USEC_PER_SEC);
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked to read %s: %s", DH_USERS_FILE, strerror(-r)) : 0;
}

/* ---- the method ---- */

static int admin_user_known(HostOperation *op) {
        return host_operation_answer(
                op, json_pack("[s, I, I]", op->admin.name, (json_int_t) op->admin.uid, (json_int_t) op->admin.gid));
}

int begin_admin_user(HostOperation *op) {
        return host_operation_admin_user(op, admin_user_known);
}
