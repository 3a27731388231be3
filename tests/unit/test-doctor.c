/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every check of the doctor, on facts: a healthy cluster, in which one thing after another is made wrong. */

#include "steps/doctor.h"
#include "test-util.h"

#define NOW INT64_C(1750000000000000)
#define DAY INT64_C(86400000000)
#define LIST "etcd-1=https://10.0.0.1:2380,etcd-2=https://10.0.0.2:2380"
#define HOST_FACTS                                                                                                     \
        "{'version':'" DHETCD_VERSION "','cluster_id':'c12345678','package_digest':'x','config_error':null,"           \
        "'config':{'name':'etcd-%d','initial_cluster':'" LIST "','initial_cluster_state':'new',"                       \
        "'initial_cluster_token':'c12345678','initial_advertise_peer_urls':'https://10.0.0.%d:2380',"                  \
        "'strict_reconfig_check':true,'force_new_cluster':false},"                                                     \
        "'certificates':[{'file':'/peer.crt','not_before_usec':1,'not_after_usec':1760000000000000}],"                 \
        "'authority_files':[{'file':'/ca.crt','not_before_usec':1,'not_after_usec':1760000000000000}],"                \
        "'data_directory':{'path':'/var/lib/etcd/dh/c12345678','state':'in-use'},'unit':{'active_state':'active'},"    \
        "'lock':null,'journal':['ready to serve'],'etcd_uid':70,'data_parent':{'uid':70,'gid':80},'open_jobs':[],"     \
        "'data_owners':[{'path':'','uid':70,'gid':80},{'path':'member','uid':70,'gid':70}],'root_client_lacks':[]}"

static json_t *parse(const char *text) {
        char *copy = strdup(text);
        json_t *v;

        assert_non_null(copy);
        for (char *p = copy; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        v = json_loads(copy, 0, NULL);
        free(copy);
        assert_non_null(v);
        return v;
}

static json_t *member(int n) {
        return json_pack("{so so so so ss ss sb ss}", "id", json_sprintf("a%d", n), "name", json_sprintf("etcd-%d", n),
                         "address", json_sprintf("10.0.0.%d", n), "peer_url", json_sprintf("https://10.0.0.%d:2380", n),
                         "role", n == 1 ? "leader" : "follower", "health", "healthy", "answers", 1, "version",
                         "3.5.30");
}

static json_t *host(int n) {
        _cleanup_free_ char *facts = format(HOST_FACTS, n, n);

        return json_pack("{so sb so sn s{ss si si} sn}", "address", json_sprintf("10.0.0.%d", n), "this_host", n == 1,
                         "facts", parse(facts), "error", "admin", "user", "iris", "uid", 80, "gid", 80, "admin_error");
}

static json_t *healthy(void) {
        return json_pack("{sI ss s{s[oo] ss sn sn} sn s[oo]}", "now_usec", (json_int_t) NOW, "own", "10.0.0.1",
                         "cluster", "members", member(1), member(2), "list", "quorum", "alarms", "list_error",
                         "cluster_error", "hosts", host(1), host(2));
}

/* "cluster.members.1.name" */
static json_t *at(json_t *v, const char *path, char *ret_last) {
        _cleanup_free_ char *copy = strdup(path);
        char *saved, *word = strtok_r(copy, ".", &saved);

        for (char *next; (next = strtok_r(NULL, ".", &saved)); word = next) {
                v = json_is_array(v) ? json_array_get(v, (size_t) atoi(word)) : json_object_get(v, word);
                assert_non_null(v);
        }
        strcpy(ret_last, word);
        return v;
}

static void set(json_t *facts, const char *path, const char *text) {
        char last[64];
        json_t *v = at(facts, path, last);
        _cleanup_free_ char *wrapped = format("[%s]", text);
        _cleanup_json_ json_t *list = parse(wrapped);

        assert_int_equal(json_is_array(v) ? json_array_set(v, (size_t) atoi(last), json_array_get(list, 0))
                                          : json_object_set(v, last, json_array_get(list, 0)),
                         0);
}

static void test_healthy(void **state) {
        _cleanup_json_ json_t *facts = healthy(), *findings = NULL;

        assert_non_null(facts);
        findings = doctor_examine(facts);
        assert_int_equal(json_array_size(findings), 0);
}

#define F "hosts.1.facts."
#define M "cluster.members.1."
#define LEARNER                                                                                                        \
        { M "role", "'learner'" }, { M "health", "'not started'" }, {                                                  \
                M "answers", "false"                                                                                   \
        }

static const struct {
        const char *id, *host, *evidence, *command;
        bool fixable;
        struct {
                const char *path, *value;
        } set[8];
} table[] = {
        { "host-silent",
          "10.0.0.2",
          "no route",
          "dhetcd trust 10.0.0.2",
          false,
          { { "hosts.1.facts", "null" }, { "hosts.1.error", "'no route'" } } },
        { "root-client-missing",
          "10.0.0.2",
          "client/root/password",
          "unpackage-client",
          false,
          { { F "root_client_lacks", "['password']" } } },
        { "cluster-silent",
          NULL,
          "refused",
          "rescue",
          false,
          { { "cluster.list", "'one member'" }, { "cluster.list_error", "'refused'" } } },
        { "alarm", NULL, "NOSPACE", "alarm list", false, { { "cluster.alarms", "'NOSPACE at a1'" } } },
        { "dead-learner",
          "10.0.0.2",
          "never started",
          "member remove a2",
          true,
          { LEARNER,
            { M "name", "''" },
            { F "data_directory.state", "'empty'" },
            { F "unit.active_state", "'failed'" } } },
        { "dead-learner",
          "10.0.0.2",
          "never started",
          "member remove a2",
          true,
          { LEARNER, { M "name", "''" }, { "hosts.1.facts", "null" } } },
        { "dead-learner", "10.0.0.2", "does not answer", "member remove a2", false, { LEARNER } },
        { "dead-learner",
          "10.0.0.2",
          "never started",
          "member remove a2",
          false,
          { LEARNER,
            { M "name", "''" },
            { "hosts.1.facts", "null" },
            { "hosts.0.facts.open_jobs", "[{'job':'x'}]" } } },
        { "learner-left", "10.0.0.2", "no job", "promote a2", false, { { M "role", "'learner'" } } },
        { "phantom-voter",
          "10.0.0.2",
          "never started",
          "member remove a2",
          false,
          { { M "answers", "false" }, { M "name", "''" }, { M "health", "'not started'" } } },
        { "phantom-voter",
          "10.0.0.2",
          "neither its data",
          "member remove a2",
          false,
          { { M "answers", "false" },
            { F "data_directory.state", "'absent'" },
            { F "unit.active_state", "'inactive'" } } },
        { "phantom-voter",
          "10.0.0.2",
          "by another member",
          "member remove a2",
          false,
          { { M "health", "'other member'" } } },
        { "voter-silent",
          "10.0.0.2",
          "timed out",
          "systemctl start dh-etcd",
          false,
          { { M "answers", "false" }, { M "error", "'timed out'" }, { F "unit.active_state", "'failed'" } } },
        { "version-mixed", "10.0.0.2", "3.5.29", "same version", false, { { M "version", "'3.5.29'" } } },
        { "version-hazard",
          NULL,
          "etcd 3.5.16: ",
          "upgrade",
          false,
          { { "cluster.members.0.version", "'3.5.16'" }, { M "version", "'3.5.16'" } } },
        { "dhetcd-version", "10.0.0.2", "0.0.1", "same package", false, { { F "version", "'0.0.1'" } } },
        { "lock-left",
          "10.0.0.2",
          "has ended there",
          "Unlock s 12345678-2",
          true,
          { { F "lock", "{'job':'12345678','txn':'12345678-2','holder':'10.0.0.1'}" } } },
        { "lock-left",
          "10.0.0.2",
          "does not answer",
          "--takeover 12345678",
          false,
          { { F "lock", "{'job':'12345678','holder':'10.0.0.7'}" } } },
        { "job-stuck",
          "10.0.0.2",
          "broken",
          "dhetcd settle 12345678",
          false,
          { { F "open_jobs", "[{'job':'12345678','state':'stuck','text':'broken'}]" } } },
        { "job-open",
          "10.0.0.2",
          "running",
          "dhetcd watch 12345678",
          false,
          { { F "open_jobs", "[{'job':'12345678','state':'running','text':''}]" } } },
        { "admin-user-unset",
          "10.0.0.2",
          "sets no",
          "source ",
          false,
          { { "hosts.1.admin", "null" }, { "hosts.1.admin_error", "'sets no DH_ADMIN_USER'" } } },
        { "admin-user-differs", "10.0.0.2", "81", "id iris", false, { { "hosts.1.admin.uid", "81" } } },
        { "learner-state-new", "10.0.0.2", "initial-cluster-state: new", "existing", false, { LEARNER } },
        { "learner-data-left",
          "10.0.0.2",
          "not empty",
          "mv /var/lib/etcd/dh/c12345678",
          false,
          { LEARNER, { M "name", "''" } } },
        { "member-count-unequal",
          "10.0.0.2",
          "count is unequal",
          "initial-cluster",
          false,
          { LEARNER, { F "journal", "['error: member count is unequal', 'x']" } } },
        { "cluster-id-mismatch",
          "10.0.0.2",
          "ID mismatch",
          "existing",
          false,
          { LEARNER, { F "journal", "['request cluster ID mismatch']" } } },
        { "data-owner", "10.0.0.2", "dh/c12345678 belongs to 0:80", "chown", true, { { F "data_owners.0.uid", "0" } } },
        { "data-owner", "10.0.0.2", "member belongs to 0:70", "chown", true, { { F "data_owners.1.uid", "0" } } },
        { "data-owner", "10.0.0.2", "dh belongs to 70:70", "chown", true, { { F "data_parent.gid", "70" } } },
        { "config-unusable",
          "10.0.0.2",
          "line 3",
          "unpackage-server",
          false,
          { { F "config", "null" }, { F "config_error", "'bad YAML in line 3'" } } },
        { "config-list",
          "10.0.0.2",
          "lacks etcd-2=",
          LIST,
          true,
          { { F "config.initial_cluster", "'etcd-1=https://10.0.0.1:2380'" } } },
        { "config-list",
          "10.0.0.2",
          "names etcd-3=",
          LIST,
          true,
          { { F "config.initial_cluster", "'" LIST ",etcd-3=https://10.0.0.3:2380'" } } },
        { "config-state", "10.0.0.2", "existing", "new", true, { { F "config.initial_cluster_state", "'existing'" } } },
        { "config-own", "10.0.0.2", "name: etcd-7", "correct it", false, { { F "config.name", "'etcd-7'" } } },
        { "config-own",
          "10.0.0.2",
          "10.0.0.9",
          "correct it",
          false,
          { { F "config.initial_advertise_peer_urls", "'https://10.0.0.9:2380'" } } },
        { "config-own",
          "10.0.0.2",
          "token: other",
          "correct it",
          false,
          { { F "config.initial_cluster_token", "'other'" } } },
        { "config-strict", "10.0.0.2", "false", "sed", false, { { F "config.strict_reconfig_check", "false" } } },
        { "config-force", "10.0.0.2", "true", "sed", false, { { F "config.force_new_cluster", "true" } } },
        { "certificate-ends",
          "10.0.0.2",
          "/peer.crt ends",
          "--servers 10.0.0.1 10.0.0.2",
          false,
          { { F "certificates.0.not_after_usec", "1750000000000001" } } },
        { "certificate-ended",
          "10.0.0.2",
          "/peer.crt ended",
          "--servers",
          false,
          { { F "certificates.0.not_after_usec", "1750000000000000" } } },
        { "certificate-ended",
          "10.0.0.2",
          "/ca.crt begins",
          "--servers",
          false,
          { { F "authority_files.0.not_before_usec", "1750000000000001" } } },
};

static const json_t *find(const json_t *findings, const char *id) {
        json_t *f;
        size_t i;

        json_array_foreach ((json_t *) findings, i, f)
                if (streq(json_get_string(f, "id"), id))
                        return f;
        return NULL;
}

static void test_each(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_json_ json_t *facts = healthy(), *findings = NULL;
                const json_t *f;

                for (size_t k = 0; k < ELEMENTSOF(table[i].set) && table[i].set[k].path; k++)
                        set(facts, table[i].set[k].path, table[i].set[k].value);
                findings = doctor_examine(facts);
                f = find(findings, table[i].id);
                if (!f || !streq(json_get_string(f, "host"), table[i].host) ||
                    !strstr(json_get_string(f, "evidence") ?: "", table[i].evidence) ||
                    !strstr(json_get_string(f, "command") ?: "", table[i].command) ||
                    json_is_true(json_object_get(f, "fixable")) != table[i].fixable || !json_get_string(f, "cause") ||
                    !json_get_string(f, "severity"))
                        fail_msg("entry %zu: %s", i, json_dumps(findings, JSON_INDENT(1)));
        }
}

/* Every check is in the table above. */
static void test_all(void **state) {
        const DoctorTable *const tables[] = { &doctor_cluster_checks, &doctor_host_checks };

        for (size_t t = 0; t < ELEMENTSOF(tables); t++)
                for (size_t i = 0; i < tables[t]->n; i++) {
                        bool found = false;

                        for (size_t k = 0; k < ELEMENTSOF(table); k++)
                                found = found || streq(table[k].id, tables[t]->checks[i].id);
                        if (!found)
                                fail_msg("%s has no test", tables[t]->checks[i].id);
                }
}

/* What a host says gets into no command that somebody may paste into a shell, unless it is plain. */
static void test_plain(void **state) {
        _cleanup_json_ json_t *facts = healthy(), *findings = NULL;

        set(facts, F "lock", "{'job':'12345678','txn':'1; reboot','holder':'10.0.0.1'}");
        set(facts, F "data_directory.path", "'/x$(reboot)'");
        set(facts, F "data_owners.0.uid", "0");
        findings = doctor_examine(facts);
        assert_null(strstr(json_get_string(find(findings, "lock-left"), "command"), "reboot"));
        assert_null(strstr(json_get_string(find(findings, "data-owner"), "command"), "reboot"));
}

/* Of a long line the part that matters; a character that is cut is no harm. */
static void test_long_line(void **state) {
        _cleanup_json_ json_t *facts = healthy(), *findings = NULL;
        char line[2048] = "['";

        for (size_t i = 0; i < 300; i++)
                strcat(line, "\xc3\xa4");
        strcat(line, "x member count is unequal ");
        for (size_t i = 0; i < 300; i++)
                strcat(line, "\xc3\xa4");
        strcat(line, "']");
        set(facts, M "health", "'no answer'");
        set(facts, F "journal", line);
        findings = doctor_examine(facts);
        assert_non_null(
                strstr(json_get_string(find(findings, "member-count-unequal"), "evidence"), "count is unequal"));
}

/* Nothing, and nonsense, is no crash. */
static void test_untrusted(void **state) {
        static const char *const texts[] = {
                "{}",
                "{'cluster':null,'hosts':null}",
                "{'cluster':{'members':[{},[],1]},'hosts':[{},1,{'address':'10.0.0.1','facts':{}}]}",
                "{'cluster':{'list':'quorum','members':[{'address':'10.0.0.1'}]},"
                "'hosts':[{'address':'10.0.0.1','facts':{'config':{},'open_jobs':[1],'lock':{},'journal':[1],"
                "'data_owners':[{}],'etcd_uid':1,'certificates':[{}]},'admin':{}}]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_json_ json_t *facts = parse(texts[i]), *findings = doctor_examine(facts);

                assert_non_null(findings);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_healthy),   cmocka_unit_test(test_each),  cmocka_unit_test(test_all),
                cmocka_unit_test(test_long_line), cmocka_unit_test(test_plain), cmocka_unit_test(test_untrusted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
