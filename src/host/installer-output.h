/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the installer's lines mean. The vendor's page says of the first run: "The failure should have errors related to
 * etcd_configure.sh.setup_check. If other (non-etcd related) errors have occurred, they must be resolved". Its text and
 * its exit code are not documented, so where a line may mean another failure, it does: then a person looks. */

#include <stdbool.h>
#include <stddef.h>

#include "basic/cleanup.h"

#define INSTALLER_EXPECTED "etcd_configure.sh.setup_check"
#define INSTALLER_LINES_MAX 12U
#define INSTALLER_LINE_SIZE_MAX 2048U

typedef enum InstallerVerdict {
        INSTALLER_SUCCEEDED,
        INSTALLER_FAILED_AS_EXPECTED,
        INSTALLER_FAILED,
} InstallerVerdict;

typedef struct InstallerOutput {
        char **errors; /* lines that tell of one, the first ones */
        char **last;   /* the newest lines */
        bool expected; /* setup_check failed */
        bool other;    /* something else did */
        bool loud;     /* a line begins with ERROR or the like */
        bool reached;  /* the last part of etcd_configure.sh that was named is setup_check */
} InstallerOutput;

void installer_output_done(InstallerOutput *o);

/* A line without its end, as it was written: owned and printable (no escape sequences), or NULL on OOM. */
char *installer_line_clean(const char *text, size_t size);

/* One clean line, in order. */
int installer_output_add(InstallerOutput *o, const char *line) _must_check_;

/* `good`: it ended by itself, with exit status 0. */
InstallerVerdict installer_output_verdict(const InstallerOutput *o, bool good);

/* The lines that matter: errors, else the newest. Borrowed; may be NULL. */
char *const *installer_output_lines(const InstallerOutput *o);
