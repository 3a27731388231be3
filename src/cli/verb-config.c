/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd config: what the files of dhetcd.conf(5) come to on this host, and where each value is from. */

#include "basic/config.h"
#include "basic/error.h"
#include "basic/string-util.h"
#include "cli.h"
#include "pager.h"

typedef struct Printer {
        json_t *array; /* NULL: lines */
        const char *section;
} Printer;

static int print_key(void *userdata, const char *section, const char *name, const char *value, const char *source) {
        _cleanup_free_ char *line = format("%s=%s", name, value);
        Printer *p = userdata;

        if (!line)
                return -ENOMEM;
        if (p->array) {
                json_t *entry =
                        json_pack("{ss ss ss ss?}", "section", section, "key", name, "value", value, "source", source);

                return json_array_append_new(p->array, entry) < 0 ? -ENOMEM : 0;
        }
        if (!streq(p->section, section))
                printf("%s[%s]\n", p->section ? "\n" : "", section);
        p->section = section;
        printf("%-44s %s# %s%s\n", line, colour_on(1, COLOUR_GREY), source ?: "default", colour_off(1));
        return 0;
}

int verb_config(int argc, char **argv) {
        _cleanup_json_ json_t *array = args.json == JSON_OFF ? NULL : json_array();
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_strv_ char **warnings = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        r = config_load(NULL, &config, &warnings, &error);
        if (r < 0) {
                fprintf(stderr, "dhetcd: %s. Until that is mended, no job is taken.\n", error_text(error, r));
                return EXIT_FAILED;
        }
        pager_open();
        STRV_FOREACH (warning, warnings)
                fprintf(stderr, "dhetcd: %s\n", *warning);
        r = config_each(config, print_key, &(Printer){ .array = array });
        if (r < 0)
                return client_fail(r);
        return array ? print_json(array) : EXIT_DONE;
}
