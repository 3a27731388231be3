/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The vendor's scripts: what may be asked of each, and the transient unit that it runs as. */

#include "host-operation.h"

int script_name_check(HostOperation *op) _must_check_; /* rejects */
int script_arguments_check(HostOperation *op) _must_check_;
int script_prepare(HostOperation *op) _must_check_; /* what it needs is there */
bool script_unpacks(const char *script);            /* it works in the delivered package's folder */
char *script_unit_name(const char *txn, const char *step, const char *script);

/* The StartTransientUnit call, complete. op->admin must be known. */
int script_unit_message(HostOperation *op, const char *unit, sd_bus_message **ret) _must_check_;

/* host-script-output.c: what a script printed. */
typedef struct ScriptLines {
        char **lines;           /* the newest */
        size_t earlier;         /* so many were before them */
        unsigned rounds, quiet; /* the journal may get the last lines after systemd has seen the end of the script */
} ScriptLines;
void script_lines_done(ScriptLines *l);
/* 1: that is all. 0: more may come, script_lines_wait() and read again. */
int script_lines_read(ScriptLines *l, const char *unit) _must_check_;
int script_lines_wait(HostOperation *op, HostNext then) _must_check_;
/* With a line on those that are left out; NULL on OOM. */
json_t *script_lines_to_json(const ScriptLines *l, const char *unit);

/* host-script-data.c: what fills a data directory that host-data.c has just made empty.
 *
 *   copy-data           with what was moved aside there
 *   restore-data JOB N  with the snapshot of etcd that transaction N of this host's job JOB saved */
int data_script_check(HostOperation *op, const json_t *arguments) _must_check_;
int data_script_prepare(HostOperation *op) _must_check_;
int data_script_settings(HostOperation *op, sd_bus_message *m) _must_check_;
/* Appends the i-th command, from 0: 1, or 0 where there is none any more. */
int data_script_command(HostOperation *op, size_t i, char ***argv) _must_check_;
