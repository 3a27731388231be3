/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-script-unit.h"

#include <sys/stat.h>

#include "basic/fs.h"

#define SERVERS_MAX 64U
#define CLUSTER_ID_SIZE_MAX 64U
#define NODE_NUMBER_MAX 64U
#define TIMEOUT_MIN USEC_PER_SEC
#define TIMEOUT_MAX (6 * 3600 * USEC_PER_SEC)

typedef struct ScriptKind {
        const char *name;
        const char *path; /* NULL: not the vendor's, but etcd's data is filled (host-script-data.c) */
        bool in_package;  /* works in the delivered package's folder */
        int (*check)(HostOperation *op, const json_t *arguments);
        int (*command)(const json_t *arguments, char ***argv); /* appends to the path */
} ScriptKind;

static const char *argument(const json_t *arguments, size_t i) {
        return json_string_value(json_array_get(arguments, i));
}

/* ---- generate ---- */

static int check_generate(HostOperation *op, const json_t *arguments) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
        size_t n = json_array_size(arguments);
        const char *id;

        if (n < 3 || n > SERVERS_MAX + 2 || !streq(argument(arguments, n - 2), "--cluster-id"))
                return host_operation_reject(op, "generate takes 1 to %u addresses, then --cluster-id and the ID",
                                             SERVERS_MAX);
        for (size_t i = 0; i < n - 2; i++) {
                if (address_check(argument(arguments, i)) < 0)
                        return host_operation_reject(op, "'%.64s' is not the address of a host",
                                                     argument(arguments, i));
                for (size_t k = 0; k < i; k++)
                        if (streq(argument(arguments, i), argument(arguments, k)))
                                return host_operation_reject(op, "%s is there twice", argument(arguments, i));
        }
        id = argument(arguments, n - 1);
        if (*id == '\0' || *id == '-' || strlen(id) > CLUSTER_ID_SIZE_MAX || id[strspn(id, allowed)] != '\0')
                return host_operation_reject(op, "'%.80s' is not the ID of a cluster", id);
        return 0;
}

static int append_all(char ***argv, const char *const *words) {
        int r = 0;

        for (; *words && r >= 0; words++)
                r = strv_append(argv, *words);
        return r;
}

static int command_generate(const json_t *arguments, char ***argv) {
        int r = append_all(argv, (const char *const[]){ "--self-signed", "--servers", NULL });

        for (size_t i = 0; i < json_array_size(arguments) && r >= 0; i++)
                r = strv_append(argv, argument(arguments, i));
        return r < 0 ? r : strv_append(argv, "--root-user-dhadmin");
}

/* ---- unpackage ---- */

static int check_unpackage_server(HostOperation *op, const json_t *arguments) {
        const char *number = argument(arguments, 0);
        size_t n = number ? strspn(number, "0123456789") : 0;

        if (json_array_size(arguments) != 1 || n < 1 || n > 2 || number[n] != '\0' || *number == '0' ||
            strtoul(number, NULL, 10) > NODE_NUMBER_MAX)
                return host_operation_reject(op, "unpackage-server takes a node's number, 1 to %u", NODE_NUMBER_MAX);
        return 0;
}

static int command_unpackage_server(const json_t *arguments, char ***argv) {
        return append_all(argv, (const char *const[]){ "etcd", "unpackage-server", argument(arguments, 0), NULL });
}

static int check_nothing(HostOperation *op, const json_t *arguments) {
        return json_array_size(arguments) == 0 ? 0 : host_operation_reject(op, "%s takes no argument", op->verb);
}

static int command_unpackage_client(const json_t *arguments, char ***argv) {
        return append_all(argv, (const char *const[]){ "etcd", "unpackage-client", NULL });
}

static int command_enable(const json_t *arguments, char ***argv) {
        return 0;
}

static const ScriptKind kinds[] = {
        { "generate", DH_CONFIG_GENERATOR, false, check_generate, command_generate },
        { "unpackage-server", DH_CONFIG_PACKAGER, true, check_unpackage_server, command_unpackage_server },
        { "unpackage-client", DH_CONFIG_PACKAGER, true, check_nothing, command_unpackage_client },
        { "enable", DH_ENABLE_SYSTEMD, false, check_nothing, command_enable },
        { "copy-data", NULL, false, check_nothing, NULL },
        { "restore-data", NULL, false, data_script_check, NULL },
};

static const ScriptKind *find_kind(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (streq(kinds[i].name, name))
                        return kinds + i;
        return NULL;
}

/* ---- before it ---- */

int script_name_check(HostOperation *op) {
        if (find_kind(op->verb))
                return 0;
        return host_operation_reject(op,
                                     "'%.64s' is none of generate, unpackage-server, unpackage-client, enable, "
                                     "copy-data, restore-data",
                                     op->verb);
}

int script_arguments_check(HostOperation *op) {
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        int r = script_name_check(op);

        if (r < 0)
                return r;
        if (timeout < TIMEOUT_MIN || timeout > TIMEOUT_MAX)
                return host_operation_reject(op, "the time for a script must be one second to six hours");
        return find_kind(op->verb)->check(op, json_object_get(op->arguments, "arguments"));
}

static char *work_dir(const HostOperation *op) {
        return format("%s/%s%s", DHETCD_HOST_DIR, op->txn, find_kind(op->verb)->in_package ? "/package" : "");
}

int script_prepare(HostOperation *op) {
        const ScriptKind *kind = find_kind(op->verb);
        _cleanup_free_ char *dir = work_dir(op), *package = NULL;

        package = dir ? format("%s/dh_etcd_config.tgz", dir) : NULL;
        if (!package)
                return -ENOMEM;
        if (!kind->path)
                return data_script_prepare(op);
        if (access(kind->path, X_OK) < 0)
                return fail(&op->why, -errno, "%s cannot be run: %s; install Deephaven on this host first", kind->path,
                            strerror(errno));
        if (kind->in_package && path_exists(package) <= 0)
                return host_operation_reject(op, "no package was delivered for %s", op->txn);
        return 0;
}

bool script_unpacks(const char *script) {
        const ScriptKind *kind = find_kind(script);

        return kind && kind->in_package;
}

char *script_unit_name(const char *txn, const char *step, const char *script) {
        return format(DHETCD_EXEC_UNIT, txn, step, script);
}

/* ---- the unit ---- */

/* Where the vendor's scripts write. */
static const char *const written[] = { DH_ETCD_DIR, DH_SYSCONFIG_DIR, "/etc/systemd/system", DH_ETCD_DATA_PARENT,
                                       (DHETCD_HOST_DIR) };

/* The path, or what it will be in: the script may make it. */
static char *nearest(const char *path, struct stat *ret) {
        char *s = strdup(path), *slash;

        while (s && stat(s, ret) < 0 && (slash = strrchr(s, '/')) > s)
                *slash = '\0';
        return s;
}

/* The scripts sync nothing, and what is recorded as done is to survive a power cut: the file systems are synced by the
 * unit, whose success says that they are. */
static int sync_command(char ***argv) {
        dev_t seen[ELEMENTSOF(written)];
        size_t n = 0;
        int r;

        r = append_all(argv, (const char *const[]){ "/bin/sync", "--file-system", NULL });
        for (size_t i = 0; i < ELEMENTSOF(written) && r >= 0; i++) {
                struct stat st = {};
                _cleanup_free_ char *path = nearest(written[i], &st);
                size_t k = 0;

                if (!path)
                        return -ENOMEM;
                while (k < n && seen[k] != st.st_dev)
                        k++;
                if (k < n)
                        continue;
                seen[n++] = st.st_dev;
                r = strv_append(argv, path);
        }
        return r < 0 ? r : 1;
}

/* The i-th command, from 0: 1, or 0 where there is none any more. */
static int command_of(HostOperation *op, size_t i, char ***argv) {
        const ScriptKind *kind = find_kind(op->verb);
        int r;

        if (!kind->path)
                return data_script_command(op, i, argv);
        if (i > 0)
                return i == 1 ? sync_command(argv) : 0;
        r = strv_append(argv, kind->path);
        if (r >= 0)
                r = kind->command(json_object_get(op->arguments, "arguments"), argv);
        return r < 0 ? r : 1;
}

static int append_command(sd_bus_message *m, char *const *argv) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sasb");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", argv[0]);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) argv);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", /* ignore_failure= */ false);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_exec(sd_bus_message *m, HostOperation *op) {
        int r, more = 1;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "ExecStart");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sasb)");
        for (size_t i = 0; more > 0 && r >= 0; i++) {
                _cleanup_strv_ char **argv = NULL;

                r = more = command_of(op, i, &argv);
                if (r > 0)
                        r = append_command(m, argv);
        }
        for (unsigned i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* So that every line of the script is found by the job, on this host too. No MESSAGE_ID: newer versions of systemd give
 * these fields to their own lines on the unit as well, which have one. */
static int append_log_fields(sd_bus_message *m, const HostOperation *op, const char *unit) {
        char address[256];
        _cleanup_free_ char *job = format("DHETCD_JOB=%s", op->job), *txn = format("DHETCD_TXN=%s", op->txn),
                            *step = format("DHETCD_STEP=%s", op->step),
                            *host = format("DHETCD_HOST=%s", host_own_address(address)),
                            *name = format("DHETCD_UNIT=%s", unit);

        if (!job || !txn || !step || !host || !name)
                return -ENOMEM;
        return unit_job_transient_log_fields(m, (const char *const[]){ job, txn, step, host, name, NULL });
}

/* What a root shell of an operator has, and DH_ADMIN_USER as "source dh_users" sets it. */
static int append_environment(sd_bus_message *m, const HostOperation *op) {
        _cleanup_free_ char *user = format("DH_ADMIN_USER=%s", op->admin.name);

        if (!user)
                return -ENOMEM;
        return sd_bus_message_append(m, "(sv)", "Environment", "as", 4, user, "HOME=/root", "USER=root",
                                     "LOGNAME=root");
}

static int append_settings(sd_bus_message *m, const HostOperation *op, const char *dir) {
        _cleanup_free_ char *description = format("dhetcd %s, step %s: %s", op->txn, op->step, op->verb);
        const char *path = find_kind(op->verb)->path, *identifier = path ? strrchr(path, '/') + 1 : "dhetcd-data";
        uint64_t timeout = (uint64_t) json_get_integer(op->arguments, "timeout", 0);
        int r;

        if (!description)
                return -ENOMEM;
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", description, "Type", "s", "oneshot",
                                  "Slice", "s", "dhetcd.slice", "CollectMode", "s", "inactive-or-failed", "AddRef", "b",
                                  true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "TimeoutStartUSec", "t", timeout, "TimeoutStopUSec",
                                          "t", (uint64_t) (10 * USEC_PER_SEC), "KillMode", "s", "control-group",
                                          "SendSIGKILL", "b", true);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "StandardInput", "s", "null", "StandardOutput", "s",
                                          "journal", "StandardError", "s", "journal", "SyslogIdentifier", "s",
                                          identifier);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "WorkingDirectory", "s", dir);
        return r;
}

int script_unit_message(HostOperation *op, const char *unit, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const ScriptKind *kind = find_kind(op->verb);
        _cleanup_free_ char *dir = work_dir(op);
        int r;

        if (!dir)
                return -ENOMEM;
        r = unit_job_transient_open(op->host->bus, unit, &m);
        if (r >= 0)
                r = append_settings(m, op, dir);
        if (r >= 0)
                r = append_environment(m, op);
        if (r >= 0)
                r = append_log_fields(m, op, unit);
        if (r >= 0 && !kind->path)
                r = data_script_settings(op, m);
        if (r >= 0)
                r = append_exec(m, op);
        if (r >= 0)
                r = unit_job_transient_close(m);
        if (r < 0)
                return fail(&op->why, r, "the unit of script \"%s\" cannot be described: %s", op->verb, strerror(-r));
        *ret = TAKE_PTR(m);
        return 0;
}
