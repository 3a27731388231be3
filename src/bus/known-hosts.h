/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Host keys as ssh's known_hosts files and ssh-keyscan have them: "[@MARKER] HOST[,HOST…] TYPE BASE64 [comment]". Pure
 * text: nothing here reads a file or a network. */

#include <stdbool.h>

#include "basic/digest.h"

#define FINGERPRINT_SIZE 64U /* "SHA256:", 43 digits, and the NUL */

typedef struct KnownKey {
        char *hosts, *type, *blob; /* blob: base64 */
        bool revoked, authority;   /* @revoked, @cert-authority */
        char fingerprint[FINGERPRINT_SIZE];
} KnownKey;

void known_key_done(KnownKey *k);

typedef struct KnownKeys {
        KnownKey *items;
        size_t n;
} KnownKeys;

void known_keys_done(KnownKeys *k);

/* Reads all lines of `text`; comments, empty lines and lines that are no keys (which ssh ignores too) are left out.
 * Appends to *ret. -ENOMEM, or -E2BIG for more than 4096 keys. */
int known_keys_read(const char *text, KnownKeys *ret) _must_check_;

/* How known_hosts names a host: "ADDRESS", or "[ADDRESS]:PORT" where the port is not 22. NULL on OOM. */
char *known_host_name(const char *address, unsigned port);

/* `text` without `name`: lines that name it alone go, from those that name others too it is taken out; every other byte
 * stays. NULL on OOM. *ret_removed: how many lines named it. */
char *known_hosts_without(const char *text, const char *name, size_t *ret_removed);
