/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/string-util.h"
#include "bus/ssh-command.h"

static bool has_option(char *const *argv, const char *option) {
        for (size_t i = 0; argv[i] && argv[i + 1]; i++)
                if (streq(argv[i], "-o") && streq(argv[i + 1], option))
                        return true;
        return false;
}

static int without_wrapper(void **state) {
        return unsetenv("SYSTEMD_SSH");
}

static void test_defaults(void **state) {
        static const char *const wanted[] = {
                "BatchMode=yes",
                "StrictHostKeyChecking=yes",
                "ServerAliveInterval=5",
                "ServerAliveCountMax=3",
                "ForwardAgent=no",
                "ClearAllForwardings=yes",
                "PermitLocalCommand=no",
                "ControlMaster=no",
                "ControlPath=none",
                "GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts",
                "UserKnownHostsFile=/dev/null",
                "ConnectTimeout=10",
                "Port=22",
        };
        _cleanup_strv_ char **argv = NULL;
        size_t n;

        assert_int_equal(ssh_command("10.128.1.150", NULL, &argv, NULL), 0);
        assert_string_equal(argv[0], "ssh");
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
                assert_true(has_option(argv, wanted[i]));

        /* The destination comes after "--", so that it can be no option. */
        n = strv_length(argv);
        assert_string_equal(argv[n - 3], "--");
        assert_string_equal(argv[n - 2], "root@10.128.1.150");
        assert_string_equal(argv[n - 1], "systemd-stdio-bridge");
        for (size_t i = 0; i < n; i++)
                assert_null(strstr(argv[i], "Identit"));
}

static void test_all_options(void **state) {
        SshOptions options = { .user = "dh.etcd-1_x",
                               .identity_file = "/etc/dhetcd/ssh/id",
                               .known_hosts = "/etc/dhetcd/known_hosts",
                               .port = 2222,
                               .connect_timeout = 3 };
        _cleanup_strv_ char **argv = NULL;

        assert_int_equal(ssh_command("2001:db8::1", &options, &argv, NULL), 0);
        assert_true(has_option(argv, "IdentityFile=/etc/dhetcd/ssh/id"));
        assert_true(has_option(argv, "IdentitiesOnly=yes"));
        assert_true(has_option(argv, "UserKnownHostsFile=/etc/dhetcd/known_hosts"));
        assert_true(has_option(argv, "Port=2222"));
        assert_true(has_option(argv, "ConnectTimeout=3"));
        assert_true(strv_contains(argv, "dh.etcd-1_x@2001:db8::1"));
}

static void test_wrapper(void **state) {
        _cleanup_strv_ char **argv = NULL;

        assert_int_equal(setenv("SYSTEMD_SSH", "/opt/slow-ssh", 1), 0);
        assert_int_equal(ssh_command("10.128.1.150", NULL, &argv, NULL), 0);
        assert_string_equal(argv[0], "/opt/slow-ssh");
        assert_int_equal(unsetenv("SYSTEMD_SSH"), 0);
}

static void test_refused(void **state) {
        static const struct {
                const char *address;
                SshOptions options;
        } cases[] = {
                { "", {} },
                { "-oProxyCommand=x", {} },
                { "host.example", {} },
                { "010.0.0.1", {} },
                { "fe80::1%eth0", {} },
                { "127.0.0.1", {} },
                { "10.0.0.1", { .user = "" } },
                { "10.0.0.1", { .user = "-l" } },
                { "10.0.0.1", { .user = "a b" } },
                { "10.0.0.1", { .user = "a@b" } },
                { "10.0.0.1", { .known_hosts = "/a b" } },
                { "10.0.0.1", { .known_hosts = "/a%h" } },
                { "10.0.0.1", { .known_hosts = "~/.ssh/known_hosts" } },
                { "10.0.0.1", { .identity_file = "/${HOME}/id" } },
                { "10.0.0.1", { .identity_file = "/id\"" } },
                { "10.0.0.1", { .identity_file = "" } },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *why = NULL;
                char **argv = NULL;

                assert_int_equal(ssh_command(cases[i].address, &cases[i].options, &argv, &why), -EINVAL);
                assert_non_null(why);
                assert_null(argv);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_all_options),
                cmocka_unit_test(test_wrapper),
                cmocka_unit_test(test_refused),
        };

        return cmocka_run_group_tests(tests, without_wrapper, NULL);
}
