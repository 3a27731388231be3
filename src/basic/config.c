/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One table of keys; inih splits the lines. Its handler is told no line numbers (they are a build option of the
 * library), so the reader below counts them; it also refuses what inih would silently take for something else: indented
 * lines, which it appends to the key above, and lines longer than its buffer, which it would cut in two. */

#include "config.h"

#include <dirent.h>
#include <ini.h>
#include <inttypes.h>
#include <stddef.h>

#include "error.h"
#include "fs.h"
#include "string-util.h"

#define DROPINS_MAX 256U

typedef enum KeyType { KEY_STRING, KEY_PATH, KEY_RESTART, KEY_UNSIGNED, KEY_UINT64, KEY_SECONDS, KEY_BOOLEAN } KeyType;

typedef struct Key {
        const char *section, *name;
        KeyType type;
        size_t offset;
        uint64_t min, max; /* of numbers, in the unit of the file */
} Key;

#define SECONDS_MAX (366U * 86400U)

static const Key keys[] = {
        { "ssh", "User", KEY_STRING, offsetof(Config, ssh_user) },
        { "ssh", "IdentityFile", KEY_PATH, offsetof(Config, ssh_identity_file) },
        { "ssh", "KnownHostsFile", KEY_PATH, offsetof(Config, ssh_known_hosts_file) },
        { "ssh", "Port", KEY_UNSIGNED, offsetof(Config, ssh_port), 1, 65535 },
        { "ssh", "ConnectTimeoutSec", KEY_UNSIGNED, offsetof(Config, ssh_connect_timeout_sec), 1, 3600 },
        { "etcd", "CAFile", KEY_PATH, offsetof(Config, etcd_ca_file) },
        { "etcd", "CertFile", KEY_PATH, offsetof(Config, etcd_cert_file) },
        { "etcd", "KeyFile", KEY_PATH, offsetof(Config, etcd_key_file) },
        { "etcd", "DataDirectory", KEY_PATH, offsetof(Config, data_directory) },
        { "job", "Restart", KEY_RESTART, offsetof(Config, restart) },
        { "job", "SyncMargin", KEY_UINT64, offsetof(Config, sync_margin), 0, 1000000000 },
        { "job", "SyncTimeoutSec", KEY_SECONDS, offsetof(Config, sync_timeout_usec), 1, SECONDS_MAX },
        { "job", "StepTimeoutSec", KEY_SECONDS, offsetof(Config, step_timeout_usec), 1, SECONDS_MAX },
        { "job", "WaitTimeoutSec", KEY_SECONDS, offsetof(Config, wait_timeout_usec), 1, SECONDS_MAX },
        { "job", "MoveDataAside", KEY_BOOLEAN, offsetof(Config, move_data_aside) },
        { "job", "RequireOdd", KEY_BOOLEAN, offsetof(Config, require_odd) },
        { "job", "KeepJobs", KEY_UNSIGNED, offsetof(Config, keep_jobs), 1, 10000 },
        { "job", "KeepDays", KEY_UNSIGNED, offsetof(Config, keep_days), 1, 36500 },
        { "settle", "BudgetSec", KEY_SECONDS, offsetof(Config, settle_budget_usec), 1, 86400 },
        { "settle", "RetryBudgetSec", KEY_SECONDS, offsetof(Config, retry_budget_usec), 1, 86400 },
        { "install", "TimeoutSec", KEY_SECONDS, offsetof(Config, install_timeout_usec), 1, SECONDS_MAX },
        { "metrics", "TextfileDirectory", KEY_PATH, offsetof(Config, textfile_directory) },
};

/* One file being read. */
typedef struct Reader {
        FILE *file;
        const char *path;
        unsigned line;
        Config *config;
        char **errors, **warnings;
        int error; /* -ENOMEM */
} Reader;

static void note(Reader *r, char ***list, const char *what, const char *detail) {
        _cleanup_free_ char *text = format("%s:%u: %s%s", r->path, r->line, what, detail);

        if (!text || strv_append(list, text) < 0)
                r->error = -ENOMEM;
}

int boolean_from_string(const char *s) {
        static const char *const names[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(s, names[i]))
                        return i % 2 == 1;
        return -EINVAL;
}

static int number_from_string(const char *s, uint64_t min, uint64_t max, uint64_t *ret) {
        uint64_t n = 0;

        if (*s == '\0')
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                n = n * 10 + (uint64_t) (*s - '0');
                if (n > max)
                        return -ERANGE;
        }
        if (n < min)
                return -ERANGE;
        *ret = n;
        return 0;
}

static int set_string(char **field, const char *value) {
        char *copy = NULL;

        if (*value != '\0') { /* an empty value takes the setting back */
                copy = strdup(value);
                if (!copy)
                        return -ENOMEM;
        }
        free(*field);
        *field = copy;
        return 0;
}

/* 0, -ENOMEM, or -EINVAL with what is wrong in *ret_wrong. */
static int set_key(Config *c, const Key *key, const char *value, const char **ret_wrong) {
        void *field = (char *) c + key->offset;
        uint64_t n = 0;
        int b;

        switch (key->type) {
        case KEY_STRING:
                *ret_wrong = "must be a name of letters, digits, '_', '-' and '.', and not begin with '-'";
                if (*value == '-' ||
                    strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != strlen(value))
                        return -EINVAL;
                return set_string(field, value);
        case KEY_PATH:
                *ret_wrong = "must be an absolute path";
                return *value != '\0' && *value != '/' ? -EINVAL : set_string(field, value);
        case KEY_RESTART:
                *ret_wrong = "must be \"needed\" or \"always\"";
                return streq(value, "needed") || streq(value, "always") ? set_string(field, value) : -EINVAL;
        case KEY_BOOLEAN:
                *ret_wrong = "must be yes or no";
                b = boolean_from_string(value);
                if (b < 0)
                        return b;
                *(bool *) field = b;
                return 0;
        case KEY_UNSIGNED:
        case KEY_UINT64:
        case KEY_SECONDS:
                *ret_wrong = "must be a whole number in the range that dhetcd.conf(5) gives";
                if (number_from_string(value, key->min, key->max, &n) < 0)
                        return -EINVAL;
                if (key->type == KEY_UNSIGNED)
                        *(unsigned *) field = (unsigned) n;
                else
                        *(uint64_t *) field = key->type == KEY_SECONDS ? n * USEC_PER_SEC : n;
                return 0;
        }
        return -EINVAL;
}

static int note_source(const Reader *r, size_t key, bool set) {
        char *source = NULL;

        if (set) {
                source = format("%s:%u", r->path, r->line);
                if (!source)
                        return -ENOMEM;
        }
        free(r->config->sources[key]);
        r->config->sources[key] = source;
        return 0;
}

static int on_key(void *userdata, const char *section, const char *name, const char *value) {
        Reader *r = userdata;
        const char *wrong = NULL;
        int k;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (!streq(keys[i].section, section) || !streq(keys[i].name, name))
                        continue;
                k = set_key(r->config, &keys[i], value, &wrong);
                if (k >= 0)
                        k = note_source(r, i, *value != '\0');
                if (k == -ENOMEM)
                        r->error = k;
                else if (k < 0) {
                        _cleanup_free_ char *what = format("%s= %s, not ", name, wrong);
                        _cleanup_free_ char *quoted = format("\"%s\"", value);

                        note(r, &r->errors, what ?: name, quoted ?: value);
                }
                return 1;
        }

        _cleanup_free_ char *full = format("[%s] %s", section, name);
        note(r, &r->warnings, "unknown setting, ignored: ", full ?: name);
        return 1;
}

static char *on_line(char *buffer, int size, void *stream) {
        Reader *r = stream;
        size_t n;
        int c;

        if (!fgets(buffer, size, r->file))
                return NULL;
        r->line++;
        n = strlen(buffer);

        if (n > 0 && buffer[n - 1] != '\n' && (c = fgetc(r->file)) != EOF) {
                note(r, &r->errors, "the line is too long", "");
                while (c != EOF && c != '\n')
                        c = fgetc(r->file);
                return strcpy(buffer, "\n");
        }
        if ((*buffer == ' ' || *buffer == '\t') && !strchr("\r\n;#", buffer[strspn(buffer, " \t")])) {
                note(r, &r->errors, "the line begins with a space, remove it", "");
                return strcpy(buffer, "\n");
        }
        return buffer;
}

static int read_one(Reader *r, const char *path) {
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        int line;

        if (!file)
                return errno == ENOENT ? 0 : -errno;

        r->file = file;
        r->path = path;
        r->line = 0;
        line = ini_parse_stream(on_line, r, on_key, r);
        if (line > 0) { /* no handler returned 0, so it is a line inih could not split */
                r->line = (unsigned) line;
                note(r, &r->errors, "neither a [section] nor a Key=value", "");
        } else if (line < 0)
                return -ENOMEM;

        r->file = NULL;
        r->path = NULL;
        return ferror(file) ? -EIO : r->error;
}

static int is_dropin(const struct dirent *e) {
        size_t n = strlen(e->d_name);

        return e->d_name[0] != '.' && n > 5 && streq(e->d_name + n - 5, ".conf");
}

static int by_name(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int list_dropins(const char *dir, char ***ret) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        _cleanup_strv_ char **names = NULL;
        struct dirent *e;
        int r;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((e = readdir(d))) {
                if (!is_dropin(e))
                        continue;
                if (strv_length(names) >= DROPINS_MAX)
                        return -E2BIG;
                r = strv_append(&names, e->d_name);
                if (r < 0)
                        return r;
        }
        if (names)
                qsort(names, strv_length(names), sizeof(*names), by_name);
        *ret = TAKE_PTR(names);
        return 0;
}

static int set_defaults(Config *c) {
        c->ssh_user = strdup("root");
        c->restart = strdup("needed");
        c->ssh_known_hosts_file = strdup(CONFIG_KNOWN_HOSTS_FILE);
        c->textfile_directory = strdup(CONFIG_TEXTFILE_DIRECTORY);
        if (!c->ssh_user || !c->restart || !c->ssh_known_hosts_file || !c->textfile_directory)
                return -ENOMEM;

        c->ssh_port = 22;
        c->ssh_connect_timeout_sec = 10;
        c->sync_margin = 1000;
        c->sync_timeout_usec = 1800 * USEC_PER_SEC;
        c->step_timeout_usec = 120 * USEC_PER_SEC;
        c->wait_timeout_usec = 86400 * USEC_PER_SEC;
        c->settle_budget_usec = 300 * USEC_PER_SEC;
        c->retry_budget_usec = 30 * USEC_PER_SEC;
        c->install_timeout_usec = 10800 * USEC_PER_SEC;
        c->keep_jobs = 20;
        c->keep_days = 90;
        return 0;
}

/* What may not stay empty goes back to its default; the identity's default counts only where the file is. */
static int complete(Config *c) {
        int r;

        if (!c->ssh_user && !(c->ssh_user = strdup("root")))
                return -ENOMEM;
        if (!c->ssh_known_hosts_file && !(c->ssh_known_hosts_file = strdup(CONFIG_KNOWN_HOSTS_FILE)))
                return -ENOMEM;
        if (!c->ssh_identity_file) {
                r = path_exists(CONFIG_IDENTITY_FILE);
                if (r > 0 && !(c->ssh_identity_file = strdup(CONFIG_IDENTITY_FILE)))
                        return -ENOMEM;
        }
        return 0;
}

static int read_all(Reader *r, const char *dir, char **reterr) {
        _cleanup_free_ char *main_file = format("%s/%s", dir, CONFIG_FILE);
        _cleanup_free_ char *dropins = format("%s/%s", dir, CONFIG_DROPIN_DIR);
        _cleanup_strv_ char **names = NULL;
        int k;

        if (!main_file || !dropins)
                return -ENOMEM;
        k = read_one(r, main_file);
        if (k < 0)
                return fail(reterr, k, "%s cannot be read: %s", main_file, strerror(-k));
        k = list_dropins(dropins, &names);
        if (k < 0)
                return fail(reterr, k, "%s cannot be read: %s", dropins, strerror(-k));
        STRV_FOREACH (name, names) {
                _cleanup_free_ char *path = format("%s/%s", dropins, *name);

                k = path ? read_one(r, path) : -ENOMEM;
                if (k < 0)
                        return fail(reterr, k, "%s/%s cannot be read: %s", dropins, *name, strerror(-k));
        }
        return 0;
}

int config_load(const char *dir, Config **ret, char ***ret_warnings, char **reterr) {
        _cleanup_(config_freep) Config *c = calloc(1, sizeof(Config));
        _cleanup_strv_ char **errors = NULL, **warnings = NULL;
        _cleanup_free_ char *joined = NULL;
        Reader reader = { .config = c };
        int r;

        if (!c || set_defaults(c) < 0)
                return -ENOMEM;
        c->sources = calloc(ELEMENTSOF(keys), sizeof(char *));
        if (!c->sources)
                return -ENOMEM;

        r = read_all(&reader, dir ?: CONFIG_DIR, reterr);
        errors = reader.errors;
        warnings = reader.warnings;
        if (r < 0)
                return r;
        if (errors) {
                joined = strv_join(errors, "; ");
                return fail(reterr, -EINVAL, "%s", joined ?: errors[0]);
        }
        r = complete(c);
        if (r < 0)
                return r;

        if (ret_warnings)
                *ret_warnings = TAKE_PTR(warnings);
        *ret = TAKE_PTR(c);
        return 0;
}

Config *config_free(Config *c) {
        if (!c)
                return NULL;
        free(c->ssh_user);
        free(c->ssh_identity_file);
        free(c->ssh_known_hosts_file);
        free(c->etcd_ca_file);
        free(c->data_directory);
        free(c->etcd_cert_file);
        free(c->etcd_key_file);
        free(c->restart);
        free(c->textfile_directory);
        for (size_t i = 0; c->sources && i < ELEMENTSOF(keys); i++)
                free(c->sources[i]);
        free(c->sources);
        free(c);
        return NULL;
}

/* The value as a file would have it. Caller frees; NULL on OOM. */
static char *value_of(const Config *c, const Key *key) {
        const void *field = (const char *) c + key->offset;

        switch (key->type) {
        case KEY_STRING:
        case KEY_PATH:
        case KEY_RESTART:
                return strdup(*(char *const *) field ?: "");
        case KEY_BOOLEAN:
                return strdup(*(const bool *) field ? "yes" : "no");
        case KEY_UNSIGNED:
                return format("%u", *(const unsigned *) field);
        case KEY_UINT64:
                return format("%" PRIu64, *(const uint64_t *) field);
        case KEY_SECONDS:
                return format("%" PRIu64, *(const uint64_t *) field / USEC_PER_SEC);
        }
        return NULL;
}

int config_each(const Config *c,
                int (*callback)(void *userdata, const char *section, const char *name, const char *value,
                                const char *source),
                void *userdata) {
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_free_ char *value = value_of(c, keys + i);
                int r = value ? callback(userdata, keys[i].section, keys[i].name, value, c->sources[i]) : -ENOMEM;

                if (r < 0)
                        return r;
        }
        return 0;
}
