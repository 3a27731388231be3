/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd cnf: the installer's cluster.cnf, edited as whoever runs this. */

#include <sys/stat.h>
#include <time.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "cli.h"
#include "host/cluster-cnf.h"
#include "table.h"

#define BACKUP_TRIES 10U

typedef struct CnfFile {
        char *path; /* without symlinks */
        char *data; /* as it was read */
        size_t size;
        ClusterCnf *cnf;
} CnfFile;

static void cnf_file_done(CnfFile *f) {
        free(f->path);
        free(f->data);
        cluster_cnf_free(f->cnf);
        *f = (CnfFile){};
}

/* --file=, else DIR/cluster.cnf, else where the installer puts it; NULL on OOM. */
static char *choose_path(const char *dir) {
        if (args.file)
                return strdup(args.file);
        return dir ? format("%s/" CNF_FILE, dir) : strdup(CNF_INSTALLED);
}

static int say_failed(const char *path, const char *what, int error, const char *why) {
        fprintf(stderr, "dhetcd: %s %s: ", path, what);
        print_clean(stderr, error_text(why, error));
        fputc('\n', stderr);
        return EXIT_FAILED;
}

/* Where the file is not there, but there is one that an earlier installation left, that is the one to begin with. */
static int say_absent(const char *path) {
        fprintf(stderr, "dhetcd: %s is not there; begin with the one that the installer was run with last%s\n", path,
                streq(path, CNF_INSTALLED)         ? ", or name it with --file="
                : access(CNF_INSTALLED, F_OK) == 0 ? ": cp " CNF_INSTALLED " there"
                                                   : ": " CNF_INSTALLED " of a node");
        return EXIT_FAILED;
}

/* *ret is empty; the caller's to be done with, also on failure. */
static int open_file(const char *path, CnfFile *ret) {
        _cleanup_free_ char *why = NULL;
        int r;

        ret->path = realpath(path, NULL);
        if (!ret->path)
                return errno == ENOENT ? say_absent(path) : say_failed(path, "cannot be read", -errno, NULL);
        r = read_file(ret->path, CNF_SIZE_MAX, /* follow= */ false, &ret->data, &ret->size);
        if (r >= 0)
                r = cluster_cnf_parse(ret->data, ret->size, &ret->cnf, &why);
        return r < 0 ? say_failed(ret->path, "cannot be read", r, why) : EXIT_DONE;
}

/* ---- writing ---- */

static char *backup_path(const char *path) {
        time_t now = time(NULL);
        char when[32] = "";
        struct tm tm;

        if (gmtime_r(&now, &tm))
                (void) strftime(when, sizeof(when), "%Y%m%d-%H%M%SZ", &tm);
        for (unsigned i = 0; i < BACKUP_TRIES; i++) {
                char *name = i == 0 ? format("%s.%s.bak", path, when) : format("%s.%s-%u.bak", path, when, i);

                if (!name || path_exists(name) <= 0)
                        return name;
                free(name);
        }
        return NULL;
}

/* Still what the diff was made from? */
static int check_unchanged(const CnfFile *f) {
        _cleanup_free_ char *now = NULL;
        size_t size;
        int r;

        r = read_file(f->path, CNF_SIZE_MAX, false, &now, &size);
        if (r < 0)
                return r;
        return size == f->size && memcmp(now, f->data, size) == 0 ? 0 : -EBUSY;
}

static int write_with_backup(const CnfFile *f, const char *text, size_t size, char **ret_backup) {
        _cleanup_free_ char *backup = backup_path(f->path);
        struct stat st;
        int r;

        if (!backup)
                return say_failed(f->path, "has too many backups, or memory ran out", -EEXIST, NULL);
        r = stat(f->path, &st) < 0 ? -errno : check_unchanged(f);
        if (r == -EBUSY)
                return say_failed(f->path, "was not changed", r, "somebody else has just changed it; try again");
        if (r >= 0)
                r = write_file_durable(backup, f->data, f->size, st.st_mode, st.st_uid, st.st_gid);
        if (r < 0)
                return say_failed(f->path, "was not changed, since its backup cannot be written", r,
                                  r == -EPERM ? "only its owner, or root, may do this" : NULL);
        r = replace_file_durable(f->path, text, size);
        if (r < 0) {
                (void) (unlink_durable(backup) < 0);
                return say_failed(f->path, "cannot be written", r, NULL);
        }
        *ret_backup = TAKE_PTR(backup);
        return EXIT_DONE;
}

static void print_diff(const char *diff) {
        while (*diff) {
                size_t n = strcspn(diff, "\n");
                _cleanup_free_ char *line = strndup(diff, strcspn(diff, "\r\n"));
                Colour colour = *diff == '+'   ? COLOUR_GREEN
                                : *diff == '-' ? COLOUR_RED
                                : *diff == '@' ? COLOUR_GREY
                                               : COLOUR_NONE;

                fputs(colour_on(1, colour), stdout);
                print_clean(stdout, line ?: "");
                printf("%s\n", colour_off(1));
                diff += n + (diff[n] == '\n');
        }
        fflush(stdout);
}

/* Roles of the new nodes, from each --role=A,B=false. */
static int add_role(const char *text, size_t size, char ***roles) {
        _cleanup_free_ char *word = strndup(text, size), *role = NULL, *why = NULL;
        int r = word ? cluster_cnf_role(word, &role, &why) : -ENOMEM;

        if (r == -EINVAL) {
                fprintf(stderr, "dhetcd: %s\n", error_text(why, r));
                return EXIT_USAGE;
        }
        if (r >= 0)
                r = strv_append(roles, role);
        return r < 0 ? client_fail(r) : EXIT_DONE;
}

static int read_roles(char ***ret) {
        STRV_FOREACH (arg, args.roles)
                for (const char *p = *arg;; p++) {
                        size_t size = strcspn(p, ",");
                        int k = add_role(p, size, ret);

                        if (k != EXIT_DONE)
                                return k;
                        p += size;
                        if (!*p)
                                break;
                }
        return EXIT_DONE;
}

/* What is about to be written, read as the installer will read it. */
static int prove(const CnfFile *f, const char *text, size_t size, char *const *hosts) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = NULL;
        bool good;

        if (cluster_cnf_parse(text, size, &c, NULL) < 0)
                return client_fail(-EBADMSG);
        good = !cluster_cnf_error(c) && !cluster_cnf_has_generated(c);
        STRV_FOREACH (host, hosts)
                good = good && (!c->host_key || cluster_cnf_is_etcd(c, cluster_cnf_node_of_host(c, *host)));
        return good ? EXIT_DONE
                    : say_failed(f->path, "was not changed", -EBADMSG,
                                 "the edit would not come out right; edit it by hand");
}

static int print_result(const CnfFile *f, const char *diff, const char *backup) {
        _cleanup_json_ json_t *v = NULL;

        if (args.json != JSON_OFF) {
                v = json_pack("{s:s, s:b, s:s, s:s?}", "path", f->path, "changed", backup != NULL, "diff", diff,
                              "backup", backup);
                /* A diff that is no UTF-8 cannot be JSON. */
                v = v ?: json_pack("{s:s, s:b, s:s?}", "path", f->path, "changed", backup != NULL, "backup", backup);
                return v ? print_json(v) : client_fail(-ENOMEM);
        }
        if (args.quiet)
                return EXIT_DONE;
        if (backup)
                fprintf(stderr, "%s is written; the old one is %s\n", f->path, backup);
        else
                fprintf(stderr, "%s is not changed%s\n", f->path, *diff ? ", because of --dry-run" : "");
        return EXIT_DONE;
}

/* Adds the hosts, with the roles and the key of the command line, shows the diff, and writes it unless --dry-run. */
static int add_hosts(CnfFile *f, char *const *hosts) {
        _cleanup_strv_ char **roles = NULL;
        _cleanup_free_ char *why = NULL, *text = NULL, *diff = NULL, *backup = NULL;
        CnfAddition a;
        size_t size = 0;
        int k, r;

        k = read_roles(&roles);
        if (k != EXIT_DONE)
                return k;
        a = (CnfAddition){ .hosts = hosts, .roles = roles, .host_key = args.host_key };
        r = cluster_cnf_add(f->cnf, &a, &why);
        if (r < 0)
                return say_failed(f->path, "was not changed", r, why);
        text = cluster_cnf_text(f->cnf, &size);
        diff = cluster_cnf_diff(f->cnf, f->path);
        if (!text || !diff)
                return client_fail(-ENOMEM);
        k = prove(f, text, size, hosts);
        if (k != EXIT_DONE)
                return k;
        if (args.json == JSON_OFF && !args.quiet)
                print_diff(diff);
        if (*diff && !args.dry_run)
                k = write_with_backup(f, text, size, &backup);
        return k == EXIT_DONE ? print_result(f, diff, backup) : k;
}

/* ---- showing ---- */

static json_t *node_to_json(const ClusterCnf *c, unsigned n) {
        _cleanup_json_ json_t *roles = json_object();

        for (size_t i = 0; i < c->n_entries; i++) {
                const CnfEntry *e = c->entries + i;

                if (e->node == n && !e->generated && strncmp(e->suffix, "ROLE_", 5) == 0)
                        (void) json_object_set_new(roles, e->suffix + 5, json_boolean(streq(e->value, "true")));
        }
        return json_pack("{s:i, s:s?, s:b, s:O}", "n", (int) n, "host", cluster_cnf_host(c, n), "etcd",
                         cluster_cnf_is_etcd(c, n), "roles", roles);
}

static json_t *findings_to_json(const ClusterCnf *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_findings; i++)
                (void) json_array_append_new(
                        array, json_pack("{s:s, s:I, s:s}", "is", c->findings[i].error ? "error" : "warning", "line",
                                         (json_int_t) c->findings[i].line, "text", c->findings[i].text));
        return array;
}

static int show_json(const CnfFile *f) {
        _cleanup_json_ json_t *v = NULL, *nodes = json_array();

        for (unsigned n = 1; n <= f->cnf->n_nodes; n++)
                (void) json_array_append_new(nodes, node_to_json(f->cnf, n));
        v = json_pack("{s:s, s:O, s:s?, s:b, s:o}", "path", f->path, "nodes", nodes, "host_key", f->cnf->host_key,
                      "generated", cluster_cnf_has_generated(f->cnf), "findings", findings_to_json(f->cnf));
        return v ? print_json(v) : client_fail(-ENOMEM);
}

/* "INFRA QUERY=false": of a node, without ETCD; NULL on OOM. */
static char *roles_to_string(const ClusterCnf *c, unsigned n) {
        _cleanup_strv_ char **roles = NULL;

        for (size_t i = 0; i < c->n_entries; i++) {
                const CnfEntry *e = c->entries + i;

                if (e->node != n || e->generated || strncmp(e->suffix, "ROLE_", 5) != 0 ||
                    streq(e->suffix, "ROLE_ETCD") || !streq(e->value, "true"))
                        continue;
                if (strv_append(&roles, e->suffix + 5) < 0)
                        return NULL;
        }
        return roles ? strv_join(roles, " ") : strdup("-");
}

static void print_findings(const ClusterCnf *c, FILE *f, int fd) {
        for (size_t i = 0; i < c->n_findings; i++) {
                const CnfFinding *found = c->findings + i;

                fputs(colour_on(fd, found->error ? COLOUR_RED : COLOUR_YELLOW), f);
                if (found->line > 0)
                        fprintf(f, "line %zu: ", found->line);
                fprintf(f, "%s: ", found->error ? "error" : "warning");
                print_clean(f, found->text);
                fprintf(f, "%s\n", colour_off(fd));
        }
}

static int show(const CnfFile *f) {
        static const Column columns[] = { { "N", .right = true }, { "HOST" }, { "ETCD" }, { "OTHER ROLES" } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns));
        const ClusterCnf *c = f->cnf;

        if (args.json != JSON_OFF)
                return show_json(f);
        for (unsigned n = 1; n <= c->n_nodes; n++) {
                _cleanup_free_ char *number = format("%u", n), *roles = roles_to_string(c, n);

                if (!t || !number || !roles || table_add(t, number) < 0 || table_add(t, cluster_cnf_host(c, n)) < 0 ||
                    table_add(t, yes_no(cluster_cnf_is_etcd(c, n))) < 0 || table_add(t, roles) < 0)
                        return client_fail(-ENOMEM);
        }
        table_print(t, stdout, STDOUT_FILENO, terminal_width(STDOUT_FILENO), args.legend);
        if (args.legend && cluster_cnf_has_generated(c))
                printf("\nFrom line %zu on it is generated by the installer.\n", c->generated + 1);
        print_findings(c, stderr, STDERR_FILENO);
        return EXIT_DONE;
}

static int check(const CnfFile *f) {
        bool wrong = cluster_cnf_error(f->cnf);

        if (args.json != JSON_OFF) {
                _cleanup_json_ json_t *v = findings_to_json(f->cnf);
                int k = v ? print_json(v) : client_fail(-ENOMEM);

                return wrong ? EXIT_FAILED : k;
        }
        print_findings(f->cnf, stdout, STDOUT_FILENO);
        if (!wrong && !args.quiet)
                printf("%s: %u node%s, no error\n", f->path, f->cnf->n_nodes, f->cnf->n_nodes == 1 ? "" : "s");
        return wrong ? EXIT_FAILED : EXIT_DONE;
}

int verb_cnf(int argc, char **argv) {
        _cleanup_free_ char *path = NULL;
        _cleanup_(cnf_file_done) CnfFile f = {};
        bool add = streq(argv[1], "add");
        int k;

        if (!add && ((!streq(argv[1], "show") && !streq(argv[1], "check")) || argc > 2)) {
                fprintf(stderr, "dhetcd: The form is: dhetcd cnf show|check, or dhetcd cnf add HOST...\n");
                return EXIT_USAGE;
        }
        if (args.file && args.installer_dir) {
                fprintf(stderr, "dhetcd: --file= and --installer-dir= exclude each other\n");
                return EXIT_USAGE;
        }
        path = choose_path(args.installer_dir);
        if (!path)
                return client_fail(-ENOMEM);
        k = open_file(path, &f);
        if (k != EXIT_DONE)
                return k;
        return add ? add_hosts(&f, argv + 2) : streq(argv[1], "show") ? show(&f) : check(&f);
}
