/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The typed view of config.yaml, and the list format of initial-cluster. Where the bytes are is
 * config-yaml-document.c's business, changing them config-yaml-edit.c's. */

#include "config-yaml.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "config-yaml-document.h"

#define CLUSTER_ENTRIES_MAX 64U

typedef struct StringField {
        const char *key;
        size_t offset;
} StringField;

static const StringField config_strings[] = {
        { "name", offsetof(ConfigYaml, name) },
        { "data-dir", offsetof(ConfigYaml, data_dir) },
        { "initial-cluster", offsetof(ConfigYaml, initial_cluster) },
        { "initial-cluster-state", offsetof(ConfigYaml, initial_cluster_state) },
        { "initial-cluster-token", offsetof(ConfigYaml, initial_cluster_token) },
        { "listen-peer-urls", offsetof(ConfigYaml, listen_peer_urls) },
        { "listen-client-urls", offsetof(ConfigYaml, listen_client_urls) },
        { "initial-advertise-peer-urls", offsetof(ConfigYaml, initial_advertise_peer_urls) },
        { "advertise-client-urls", offsetof(ConfigYaml, advertise_client_urls) },
};

static const StringField tls_strings[] = {
        { "cert-file", offsetof(ConfigTls, cert_file) },
        { "key-file", offsetof(ConfigTls, key_file) },
        { "trusted-ca-file", offsetof(ConfigTls, trusted_ca_file) },
};

static void free_strings(void *object, const StringField *fields, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(*(char **) ((char *) object + fields[i].offset));
}

ConfigYaml *config_yaml_free(ConfigYaml *c) {
        if (!c)
                return NULL;
        free_strings(c, config_strings, ELEMENTSOF(config_strings));
        free_strings(&c->client, tls_strings, ELEMENTSOF(tls_strings));
        free_strings(&c->peer, tls_strings, ELEMENTSOF(tls_strings));
        free(c);
        return NULL;
}

static int wrong_kind(const YamlNode *node, const char *expected, char **reterr) {
        return fail(reterr, -EBADMSG, "line %zu: the value of '%s' must be %s; mend it by hand", node->line, node->key,
                    expected);
}

static int read_strings(const YamlDocument *d, size_t parent, const StringField *fields, size_t n, void *object,
                        char **reterr) {
        for (size_t i = 0; i < n; i++) {
                const YamlNode *node = yaml_document_find(d, parent, fields[i].key);
                char **member = (char **) ((char *) object + fields[i].offset);

                if (!node || yaml_node_is_null(node))
                        continue;
                if (node->kind != YAML_KIND_SCALAR)
                        return wrong_kind(node, "a string", reterr);
                if (node->value[0] == '\0')
                        continue;
                *member = strdup(node->value);
                if (!*member)
                        return -ENOMEM;
        }

        return 0;
}

/* The words of YAML 1.1, which etcd's reader knows. A quoted word is a string, which etcd refuses too. */
static int read_bool(const YamlDocument *d, size_t parent, const char *key, bool *ret, char **reterr) {
        static const char *const words[][2] = { { "true", "false" }, { "yes", "no" }, { "on", "off" }, { "y", "n" } };
        const YamlNode *node = yaml_document_find(d, parent, key);

        if (!node || yaml_node_is_null(node))
                return 0;
        if (node->kind != YAML_KIND_SCALAR || !node->plain)
                return wrong_kind(node, "true or false", reterr);

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (size_t j = 0; j < 2; j++)
                        if (strcasecmp(words[i][j], node->value) == 0) {
                                *ret = j == 0;
                                return 0;
                        }

        return wrong_kind(node, "true or false", reterr);
}

static int read_tls(const YamlDocument *d, const char *key, ConfigTls *ret, char **reterr) {
        const YamlNode *node = yaml_document_find(d, YAML_TOP, key);
        size_t parent;
        int r;

        if (!node || yaml_node_is_null(node))
                return 0;
        if (node->kind != YAML_KIND_MAPPING)
                return wrong_kind(node, "a mapping", reterr);

        parent = (size_t) (node - d->nodes);
        r = read_strings(d, parent, tls_strings, ELEMENTSOF(tls_strings), ret, reterr);
        if (r < 0)
                return r;
        return read_bool(d, parent, "client-cert-auth", &ret->client_cert_auth, reterr);
}

int config_yaml_parse(const char *text, size_t size, ConfigYaml **ret, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *d = NULL;
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        int r;

        r = yaml_document_parse(text, size, &d, reterr);
        if (r < 0)
                return r;

        c = calloc(1, sizeof(ConfigYaml));
        if (!c)
                return -ENOMEM;
        c->strict_reconfig_check = true;

        r = read_strings(d, YAML_TOP, config_strings, ELEMENTSOF(config_strings), c, reterr);
        if (r >= 0)
                r = read_tls(d, "client-transport-security", &c->client, reterr);
        if (r >= 0)
                r = read_tls(d, "peer-transport-security", &c->peer, reterr);
        if (r >= 0)
                r = read_bool(d, YAML_TOP, "strict-reconfig-check", &c->strict_reconfig_check, reterr);
        if (r >= 0)
                r = read_bool(d, YAML_TOP, "force-new-cluster", &c->force_new_cluster, reterr);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}

int config_yaml_read(const char *path, ConfigYaml **ret, char **reterr) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = read_file(path, CONFIG_YAML_SIZE_MAX, /* follow= */ true, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));

        r = config_yaml_parse(text, size, ret, reterr);
        return r < 0 ? fail_prefix(reterr, r, "%s", path) : 0;
}

void cluster_entries_free(ClusterEntries *e) {
        if (!e)
                return;
        for (size_t i = 0; i < e->n; i++) {
                free(e->items[i].name);
                free(e->items[i].peer_url);
        }
        free(e->items);
        free(e);
}

/* One "NAME=URL" of `length` bytes, appended. */
static int append_entry(ClusterEntries *e, const char *s, size_t length, char **reterr) {
        const char *equals = memchr(s, '=', length);
        ClusterEntry *entry, *grown;

        for (size_t i = 0; i < length; i++)
                if ((unsigned char) s[i] <= ' ' || s[i] == 0x7f)
                        return fail(reterr, -EINVAL, "initial-cluster must not contain spaces or control characters");
        if (!equals || equals == s || equals == s + length - 1)
                return fail(reterr, -EINVAL, "initial-cluster: entry '%.*s' is not NAME=PEER-URL", (int) length, s);
        if (e->n >= CLUSTER_ENTRIES_MAX)
                return fail(reterr, -E2BIG, "initial-cluster has more than %u entries", CLUSTER_ENTRIES_MAX);

        grown = reallocarray(e->items, e->n + 1, sizeof(ClusterEntry));
        if (!grown)
                return -ENOMEM;
        e->items = grown;
        entry = &e->items[e->n++];
        entry->name = strndup(s, (size_t) (equals - s));
        entry->peer_url = strndup(equals + 1, length - (size_t) (equals - s) - 1);
        if (!entry->name || !entry->peer_url)
                return -ENOMEM;

        for (size_t i = 0; i + 1 < e->n; i++)
                if (streq(e->items[i].name, entry->name) || streq(e->items[i].peer_url, entry->peer_url))
                        return fail(reterr, -EEXIST, "initial-cluster: '%s' or its URL is there twice", entry->name);

        return 0;
}

int cluster_entries_parse(const char *initial_cluster, ClusterEntries **ret, char **reterr) {
        _cleanup_(cluster_entries_freep) ClusterEntries *e = calloc(1, sizeof(ClusterEntries));

        if (!e)
                return -ENOMEM;

        for (const char *s = initial_cluster;; s++) {
                size_t length = strcspn(s, ",");
                int r;

                r = append_entry(e, s, length, reterr);
                if (r < 0)
                        return r;
                s += length;
                if (*s == '\0')
                        break;
        }

        *ret = TAKE_PTR(e);
        return 0;
}

char *cluster_entries_format(const ClusterEntries *e) {
        size_t size = 1;
        char *text, *p;

        for (size_t i = 0; i < e->n; i++)
                size += strlen(e->items[i].name) + strlen(e->items[i].peer_url) + 2;
        p = text = malloc(size);
        if (!text)
                return NULL;

        *p = '\0';
        for (size_t i = 0; i < e->n; i++) {
                p = stpcpy(p, i > 0 ? "," : "");
                p = stpcpy(stpcpy(stpcpy(p, e->items[i].name), "="), e->items[i].peer_url);
        }
        return text;
}
