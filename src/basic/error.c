/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "error.h"

#include <stdarg.h>
#include <string.h>

static int fail_closed(int error) {
        return error < 0 ? error : -ENOTRECOVERABLE;
}

static void replace_text(char **reterr, char *text) {
        free(*reterr);
        *reterr = text;
}

int fail(char **reterr, int error, const char *format, ...) {
        char *text = NULL;
        va_list ap;

        if (reterr) {
                va_start(ap, format);
                if (vasprintf(&text, format, ap) < 0)
                        text = NULL;
                va_end(ap);
                replace_text(reterr, text);
        }

        return fail_closed(error);
}

int fail_prefix(char **reterr, int error, const char *format, ...) {
        _cleanup_free_ char *context = NULL;
        char *text = NULL;
        va_list ap;

        error = fail_closed(error);
        if (!reterr)
                return error;

        va_start(ap, format);
        if (vasprintf(&context, format, ap) < 0)
                context = NULL;
        va_end(ap);

        if (asprintf(&text, "%s: %s", context ?: "failed", error_text(*reterr, error)) < 0)
                text = NULL;
        replace_text(reterr, text);

        return error;
}

const char *error_text(const char *text, int error) {
        return text ?: strerror(error < 0 ? -error : error);
}
