/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One thing asked of systemd, and the wait for its end, without blocking: a job (StartUnit, StartTransientUnit, …: the
 * match on JobRemoved is there before the call, so no end is missed) or a change of unit files with the reload after
 * it.
 *
 * Life: unit_job_new() → one of the unit_job_…() that send → the callback, once, from the event loop of the bus.
 * Freeing it before that drops the wait, never the job in systemd. A job that ended is not a healthy service: who needs
 * that looks at the service itself. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "basic/cleanup.h"

#define SYSTEMD_SERVICE "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

typedef struct UnitJob UnitJob;

/* r is 0 for "done", else negative. `result` is systemd's word for it ("done", "failed", "timeout", …; "timeout" too
 * where the time given here ran out), NULL where no job came about or none is known any more. `why` is a sentence, NULL
 * with "done". Both are borrowed and gone after the call, as the job may be: the callback may free it. */
typedef void (*UnitJobCallback)(void *userdata, int r, const char *result, const char *why);

/* The bus must be attached to an event loop; it is borrowed. */
int unit_job_new(sd_bus *bus, UnitJobCallback callback, void *userdata, UnitJob **ret) _must_check_;
UnitJob *unit_job_free(UnitJob *j);
DEFINE_CLEANUP(UnitJob *, unit_job_free)

/* Sends `call`, which must answer with a job's path, and waits for that job. -EEXIST reaches the callback where a
 * transient unit's name is taken. */
int unit_job_send(UnitJob *j, sd_bus_message *call, const char *unit, uint64_t timeout) _must_check_;

/* method: StartUnit, StopUnit or RestartUnit, mode "replace". */
int unit_job_verb(UnitJob *j, const char *method, const char *unit, uint64_t timeout) _must_check_;

/* Waits for a job that is there already. -ENXIO reaches the callback where it is gone: its result is then not known. */
int unit_job_attach(UnitJob *j, uint32_t id, const char *unit, uint64_t timeout) _must_check_;

/* EnableUnitFiles or DisableUnitFiles, then Reload. */
int unit_job_enable(UnitJob *j, bool enable, const char *unit, uint64_t timeout) _must_check_;
int unit_job_reload(UnitJob *j, uint64_t timeout) _must_check_;

/* A StartTransientUnit call for unit_job_send(), opened up to its properties: append them as "(sv)", then close it. */
int unit_job_transient_open(sd_bus *bus, const char *unit, sd_bus_message **ret) _must_check_;
int unit_job_transient_close(sd_bus_message *m) _must_check_;
int unit_job_transient_command(sd_bus_message *m, const char *const *argv) _must_check_; /* ExecStart= */
/* LogExtraFields=: "NAME=VALUE" each, as many as are not NULL. */
int unit_job_transient_log_fields(sd_bus_message *m, const char *const *fields) _must_check_;

/* systemd's word for a job's end as errno: 0 for "done" alone; -EPROTO for one that is not known here. *ret_meaning
 * (may be NULL) is a static half sentence. */
int unit_job_result_check(const char *result, const char **ret_meaning) _must_check_;
