/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ssh-command.h"

#include "basic/error.h"
#include "basic/string-util.h"

#define GLOBAL_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts"
#define USER_MAX 64U
#define DEFAULT_CONNECT_TIMEOUT 10U
#define BRIDGE "systemd-stdio-bridge"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool user_is_valid(const char *user) {
        size_t n = strlen(user);

        return n > 0 && n <= USER_MAX && user[0] != '-' && user[0] != '.' && strspn(user, LETTERS "._-") == n;
}

/* ssh splits at spaces and expands '%', '~' and '${}': a path is taken only where it has none of these. */
static bool path_is_plain(const char *path) {
        return path[0] == '/' && strspn(path, LETTERS "/._-+@:,=") == strlen(path);
}

static int append_option(char ***argv, const char *name, const char *value) {
        _cleanup_free_ char *option = format("%s=%s", name, value);
        int r;

        if (!option)
                return -ENOMEM;
        r = strv_append(argv, "-o");
        return r < 0 ? r : strv_append(argv, option);
}

static int append_number(char ***argv, const char *name, unsigned value) {
        char text[16];

        snprintf(text, sizeof(text), "%u", value);
        return append_option(argv, name, text);
}

/* What is the same for every host. */
static int append_fixed(char ***argv) {
        static const char *const options[][2] = {
                { "BatchMode", "yes" },
                { "StrictHostKeyChecking", "yes" },
                { "ServerAliveInterval", "5" },
                { "ServerAliveCountMax", "3" },
                { "ForwardAgent", "no" },
                { "ClearAllForwardings", "yes" },
                { "PermitLocalCommand", "no" },
                /* A connection of our own, so that ending our ssh ends it. */
                { "ControlMaster", "no" },
                { "ControlPath", "none" },
                { "LogLevel", "ERROR" },
                { "GlobalKnownHostsFile", GLOBAL_KNOWN_HOSTS },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(options); i++)
                r = append_option(argv, options[i][0], options[i][1]);
        return r;
}

static int append_identity(char ***argv, const char *file) {
        int r;

        if (!file)
                return 0;
        r = append_option(argv, "IdentityFile", file);
        return r < 0 ? r : append_option(argv, "IdentitiesOnly", "yes");
}

static int append_destination(char ***argv, const char *user, const char *address) {
        _cleanup_free_ char *destination = format("%s@%s", user, address);
        int r;

        r = destination ? strv_append(argv, "--") : -ENOMEM;
        if (r >= 0)
                r = strv_append(argv, destination);
        return r < 0 ? r : strv_append(argv, BRIDGE);
}

int ssh_command(const char *address, const SshOptions *options, char ***ret, char **reterr) {
        const char *user = options && options->user ? options->user : "root";
        const char *known_hosts = options && options->known_hosts ? options->known_hosts : "/dev/null";
        const char *identity = options ? options->identity_file : NULL;
        unsigned connect_timeout =
                options && options->connect_timeout > 0 ? options->connect_timeout : DEFAULT_CONNECT_TIMEOUT;
        const char *program = getenv("SYSTEMD_SSH"); /* as systemd's own tools take it */
        _cleanup_strv_ char **argv = NULL;
        int r;

        if (address_check(address) < 0)
                return fail(reterr, -EINVAL, "'%s' is not the address of a host", address);
        if (!user_is_valid(user))
                return fail(reterr, -EINVAL, "'%s' is not a user name for ssh; correct User= in dhetcd.conf", user);
        if (!path_is_plain(known_hosts) || (identity && !path_is_plain(identity)))
                return fail(reterr, -EINVAL, "'%s' is not a path that ssh takes as it is; correct it in dhetcd.conf",
                            path_is_plain(known_hosts) ? identity : known_hosts);

        r = strv_append(&argv, program && *program ? program : "ssh");
        if (r >= 0)
                r = strv_append(&argv, "-xT");
        if (r >= 0)
                r = append_fixed(&argv);
        if (r >= 0)
                r = append_option(&argv, "UserKnownHostsFile", known_hosts);
        if (r >= 0)
                r = append_number(&argv, "ConnectTimeout", connect_timeout);
        if (r >= 0)
                r = append_number(&argv, "Port", options && options->port > 0 ? options->port : 22);
        if (r >= 0)
                r = append_identity(&argv, identity);
        if (r >= 0)
                r = append_destination(&argv, user, address);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(argv);
        return 0;
}
