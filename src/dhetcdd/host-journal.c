/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-journal.h"

#include <jansson.h>
#include <systemd/sd-journal.h>

#include "basic/string-util.h"

#define LINE_SIZE_MAX 1024U
#define TOTAL_SIZE_MAX (128U * 1024U)

/* Control characters and what is no UTF-8 become spaces and question marks: the lines travel by D-Bus and JSON. */
static char *make_printable(const char *text, size_t size) {
        char *line = strndup(text, size < LINE_SIZE_MAX ? size : LINE_SIZE_MAX);
        json_t *as_json;

        if (!line)
                return NULL;
        for (char *p = line; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        as_json = json_string(line);
        if (!as_json)
                for (char *p = line; *p; p++)
                        if ((unsigned char) *p >= 0x80)
                                *p = '?';
        json_decref(as_json);
        return line;
}

static int append_message(sd_journal *j, char ***lines) {
        _cleanup_free_ char *line = NULL;
        const void *data;
        size_t size;
        int r;

        r = sd_journal_get_data(j, "MESSAGE", &data, &size);
        if (r < 0)
                return r == -ENOENT || r == -EBADMSG || r == -E2BIG || r == -EPROTONOSUPPORT ? 0 : r;
        if (size < strlen("MESSAGE="))
                return 0;
        line = make_printable((const char *) data + strlen("MESSAGE="), size - strlen("MESSAGE="));
        return line ? strv_append(lines, line) : -ENOMEM;
}

/* How many were dropped. */
static size_t drop_oldest(char **lines) {
        size_t total = 0, n = strv_length(lines), first = n;

        while (first > 0 && total + strlen(lines[first - 1]) + 1 <= TOTAL_SIZE_MAX)
                total += strlen(lines[--first]) + 1;
        if (first == 0)
                return 0;
        for (size_t i = 0; i < first; i++)
                free(lines[i]);
        memmove(lines, lines + first, (n - first + 1) * sizeof(*lines));
        return first;
}

/* How many entries there are before the newest `max`. */
static int count_earlier(sd_journal *j, size_t max, size_t *ret) {
        int r;

        r = sd_journal_seek_tail(j);
        if (r >= 0)
                r = sd_journal_previous_skip(j, max + JOURNAL_EARLIER_MAX);
        if (r < 0)
                return r;
        *ret = (size_t) r > max ? (size_t) r - max : 0;
        return 0;
}

/* The newest `max` entries of what the matches select. */
static int read_newest(sd_journal *j, uint64_t since, size_t max, char ***ret, size_t *ret_earlier) {
        _cleanup_strv_ char **lines = NULL;
        size_t earlier = 0, dropped = 0;
        int r;

        (void) sd_journal_set_data_threshold(j, 64U * 1024U);
        r = ret_earlier ? count_earlier(j, max, &earlier) : 0;
        if (r >= 0)
                r = sd_journal_seek_tail(j);
        if (r >= 0)
                r = sd_journal_previous_skip(j, max);
        while (r > 0) {
                uint64_t when = 0;

                if (sd_journal_get_realtime_usec(j, &when) >= 0 && when >= since) {
                        r = append_message(j, &lines);
                        if (r < 0)
                                break;
                }
                r = sd_journal_next(j);
        }
        if (r < 0)
                return r;
        if (lines)
                dropped = drop_oldest(lines);
        if (ret_earlier)
                *ret_earlier = earlier + dropped;
        *ret = TAKE_PTR(lines);
        return 0;
}

static int match(sd_journal *j, const char *field, const char *value) {
        _cleanup_free_ char *m = format("%s=%s", field, value);

        return m ? sd_journal_add_match(j, m, 0) : -ENOMEM;
}

int journal_read_output(const char *unit, size_t max, char ***ret, size_t *ret_earlier) {
        _cleanup_(sd_journal_closep) sd_journal *j = NULL;
        int r;

        r = sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        if (r >= 0)
                r = match(j, "_SYSTEMD_UNIT", unit);
        return r < 0 ? r : read_newest(j, 0, max, ret, ret_earlier);
}

int journal_read_unit(const char *unit, uint64_t since, size_t max, char ***ret) {
        _cleanup_(sd_journal_closep) sd_journal *j = NULL;
        int r;

        r = sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        if (r >= 0)
                r = match(j, "_SYSTEMD_UNIT", unit);
        if (r >= 0)
                r = sd_journal_add_disjunction(j);
        if (r >= 0)
                r = match(j, "_PID", "1");
        if (r >= 0)
                r = match(j, "UNIT", unit);
        return r < 0 ? r : read_newest(j, since, max, ret, NULL);
}
