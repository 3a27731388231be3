/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Arguments and answers between D-Bus and JSON, which is what the record keeps. */

#include "host-operation.h"

/* Reads op->arguments (and bytes into op->data), checks txn and step, and makes op->digest. */
int host_arguments_read(HostOperation *op, sd_bus_message *m, char **reterr) _must_check_;

/* Appends an array's entries by a signature of s, b, u, i and as. */
int host_answer_append(sd_bus_message *m, const char *signature, const json_t *answer) _must_check_;
