/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/config.h"
#include "basic/fs.h"
#include "basic/string-util.h"

static char dir[] = "/tmp/dhetcd-test-config-XXXXXX";

static void put(const char *name, const char *text) {
        _cleanup_free_ char *path = format("%s/%s", dir, name);

        assert_int_equal(write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1), 0);
}

static int setup(void **state) {
        _cleanup_free_ char *dropins = NULL;

        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        assert_non_null(mkdtemp(dir));
        dropins = format("%s/%s", dir, CONFIG_DROPIN_DIR);
        return mkdir_durable(dropins, 0700) < 0 ? -1 : 0;
}

static int teardown(void **state) {
        return remove_tree(dir);
}

static void test_defaults(void **state) {
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_strv_ char **warnings = NULL;
        _cleanup_free_ char *error = NULL;

        assert_int_equal(config_load("/nonexistent", &c, &warnings, &error), 0);
        assert_null(error);
        assert_null(warnings);
        assert_string_equal(c->ssh_user, "root");
        assert_string_equal(c->ssh_known_hosts_file, "/etc/dhetcd/known_hosts");
        assert_int_equal(c->ssh_port, 22);
        assert_int_equal(c->ssh_connect_timeout_sec, 10);
        assert_null(c->etcd_ca_file);
        assert_string_equal(c->restart, "needed");
        assert_int_equal(c->sync_margin, 1000);
        assert_int_equal(c->sync_timeout_usec, 1800 * USEC_PER_SEC);
        assert_int_equal(c->step_timeout_usec, 120 * USEC_PER_SEC);
        assert_int_equal(c->wait_timeout_usec, 86400 * USEC_PER_SEC);
        assert_false(c->move_data_aside);
        assert_false(c->require_odd);
        assert_int_equal(c->settle_budget_usec, 300 * USEC_PER_SEC);
        assert_int_equal(c->retry_budget_usec, 30 * USEC_PER_SEC);
        assert_int_equal(c->keep_jobs, 20);
        assert_int_equal(c->keep_days, 90);
}

static int gather(void *userdata, const char *section, const char *name, const char *value, const char *source) {
        char **text = userdata, *longer;

        if (streq(name, "IdentityFile")) /* the default where it is there */
                return 0;
        longer = format("%s[%s] %s=%s\n", *text ?: "", section, name, value);

        assert_non_null(longer);
        free(*text);
        *text = longer;
        return 0;
}

/* What the file that is installed has as comments, so that an operator sees the defaults, and what is built in. */
static void test_installed_file_has_the_defaults(void **state) {
        _cleanup_(config_freep) Config *c = NULL, *builtin = NULL;
        _cleanup_free_ char *text = NULL, *values = NULL, *expected = NULL;
        _cleanup_strv_ char **warnings = NULL;

        assert_int_equal(read_file(SOURCE_DIR "/contrib/dhetcd.conf", 65536, true, &text, NULL), 0);
        for (char *p = text; (p = strstr(p, "\n#")); p++)
                if (p[2] != ' ')
                        memmove(p + 1, p + 2, strlen(p + 2) + 1);
        put("dhetcd.conf", text);
        assert_int_equal(config_load(dir, &c, &warnings, NULL), 0);
        assert_null(warnings);
        assert_int_equal(config_load("/nonexistent", &builtin, NULL, NULL), 0);
        assert_int_equal(config_each(c, gather, &values), 0);
        assert_int_equal(config_each(builtin, gather, &expected), 0);
        assert_string_equal(values, expected);
}

static void test_all_keys_and_dropins(void **state) {
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_strv_ char **warnings = NULL;
        _cleanup_free_ char *error = NULL;

        put("dhetcd.conf",
            "# a comment\n[ssh]\nUser=dhadmin\nIdentityFile=/a/key\nKnownHostsFile=/a/known\nPort=2222\n"
            "ConnectTimeoutSec=3\n\n[etcd]\nCAFile=/ca\nCertFile=/cert\nKeyFile=/key\n\n[job]\nRestart=always\n"
            "SyncMargin=5\nSyncTimeoutSec=60\nStepTimeoutSec = 7\nWaitTimeoutSec=8\nMoveDataAside=yes\n"
            "RequireOdd=on\nKeepJobs=3\nKeepDays=4\n[settle]\nBudgetSec=5\nRetryBudgetSec=6\n"
            "[metrics]\nTextfileDirectory=/metrics");
        put("dhetcd.conf.d/20-b.conf", "[ssh]\nPort=2200\n");
        put("dhetcd.conf.d/10-a.conf", "[ssh]\nPort=2100\nUser=\n[job]\nRequireOdd=no\n");
        put("dhetcd.conf.d/30-not", "[ssh]\nPort=1\n");
        put("dhetcd.conf.d/.40.conf", "[ssh]\nPort=1\n");
        assert_int_equal(config_load(dir, &c, &warnings, &error), 0);
        assert_null(warnings);
        assert_string_equal(c->ssh_user, "root"); /* an empty value takes it back */
        assert_string_equal(c->ssh_identity_file, "/a/key");
        assert_string_equal(c->ssh_known_hosts_file, "/a/known");
        assert_int_equal(c->ssh_port, 2200);
        assert_int_equal(c->ssh_connect_timeout_sec, 3);
        assert_string_equal(c->etcd_ca_file, "/ca");
        assert_string_equal(c->etcd_cert_file, "/cert");
        assert_string_equal(c->etcd_key_file, "/key");
        assert_string_equal(c->restart, "always");
        assert_int_equal(c->sync_margin, 5);
        assert_int_equal(c->sync_timeout_usec, 60 * USEC_PER_SEC);
        assert_int_equal(c->step_timeout_usec, 7 * USEC_PER_SEC);
        assert_int_equal(c->wait_timeout_usec, 8 * USEC_PER_SEC);
        assert_true(c->move_data_aside);
        assert_false(c->require_odd);
        assert_int_equal(c->settle_budget_usec, 5 * USEC_PER_SEC);
        assert_int_equal(c->retry_budget_usec, 6 * USEC_PER_SEC);
        assert_int_equal(c->keep_jobs, 3);
        assert_int_equal(c->keep_days, 4);
        assert_string_equal(c->textfile_directory, "/metrics");
}

/* "[section] Key=value source", for each key */
static int note_key(void *userdata, const char *section, const char *name, const char *value, const char *source) {
        char *line = format("[%s] %s=%s %s", section, name, value, source ?: "default");

        assert_non_null(line);
        assert_int_equal(strv_append(userdata, line), 0);
        free(line);
        return 0;
}

/* The sections, in the order in which "dhetcd config" has their headings. */
static int note_section(void *userdata, const char *section, const char *name, const char *value, const char *source) {
        char ***sections = userdata;
        size_t n = strv_length(*sections);

        if (n > 0 && streq((*sections)[n - 1], section))
                return 0;
        assert_false(strv_contains(*sections, section));
        return strv_append(sections, section);
}

static void test_each_section_once(void **state) {
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_strv_ char **sections = NULL;

        assert_int_equal(config_load("/nonexistent", &c, NULL, NULL), 0);
        assert_int_equal(config_each(c, note_section, &sections), 0);
        assert_int_equal(strv_length(sections), 6);
}

static void test_each(void **state) {
        _cleanup_free_ char *main_line = format("[job] StepTimeoutSec=7 %s/dhetcd.conf:3", dir);
        _cleanup_free_ char *dropin_line = format("[job] RequireOdd=yes %s/dhetcd.conf.d/10.conf:2", dir);
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_strv_ char **lines = NULL;

        put("dhetcd.conf", "[job]\n# a comment\nStepTimeoutSec=7\nRestart=always\n[ssh]\nUser=me\n");
        put("dhetcd.conf.d/10.conf", "[job]\nRequireOdd=on\n[ssh]\nUser=\n");
        assert_int_equal(config_load(dir, &c, NULL, NULL), 0);
        assert_int_equal(config_each(c, note_key, &lines), 0);
        assert_true(strv_contains(lines, main_line));
        assert_true(strv_contains(lines, dropin_line));
        assert_true(strv_contains(lines, "[ssh] User=root default")); /* taken back */
        assert_true(strv_contains(lines, "[etcd] CAFile= default"));
        assert_true(strv_contains(lines, "[job] SyncTimeoutSec=1800 default"));
}

static void test_unknown_is_noted(void **state) {
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_strv_ char **warnings = NULL;
        _cleanup_free_ char *error = NULL, *first = NULL, *second = NULL;

        put("dhetcd.conf", "[ssh]\n\nColour=red\n[Job]\nRestart=always\n");
        assert_int_equal(config_load(dir, &c, &warnings, &error), 0);
        assert_int_equal(strv_length(warnings), 2);
        first = format("%s/dhetcd.conf:3: unknown setting, ignored: [ssh] Colour", dir);
        second = format("%s/dhetcd.conf:5: unknown setting, ignored: [Job] Restart", dir);
        assert_string_equal(warnings[0], first);
        assert_string_equal(warnings[1], second);
        assert_string_equal(c->restart, "needed");
}

static void test_wrong_values(void **state) {
        static const struct {
                const char *text, *line, *about;
        } table[] = {
                { "[ssh]\nPort=0\n", ":2: ", "Port= must be a whole number" },
                { "[ssh]\nPort=65536\n", ":2: ", "\"65536\"" },
                { "[ssh]\nPort=22x\n", ":2: ", "Port=" },
                { "[ssh]\nPort=-1\n", ":2: ", "Port=" },
                { "[ssh]\nPort=99999999999999999999999999\n", ":2: ", "Port=" },
                { "[ssh]\nPort=\n", ":2: ", "Port=" },
                { "[ssh]\nUser=-oProxyCommand=x\n", ":2: ", "User=" },
                { "[ssh]\nUser=a b\n", ":2: ", "User=" },
                { "[ssh]\nIdentityFile=key\n", ":2: ", "absolute path" },
                { "[job]\nRestart=sometimes\n", ":2: ", "\"sometimes\"" },
                { "[job]\n\n\nMoveDataAside=perhaps\n", ":4: ", "yes or no" },
                { "[job]\nnonsense\n", ":2: ", "neither" },
                { "[job]\nRequireOdd=yes\n  KeepJobs=3\n", ":3: ", "begins with a space" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(config_freep) Config *c = NULL;
                _cleanup_free_ char *error = NULL;

                put("dhetcd.conf", table[i].text);
                assert_int_equal(config_load(dir, &c, NULL, &error), -EINVAL);
                assert_null(c);
                assert_non_null(error);
                if (!strstr(error, table[i].line) || !strstr(error, table[i].about))
                        fail_msg("%s: \"%s\"", table[i].text, error);
        }
}

static void test_all_errors_are_told(void **state) {
        _cleanup_(config_freep) Config *c = NULL;
        _cleanup_free_ char *error = NULL;
        char line[400];

        memset(line, 'x', sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        memcpy(line, "[ssh]\nPort=a\nUser=/", strlen("[ssh]\nPort=a\nUser=/"));
        put("dhetcd.conf", line);
        put("dhetcd.conf.d/a.conf", "[job]\nRestart=x\n");
        assert_int_equal(config_load(dir, &c, NULL, &error), -EINVAL);
        assert_non_null(strstr(error, "dhetcd.conf:2: "));
        assert_non_null(strstr(error, "dhetcd.conf:3: the line is too long"));
        assert_non_null(strstr(error, "a.conf:2: "));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_each_section_once),
                cmocka_unit_test_setup_teardown(test_installed_file_has_the_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_all_keys_and_dropins, setup, teardown),
                cmocka_unit_test_setup_teardown(test_each, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unknown_is_noted, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wrong_values, setup, teardown),
                cmocka_unit_test_setup_teardown(test_all_errors_are_told, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
