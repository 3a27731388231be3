/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "time-of-day.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "string-util.h"

int time_of_day_after(const char *text, uint64_t from, uint64_t *ret) {
        time_t now = (time_t) (from / USEC_PER_SEC), at;
        unsigned hour, minute, second = 0;
        struct tm tm;
        int n = 0;

        if (strspn(text, "0123456789:") != strlen(text) ||
            ((sscanf(text, "%2u:%2u:%2u%n", &hour, &minute, &second, &n) != 3 || text[n] != '\0') &&
             (second = 0, sscanf(text, "%2u:%2u%n", &hour, &minute, &n) != 2 || text[n] != '\0')) ||
            hour > 23 || minute > 59 || second > 59)
                return -EINVAL;
        if (!localtime_r(&now, &tm))
                return -EOVERFLOW;
        tm.tm_hour = (int) hour;
        tm.tm_min = (int) minute;
        tm.tm_sec = (int) second;
        tm.tm_isdst = -1;
        at = mktime(&tm);
        if (at != (time_t) -1 && at <= now) {
                tm.tm_mday++;
                tm.tm_hour = (int) hour;
                tm.tm_isdst = -1;
                at = mktime(&tm);
        }
        if (at == (time_t) -1)
                return -EOVERFLOW;
        *ret = (uint64_t) at * USEC_PER_SEC;
        return 0;
}
