/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "basic/string-util.h"
#include "cluster-cnf.h"

#define CONTEXT 3U
#define ROLES_MAX 32U
#define HOST_SIZE_MAX 253U

int cluster_cnf_role(const char *text, char **ret, char **reterr) {
        size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        bool value = streq(text + n, "") || streq(text + n, "=true");

        if (n == 0 || n > ROLES_MAX || (!value && !streq(text + n, "=false")))
                return fail(reterr, -EINVAL, "'%.64s' is no role: write it like QUERY or QUERY=false", text);
        if (strncmp(text, "ETCD", n) == 0 && n == 4 && !value)
                return fail(reterr, -EINVAL, "The nodes that are added are etcd nodes: ETCD=false cannot be");
        *ret = format("%.*s=%s", (int) n, text, value ? "true" : "false");
        return *ret ? 0 : -ENOMEM;
}

/* ---- small edits ---- */

static bool is_blank(const CnfLine *l) {
        return l->text[strspn(l->text, " \t\r\n")] == '\0';
}

static bool has_end(const CnfLine *l) {
        size_t n = strlen(l->text);

        return n > 0 && l->text[n - 1] == '\n';
}

/* The index after the last line that stays above the generated part. */
static size_t end_of_kept(const ClusterCnf *c) {
        size_t i = c->n_lines;

        while (i > 0 && c->lines[i - 1].state == CNF_DROPPED)
                i--;
        return i;
}

/* A line in another's place; the entry goes with it. `text` is stolen. */
static int replace_line(ClusterCnf *c, size_t i, char *text) {
        int r;

        if (text && c->lines[i].state == CNF_ADDED) {
                free(c->lines[i].text);
                c->lines[i].text = text;
                return 0;
        }
        r = cluster_cnf_insert(c, i + 1, text);
        if (r < 0)
                return r;
        c->lines[i].state = CNF_DROPPED;
        for (size_t k = 0; k < c->n_entries; k++)
                c->entries[k].line += c->entries[k].line == i;
        return 0;
}

/* Before index `at`; a line without an end that it comes after gets one. `text` is stolen. */
static int insert_line(ClusterCnf *c, size_t at, char *text) {
        size_t n = c->n_lines;
        int r = 0;

        if (at > 0 && !has_end(c->lines + at - 1))
                r = replace_line(c, at - 1, format("%s%s", c->lines[at - 1].text, c->eol));
        if (r < 0) {
                free(text);
                return r;
        }
        return cluster_cnf_insert(c, at + c->n_lines - n, text);
}

/* Appends KEY=VALUE to what is kept. */
static int append(ClusterCnf *c, unsigned node, const char *suffix, const char *quote, const char *value) {
        return insert_line(c, end_of_kept(c),
                           format("DH_NODE_%u_%s=%s%s%s%s", node, suffix, quote, value, quote, c->eol));
}

/* ---- adding ---- */

/* A node that is there in other roles. The text up to its value stays as it is, and so does a comment after it. */
static int make_etcd(ClusterCnf *c, unsigned node) {
        const CnfEntry *e = cluster_cnf_find(c, node, "ROLE_ETCD");
        size_t last = 0;

        for (size_t i = 0; !e && i < c->n_entries; i++)
                if (c->entries[i].node == node && !c->entries[i].generated)
                        last = c->entries[i].line;
        if (e) {
                const char *text = c->lines[e->line].text, *value = strchr(text, '=') + 1 + (e->quote != '\0');

                return replace_line(c, e->line,
                                    format("%.*strue%s", (int) (value - text), text, value + strlen("false")));
        }
        return insert_line(c, last + 1, format("DH_NODE_%u_ROLE_ETCD=true%s", node, c->eol));
}

static int append_node(ClusterCnf *c, unsigned node, const char *host, const char *host_key, const CnfAddition *a) {
        const CnfEntry *like = cluster_cnf_find(c, 1, host_key);
        const char quote[2] = { like ? like->quote : '\0', '\0' };
        size_t end = end_of_kept(c);
        int r = 0;

        if (end > 0 && !is_blank(c->lines + end - 1))
                r = insert_line(c, end, strdup(c->eol));
        if (r >= 0)
                r = append(c, node, host_key, quote, host);
        if (r >= 0)
                r = append(c, node, "ROLE_ETCD", "", "true");
        STRV_FOREACH (role, a->roles) {
                _cleanup_free_ char *suffix = strndup(*role, strcspn(*role, "="));
                _cleanup_free_ char *key = suffix ? format("ROLE_%s", suffix) : NULL;

                if (r < 0 || streq(suffix, "ETCD"))
                        continue;
                r = key ? append(c, node, key, "", strchr(*role, '=') + 1) : -ENOMEM;
        }
        return r;
}

static int check_host(const ClusterCnf *c, const CnfAddition *a, const char *host, char **reterr) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-";
        unsigned node = cluster_cnf_node_of_host(c, host), count = 0;

        if (*host == '\0' || *host == '-' || strlen(host) > HOST_SIZE_MAX || host[strspn(host, allowed)] != '\0')
                return fail(reterr, -EINVAL, "'%.64s' is neither an address nor the name of a host", host);
        STRV_FOREACH (other, a->hosts)
                count += streq(*other, host);
        if (count > 1)
                return fail(reterr, -EINVAL, "%s is named twice", host);
        if (node > 0 && cluster_cnf_is_etcd(c, node))
                return fail(reterr, -EINVAL, "%s is there already, as etcd node %u", host, node);
        if (c->host_key && (address_check(cluster_cnf_host(c, 1)) >= 0) != (address_check(host) >= 0))
                return fail(reterr, -EINVAL, "the nodes that are there are named like %s, and %s is not",
                            cluster_cnf_host(c, 1), host);
        return 0;
}

/* The key that names the host of the new nodes. */
static int choose_host_key(const ClusterCnf *c, const CnfAddition *a, const char **ret, char **reterr) {
        const char *key = a->host_key ?: c->host_key;

        if (!key)
                return fail(reterr, -EINVAL,
                            "how its nodes name their hosts cannot be told; say the key with --host-key=: ADDRESS for "
                            "DH_NODE_n_ADDRESS");
        if (key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0' || *key == '\0' ||
            strncmp(key, "ROLE_", 5) == 0)
                return fail(reterr, -EINVAL, "'%.64s' is no key of a node that names a host", key);
        if (c->host_key && !streq(key, c->host_key))
                return fail(reterr, -EINVAL, "its nodes name their hosts in DH_NODE_n_%s, not in DH_NODE_n_%s",
                            c->host_key, key);
        *ret = key;
        return 0;
}

static int check_addition(const ClusterCnf *c, const CnfAddition *a, const char **ret_key, char **reterr) {
        const CnfFinding *wrong = cluster_cnf_error(c);
        int r;

        if (wrong && wrong->line > 0)
                return fail(reterr, -EINVAL, "line %zu: %s", wrong->line, wrong->text);
        if (wrong)
                return fail(reterr, -EINVAL, "%s", wrong->text);
        if (!a->hosts || !*a->hosts)
                return 0;
        if (c->n_nodes + strv_length(a->hosts) > CNF_NODES_MAX)
                return fail(reterr, -EINVAL, "more than %u nodes", CNF_NODES_MAX);
        r = choose_host_key(c, a, ret_key, reterr);
        STRV_FOREACH (host, a->hosts)
                if (r >= 0)
                        r = check_host(c, a, *host, reterr);
        return r;
}

static void drop_generated(ClusterCnf *c) {
        for (size_t i = c->generated; i < c->n_lines; i++)
                c->lines[i].state = CNF_DROPPED;
}

static int make_etcd_all(ClusterCnf *c, const CnfAddition *a) {
        int r = 0;

        STRV_FOREACH (host, a->hosts) {
                unsigned node = cluster_cnf_node_of_host(c, *host);

                if (node > 0 && r >= 0)
                        r = make_etcd(c, node);
        }
        return r;
}

int cluster_cnf_add(ClusterCnf *c, const CnfAddition *a, char **reterr) {
        const char *key = NULL;
        unsigned node = c->n_nodes;
        int r;

        r = check_addition(c, a, &key, reterr);
        if (r < 0)
                return r;
        drop_generated(c);
        r = make_etcd_all(c, a);
        STRV_FOREACH (host, a->hosts)
                if (r >= 0 && cluster_cnf_node_of_host(c, *host) == 0)
                        r = append_node(c, ++node, *host, key, a);
        return r;
}

/* ---- what comes of it ---- */

char *cluster_cnf_text(const ClusterCnf *c, size_t *ret_size) {
        size_t size = 0;
        char *text, *p;

        for (size_t i = 0; i < c->n_lines; i++)
                size += strlen(c->lines[i].text);
        p = text = malloc(size + 1);
        if (!text)
                return NULL;
        *p = '\0';
        for (size_t i = 0; i < c->n_lines; i++)
                if (c->lines[i].state != CNF_DROPPED)
                        p = stpcpy(p, c->lines[i].text);
        *ret_size = (size_t) (p - text);
        return text;
}

static bool near_change(const ClusterCnf *c, size_t i) {
        size_t from = i > CONTEXT ? i - CONTEXT : 0, to = i + CONTEXT < c->n_lines ? i + CONTEXT : c->n_lines - 1;

        for (size_t k = from; k <= to; k++)
                if (c->lines[k].state != CNF_KEPT)
                        return true;
        return false;
}

/* Lines [from, to) as a hunk; the numbers count the lines before it in the old and the new file. */
static void print_hunk(const ClusterCnf *c, size_t from, size_t to, size_t old_before, size_t new_before, FILE *f) {
        size_t old = 0, new = 0;

        for (size_t i = from; i < to; i++) {
                old += c->lines[i].state != CNF_ADDED;
                new += c->lines[i].state != CNF_DROPPED;
        }
        fprintf(f, "@@ -%zu,%zu +%zu,%zu @@\n", old_before + (old > 0), old, new_before + (new > 0), new);
        for (size_t i = from; i < to; i++) {
                const CnfLine *l = c->lines + i;

                fprintf(f, "%c%.*s\n",
                        l->state == CNF_KEPT      ? ' '
                        : l->state == CNF_DROPPED ? '-'
                                                  : '+',
                        (int) strcspn(l->text, "\n"), l->text);
                if (!has_end(l))
                        fputs("\\ No newline at end of file\n", f);
        }
}

static void print_diff(const ClusterCnf *c, const char *path, FILE *f) {
        size_t old = 0, new = 0;
        bool any = false;

        for (size_t i = 0; i < c->n_lines;) {
                size_t from = i;

                while (i < c->n_lines && near_change(c, i))
                        i++;
                if (i > from && !any)
                        fprintf(f, "--- %s\n+++ %s (new)\n", path, path);
                any = any || i > from;
                if (i > from)
                        print_hunk(c, from, i, old, new, f);
                else
                        i++;
                for (; from < i; from++) {
                        old += c->lines[from].state != CNF_ADDED;
                        new += c->lines[from].state != CNF_DROPPED;
                }
        }
}

char *cluster_cnf_diff(const ClusterCnf *c, const char *path) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        print_diff(c, path, f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
