/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd-txn-JOB-N.service: what PID 1 is told about the worker of one transaction. */

#include <linux/capability.h>
#include <stdarg.h>

#include "basic/string-util.h"
#include "bus/names.h"
#include "bus/unit-job.h"
#include "manager-internal.h"

#define STOP_TIMEOUT_USEC (20 * 60 * USEC_PER_SEC) /* a whole rollback, with restarts of members, fits into it */

/* Settings younger than systemd 239, so that they are left out where it does not know them. */
static const char *const optional[] = {
        "ProtectHostname",   "ProtectClock",
        "ProtectKernelLogs", "ProtectProc",
        "RestrictSUIDSGID",  "LogRateLimitIntervalUSec",
        "OOMPolicy",         NULL,
};

typedef struct Properties {
        sd_bus_message *message;
        char *const *without;
        int error; /* the first */
} Properties;

static void add(Properties *p, const char *name, const char *type, ...) {
        va_list ap;
        int r;

        if (p->error < 0 || strv_contains(p->without, name))
                return;
        r = sd_bus_message_open_container(p->message, 'r', "sv");
        RET_GATHER(p->error, r);
        RET_GATHER(p->error, sd_bus_message_append_basic(p->message, 's', name));
        RET_GATHER(p->error, sd_bus_message_open_container(p->message, 'v', type));
        va_start(ap, type);
        RET_GATHER(p->error, sd_bus_message_appendv(p->message, type, ap));
        va_end(ap);
        RET_GATHER(p->error, sd_bus_message_close_container(p->message));
        RET_GATHER(p->error, sd_bus_message_close_container(p->message));
}

/* `txn` may be NULL. */
static void add_log_fields(Properties *p, const char *job, const char *txn) {
        _cleanup_free_ char *a = format("DHETCD_JOB=%s", job), *b = format("DHETCD_TXN=%s", txn ?: "");

        if (!a || !b) {
                RET_GATHER(p->error, -ENOMEM);
                return;
        }
        RET_GATHER(p->error, sd_bus_message_open_container(p->message, 'r', "sv"));
        RET_GATHER(p->error, sd_bus_message_append_basic(p->message, 's', "LogExtraFields"));
        RET_GATHER(p->error, sd_bus_message_open_container(p->message, 'v', "aay"));
        RET_GATHER(p->error, sd_bus_message_open_container(p->message, 'a', "ay"));
        RET_GATHER(p->error, sd_bus_message_append_array(p->message, 'y', a, strlen(a)));
        if (txn)
                RET_GATHER(p->error, sd_bus_message_append_array(p->message, 'y', b, strlen(b)));
        RET_GATHER(p->error, sd_bus_message_close_container(p->message));
        RET_GATHER(p->error, sd_bus_message_close_container(p->message));
        RET_GATHER(p->error, sd_bus_message_close_container(p->message));
}

/* How it runs and ends. */
static void add_service(Properties *p, const char *verb, const char *txn, const char *budget) {
        static const char worker[] = DHETCD_LIBEXEC_DIR "/dhetcd-worker";

        add(p, "Type", "s", "exec");
        if (budget)
                add(p, "ExecStart", "a(sasb)", 1, worker, 4, worker, verb, txn, budget, 0);
        else
                add(p, "ExecStart", "a(sasb)", 1, worker, 3, worker, verb, txn, 0);
        /* PID 1 itself puts things right when the worker dies of anything, SIGKILL included. */
        add(p, "ExecStopPost", "a(sasb)", 1, worker, 3, worker, "settle", txn, 0);
        add(p, "NotifyAccess", "s", "main");
        add(p, "Slice", "s", "dhetcd.slice");
        add(p, "KillMode", "s", "mixed"); /* ssh lives on while the worker rolls back through it */
        /* An ssh that the kernel kills for its memory is a connection that is lost; what settles is not stopped. */
        add(p, "OOMPolicy", "s", "continue");
        add(p, "TimeoutStopUSec", "t", STOP_TIMEOUT_USEC);
        /* Stopped before these at shutdown, since a rollback needs them. Not after dh-etcd.service: a restart of it
         * would then wait for the stop of the unit that asks for it, and a rollback would hang until its timeout. */
        add(p, "After", "as", 2, "network.target", "dbus.service");
        /* The unit is kept until the daemon has seen its end, and not a moment longer, failed or not. */
        add(p, "CollectMode", "s", "inactive-or-failed");
        add(p, "AddRef", "b", 1);
        add(p, "LogRateLimitIntervalUSec", "t", (uint64_t) 0);
}

/* The worker speaks to etcd and the buses, keeps its log, writes the package and starts ssh; nothing else is left to
 * it. */
static void add_sandbox(Properties *p, const char *runtime, bool writes) {
        const uint64_t capabilities = UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE |
                                      UINT64_C(1) << CAP_DAC_READ_SEARCH | UINT64_C(1) << CAP_FOWNER;

        add(p, "RuntimeDirectory", "as", 1, runtime);
        add(p, "RuntimeDirectoryMode", "u", 0700);
        add(p, "UMask", "u", 0077);
        add(p, "LimitCORE", "t", (uint64_t) 0);
        add(p, "NoNewPrivileges", "b", 1);
        add(p, "CapabilityBoundingSet", "t", capabilities);
        add(p, "ProtectSystem", "s", "strict");
        if (writes)
                add(p, "ReadWritePaths", "as", 2, DHETCD_STATE_DIR, "-/etc/sysconfig/deephaven");
        add(p, "ProtectHome", "s", "read-only"); /* ssh may have its keys there */
        add(p, "PrivateTmp", "b", 1);
        add(p, "PrivateDevices", "b", 1);
        add(p, "ProtectKernelTunables", "b", 1);
        add(p, "ProtectKernelModules", "b", 1);
        add(p, "ProtectKernelLogs", "b", 1);
        add(p, "ProtectControlGroups", "b", 1);
        add(p, "ProtectHostname", "b", 1);
        add(p, "ProtectClock", "b", 1);
        add(p, "ProtectProc", "s", "invisible");
        add(p, "RestrictAddressFamilies", "(bas)", 1, 4, "AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK");
        add(p, "RestrictNamespaces", "t", (uint64_t) 0);
        add(p, "RestrictRealtime", "b", 1);
        add(p, "RestrictSUIDSGID", "b", 1);
        add(p, "LockPersonality", "b", 1);
        add(p, "MemoryDenyWriteExecute", "b", 1);
        add(p, "SystemCallArchitectures", "as", 1, "native");
        add(p, "SystemCallFilter", "(bas)", 1, 1, "@system-service");
        add(p, "SystemCallFilter", "(bas)", 0, 1, "@resources");
        add(p, "SystemCallErrorNumber", "i", EPERM);
}

char *txn_unit_name(const Job *j, size_t n) {
        return format("dhetcd-txn-%s-%zu.service", j->id, n);
}

int txn_unit_message(sd_bus *bus, const Job *j, size_t n, const char *verb, const char *budget, char *const *without,
                     sd_bus_message **ret) {
        _cleanup_free_ char *name = txn_unit_name(j, n), *txn = job_txn_id(j, n), *runtime = NULL, *title = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        Properties p = { .without = without };
        int r;

        runtime = format("dhetcd-txn-%s-%zu", j->id, n);
        title = format("%s%s etcd node %s (job %s)",
                       streq(verb, "run")      ? ""
                       : streq(verb, "revert") ? "Taking back: "
                                               : "Settling: ",
                       job_words(j->kind)->Adding, j->nodes[n - 1], j->id);
        if (!name || !txn || !runtime || !title)
                return -ENOMEM;
        r = unit_job_transient_open(bus, name, &message);
        if (r < 0)
                return r;

        p.message = message;
        add(&p, "Description", "s", title);
        add(&p, "Documentation", "as", 1, "man:dhetcd(1)");
        add_service(&p, verb, txn, budget);
        add_log_fields(&p, j->id, txn);
        add_sandbox(&p, runtime, /* writes= */ true);
        RET_GATHER(p.error, unit_job_transient_close(message));
        if (p.error < 0)
                return p.error;

        *ret = TAKE_PTR(message);
        return 0;
}

int look_unit_message(sd_bus *bus, const char *id, const char *request, int fd, char *const *without,
                      sd_bus_message **ret) {
        _cleanup_free_ char *name = format("dhetcd-look-%s.service", id), *runtime = format("dhetcd-look-%s", id);
        static const char worker[] = DHETCD_LIBEXEC_DIR "/dhetcd-worker";
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        Properties p = { .without = without };
        int r;

        if (!name || !runtime)
                return -ENOMEM;
        r = unit_job_transient_open(bus, name, &message);
        if (r < 0)
                return r;

        p.message = message;
        add(&p, "Description", "s", "Looking at the etcd cluster");
        add(&p, "Documentation", "as", 1, "man:dhetcd(1)");
        add(&p, "Type", "s", "exec");
        add(&p, "ExecStart", "a(sasb)", 1, worker, 3, worker, "look", request, 0);
        add(&p, "StandardOutputFileDescriptor", "h", fd);
        add(&p, "Slice", "s", "dhetcd.slice");
        add(&p, "RuntimeMaxUSec", "t", LOOK_USEC);
        add(&p, "CollectMode", "s", "inactive-or-failed");
        add_sandbox(&p, runtime, /* writes= */ false);
        RET_GATHER(p.error, unit_job_transient_close(message));
        if (p.error < 0)
                return p.error;

        *ret = TAKE_PTR(message);
        return 0;
}

int install_unit_message(sd_bus *bus, const char *id, uint64_t timeout, char *const *without, sd_bus_message **ret) {
        _cleanup_free_ char *name = format("dhetcd-install-%s.service", id), *runtime = format("dhetcd-install-%s", id);
        static const char worker[] = DHETCD_LIBEXEC_DIR "/dhetcd-worker";
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        Properties p = { .without = without };
        int r;

        if (!name || !runtime)
                return -ENOMEM;
        r = unit_job_transient_open(bus, name, &message);
        if (r < 0)
                return r;

        p.message = message;
        add(&p, "Description", "s", "Running the Deephaven installer");
        add(&p, "Documentation", "as", 1, "man:dhetcd(1)");
        add(&p, "Type", "s", "notify"); /* it holds the lock when the start is over */
        add(&p, "NotifyAccess", "s", "main");
        add(&p, "ExecStart", "a(sasb)", 1, worker, 3, worker, "install", id, 0);
        /* What a worker that died has started is ended, whatever it died of. */
        add(&p, "ExecStopPost", "a(sasb)", 1, worker, 3, worker, "install-end", id, 0);
        add(&p, "Slice", "s", "dhetcd.slice");
        add(&p, "KillMode", "s", "mixed");
        add(&p, "RuntimeMaxUSec", "t", timeout);
        add(&p, "TimeoutStopUSec", "t", INSTALL_STOP_USEC);
        add(&p, "CollectMode", "s", "inactive-or-failed");
        add(&p, "LogRateLimitIntervalUSec", "t", (uint64_t) 0);
        add_log_fields(&p, id, NULL);
        add_sandbox(&p, runtime, /* writes= */ true);
        RET_GATHER(p.error, unit_job_transient_close(message));
        if (p.error < 0)
                return p.error;

        *ret = TAKE_PTR(message);
        return 0;
}

int txn_unit_learn(const char *why, char ***without) {
        static const char before[] = "Cannot set property ";
        const char *named = why ? strstr(why, before) : NULL;
        int r;

        if (!named)
                return 0;
        named += strlen(before);
        for (size_t i = 0; optional[i]; i++) {
                size_t n = strlen(optional[i]);

                if (strncmp(named, optional[i], n) != 0 || (named[n] != ',' && named[n] != '\0'))
                        continue;
                if (strv_contains(*without, optional[i]))
                        return 0;
                r = strv_append(without, optional[i]);
                return r < 0 ? r : 1;
        }
        return 0;
}
