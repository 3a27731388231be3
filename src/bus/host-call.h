/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One method of org.dhetcd1.Host called, over whatever connection there is or can be made: what all typed calls of
 * host-client.h have in common. */

#include <systemd/sd-bus.h>

#include "host-client.h"

typedef enum CallArgumentType {
        ARGUMENT_STRING,
        ARGUMENT_TXN, /* with "@HOLDER" where host_client_set_holder() said so */
        ARGUMENT_BOOL,
        ARGUMENT_UINT64,
        ARGUMENT_STRV,
        ARGUMENT_BYTES,
        ARGUMENT_PAIRS, /* a{ss}: key, value, key, value, …; those whose value is NULL are left out */
} CallArgumentType;

typedef struct CallArgument {
        CallArgumentType type;
        union {
                const char *string;
                bool boolean;
                uint64_t number;
                char *const *strv;
                const char *const *pairs;
                const void *bytes;
        };
        size_t size; /* bytes, or pairs */
} CallArgument;

#define CALL_STRING(s) ((CallArgument){ .type = ARGUMENT_STRING, .string = (s) })
#define CALL_TXN(s) ((CallArgument){ .type = ARGUMENT_TXN, .string = (s) })
#define CALL_BOOL(b) ((CallArgument){ .type = ARGUMENT_BOOL, .boolean = (b) })
#define CALL_UINT64(n) ((CallArgument){ .type = ARGUMENT_UINT64, .number = (n) })
#define CALL_STRV(v) ((CallArgument){ .type = ARGUMENT_STRV, .strv = (v) })

typedef struct Call {
        const char *method;
        const CallArgument *arguments;
        size_t n;
        uint64_t timeout;
        bool secret;
} Call;

/* *ret is the answer, never an error. Fails as host-client.h says. */
int host_client_call(HostClient *h, const Call *call, sd_bus_message **ret, char **reterr) _must_check_;

/* An answer that does not read as it should. */
int host_client_bad_answer(const HostClient *h, const Call *call, int error, char **reterr);
