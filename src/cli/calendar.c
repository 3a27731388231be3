/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "calendar.h"

#include <time.h>

#include "basic/string-util.h"
#include "program.h"

#define CALENDAR_TIMEOUT (10 * USEC_PER_SEC)

/* "Sat 2026-11-28 02:00:00 UTC"; 0 for anything else. */
static uint64_t parse_utc(const char *text) {
        struct tm tm = {};
        const char *end = strptime(text, "%a %Y-%m-%d %H:%M:%S UTC", &tm);
        time_t at = end ? timegm(&tm) : (time_t) -1;

        return at > 0 ? (uint64_t) at * USEC_PER_SEC : 0;
}

/* A date is "Next elapse: …" or "Iteration #2: …" ("Iter. #2" before systemd 256) in local time, and, where that is not
 * UTC, "(in UTC): …" right behind it. */
size_t calendar_parse(const char *output, uint64_t *ret, size_t n) {
        size_t found = 0;

        for (const char *p = output, *end; *p && found < n; p = *end ? end + 1 : end) {
                const char *value;

                end = strchrnul(p, '\n');
                p += strspn(p, " ");
                value = memmem(p, (size_t) (end - p), ": ", 2);
                if (!value)
                        continue;
                value += 1 + strspn(value + 1, " ");
                if (strncmp(p, "Next elapse", 11) != 0 && strncmp(p, "Iter", 4) != 0 && strncmp(p, "(in UTC)", 8) != 0)
                        continue;
                ret[found] = parse_utc(value);
                if (ret[found] > 0)
                        found++;
        }
        return found;
}

int calendar_dates(const char *event, uint64_t after, uint64_t *ret, size_t n) {
        _cleanup_free_ char *iterations = format("--iterations=%zu", n), *output = NULL;
        _cleanup_free_ char *base = format("--base-time=@%llu", (unsigned long long) (after / USEC_PER_SEC));
        int r;

        if (!iterations || !base)
                return -ENOMEM;
        r = program_read((const char *const[]){ "systemd-analyze", "--no-pager", iterations, base, "calendar", "--",
                                                event, NULL },
                         CALENDAR_TIMEOUT, &output);
        if (r != 0)
                return r < 0 ? r : -EINVAL;
        return (int) calendar_parse(output, ret, n);
}
