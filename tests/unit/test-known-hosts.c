/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/known-hosts.h"
#include "test-util.h"

/* The fingerprint is what ssh-keygen -lf prints of this key. */
#define BLOB "AAAAC3NzaC1lZDI1NTE5AAAAIE7Wk1DMhWXpBhCzCrZDX7FqQNXsDBLYXpjTPpAkSmFV"

static void test_read(void **state) {
        static const char text[] = "# a comment\n"
                                   "\n"
                                   "10.0.0.1 ssh-ed25519 " BLOB " somebody\n"
                                   "@revoked\t10.0.0.2  ssh-ed25519 " BLOB "\r\n"
                                   "10.0.0.3 ssh-ed25519\n"
                                   "10.0.0.4 ssh-ed25519 !!!!\n"
                                   "@cert-authority *.example ssh-ed25519 " BLOB;
        KnownKeys keys = {};

        assert_int_equal(known_keys_read(text, &keys), 0);
        assert_int_equal(keys.n, 3);
        assert_string_equal(keys.items[0].hosts, "10.0.0.1");
        assert_string_equal(keys.items[0].type, "ssh-ed25519");
        assert_string_equal(keys.items[0].blob, BLOB);
        assert_string_equal(keys.items[0].fingerprint, "SHA256:8fC5N6noA2JII/kCRP0lcCuwpkJuCHkBBZT+9eyoABk");
        assert_false(keys.items[0].revoked);
        assert_true(keys.items[1].revoked);
        assert_string_equal(keys.items[1].hosts, "10.0.0.2");
        assert_true(keys.items[2].authority);
        known_keys_done(&keys);
}

static void test_name(void **state) {
        _cleanup_free_ char *usual = known_host_name("10.0.0.1", 22), *other = known_host_name("fd00::1", 2222);

        assert_string_equal(usual, "10.0.0.1");
        assert_string_equal(other, "[fd00::1]:2222");
}

static void test_without(void **state) {
        static const struct {
                const char *text, *left;
                size_t removed;
        } table[] = {
                { "", "", 0 },
                { "a t k\nb t k\n", "a t k\n", 1 },
                { "b t k", "", 1 },
                { "a,b,c t  k x\nbb t k\n", "a,c t  k x\nbb t k\n", 1 },
                { "b,a t k", "a t k", 1 },
                { "@revoked b t k\n  b t k\n#b\n", "#b\n", 2 },
                { "ab,,c t k\n\n", "ab,,c t k\n\n", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                size_t removed;
                _cleanup_free_ char *left = known_hosts_without(table[i].text, "b", &removed);

                assert_string_equal(left, table[i].left);
                assert_int_equal(removed, table[i].removed);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),
                cmocka_unit_test(test_name),
                cmocka_unit_test(test_without),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
