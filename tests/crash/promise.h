/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the engine has told its caller is on disk: a power cut may take nothing of it away. A write that returned 0 has
 * promised its file, txn_log_append() its record, snapshot_take() its snapshot, txn_run() the end. The promises of the
 * instant an image is taken are written beside it, and must hold in the image before anything is recovered. */

#include <stdbool.h>

#include "txn/txn-log.h"

/* From now on the path, and what is below it, may be anything. */
void promise_begin(const char *path);
/* From now on the path stays as it is now (not there, too). */
void promise_path(const char *path);
/* The log in BASE/FOLDER keeps all records it has now. */
void promise_log(const char *folder);
void promise_snapshot(const char *name, const char *digest);
void promise_end(TxnState state);

/* As text, one promise a line. */
size_t promises_format(char *buffer, size_t size);

/* Whether each line of the text holds in BASE. Says what does not. */
bool promises_hold(const char *text);
