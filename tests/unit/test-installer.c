/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/installer.h"

#define CNF "DH_NODE_1_ADDRESS=10.0.0.1\nDH_NODE_1_ROLE_ETCD=true\n"
#define STRANGER 12345U

static char dir[64];

static char *at(const char *name) {
        return format("%s/%s", dir, name);
}

static void put(const char *name, const char *text, mode_t mode) {
        _cleanup_free_ char *path = at(name);

        assert_int_equal(write_file_durable(path, text, strlen(text), mode, (uid_t) -1, (gid_t) -1), 0);
}

static int make_folder(void **state) {
        strcpy(dir, "/tmp/dhetcd-test-installer-XXXXXX");
        assert_non_null(mkdtemp(dir));
        assert_int_equal(chmod(dir, 0755), 0);
        put("cluster.cnf", CNF "DH_NODE_COUNT=1\n", 0644);
        put("master_install.sh", "#!/bin/sh\n", 0755);
        put("Installer-1.jar", "", 0644);
        return 0;
}

static int remove_folder(void **state) {
        return remove_tree(dir);
}

static void expect(const char *says) {
        _cleanup_(installer_done) Installer i = {};
        _cleanup_free_ char *why = NULL;
        int r = installer_find(dir, &i, &why);

        if (!says) {
                if (r < 0)
                        fail_msg("%s", why);
                assert_int_equal(i.uid, getuid());
                return;
        }
        assert_true(r < 0);
        if (!why || !strstr(why, says))
                fail_msg("'%s' does not say '%s'", why ? why : "", says);
}

static void test_whole(void **state) {
        _cleanup_(installer_done) Installer i = {};
        char digest[DIGEST_HEX_SIZE];

        assert_int_equal(installer_find(dir, &i, NULL), 0);
        assert_null(i.jar);
        assert_non_null(strstr(i.script, "/master_install.sh"));
        assert_int_equal(installer_cnf_digest(dir, digest), 0);
        assert_string_equal(digest, i.cnf_digest);
}

/* The folder is not root's: whatever lies there as cluster.cnf, nobody waits for it. */
static void test_odd_cnf(void **state) {
        _cleanup_free_ char *cnf = at("cluster.cnf");
        char digest[DIGEST_HEX_SIZE];

        assert_int_equal(truncate(cnf, (off_t) DIGEST_FILE_SIZE_MAX + 1), 0);
        assert_int_equal(installer_cnf_digest(dir, digest), -EFBIG);
        assert_int_equal(unlink(cnf), 0);
        assert_int_equal(mkfifo(cnf, 0600), 0);
        assert_int_equal(installer_cnf_digest(dir, digest), -EBADFD);
        assert_int_equal(unlink(cnf), 0);
        assert_int_equal(mkdir(cnf, 0700), 0);
        assert_int_equal(installer_cnf_digest(dir, digest), -EISDIR);
}

static void test_jar_is_needed(void **state) {
        _cleanup_free_ char *script = at("master_install.sh"), *jar = at("Installer-1.jar");
        _cleanup_(installer_done) Installer i = {};
        _cleanup_free_ char *why = NULL;

        put("cluster.cnf", CNF, 0644);
        assert_int_equal(unlink(script), 0);
        if (installer_find(dir, &i, &why) < 0)
                assert_non_null(strstr(why, "java is neither"));
        else
                assert_string_equal(i.jar, jar);
        put("Installer-2.jar", "", 0644);
        expect("leave one of them");
        assert_int_equal(unlink(jar), 0);
        put("Installer-.jar", "", 0644);
        free(jar);
        jar = at("Installer-2.jar");
        assert_int_equal(unlink(jar), 0);
        expect("no Installer-VERSION.jar");
}

static void test_cnf(void **state) {
        _cleanup_free_ char *path = at("cluster.cnf");

        put("cluster.cnf", CNF "DH_NODE_COUNT=2\n", 0644);
        expect("dhetcd cnf add");
        put("cluster.cnf", CNF "DH_NODE_3_ADDRESS=x\n", 0644);
        expect("gap");
        assert_int_equal(unlink(path), 0);
        expect("not there");
        assert_int_equal(symlink("/etc/passwd", path), 0);
        expect("no regular file");
        assert_int_equal(unlink(path), 0);
        put("cluster.cnf", CNF, 0646);
        expect("chmod go-w");
}

static void test_script(void **state) {
        _cleanup_free_ char *path = at("master_install.sh");

        if (getuid() != 0) { /* for root everything with one x bit */
                assert_int_equal(chmod(path, 0644), 0);
                expect("chmod +x");
        }
        assert_int_equal(unlink(path), 0);
        expect("not there");
        assert_int_equal(symlink("/bin/true", path), 0);
        expect("no regular file");
}

static void test_others_can_change_it(void **state) {
        _cleanup_free_ char *path = at("master_install.sh");

        assert_int_equal(chmod(path, 0757), 0);
        expect("chmod go-w");
        assert_int_equal(chmod(path, 0755), 0);
        expect(NULL);
        assert_int_equal(chmod(dir, 0757), 0);
        expect("chmod go-w");
        assert_int_equal(chmod(dir, 0755), 0);
        if (getuid() != 0)
                return;
        assert_int_equal(chown(path, STRANGER, 0), 0);
        expect("belongs to user 12345");
        assert_int_equal(chown(path, 0, STRANGER), 0);
        assert_int_equal(chmod(path, 0775), 0);
        expect("chmod go-w");
        assert_int_equal(chown(dir, STRANGER, 0), 0);
        expect("does not know");
}

static void check_path(uid_t uid, gid_t gid, int is) {
        _cleanup_free_ char *path = at("a/b/f"), *why = NULL;
        int r = installer_check_path(path, S_IFREG, uid, gid, &why);

        if (r != is)
                fail_msg("%d: %s", r, why ? why : "");
}

/* Somebody who can rename a folder above can change what is in it. */
static void test_folders_above(void **state) {
        _cleanup_free_ char *a = at("a"), *b = at("a/b");

        assert_int_equal(mkdir_durable(b, 0755), 1);
        put("a/b/f", "", 0644);
        check_path(getuid(), getgid(), 0);
        if (getuid() != 0)
                return;
        check_path(STRANGER, STRANGER, 0);
        assert_int_equal(chmod(a, 0777), 0);
        check_path(0, 0, -EPERM);
        assert_int_equal(chmod(a, 01777), 0);
        check_path(0, 0, 0);
        assert_int_equal(chmod(a, 0775), 0);
        assert_int_equal(chown(a, STRANGER, STRANGER), 0);
        check_path(0, 0, -EPERM);
        check_path(STRANGER, STRANGER, 0);
        check_path(STRANGER, STRANGER + 1, -EPERM);
        check_path(STRANGER + 1, STRANGER, -EPERM);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void) {
        const struct CMUnitTest tests[] = {
                CASE(test_whole),         CASE(test_odd_cnf), CASE(test_jar_is_needed),
                CASE(test_cnf),           CASE(test_script),  CASE(test_others_can_change_it),
                CASE(test_folders_above),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
