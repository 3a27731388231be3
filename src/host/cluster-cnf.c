/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cluster-cnf.h"

#include <stdarg.h>

#include "basic/error.h"
#include "basic/string-util.h"

#define LINES_MAX 5000U
#define FINDINGS_MAX 100U
#define COUNT_KEY "DH_NODE_COUNT"
#define NODE_PREFIX "DH_NODE_"

static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

ClusterCnf *cluster_cnf_free(ClusterCnf *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_lines; i++)
                free(c->lines[i].text);
        for (size_t i = 0; i < c->n_entries; i++) {
                free(c->entries[i].key);
                free(c->entries[i].value);
        }
        for (size_t i = 0; i < c->n_findings; i++)
                free(c->findings[i].text);
        free(c->lines);
        free(c->entries);
        free(c->findings);
        free(c);
        return NULL;
}

static int _printf_(4, 5) find(ClusterCnf *c, bool error, size_t line, const char *text, ...) {
        CnfFinding *grown;
        va_list ap;
        int n;

        if (c->n_findings >= FINDINGS_MAX)
                return 0;
        grown = reallocarray(c->findings, c->n_findings + 1, sizeof(CnfFinding));
        if (!grown)
                return -ENOMEM;
        c->findings = grown;
        grown += c->n_findings;
        *grown = (CnfFinding){ .error = error, .line = line };
        va_start(ap, text);
        n = vasprintf(&grown->text, text, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;
        c->n_findings++;
        return 0;
}

const CnfFinding *cluster_cnf_error(const ClusterCnf *c) {
        for (size_t i = 0; i < c->n_findings; i++)
                if (c->findings[i].error)
                        return c->findings + i;
        return NULL;
}

/* ---- lines ---- */

int cluster_cnf_insert(ClusterCnf *c, size_t at, char *text) {
        CnfLine *grown = text ? reallocarray(c->lines, c->n_lines + 1, sizeof(CnfLine)) : NULL;

        if (!grown) {
                free(text);
                return -ENOMEM;
        }
        c->lines = grown;
        memmove(grown + at + 1, grown + at, (c->n_lines - at) * sizeof(CnfLine));
        grown[at] = (CnfLine){ .text = text, .state = CNF_ADDED };
        c->n_lines++;
        for (size_t i = 0; i < c->n_entries; i++)
                c->entries[i].line += c->entries[i].line >= at;
        return 0;
}

static int split_lines(ClusterCnf *c, const char *data, size_t size, char **reterr) {
        size_t dos = 0;

        for (const char *end = data + size, *next; data < end; data = next) {
                const char *newline = memchr(data, '\n', (size_t) (end - data));
                int r;

                next = newline ? newline + 1 : end;
                if (c->n_lines >= LINES_MAX)
                        return fail(reterr, -EINVAL, "it has more than %u lines", LINES_MAX);
                r = cluster_cnf_insert(c, c->n_lines, strndup(data, (size_t) (next - data)));
                if (r < 0)
                        return r;
                c->lines[c->n_lines - 1].state = CNF_KEPT;
                dos += newline && newline > data && newline[-1] == '\r';
        }
        c->eol = dos > c->n_lines / 2 ? "\r\n" : "\n"; /* as most have it */
        return 0;
}

/* ---- one line ---- */

/* DH_NODE_12_ROLE_ETCD: 12, and *ret_suffix = ROLE_ETCD. 0: no node's key. -EINVAL: looks like one, and is none. */
static int split_node_key(const char *key, const char **ret_suffix) {
        const char *p = key + strlen(NODE_PREFIX);
        size_t digits;

        if (strncmp(key, NODE_PREFIX, strlen(NODE_PREFIX)) != 0)
                return 0;
        digits = strspn(p, "0123456789");
        if (digits == 0)
                return 0;
        if (digits > 3 || *p == '0' || p[digits] != '_' || p[digits + 1] == '\0' || p[strspn(p, capitals)] != '\0')
                return -EINVAL;
        *ret_suffix = p + digits + 1;
        return (int) strtoul(p, NULL, 10);
}

/* A quoted or bare value as bash would end it; what may follow is blank or a comment. NULL: it does not end so. */
static char *read_value(const char *text, char *ret_quote) {
        const char *end;

        *ret_quote = *text == '"' || *text == '\'' ? *text : '\0';
        if (*ret_quote) {
                for (end = ++text; *end && *end != *ret_quote; end++)
                        if (*end == '\\' && *ret_quote == '"' && end[1])
                                end++;
                if (!*end)
                        return NULL;
                return end[1] && !strchr(" \t\r\n", end[1]) ? NULL : strndup(text, (size_t) (end - text));
        }
        end = text + strcspn(text, " \t\r\n\"'");
        return *end == '"' || *end == '\'' || (end > text && end[-1] == '\\') ? NULL
                                                                              : strndup(text, (size_t) (end - text));
}

/* What follows a value: nothing, or a comment. */
static bool ends_well(const char *value, char quote) {
        const char *rest = value;

        if (quote)
                for (rest = value + 1; *rest != quote; rest++)
                        rest += *rest == '\\' && quote == '"';
        rest += strcspn(rest, " \t\r\n");
        rest += strspn(rest, " \t\r\n");
        return *rest == '\0' || *rest == '#';
}

static int add_entry(ClusterCnf *c, size_t line, const char *key, size_t key_size, char *value, char quote) {
        CnfEntry *grown = reallocarray(c->entries, c->n_entries + 1, sizeof(CnfEntry));
        CnfEntry *e;
        int n;

        if (grown)
                c->entries = grown;
        e = grown ? grown + c->n_entries : NULL;
        if (!e || !(e->key = strndup(key, key_size))) {
                free(value);
                return -ENOMEM;
        }
        *e = (CnfEntry){ .line = line, .key = e->key, .value = value, .quote = quote };
        c->n_entries++;
        if (streq(e->key, COUNT_KEY) && !cluster_cnf_has_generated(c))
                c->generated = line;
        e->generated = line >= c->generated;
        n = split_node_key(e->key, &e->suffix);
        if (n < 0)
                return find(c, !e->generated, line + 1,
                            "%s is no DH_NODE_n_… with n from 1 to %u, written without zeros", e->key, CNF_NODES_MAX);
        e->node = (unsigned) n;
        return 0;
}

static int read_line(ClusterCnf *c, size_t i) {
        const char *text = c->lines[i].text + strspn(c->lines[i].text, " \t");
        size_t key_size = strspn(text, letters);
        char quote = '\0', *value;

        for (const char *p = c->lines[i].text; *p; p++)
                if (((unsigned char) *p < ' ' && !strchr("\t\r\n", *p)) || *p == 0x7f)
                        return find(c, true, i + 1, "it holds a control character");
        if (*text == '#' || text[strspn(text, "\r\n")] == '\0')
                return 0;
        if (key_size == 0 || text[key_size] != '=' || (*text >= '0' && *text <= '9'))
                return find(c, false, i + 1, "it is neither a comment nor KEY=value; it is kept as it is");
        value = read_value(text + key_size + 1, &quote);
        if (!value)
                return find(c, true, i + 1, "the value of %.*s does not end in this line, or is quoted only in parts",
                            (int) key_size, text);
        if (!ends_well(text + key_size + 1, quote)) {
                free(value);
                return find(c, true, i + 1, "the value of %.*s is not all: quote it", (int) key_size, text);
        }
        return add_entry(c, i, text, key_size, value, quote);
}

/* ---- the nodes ---- */

const CnfEntry *cluster_cnf_find(const ClusterCnf *c, unsigned node, const char *suffix) {
        for (size_t i = 0; i < c->n_entries; i++) {
                const CnfEntry *e = c->entries + i;

                if (e->node == node && !e->generated && streq(e->suffix, suffix))
                        return e;
        }
        return NULL;
}

const char *cluster_cnf_host(const ClusterCnf *c, unsigned node) {
        const CnfEntry *e = c->host_key ? cluster_cnf_find(c, node, c->host_key) : NULL;

        return e ? e->value : NULL;
}

unsigned cluster_cnf_node_of_host(const ClusterCnf *c, const char *host) {
        for (unsigned n = 1; n <= c->n_nodes; n++)
                if (streq(cluster_cnf_host(c, n), host))
                        return n;
        return 0;
}

bool cluster_cnf_is_etcd(const ClusterCnf *c, unsigned node) {
        const CnfEntry *e = cluster_cnf_find(c, node, "ROLE_ETCD");

        return e && streq(e->value, "true");
}

/* Every node has it, each with another value, and none is a role's or a number. */
static bool names_hosts(const ClusterCnf *c, const char *suffix) {
        const char *hosts[CNF_NODES_MAX + 1] = {};

        for (size_t i = 0; i < c->n_entries; i++) {
                const CnfEntry *e = c->entries + i;

                if (e->node > 0 && !e->generated && streq(e->suffix, suffix))
                        hosts[e->node] = e->value;
        }
        for (unsigned n = 1; n <= c->n_nodes; n++) {
                if (!hosts[n] || hosts[n][strspn(hosts[n], "0123456789")] == '\0' || streq(hosts[n], "true") ||
                    streq(hosts[n], "false"))
                        return false;
                for (unsigned k = 1; k < n; k++)
                        if (streq(hosts[k], hosts[n]))
                                return false;
        }
        return true;
}

/* Of several such keys the one with addresses; where that is not one alone, none. */
static void find_host_key(ClusterCnf *c) {
        const char *any = NULL, *addresses = NULL;
        size_t n_any = 0, n_addresses = 0;

        for (size_t i = 0; i < c->n_entries; i++) {
                const CnfEntry *e = c->entries + i;

                if (e->node != 1 || e->generated || strncmp(e->suffix, "ROLE_", 5) == 0 || !names_hosts(c, e->suffix))
                        continue;
                any = e->suffix;
                n_any++;
                if (address_check(e->value) >= 0) {
                        addresses = e->suffix;
                        n_addresses++;
                }
        }
        c->host_key = n_addresses == 1 ? addresses : n_any == 1 ? any : NULL;
}

static int check_entry(ClusterCnf *c, size_t i) {
        const CnfEntry *e = c->entries + i;

        for (size_t k = 0; k < i; k++)
                if (streq(c->entries[k].key, e->key) && c->entries[k].generated == e->generated)
                        return find(c, e->node > 0 && !e->generated, e->line + 1, "%s is there twice, in line %zu too",
                                    e->key, c->entries[k].line + 1);
        if (e->node == 0)
                return 0;
        if (e->generated && strncmp(e->suffix, "ROLE_", 5) == 0 && e->node > c->n_nodes)
                return find(c, true, e->line + 1,
                            "node %u is only in the part that the installer generates and that is dropped: move its "
                            "lines above " COUNT_KEY "=",
                            e->node);
        if (e->generated)
                return 0;
        if (strpbrk(e->value, e->quote ? "$`\\" : "$`\\;&|<>()*?"))
                return find(c, true, e->line + 1, "the value of %s is for a shell; write it out", e->key);
        if (strncmp(e->suffix, "ROLE_", 5) == 0 && !streq(e->value, "true") && !streq(e->value, "false"))
                return find(c, true, e->line + 1, "%s must be true or false, not '%.32s'", e->key, e->value);
        return 0;
}

static bool has_node(const ClusterCnf *c, unsigned node) {
        for (size_t i = 0; i < c->n_entries; i++)
                if (c->entries[i].node == node && !c->entries[i].generated)
                        return true;
        return false;
}

static int check_nodes(ClusterCnf *c) {
        unsigned etcd = 0;
        int r = 0;

        if (c->n_nodes == 0)
                return find(c, true, 0, "it has no node: there is no DH_NODE_1_…%s",
                            cluster_cnf_has_generated(c) ? " above " COUNT_KEY "=" : "");
        for (unsigned n = 1; n <= c->n_nodes && r >= 0; n++) {
                if (!has_node(c, n))
                        r = find(c, true, 0, "there is a DH_NODE_%u_… but no DH_NODE_%u_…: the numbers have a gap",
                                 c->n_nodes, n);
                etcd += cluster_cnf_is_etcd(c, n);
        }
        if (r >= 0 && etcd == 0)
                r = find(c, true, 0, "no node has DH_NODE_n_ROLE_ETCD=true");
        if (r >= 0 && etcd > 0 && etcd % 2 == 0)
                r = find(c, false, 0, "%u etcd nodes bear no more failures than %u: an odd number is better", etcd,
                         etcd - 1);
        return r;
}

int cluster_cnf_generated_check(const ClusterCnf *c) {
        for (size_t i = 0; i < c->n_entries; i++)
                if (streq(c->entries[i].key, COUNT_KEY)) {
                        const char *value = c->entries[i].value;
                        char *end;
                        unsigned long n = strtoul(value, &end, 10);

                        return *value != '\0' && *end == '\0' && n == c->n_nodes ? 1 : -ESTALE;
                }
        return 0;
}

static int check(ClusterCnf *c) {
        int r = 0;

        for (size_t i = 0; i < c->n_entries; i++)
                if (!c->entries[i].generated && c->entries[i].node > c->n_nodes)
                        c->n_nodes = c->entries[i].node;
        for (size_t i = 0; i < c->n_entries && r >= 0; i++)
                r = check_entry(c, i);
        if (r >= 0)
                r = check_nodes(c);
        if (r >= 0 && c->n_nodes > 0)
                find_host_key(c);
        if (r >= 0 && cluster_cnf_generated_check(c) == -ESTALE)
                r = find(c, false, c->generated + 1,
                         "the installer generated the lines from here on for other nodes than those above: run it "
                         "again");
        return r;
}

int cluster_cnf_parse(const char *data, size_t size, ClusterCnf **ret, char **reterr) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = calloc(1, sizeof(ClusterCnf));
        int r;

        if (!c)
                return -ENOMEM;
        if (size > CNF_SIZE_MAX)
                return fail(reterr, -EINVAL, "it is larger than 1 MiB");
        if (memchr(data, '\0', size))
                return fail(reterr, -EINVAL, "it is no text: it holds a NUL");
        r = split_lines(c, data, size, reterr);
        c->generated = SIZE_MAX; /* not found yet */
        for (size_t i = 0; i < c->n_lines && r >= 0; i++)
                r = read_line(c, i);
        if (c->generated == SIZE_MAX)
                c->generated = c->n_lines;
        if (r >= 0)
                r = check(c);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}
