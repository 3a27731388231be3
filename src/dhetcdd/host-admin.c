/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DH_ADMIN_USER: the vendor's dh_users is a piece of shell that sets it, so a shell must read it: one of its own, with
 * fixed arguments. User and group ids are asked there too: a name service may wait for a network, and we may not. */

#include <inttypes.h>

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
        int r;

        if (op->job_error < 0)
                return fail(&op->why, op->job_error, "%s cannot be sourced: %s", DH_USERS_FILE,
                            error_text(op->job_why, op->job_error));
        r = host_operation_output(op, text, sizeof(text));
        if (r < 0)
                return fail(&op->why, r, "what %s says cannot be read: %s", DH_USERS_FILE, strerror(-r));
        r = parse_output(op, text);
        return r < 0 ? r : op->then_admin(op);
}

int host_operation_admin_user(HostOperation *op, HostNext then) {
        static const HostCommand c = { "users", "Who is DH_ADMIN_USER", command, USERS_TIMEOUT };
        int r;

        if (path_exists(DH_USERS_FILE) <= 0)
                return fail(&op->why, -ENOENT, "%s is not there; install Deephaven on this host first", DH_USERS_FILE);
        op->then_admin = then;
        r = host_operation_command(op, &c, users_read);
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
