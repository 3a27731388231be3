/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "installer-output.h"

#include <ctype.h>
#include <jansson.h>

#include "basic/string-util.h"

#define PART_PREFIX "etcd_configure.sh."

void installer_output_done(InstallerOutput *o) {
        strv_free(o->errors);
        strv_free(o->last);
        *o = (InstallerOutput){};
}

/* ---- one line ---- */

/* The bytes of an escape sequence from ESC on: "\033[0;31m", "\033]0;title\007", or ESC alone. */
static size_t escape_size(const char *p, const char *end) {
        const char *start = p++;

        if (p < end && *p == '[') {
                for (p++; p < end && !(*p >= '@' && *p <= '~');)
                        p++;
                return (size_t) (p - start) + (p < end);
        }
        if (p < end && *p == ']') {
                while (p < end && *p != '\a')
                        p++;
                return (size_t) (p - start) + (p < end);
        }
        return 1;
}

char *installer_line_clean(const char *text, size_t size) {
        char *line = malloc((size < INSTALLER_LINE_SIZE_MAX ? size : INSTALLER_LINE_SIZE_MAX) + 1), *out = line;
        json_t *as_json;

        if (!line)
                return NULL;
        for (const char *p = text, *end = text + size; p < end && out < line + INSTALLER_LINE_SIZE_MAX;) {
                if (*p == '\033') {
                        p += escape_size(p, end);
                        continue;
                }
                /* A progress bar that overwrites itself: its last picture. */
                if (*p == '\r' && p + 1 < end)
                        out = line;
                else if (*p != '\r')
                        *out++ = (unsigned char) *p < ' ' || *p == 0x7f ? ' ' : *p;
                p++;
        }
        *out = '\0';
        as_json = json_string(line); /* NULL where it is no UTF-8 */
        if (!as_json)
                for (out = line; *out; out++)
                        if ((unsigned char) *out >= 0x80)
                                *out = '?';
        json_decref(as_json);
        return line;
}

static bool is_word_char(char c) {
        return isalnum((unsigned char) c) || c == '_';
}

/* "failed=0", "errors: 0", "0 failed", "no errors", "without error": nothing of the kind. */
static bool is_denied(const char *line, const char *word, size_t size) {
        static const char *const before[] = { "0 ", "no ", "without ", "ignore_", "ignore " };
        const char *after = word + size;

        after += strspn(after, " ");
        if (*after == '=' || *after == ':')
                after += 1 + strspn(after + 1, " ");
        if (after > word + size && *after == '0' && !is_word_char(after[1]))
                return true;
        for (size_t i = 0; i < ELEMENTSOF(before); i++) {
                size_t n = strlen(before[i]);

                if ((size_t) (word - line) >= n && strncasecmp(word - n, before[i], n) == 0 &&
                    ((size_t) (word - line) == n || !is_word_char(word[-(ssize_t) n - 1])))
                        return true;
        }
        return false;
}

static bool has_word(const char *line, const char *word) {
        size_t n = strlen(word);

        for (const char *p = line; (p = strcasestr(p, word)); p++)
                if ((p == line || !is_word_char(p[-1])) && !is_word_char(p[n]) && !is_denied(line, p, n))
                        return true;
        return false;
}

static bool is_error(const char *line) {
        static const char *const words[] = { "error",     "errors",    "failed",       "failure",           "failures",
                                             "fatal",     "exception", "denied",       "traceback",         "abort",
                                             "aborted",   "aborting",  "unreachable",  "command not found", "cannot",
                                             "could not", "unable to", "no such file", "no space left",     "killed" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (has_word(line, words[i]))
                        return true;
        return strncmp(line, "sudo: ", 6) == 0; /* who speaks only to complain */
}

static bool is_loud(const char *line) {
        static const char *const words[] = { "error", "fatal", "failed", "failure" };

        line += strspn(line, " [*!");
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                size_t n = strlen(words[i]);

                if (strncasecmp(line, words[i], n) == 0 && !is_word_char(line[n]) && !is_denied(line, line, n))
                        return true;
        }
        return false;
}

/* Another part of etcd_configure.sh than setup_check. */
static bool names_other_part(const char *line) {
        for (const char *p = line; (p = strstr(p, PART_PREFIX)); p++)
                if (strncmp(p, INSTALLER_EXPECTED, strlen(INSTALLER_EXPECTED)) != 0 ||
                    is_word_char(p[strlen(INSTALLER_EXPECTED)]))
                        return true;
        return false;
}

/* After setup_check has failed the installer may say that it therefore fails itself. */
static bool is_consequence(const char *line) {
        static const char *const words[] = { "install", "exit", "status", "abort" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasestr(line, words[i]))
                        return true;
        return false;
}

/* ---- all lines ---- */

static int keep_last(InstallerOutput *o, const char *line) {
        size_t n = strv_length(o->last);

        if (n >= INSTALLER_LINES_MAX) {
                free(o->last[0]);
                memmove(o->last, o->last + 1, n * sizeof(char *));
        }
        return strv_append(&o->last, line);
}

int installer_output_add(InstallerOutput *o, const char *line) {
        bool named = strstr(line, INSTALLER_EXPECTED) != NULL, other_part = names_other_part(line);
        int r;

        if (*line == '\0')
                return 0;
        r = keep_last(o, line);
        if (named || other_part)
                o->reached = named && !other_part;
        if (r < 0 || !is_error(line))
                return r;

        o->loud = o->loud || is_loud(line);
        if (named && !other_part)
                o->expected = true;
        else if (other_part || !strcasestr(line, "etcd"))
                o->other = o->other || other_part || !o->expected || !is_consequence(line);
        return strv_length(o->errors) < INSTALLER_LINES_MAX ? strv_append(&o->errors, line) : 0;
}

InstallerVerdict installer_output_verdict(const InstallerOutput *o, bool good) {
        if (good && !o->loud)
                return INSTALLER_SUCCEEDED;
        if (o->other)
                return INSTALLER_FAILED;
        if (o->expected)
                return INSTALLER_FAILED_AS_EXPECTED;
        /* Its own words for it are not known: it ended there, and nothing else went wrong. */
        return !good && o->reached && !o->errors ? INSTALLER_FAILED_AS_EXPECTED : INSTALLER_FAILED;
}

char *const *installer_output_lines(const InstallerOutput *o) {
        return o->errors ?: o->last;
}
