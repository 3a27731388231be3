/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/config-yaml.h"

#define BOM "\xEF\xBB\xBF"
#define TWO "etcd-1=https://10.128.1.149:2380,etcd-2=https://10.128.1.150:2380"

static const char page[] =
        "# This is the configuration file for the etcd server.\n"
        "\n"
        "name: 'etcd-1'\n"
        "data-dir: /var/lib/etcd/dh/c2ca0c898   # die Daten, \xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n"
        "listen-peer-urls: https://10.128.1.149:2380\n"
        "listen-client-urls: \"https://10.128.1.149:2379\"\n"
        "advertise-client-urls: https://10.128.1.149:2379\n"
        "initial-advertise-peer-urls: https://10.128.1.149:2380\n"
        "initial-cluster-state: new\n"
        "initial-cluster-token: c2ca0c898\n"
        "initial-cluster:   etcd-1=https://10.128.1.149:2380   \n"
        "client-transport-security:\n"
        "  cert-file: /etc/etcd/dh/latest/server.crt\n"
        "  key-file: /etc/etcd/dh/latest/server.key\n"
        "  client-cert-auth: true\n"
        "  trusted-ca-file: ''\n"
        "  initial-cluster: not this one\n"
        "peer-transport-security: {cert-file: p.crt, trusted-ca-file: ca.crt, client-cert-auth: no}\n"
        "cors:\n"
        "log-outputs: [stderr]\n";

static void test_parse(void **state) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;

        assert_int_equal(config_yaml_parse(page, strlen(page), &c, NULL), 0);
        assert_string_equal(c->name, "etcd-1");
        assert_string_equal(c->data_dir, "/var/lib/etcd/dh/c2ca0c898");
        assert_string_equal(c->initial_cluster, "etcd-1=https://10.128.1.149:2380");
        assert_string_equal(c->initial_cluster_state, "new");
        assert_string_equal(c->initial_cluster_token, "c2ca0c898");
        assert_string_equal(c->listen_client_urls, "https://10.128.1.149:2379");
        assert_string_equal(c->client.cert_file, "/etc/etcd/dh/latest/server.crt");
        assert_null(c->client.trusted_ca_file);
        assert_true(c->client.client_cert_auth);
        assert_string_equal(c->peer.trusted_ca_file, "ca.crt");
        assert_null(c->peer.key_file);
        assert_false(c->peer.client_cert_auth);
        assert_true(c->strict_reconfig_check);
}

typedef struct BadCase {
        const char *text;
        int error;
} BadCase;

static void test_parse_refuses(void **state) {
        static const BadCase cases[] = {
                { "", -EBADMSG },
                { "# nothing\n", -EBADMSG },
                { "just text", -EBADMSG },
                { "- a\n- b\n", -EBADMSG },
                { "name: a\nname: b\n", -EEXIST },
                { "name: a\n\"name\": b\n", -EEXIST },
                { "client-transport-security:\n  cert-file: a\n  cert-file: b\n", -EEXIST },
                { "x: &a 1\nname: *a\n", -EBADMSG },
                { "name: a\n---\nname: b\n", -EBADMSG },
                { "name: [a\n", -EBADMSG },
                { "name: a: b\n", -EBADMSG },
                { "\tname: a\n", -EBADMSG },
                { "name: [a]\n", -EBADMSG },
                { "name: {a: b}\n", -EBADMSG },
                { "? [a, b]\n: c\n", -EBADMSG },
                { "strict-reconfig-check: 'false'\n", -EBADMSG },
                { "strict-reconfig-check: maybe\n", -EBADMSG },
                { "client-transport-security: yes\n", -EBADMSG },
                { "name: \"a\\0b\"\n", -EBADMSG },
                { "name: \xFF\xFE\n", -EBADMSG },
                { "name: \x01\n", -EBADMSG },
                { "a: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", -EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
                _cleanup_free_ char *why = NULL;
                int r = config_yaml_parse(cases[i].text, strlen(cases[i].text), &c, &why);

                if (r != cases[i].error)
                        print_error("case %zu: \"%s\": %s\n", i, cases[i].text, why);
                assert_int_equal(r, cases[i].error);
                assert_non_null(why);
                assert_null(c);
        }

        assert_int_equal(config_yaml_parse("a\0b: c", 6, (ConfigYaml *[]){ NULL }, NULL), -EBADMSG);
        assert_int_equal(config_yaml_parse("\xFF\xFE"
                                           "a\0:\0 \0b\0",
                                           10, (ConfigYaml *[]){ NULL }, NULL),
                         -EBADMSG);
}

/* {initial-cluster, initial-cluster-state} become {TWO, existing}; NULL as the result: -EINVAL, -EBADMSG … */
typedef struct EditCase {
        const char *before, *after, *value; /* value: of initial-cluster, TWO where NULL */
        int error;
} EditCase;

static const EditCase edit_cases[] = {
        { "initial-cluster: a=b\n", "initial-cluster: " TWO "\n", NULL, 0 },
        { "initial-cluster: a=b", "initial-cluster: " TWO, NULL, 0 },
        { "initial-cluster:\ta=b \t# c\n", "initial-cluster:\t" TWO " \t# c\n", NULL, 0 },
        { "initial-cluster: 'a=b'\n", "initial-cluster: '" TWO "'\n", NULL, 0 },
        { "initial-cluster: \"a=b\" \n", "initial-cluster: \"" TWO "\" \n", NULL, 0 },
        { "\"initial-cluster\": a=b\n", "\"initial-cluster\": " TWO "\n", NULL, 0 },
        { "initial-cluster :   a=b\r\nx: y\r\n", "initial-cluster :   " TWO "\r\nx: y\r\n", NULL, 0 },
        { BOM "# \xC3\xA4\r\ninitial-cluster: a=b\r\nx: \xE2\x82\xAC\r\n",
          BOM "# \xC3\xA4\r\ninitial-cluster: " TWO "\r\nx: \xE2\x82\xAC\r\n", NULL, 0 },
        { "# \xF0\x9F\x98\x80\xC2\x85"
          "x: y\ninitial-cluster: a=b\n",
          "# \xF0\x9F\x98\x80\xC2\x85"
          "x: y\ninitial-cluster: " TWO "\n",
          NULL, 0 },
        { "x: '\xE2\x80\xA8'\rinitial-cluster: a=b\r", "x: '\xE2\x80\xA8'\rinitial-cluster: " TWO "\r", NULL, 0 },
        { "initial-cluster:\n", "initial-cluster: " TWO "\n", NULL, 0 },
        { "initial-cluster: # none\nx: y\n", "initial-cluster: " TWO " # none\nx: y\n", NULL, 0 },
        { "initial-cluster:", "initial-cluster: " TWO, NULL, 0 },
        { "initial-cluster: ~\n", "initial-cluster: " TWO "\n", NULL, 0 },
        { "initial-cluster: ''\n", "initial-cluster: '" TWO "'\n", NULL, 0 },
        { "initial-cluster:\n  a=b\nx: y\n", "initial-cluster:\n  " TWO "\nx: y\n", NULL, 0 },
        { "initial-cluster: a=b,\n  c=d\nx: y\n", "initial-cluster: " TWO "\nx: y\n", NULL, 0 },
        { "initial-cluster: \"a=b,\\\n  c=d\"\nx: y\n", "initial-cluster: \"" TWO "\"\nx: y\n", NULL, 0 },
        { "%YAML 1.1\n---\ninitial-cluster: a=b\n...\n", "%YAML 1.1\n---\ninitial-cluster: " TWO "\n...\n", NULL, 0 },
        { "s: {initial-cluster: no}\nt:\n  initial-cluster: no\ninitial-cluster: a=b\n",
          "s: {initial-cluster: no}\nt:\n  initial-cluster: no\ninitial-cluster: " TWO "\n", NULL, 0 },
        { "s: |\n  initial-cluster: no\ninitial-cluster: a=b\n",
          "s: |\n  initial-cluster: no\ninitial-cluster: " TWO "\n", NULL, 0 },
        { "# initial-cluster: no\nxinitial-cluster: no\ninitial-cluster: a=b\n",
          "# initial-cluster: no\nxinitial-cluster: no\ninitial-cluster: " TWO "\n", NULL, 0 },
        /* values that cannot stand bare */
        { "initial-cluster: a=b\n", "initial-cluster: \"\"\n", "", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"12345678\"\n", "12345678", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"1e5\"\n", "1e5", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"Yes\"\n", "Yes", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"a b # c\"\n", "a b # c", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"a: \\\"\\\\\"\n", "a: \"\\", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"a:\"\n", "a:", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: \"\xC3\xA4\"\n", "\xC3\xA4", 0 },
        { "initial-cluster: 'a=b'\n", "initial-cluster: 'it''s'\n", "it's", 0 },
        { "initial-cluster: a=b\n", "initial-cluster: e=https://[fd00::1]:2380\n", "e=https://[fd00::1]:2380", 0 },
        { "initial-cluster: null\n", "initial-cluster: \"null\"\n", "null", 0 },
        /* refused */
        { "x: y\n", NULL, NULL, -ENOKEY },
        { "s:\n  initial-cluster: no\n", NULL, NULL, -ENOKEY },
        { "initial-cluster: a\ninitial-cluster: b\n", NULL, NULL, -EEXIST },
        { "{initial-cluster: a, x: y}\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: [a]\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: {a: b}\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: |\n  a\nx: y\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: >\n  a\nx: y\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: !!str a\n", NULL, NULL, -EBADMSG },
        { "initial-cluster: &x a\n", NULL, NULL, -EBADMSG },
        { "? initial-cluster\nx: y\n", NULL, NULL, -EINVAL },
        { "initial-cluster: a\n", NULL, "a\nb: c", -EINVAL },
        { "initial-cluster: a\n", NULL, "a\x7f", -EINVAL },
        { "initial-cluster: a\n", NULL, "\xFF", -EINVAL },
        { "initial-cluster: 'a'\n", NULL, "a\xC2\x85z", -EINVAL },
};

static void test_edit(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(edit_cases); i++) {
                const EditCase *c = &edit_cases[i];
                ConfigEdit edit = { "initial-cluster", c->value ?: TWO };
                _cleanup_free_ char *text = NULL, *again = NULL, *why = NULL;
                size_t size = 0, again_size;
                int r = config_yaml_edit(c->before, strlen(c->before), &edit, 1, &text, &size, &why);

                if (r != (c->after ? 1 : c->error))
                        print_error("case %zu: \"%s\": %s\n", i, c->before, why);
                assert_int_equal(r, c->after ? 1 : c->error);
                if (!c->after) {
                        assert_non_null(why);
                        continue;
                }
                assert_string_equal(text, c->after);
                assert_int_equal(size, strlen(c->after));

                assert_int_equal(config_yaml_edit(text, size, &edit, 1, &again, &again_size, NULL), 0);
                assert_int_equal(again_size, size);
                assert_memory_equal(again, text, size);
        }
}

/* Every byte outside of the three values stays, in whatever order the edits come. */
static void test_edit_three(void **state) {
        static const ConfigEdit edits[] = {
                { "initial-cluster", TWO },
                { "initial-cluster-token", "c93d43794" },
                { "initial-cluster-state", "existing" },
        };
        _cleanup_free_ char *text = NULL, *expected = NULL;
        const char *p = strstr(page, "new\n");
        size_t size;

        assert_int_equal(config_yaml_edit(page, strlen(page), edits, 3, &text, &size, NULL), 1);
        expected = format("%.*sexisting\ninitial-cluster-token: c93d43794\ninitial-cluster:   " TWO "%s",
                          (int) (p - page), page, strstr(page, "   \nclient-transport"));
        assert_string_equal(text, expected);
}

static void test_edit_arguments(void **state) {
        static const ConfigEdit twice[] = { { "initial-cluster", "a" }, { "initial-cluster", "b" } };
        static const ConfigEdit other = { "name", "a" };
        _cleanup_free_ char *text = NULL;
        size_t size;

        assert_int_equal(config_yaml_edit(page, strlen(page), twice, 2, &text, &size, NULL), -EINVAL);
        assert_int_equal(config_yaml_edit(page, strlen(page), &other, 1, &text, &size, NULL), -EINVAL);
        assert_int_equal(config_yaml_edit(page, strlen(page), NULL, 0, &text, &size, NULL), 0);
        assert_string_equal(text, page);
}

static void test_edit_file(void **state) {
        static const ConfigEdit edit = { "initial-cluster-state", "existing" };
        char dir[] = "/tmp/test-config-yaml-XXXXXX";
        _cleanup_free_ char *path = NULL, *link = NULL, *why = NULL, *text = NULL;
        struct stat before, after;
        char value[8];

        assert_non_null(mkdtemp(dir));
        path = format("%s/config.yaml", dir);
        link = format("%s/link.yaml", dir);
        assert_int_equal(
                write_file_durable(path, page, strlen(page), 0640, geteuid() == 0 ? 12345 : (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(symlink("config.yaml", link), 0);
        assert_int_equal(setxattr(path, "user.test", "kept", 4, 0), 0);
        assert_int_equal(stat(path, &before), 0);

        assert_int_equal(config_yaml_edit_file(AT_FDCWD, path, &edit, 1, &why), 1);
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_mode, before.st_mode);
        assert_int_equal(after.st_uid, before.st_uid);
        assert_int_equal(getxattr(path, "user.test", value, sizeof(value)), 4);
        assert_int_equal(read_file(path, CONFIG_YAML_SIZE_MAX, false, &text, NULL), 0);
        assert_non_null(strstr(text, "\ninitial-cluster-state: existing\n"));

        assert_int_equal(config_yaml_edit_file(AT_FDCWD, path, &edit, 1, &why), 0);
        assert_int_equal(config_yaml_edit_file(AT_FDCWD, link, &edit, 1, &why), -ELOOP);

        assert_int_equal(write_file_durable(path, "a: b\n", 5, 0640, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(config_yaml_edit_file(AT_FDCWD, path, &edit, 1, &why), -ENOKEY);
        assert_non_null(strstr(why, path));
        assert_non_null(strstr(why, "'initial-cluster-state'"));
        assert_int_equal(remove_tree(dir), 0);
}

/* Any text at all: no crash, and what is accepted is edited in one place alone. */
static void test_edit_mutations(void **state) {
        static const ConfigEdit edit = { "initial-cluster", TWO };
        size_t size = strlen(page), edited = 0;
        unsigned seed = 1;

        for (unsigned i = 0; i < 20000; i++) {
                _cleanup_free_ char *text = strdup(page), *result = NULL;
                size_t result_size, same = 0, tail = 0;
                int r;

                for (unsigned j = 0; j < 1 + i % 4; j++)
                        text[(size_t) rand_r(&seed) % size] = (char) (rand_r(&seed) % 256);
                r = config_yaml_edit(text, size, &edit, 1, &result, &result_size, NULL);
                if (r <= 0)
                        continue;
                edited++;
                while (same < size && text[same] == result[same])
                        same++;
                while (tail < size - same && text[size - 1 - tail] == result[result_size - 1 - tail])
                        tail++;
                assert_true(size - same - tail < 200);
        }

        assert_true(edited > 1000);
}

static void test_cluster_entries(void **state) {
        static const BadCase cases[] = {
                { "", -EINVAL },      { "a", -EINVAL },        { "=b", -EINVAL },      { "a=", -EINVAL },
                { "a=b,", -EINVAL },  { "a=b,,c=d", -EINVAL }, { ",a=b", -EINVAL },    { "a=b, c=d", -EINVAL },
                { "a=b\n", -EINVAL }, { "a=b,a=c", -EEXIST },  { "a=b,c=b", -EEXIST },
        };
        _cleanup_(cluster_entries_freep) ClusterEntries *e = NULL;
        _cleanup_free_ char *text = NULL, *many = strdup("n=u");

        assert_int_equal(cluster_entries_parse(TWO, &e, NULL), 0);
        assert_int_equal(e->n, 2);
        assert_string_equal(e->items[1].name, "etcd-2");
        assert_string_equal(e->items[1].peer_url, "https://10.128.1.150:2380");
        text = cluster_entries_format(e);
        assert_string_equal(text, TWO);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(cluster_entries_freep) ClusterEntries *bad = NULL;
                _cleanup_free_ char *why = NULL;

                assert_int_equal(cluster_entries_parse(cases[i].text, &bad, &why), cases[i].error);
                assert_non_null(why);
        }

        for (unsigned i = 0; i < 64; i++) {
                _cleanup_(cluster_entries_freep) ClusterEntries *list = NULL;
                char *longer;

                assert_int_equal(cluster_entries_parse(many, &list, NULL), 0);
                longer = format("%s,n%u=u%u", many, i, i);
                free(many);
                many = longer;
        }
        assert_int_equal(cluster_entries_parse(many, (ClusterEntries *[]){ NULL }, NULL), -E2BIG);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),          cmocka_unit_test(test_parse_refuses),
                cmocka_unit_test(test_edit),           cmocka_unit_test(test_edit_three),
                cmocka_unit_test(test_edit_arguments), cmocka_unit_test(test_edit_file),
                cmocka_unit_test(test_edit_mutations), cmocka_unit_test(test_cluster_entries),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
