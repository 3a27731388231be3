/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include <stdlib.h>

#include "basic/string-util.h"
#include "host/cluster-cnf.h"

#define ONE "DH_NODE_1_ADDRESS=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\n"

static ClusterCnf *parse(const char *text) {
        _cleanup_free_ char *why = NULL;
        ClusterCnf *c = NULL;
        int r = cluster_cnf_parse(text, strlen(text), &c, &why);

        if (r < 0)
                fail_msg("%s: %s", text, why ? why : strerror(-r));
        return c;
}

static char **words(const char *text) {
        _cleanup_free_ char *copy = strdup(text);
        char **list = NULL, *save = NULL;

        for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
                assert_int_equal(strv_append(&list, w), 0);
        return list;
}

static int add(ClusterCnf *c, const char *hosts, const char *roles, const char *key, char **why) {
        _cleanup_strv_ char **h = words(hosts), **r = words(roles);

        return cluster_cnf_add(c, &(CnfAddition){ .hosts = h, .roles = r, .host_key = key }, why);
}

static void expect(const char *before, const char *hosts, const char *roles, const char *key, const char *after) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse(before), *again = NULL;
        _cleanup_free_ char *why = NULL, *got = NULL;
        size_t size = 0;

        if (add(c, hosts, roles, key, &why) < 0)
                fail_msg("%s: %s", before, why);
        got = cluster_cnf_text(c, &size);
        assert_string_equal(got, after);
        assert_int_equal(size, strlen(after));
        again = parse(got);
        assert_null(cluster_cnf_error(again));
        assert_false(cluster_cnf_has_generated(again));
}

static void refuse(const char *text, const char *hosts, const char *key, const char *says) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse(text);
        _cleanup_free_ char *why = NULL, *now = NULL;
        size_t size = 0;

        assert_int_equal(add(c, hosts, "", key, &why), -EINVAL);
        assert_non_null(why);
        if (!strstr(why, says))
                fail_msg("'%s' does not say '%s'", why, says);
        now = cluster_cnf_text(c, &size);
        assert_string_equal(now, text);
}

/* The finding of a file that has one alone. */
static void finds(const char *text, bool error, size_t line, const char *says) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse(text);

        for (size_t i = 0; i < c->n_findings; i++)
                if (c->findings[i].error == error && c->findings[i].line == line && strstr(c->findings[i].text, says))
                        return;
        fail_msg("%s: no finding '%s', the first is: %s", text, says, c->n_findings ? c->findings[0].text : "none");
}

static void test_appended(void **state) {
        expect(ONE, "10.0.0.2", "", NULL, ONE "\nDH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n");
        expect(ONE "\n", "10.0.0.2 10.0.0.3", "QUERY=true MERGE=false ETCD=true", NULL,
               ONE "\nDH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\nDH_NODE_2_ROLE_QUERY=true\n"
                   "DH_NODE_2_ROLE_MERGE=false\n\nDH_NODE_3_ADDRESS=10.0.0.3\nDH_NODE_3_ROLE_ETCD=true\n"
                   "DH_NODE_3_ROLE_QUERY=true\nDH_NODE_3_ROLE_MERGE=false\n");
        /* quotes as the others have them */
        expect("DH_NODE_1_FQDN=\"a.b\"\nDH_NODE_1_ROLE_ETCD=true\n", "c.d", "", NULL,
               "DH_NODE_1_FQDN=\"a.b\"\nDH_NODE_1_ROLE_ETCD=true\n\nDH_NODE_2_FQDN=\"c.d\"\n"
               "DH_NODE_2_ROLE_ETCD=true\n");
        /* as on the vendor's page: nothing names the hosts */
        expect("#Infra\nDH_NODE_1_ROLE_ETCD=true\n", "10.0.0.2", "", "ADDRESS",
               "#Infra\nDH_NODE_1_ROLE_ETCD=true\n\nDH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n");
}

static void test_generated_is_dropped(void **state) {
        expect(ONE "\nDH_NODE_COUNT=1\nDH_NODE_1_FQDN=\"x\"\n# theirs\n", "10.0.0.2", "", NULL,
               ONE "\nDH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n");
        expect(ONE "DH_NODE_COUNT=1\n", "", "", NULL, ONE);
        expect(ONE, "", "", NULL, ONE);
        expect(ONE " \tDH_NODE_COUNT=\"1\"\nx", "", "", NULL, ONE);
        /* a comment does not begin it */
        expect("#DH_NODE_COUNT=1\n" ONE, "", "", NULL, "#DH_NODE_COUNT=1\n" ONE);
}

static void test_every_other_byte_is_kept(void **state) {
        static const char odd[] = "# \xfc umlaut\n\tX='a b' # c\r\nexport Y=1\n  \nJ=\"-Da=\\\"b\\\" ${Z}\"\n" ONE;
        _cleanup_free_ char *after = format("%s\nDH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n", odd);

        expect(odd, "10.0.0.2", "", NULL, after);
}

static void test_line_ends(void **state) {
        expect("DH_NODE_1_IP=10.0.0.1\r\nDH_NODE_1_ROLE_ETCD=true\r\n", "10.0.0.2", "", NULL,
               "DH_NODE_1_IP=10.0.0.1\r\nDH_NODE_1_ROLE_ETCD=true\r\n\r\nDH_NODE_2_IP=10.0.0.2\r\n"
               "DH_NODE_2_ROLE_ETCD=true\r\n");
        expect("DH_NODE_1_ROLE_ETCD=true\nDH_NODE_1_IP=10.0.0.1", "10.0.0.2", "", NULL,
               "DH_NODE_1_ROLE_ETCD=true\nDH_NODE_1_IP=10.0.0.1\n\nDH_NODE_2_IP=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n");
        expect("DH_NODE_1_ROLE_ETCD=true\nDH_NODE_1_IP=10.0.0.1", "", "", NULL,
               "DH_NODE_1_ROLE_ETCD=true\nDH_NODE_1_IP=10.0.0.1");
}

/* A host that is there in other roles becomes an etcd node in its own place. */
static void test_existing_node(void **state) {
        static const char three[] = "DH_NODE_1_IP=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\n"
                                    "DH_NODE_2_IP=10.0.0.2\nDH_NODE_2_ROLE_ETCD=\"false\" # not yet\n"
                                    "DH_NODE_3_IP=10.0.0.3\nDH_NODE_2_ROLE_QUERY=true\nDH_NODE_3_ROLE_QUERY=true";

        expect(three, "10.0.0.3 10.0.0.2", "", NULL,
               "DH_NODE_1_IP=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\n"
               "DH_NODE_2_IP=10.0.0.2\nDH_NODE_2_ROLE_ETCD=\"true\" # not yet\n"
               "DH_NODE_3_IP=10.0.0.3\nDH_NODE_2_ROLE_QUERY=true\nDH_NODE_3_ROLE_QUERY=true\n"
               "DH_NODE_3_ROLE_ETCD=true\n");
        /* the last line, without an end, is the one that is changed, and more comes after it */
        expect("DH_NODE_1_IP=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\nDH_NODE_2_IP=10.0.0.2\nDH_NODE_2_ROLE_ETCD=false",
               "10.0.0.2 10.0.0.3", "", NULL,
               "DH_NODE_1_IP=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\nDH_NODE_2_IP=10.0.0.2\nDH_NODE_2_ROLE_ETCD=true\n\n"
               "DH_NODE_3_IP=10.0.0.3\nDH_NODE_3_ROLE_ETCD=true\n");
}

static void test_refused(void **state) {
        refuse(ONE, "10.0.0.1", NULL, "already");
        refuse(ONE, "10.0.0.2 10.0.0.2", NULL, "twice");
        refuse(ONE, "new-host", NULL, "10.0.0.1");
        refuse(ONE, "a;b", NULL, "neither");
        refuse(ONE, "$(id)", NULL, "neither");
        refuse(ONE, "-x", NULL, "neither");
        refuse(ONE, "10.0.0.2", "FQDN", "DH_NODE_n_ADDRESS");
        refuse("DH_NODE_1_ROLE_ETCD=true\n", "10.0.0.2", NULL, "--host-key=");
        refuse("DH_NODE_1_ROLE_ETCD=true\n", "10.0.0.2", "ROLE_X", "no key");
        refuse("DH_NODE_1_ROLE_ETCD=true\n", "10.0.0.2", "a b", "no key");
        refuse("", "10.0.0.2", NULL, "no node");
        refuse("# nothing\n", "", NULL, "no node");
        refuse("DH_NODE_COUNT=1\n" ONE, "10.0.0.2", NULL, "DH_NODE_COUNT");
        refuse(ONE "DH_NODE_3_ADDRESS=10.0.0.3\n", "10.0.0.2", NULL, "gap");
        refuse(ONE "DH_NODE_1_ADDRESS=10.0.0.9\n", "10.0.0.2", NULL, "twice");
        refuse(ONE "DH_NODE_2_ADDRESS=10.0.0.2\nDH_NODE_2_ROLE_ETCD=maybe\n", "10.0.0.3", NULL, "true or false");
}

static void test_findings(void **state) {
        finds(ONE "DH_NODE_02_ADDRESS=x\n", true, 3, "without zeros");
        finds(ONE "DH_NODE_0_ADDRESS=x\n", true, 3, "from 1");
        finds(ONE "DH_NODE_1000_ADDRESS=x\n", true, 3, "999");
        finds(ONE "DH_NODE_2_=x\n", true, 3, "is no DH_NODE");
        finds(ONE "A=\"b\n", true, 3, "does not end");
        finds(ONE "A='b\n", true, 3, "does not end");
        finds(ONE "A=b\\\n", true, 3, "does not end");
        finds(ONE "A=\"b\"c\n", true, 3, "does not end");
        finds(ONE "A=b\"c\"\n", true, 3, "in parts");
        finds(ONE "A=b c\n", true, 3, "quote it");
        finds(ONE "A=1\nA=2\n", false, 4, "twice, in line 3");
        finds(ONE "source x\n", false, 3, "neither");
        finds(ONE "A=\x1b[2J\n", true, 3, "control");
        finds(ONE "DH_NODE_1_X=$(id)\n", true, 3, "shell");
        finds(ONE "DH_NODE_1_X=`id`\n", true, 3, "shell");
        finds(ONE "DH_NODE_1_X=a;b\n", true, 3, "shell");
        finds(ONE "DH_NODE_2_ROLE_ETCD=true\n", false, 0, "odd number");
        finds("DH_NODE_1_X=a\n", true, 0, "no node has");
        finds(ONE "DH_NODE_COUNT=2\n", false, 3, "run it again");
        finds(ONE "DH_NODE_COUNT=x\n", false, 3, "run it again");
        finds(ONE "DH_NODE_COUNT=1\nDH_NODE_2_ROLE_ETCD=true\n", true, 4, "only in the part");
}

static void test_host_key(void **state) {
        static const struct {
                const char *text, *key;
        } cases[] = {
                { ONE, "ADDRESS" },
                { "DH_NODE_1_A=x\nDH_NODE_1_B=y\n", NULL },
                { "DH_NODE_1_A=x\nDH_NODE_1_B=10.0.0.1\n", "B" },
                { "DH_NODE_1_A=x\nDH_NODE_2_A=x\n", NULL },
                { "DH_NODE_1_A=x\nDH_NODE_2_A=y\nDH_NODE_1_Z=z\n", "A" },
                { "DH_NODE_1_PORT=80\nDH_NODE_1_SSL=true\nDH_NODE_1_H=h\n", "H" },
                { "DH_NODE_1_H=\n", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse(cases[i].text);

                assert_true(streq(c->host_key, cases[i].key));
        }
}

static void test_generated_check(void **state) {
        static const struct {
                const char *text;
                int is;
        } cases[] = {
                { ONE, 0 },
                { ONE "DH_NODE_COUNT=1\n", 1 },
                { ONE "DH_NODE_COUNT=2\n", -ESTALE },
                { ONE "DH_NODE_COUNT=\n", -ESTALE },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse(cases[i].text);

                assert_int_equal(cluster_cnf_generated_check(c), cases[i].is);
        }
}

static void test_roles(void **state) {
        static const struct {
                const char *text, *is;
        } cases[] = {
                { "QUERY", "QUERY=true" }, { "QUERY=true", "QUERY=true" }, { "MERGE_2=false", "MERGE_2=false" },
                { "ETCD", "ETCD=true" },   { "ETCD=false", NULL },         { "", NULL },
                { "query", NULL },         { "QUERY=yes", NULL },          { "A=true=false", NULL },
                { "A\nB", NULL },          { "ETC=false", "ETC=false" },   { "ETCDX=false", "ETCDX=false" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *got = NULL, *why = NULL;
                int r = cluster_cnf_role(cases[i].text, &got, &why);

                assert_int_equal(r, cases[i].is ? 0 : -EINVAL);
                assert_true(streq(got, cases[i].is));
        }
}

static void test_diff(void **state) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = parse("a=1\nb=2\n\n# c\n" ONE "DH_NODE_COUNT=1");
        _cleanup_free_ char *diff = cluster_cnf_diff(c, "f"), *why = NULL;

        assert_string_equal(diff, "");
        assert_int_equal(add(c, "10.0.0.2", "", NULL, &why), 0);
        free(diff);
        diff = cluster_cnf_diff(c, "f");
        assert_string_equal(diff, "--- f\n+++ f (new)\n@@ -4,4 +4,6 @@\n # c\n DH_NODE_1_ADDRESS=10.0.0.1\n"
                                  " DH_NODE_1_ROLE_ETCD=true\n+\n+DH_NODE_2_ADDRESS=10.0.0.2\n"
                                  "+DH_NODE_2_ROLE_ETCD=true\n-DH_NODE_COUNT=1\n\\ No newline at end of file\n");
}

static void test_no_text(void **state) {
        _cleanup_free_ char *why = NULL, *large = calloc(1, CNF_SIZE_MAX + 1);
        ClusterCnf *c = NULL;

        assert_int_equal(cluster_cnf_parse("A=1\0B=2\n", 8, &c, &why), -EINVAL);
        assert_non_null(strstr(why, "NUL"));
        memset(large, '\n', CNF_SIZE_MAX + 1);
        assert_int_equal(cluster_cnf_parse(large, CNF_SIZE_MAX + 1, &c, NULL), -EINVAL);
        assert_int_equal(cluster_cnf_parse(large, CNF_SIZE_MAX, &c, NULL), -EINVAL);
        assert_null(c);
}

/* Whatever the bytes: no crash, and what is not refused comes out again whole. */
static void test_random(void **state) {
        static const char *const parts[] = { "DH_NODE_", "1",        "2",    "_ROLE_ETCD", "_IP=", "=",    "true",
                                             "false",    "\n",       "\r\n", "\"",         "'",    "#",    " ",
                                             "COUNT=",   "10.0.0.1", "\\",   "$",          "\x01", "\xff", ONE };

        srandom(7);
        for (unsigned round = 0; round < 20000; round++) {
                _cleanup_(cluster_cnf_freep) ClusterCnf *c = NULL;
                _cleanup_free_ char *text = NULL, *diff = NULL;
                char bytes[2048] = "";
                size_t size;

                for (long n = random() % 24; n > 0; n--)
                        strcat(bytes, parts[(size_t) random() % ELEMENTSOF(parts)]);
                c = parse(bytes);
                text = cluster_cnf_text(c, &size);
                assert_string_equal(text, bytes);
                if (add(c, "10.0.0.7", "QUERY=true", NULL, NULL) >= 0) {
                        _cleanup_(cluster_cnf_freep) ClusterCnf *again = NULL;

                        free(text);
                        text = cluster_cnf_text(c, &size);
                        diff = cluster_cnf_diff(c, "f");
                        again = parse(text);
                        assert_null(cluster_cnf_error(again));
                        assert_true(cluster_cnf_is_etcd(again, cluster_cnf_node_of_host(again, "10.0.0.7")));
                        assert_non_null(strstr(diff, "+DH_NODE_"));
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_appended),
                cmocka_unit_test(test_generated_is_dropped),
                cmocka_unit_test(test_every_other_byte_is_kept),
                cmocka_unit_test(test_line_ends),
                cmocka_unit_test(test_existing_node),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_findings),
                cmocka_unit_test(test_host_key),
                cmocka_unit_test(test_generated_check),
                cmocka_unit_test(test_roles),
                cmocka_unit_test(test_diff),
                cmocka_unit_test(test_no_text),
                cmocka_unit_test(test_random),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
