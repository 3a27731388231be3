/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <pwd.h>
#include <time.h>

#include "basic/string-util.h"
#include "cli.h"
#include "pager.h"

static bool has_colours(int fd) {
        static int known[3] = { -1, -1, -1 };

        if (fd < 0 || fd > 2)
                return false;
        if (known[fd] < 0) {
                const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

                known[fd] = isatty(pager_terminal(fd)) && !(no && *no) && term && !streq(term, "dumb");
        }
        return known[fd];
}

const char *colour_on(int fd, Colour c) {
        static const char *const codes[] = {
                [COLOUR_NONE] = "",
                [COLOUR_GREY] = "\033[0;90m",
                [COLOUR_GREEN] = "\033[0;1;32m",
                [COLOUR_YELLOW] = "\033[0;1;33m",
                [COLOUR_RED] = "\033[0;1;31m",
                [COLOUR_BOLD] = "\033[0;1m",
        };

        return has_colours(fd) ? codes[c] : "";
}

const char *colour_off(int fd) {
        return has_colours(fd) ? "\033[0m" : "";
}

static const struct {
        const char *state;
        Colour colour;
        int code;
} states[] = {
        { "queued", COLOUR_NONE, -1 },
        { "running", COLOUR_YELLOW, -1 },
        { "committed", COLOUR_GREEN, EXIT_DONE },
        { "rejected", COLOUR_RED, EXIT_FAILED },
        { "canceled", COLOUR_GREY, EXIT_FAILED },
        { "rolled-back", COLOUR_RED, EXIT_ROLLED_BACK },
        { "stuck", COLOUR_RED, EXIT_STUCK },
        { "rescued", COLOUR_GREY, EXIT_STUCK },
};

Colour state_colour(const char *state) {
        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                if (streq(states[i].state, state))
                        return states[i].colour;
        return COLOUR_NONE;
}

int state_exit_code(const char *state) {
        for (size_t i = 0; i < ELEMENTSOF(states); i++)
                if (streq(states[i].state, state))
                        return states[i].code;
        return EXIT_FAILED; /* a newer daemon's word: no success that is not known to be one */
}

char *time_to_string(uint64_t usec) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        char text[64];
        struct tm tm;

        if (usec == 0)
                return strdup("-");
        if (!localtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
                return strdup("?");
        return strdup(text);
}

char *user_to_string(json_int_t uid) {
        const struct passwd *entry = uid >= 0 && !args.host ? getpwuid((uid_t) uid) : NULL;

        return entry ? format("%s (%lld)", entry->pw_name, (long long) uid) : format("user %lld", (long long) uid);
}

int print_json(const json_t *v) {
        if (json_dumpf(v, stdout, JSON_ENCODE_ANY | (args.json == JSON_PRETTY ? JSON_INDENT(2) : JSON_COMPACT)) < 0)
                return client_fail(-EIO);
        putchar('\n');
        return EXIT_DONE;
}

int print_json_string(const char *key, const char *value) {
        _cleanup_json_ json_t *v = json_pack("{s:s}", key, value);

        return v ? print_json(v) : client_fail(-ENOMEM);
}

void print_clean(FILE *f, const char *text) {
        for (; *text; text++)
                fputc((unsigned char) *text < ' ' && *text != '\t' ? ' ' : *text, f);
}
