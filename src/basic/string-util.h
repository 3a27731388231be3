/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small helpers over strings, NULL-terminated string vectors, addresses and time. */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "cleanup.h"

#define ADDRESS_MAX 46U /* INET6_ADDRSTRLEN */

static inline bool streq(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static inline const char *yes_no(bool b) {
        return b ? "yes" : "no";
}

/* A string vector: NULL, or an array of owned strings that ends with NULL. */
void strv_free(char **v);
DEFINE_CLEANUP(char **, strv_free)
#define _cleanup_strv_ _cleanup_(strv_freep)

size_t strv_length(char *const *v);
bool strv_contains(char *const *v, const char *s);
int strv_append(char ***v, const char *s) _must_check_; /* copies s */
char **strv_copy(char *const *v);
char *strv_join(char *const *v, const char *separator); /* NULL on OOM */
#define STRV_FOREACH(s, v) for (char *const *s = (v); s && *s; s++)

/* asprintf() that returns the string, or NULL on OOM. */
char *format(const char *fmt, ...) _printf_(1, 2);

/* At most `max` bytes of a text; one that is longer is cut between two characters of UTF-8, and ends with "…". With
 * `printable`, one line: control characters become spaces. NULL on OOM. */
char *text_limit(const char *s, size_t max, bool printable);

/* An IPv4 or IPv6 address in its one canonical spelling (RFC 5952): refuses leading zeros, zone ids, spaces and
 * names with -EINVAL; -EADDRNOTAVAIL for 0.0.0.0, ::, loopback and multicast, which can be no host's. */
int address_check(const char *s) _must_check_;

/* Whether the address is one of this machine's own interfaces': > 0 yes, 0 no. */
int address_is_local(const char *s) _must_check_;

/* "https://ADDRESS:PORT" (IPv6 in brackets) <-> its parts. The parser takes nothing else: no path, no user. */
char *address_url(const char *address, uint16_t port);
int address_from_url(const char *url, char ret_address[static ADDRESS_MAX], uint16_t *ret_port) _must_check_;

/* CLOCK_BOOTTIME and CLOCK_REALTIME in microseconds. A deadline is a now_boot() + duration. */
uint64_t now_boot(void);
uint64_t now_real(void);
#define USEC_PER_SEC ((uint64_t) 1000000)
#define USEC_PER_MSEC ((uint64_t) 1000)
