/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Snapshots and mounts: a root that cannot be exchanged is restored in place; a file system mounted below one is
 * refused. */

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "snapshot-fixture.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

/* Mounts of our own; false where we may not. */
static bool own_mounts(void) {
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
                return false;
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) >= 0;
}

/* All changes again, over a tree that cannot be exchanged. */
static void restore_in_place(void) {
        char digest[DIGEST_HEX_SIZE];
        struct stat root, after;

        take("before", digest);
        assert_int_equal(stat(tree, &root), 0);
        for (const Change *c = changes; c->what; c++) {
                if (c->make == change_all_gone || c->make == change_tree_to_link)
                        continue;
                c->make();
                restore("before", c->roots);
                expect_digest(digest);
        }
        assert_int_equal(mkfifo(at("tree/fifo"), 0600), 0);
        put("tree/.dhetcd-new", "left", 0600, 0);
        assert_int_equal(unlink(at("tree/latest")), 0);
        assert_int_equal(mkdir(at("tree/latest"), 0700), 0);
        put("tree/latest/x", "x", 0600, 0);
        restore("before", 1);
        expect_digest(digest);
        assert_int_equal(stat(tree, &after), 0);
        assert_int_equal(after.st_ino, root.st_ino);
        expect_no_leftovers();
}

static void test_root_is_mount_point(void **state) {
        if (!own_mounts())
                skip();
        assert_int_equal(mount(tree, tree, NULL, MS_BIND, NULL), 0);
        restore_in_place();
        assert_int_equal(umount(tree), 0);
}

static void test_mount_inside(void **state) {
        char digest[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;

        if (!own_mounts())
                skip();
        take("before", digest);
        put("precious", "x", 0600, 0);
        assert_int_equal(mkdir(at("tree/m nt"), 0700), 0);
        assert_int_equal(mkdir(at("other"), 0700), 0);
        put("other/precious", "x", 0600, 0);
        assert_int_equal(mount(at("other"), at("tree/m nt"), NULL, MS_BIND, NULL), 0);
        assert_int_equal(snapshot_take(store, "with-mount", roots, NULL, digest, &why), -EBUSY);
        assert_int_equal(snapshot_restore(store, "before", &why), -EBUSY);
        assert_non_null(strstr(why, "tree/m nt"));
        assert_int_equal(umount(at("tree/m nt")), 0);
        assert_int_equal(path_exists(at("other/precious")), 1);
        restore("before", 1);
}

static void test_overlay_lower(void **state) {
        _cleanup_free_ char *options = NULL;
        char base[] = "/tmp/test-snapshot-overlay-XXXXXX";

        if (!own_mounts())
                skip();
        assert_non_null(mkdtemp(base));
        assert_int_equal(mount("tmpfs", base, "tmpfs", 0, NULL), 0);
        assert_int_equal(chdir(base), 0);
        assert_int_equal(mkdir("upper", 0755), 0);
        assert_int_equal(mkdir("work", 0755), 0);
        assert_int_equal(chdir("/"), 0);
        options = format("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", dir, base, base);
        if (mount("overlay", dir, "overlay", 0, options) < 0) {
                print_message("no overlay here: %s\n", strerror(errno));
                assert_int_equal(umount(base), 0);
                assert_int_equal(rmdir(base), 0);
                skip();
        }
        restore_in_place();
        assert_int_equal(umount(dir), 0);
        assert_int_equal(umount(base), 0);
        assert_int_equal(rmdir(base), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                test(test_root_is_mount_point),
                test(test_mount_inside),
                test(test_overlay_lower),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
