/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One run of the vendor's installer, on disk: INSTALLS-DIR/ID/install.json and, beside it, what it wrote. A JSON object
 * with install (the ID), dir, expect (whether the expected failure is one to go on from), uid (who asked), asked_usec,
 * ended_usec, state, text, lines, user, cnf (SHA-256 of cluster.cnf at the end). */

#include <stdbool.h>
#include <stdint.h>

#include "basic/json-util.h"

#define INSTALLS_DIR "/var/lib/dhetcd/installs"
#define INSTALL_ID_DIGITS 8U

#define INSTALL_RUNNING "running"
#define INSTALL_SUCCEEDED "succeeded"
#define INSTALL_EXPECTED "expected-failure" /* etcd_configure.sh.setup_check, and nothing else */
#define INSTALL_FAILED "failed"
#define INSTALL_TIMED_OUT "timed-out"
#define INSTALL_REFUSED "refused" /* nothing was run */
#define INSTALL_CANCELED "canceled"
#define INSTALL_LOST "lost" /* who ran it died; how it ended is not known */

#define INSTALL_BUSY "busy" /* true, where "grow" was not to wait for another job, and there was one */

bool install_id_is_valid(const char *id);
char *install_path(const char *id, const char *file); /* NULL on OOM; file NULL: the folder */

int install_record_load(const char *id, json_t **ret, char **reterr) _must_check_;
int install_record_save(const json_t *record, char **reterr) _must_check_;

/* state, text, ended_usec = now, lines (stolen; NULL: none). */
int install_record_end(json_t *record, const char *state, const char *text, json_t *lines) _must_check_;

/* All of them, the newest first, without their lines. What cannot be read is left out. */
int install_records(json_t **ret) _must_check_;

/* Who runs the installer holds this lock, with the ID in its file. The descriptor keeps it; -EBUSY where another has
 * it for five seconds. */
int install_lock(const char *id) _must_check_;
/* 1, with the ID, where somebody holds it, else 0. */
int install_lock_holder(char ret_id[static INSTALL_ID_DIGITS + 1]) _must_check_;
/* 1, with the ID, where a run is not known to have ended and its unit is there yet: its worker has died, and what ends
 * the installer has not begun. `units` is where systemd keeps transient units. */
int install_unit_holder(const char *units, char ret_id[static INSTALL_ID_DIGITS + 1]) _must_check_;
