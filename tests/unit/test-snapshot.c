/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/snapshot.h"

static char dir[] = "/tmp/test-snapshot-XXXXXX", *store, *tree, *lone, *link_root, *absent;
static char *roots[5];

static char *at(const char *name) {
        static char paths[8][PATH_MAX];
        static unsigned next;
        char *path = paths[next++ % 8];

        (void) snprintf(path, PATH_MAX, "%s/%s", dir, name);
        return path;
}

static void put(const char *name, const char *text, mode_t mode, uid_t owner) {
        const char *path = at(name);

        assert_int_equal(write_file_durable(path, text, strlen(text), mode, geteuid() == 0 ? owner : (uid_t) -1,
                                            geteuid() == 0 ? owner + 1 : (gid_t) -1),
                         0);
}

static void set_time(const char *name, time_t seconds, long nanoseconds) {
        struct timespec times[2] = { { .tv_sec = 5 }, { .tv_sec = seconds, .tv_nsec = nanoseconds } };

        assert_int_equal(utimensat(AT_FDCWD, at(name), times, AT_SYMLINK_NOFOLLOW), 0);
}

/* u::rwx,u:77:rw-,g::r-x,m::rwx,o::--- as the kernel keeps it. */
static const unsigned char acl[] = {
        2, 0, 0,    0,    1,    0,    7,  0, 0xff, 0xff, 0xff, 0xff, 2,    0,    6,  0, 77, 0, 0,    0,    4,    0,
        5, 0, 0xff, 0xff, 0xff, 0xff, 16, 0, 7,    0,    0xff, 0xff, 0xff, 0xff, 32, 0, 0,  0, 0xff, 0xff, 0xff, 0xff,
};

/* What there is in /etc/etcd/dh, and more. */
static void make_tree(void) {
        assert_int_equal(mkdir(at("tree"), 0750), 0);
        assert_int_equal(mkdir(at("tree/c2ca0c898"), 02755), 0);
        assert_int_equal(mkdir(at("tree/empty"), 0700), 0);
        assert_int_equal(mkdir(at("tree/a"), 0755), 0);
        assert_int_equal(mkdir(at("tree/a/b"), 01777), 0);
        put("tree/c2ca0c898/config.yaml", "name: etcd-1\n", 0640, 42);
        put("tree/c2ca0c898/server.key", "key", 0600, 42);
        put("tree/c2ca0c898/same.key", "key", 0644, 43);
        put("tree/a-file-beside-a", "", 0444, 0);
        put("tree/a/b/setuid", "s", 04755, 0);
        put("tree/latin-\xE9 100%\n", "odd name", 0600, 0);
        assert_int_equal(symlink("c2ca0c898", at("tree/latest")), 0);
        assert_int_equal(symlink("/nowhere/\xFF", at("tree/dangling")), 0);
        assert_int_equal(setxattr(at("tree/c2ca0c898/server.key"), "user.test", "a\0b", 3, 0), 0);
        assert_int_equal(setxattr(at("tree/a"), "user.dir", "", 0, 0), 0);
        assert_int_equal(setxattr(at("tree/c2ca0c898/config.yaml"), "system.posix_acl_access", acl, sizeof(acl), 0), 0);
        if (geteuid() == 0) {
                assert_int_equal(lchown(at("tree/latest"), 42, 43), 0);
                assert_int_equal(chown(at("tree/empty"), 44, 45), 0);
                assert_int_equal(lsetxattr(at("tree/latest"), "trusted.test", "l", 1, 0), 0);
        }
        set_time("tree/latest", 1111111111, 111111111);
        set_time("tree/c2ca0c898/config.yaml", 1222222222, 999999999);
        set_time("tree/a-file-beside-a", -1, 500);
        set_time("tree/a/b", 1333333333, 1);
        set_time("tree/a", 1444444444, 0);
        set_time("tree", 1555555555, 7);
}

static int make_all(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        umask(022);
        if (!mkdtemp(dir))
                return -1;
        store = format("%s/store", dir);
        roots[0] = tree = format("%s/tree", dir);
        roots[1] = lone = format("%s/lone", dir);
        roots[2] = link_root = format("%s/link", dir);
        roots[3] = absent = format("%s/absent", dir);
        make_tree();
        put("lone", "a file as a root", 0600, 7);
        assert_int_equal(symlink("lone", at("link")), 0);
        return 0;
}

static int drop_all(void **state) {
        free(store);
        for (size_t i = 0; i < 4; i++)
                free(roots[i]);
        return remove_tree(dir);
}

static void take(const char *name, char ret_digest[static DIGEST_HEX_SIZE]) {
        _cleanup_free_ char *why = NULL;
        int r = snapshot_take(store, name, roots, "a note", ret_digest, &why);

        if (r != 1)
                print_error("%s\n", why);
        assert_int_equal(r, 1);
}

static void restore(const char *name, int expected) {
        _cleanup_free_ char *why = NULL;
        int r = snapshot_restore(store, name, &why);

        if (r != expected)
                print_error("%i %s\n", r, why);
        assert_int_equal(r, expected);
}

static void expect_digest(const char *expected) {
        char digest[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;
        int r = snapshot_digest_now(roots, digest, &why);

        if (r < 0)
                print_error("%s\n", why);
        assert_int_equal(r, 0);
        assert_string_equal(digest, expected);
}

static unsigned count_entries(const char *path, const char *containing) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(d);
        while ((entry = readdir(d)))
                n += strstr(entry->d_name, containing) != NULL;
        return n;
}

static void expect_no_leftovers(void) {
        assert_int_equal(count_entries(dir, "dhetcd"), 0);
        assert_int_equal(count_entries(tree, "dhetcd"), 0);
}

static void test_take(void **state) {
        char first[DIGEST_HEX_SIZE], again[DIGEST_HEX_SIZE], described[DIGEST_HEX_SIZE];
        _cleanup_free_ char *note = NULL, *why = NULL;
        struct stat st;

        take("job-1.first", first);
        expect_digest(first);
        assert_int_equal(stat(store, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(stat(at("store/snapshots/job-1.first.json"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);

        /* Taken once: later changes do not count, nor does the order of the roots. */
        put("lone", "changed", 0600, 7);
        assert_int_equal(snapshot_take(store, "job-1.first", roots, "other", again, &why), 0);
        assert_string_equal(again, first);
        assert_int_equal(snapshot_describe(store, "job-1.first", described, &note, &why), 0);
        assert_string_equal(described, first);
        assert_string_equal(note, "a note");
        assert_int_equal(snapshot_take(store, "job-1.second", roots, NULL, again, &why), 1);
        assert_string_not_equal(again, first);
        free(note);
        assert_int_equal(snapshot_describe(store, "job-1.second", described, &note, &why), 0);
        assert_null(note);

        char *reversed[] = { absent, link_root, lone, tree, NULL };
        assert_int_equal(snapshot_digest_now(reversed, described, &why), 0);
        assert_string_equal(described, again);

        assert_int_equal(snapshot_describe(store, "none", described, NULL, &why), -ENOENT);
        assert_int_equal(snapshot_restore(store, "none", &why), -ENOENT);
}

typedef struct Change {
        const char *what;
        void (*make)(void);
        const char *difference; /* a part of the first sentence */
        int roots;
} Change;

static void change_content(void) {
        put("tree/c2ca0c898/config.yaml", "name: etcd-2\n", 0640, 42);
}
static void change_mode(void) {
        assert_int_equal(chmod(at("tree/c2ca0c898/server.key"), 0644), 0);
}
static void change_directory_mode(void) {
        assert_int_equal(chmod(at("tree"), 0700), 0);
}
static void change_owner(void) {
        assert_int_equal(lchown(at("tree/latest"), 1, 1), 0);
}
static void change_time(void) {
        set_time("tree/c2ca0c898/config.yaml", 1222222222, 999999998);
}
static void change_link_time(void) {
        set_time("tree/latest", 1, 1);
}
static void change_xattr(void) {
        assert_int_equal(setxattr(at("tree/a"), "user.more", "x", 1, 0), 0);
}
static void change_xattr_value(void) {
        assert_int_equal(setxattr(at("tree/c2ca0c898/server.key"), "user.test", "a\0c", 3, 0), 0);
}
static void change_acl(void) {
        assert_int_equal(removexattr(at("tree/c2ca0c898/config.yaml"), "system.posix_acl_access"), 0);
}
static void change_link(void) {
        assert_int_equal(unlink(at("tree/latest")), 0);
        assert_int_equal(symlink("a", at("tree/latest")), 0);
}
static void change_new_file(void) {
        put("tree/a/new", "new", 0600, 0);
}
static void change_gone(void) {
        assert_int_equal(unlink(at("tree/latin-\xE9 100%\n")), 0);
}
static void change_file_to_directory(void) {
        assert_int_equal(unlink(at("tree/a/b/setuid")), 0);
        assert_int_equal(mkdir(at("tree/a/b/setuid"), 0700), 0);
}
static void change_all_gone(void) {
        assert_int_equal(remove_tree(tree), 0);
        assert_int_equal(unlink(lone), 0);
        assert_int_equal(unlink(link_root), 0);
}
static void change_absent_directory(void) {
        assert_int_equal(mkdir(absent, 0700), 0);
        put("absent/x", "x", 0600, 0);
}
static void change_absent_link(void) {
        assert_int_equal(symlink("tree", absent), 0);
}
static void change_lone(void) {
        put("lone", "other", 0600, 7);
}
static void change_lone_to_directory(void) {
        assert_int_equal(unlink(lone), 0);
        assert_int_equal(mkdir(lone, 0700), 0);
        put("lone/x", "x", 0600, 0);
}
static void change_tree_to_link(void) {
        assert_int_equal(rename(tree, at("elsewhere")), 0);
        assert_int_equal(symlink("elsewhere", tree), 0);
}
static void change_root_link(void) {
        assert_int_equal(unlink(link_root), 0);
        assert_int_equal(symlink("tree", link_root), 0);
}

static const Change changes[] = {
        { "content", change_content, "config.yaml differs in its content", 1 },
        { "mode", change_mode, "server.key differs in its mode", 1 },
        { "mode of the root", change_directory_mode, "tree differs in its mode", 1 },
        { "owner", change_owner, "latest differs in its owner", 1 },
        { "time", change_time, "config.yaml differs in its modification time", 1 },
        { "time of a link", change_link_time, "latest differs in its modification time", 1 },
        { "new xattr", change_xattr, "a differs in its extended attributes", 1 },
        { "value of an xattr", change_xattr_value, "server.key differs in its extended attributes", 1 },
        { "ACL", change_acl, "config.yaml differs in its extended attributes", 1 },
        { "link target", change_link, "latest differs in its link target", 1 },
        { "new file", change_new_file, "new is new", 1 },
        { "file gone", change_gone, "is not there any more", 1 },
        { "file to directory", change_file_to_directory, "setuid differs in its type", 1 },
        { "all gone", change_all_gone, "link is not there any more", 3 },
        { "absent root made", change_absent_directory, "absent is new", 1 },
        { "absent root made a link", change_absent_link, "absent is new", 1 },
        { "lone file", change_lone, "lone differs in its content", 1 },
        { "lone file to directory", change_lone_to_directory, "lone differs in its type", 1 },
        { "tree to link", change_tree_to_link, "tree differs in its type", 1 },
        { "root link", change_root_link, "link differs in its link target", 1 },
};

static bool has_sentence(char *const *sentences, const char *part) {
        STRV_FOREACH(s, sentences)
                if (strstr(*s, part))
                        return true;
        return false;
}

static void test_restore(void **state) {
        char digest[DIGEST_HEX_SIZE];

        take("before", digest);
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_strv_ char **differences = NULL, **none = NULL;
                _cleanup_free_ char *why = NULL;
                char changed[DIGEST_HEX_SIZE];

                changes[i].make();
                assert_int_equal(snapshot_digest_now(roots, changed, NULL), 0);
                if (streq(changed, digest))
                        print_error("%s: the digest did not notice\n", changes[i].what);
                assert_string_not_equal(changed, digest);

                assert_true(snapshot_compare(store, "before", &differences, &why) > 0);
                if (!has_sentence(differences, changes[i].difference))
                        print_error("%s: %s\n", changes[i].what, differences[0]);
                assert_true(has_sentence(differences, changes[i].difference));

                restore("before", changes[i].roots);
                expect_digest(digest);
                assert_int_equal(snapshot_compare(store, "before", &none, &why), 0);
                assert_null(none[0]);
                restore("before", 0);
                expect_no_leftovers();
        }
}

/* The digest is our own eyes; here is another pair. */
static void test_restored_metadata(void **state) {
        char digest[DIGEST_HEX_SIZE], value[64];
        struct stat st;

        take("before", digest);
        change_all_gone();
        restore("before", 3);

        assert_int_equal(stat(at("tree/c2ca0c898/config.yaml"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0770); /* the group's bits are the ACL's mask */
        assert_int_equal(st.st_mtim.tv_sec, 1222222222);
        assert_int_equal(st.st_mtim.tv_nsec, 999999999);
        assert_int_equal(st.st_nlink, 1);
        assert_int_equal(getxattr(at("tree/c2ca0c898/config.yaml"), "system.posix_acl_access", value, sizeof(value)),
                         sizeof(acl));
        assert_int_equal(getxattr(at("tree/c2ca0c898/server.key"), "user.test", value, sizeof(value)), 3);
        assert_memory_equal(value, "a\0b", 3);
        assert_int_equal(lstat(at("tree/latest"), &st), 0);
        assert_int_equal(st.st_mtim.tv_nsec, 111111111);
        assert_int_equal(readlink(at("tree/dangling"), value, sizeof(value)), 10);
        assert_memory_equal(value, "/nowhere/\xFF", 10);
        assert_int_equal(stat(at("tree"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0750);
        assert_int_equal(st.st_mtim.tv_sec, 1555555555);
        assert_int_equal(stat(at("tree/a/b/setuid"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 04755);
        assert_int_equal(stat(at("tree/latin-\xE9 100%\n"), &st), 0);
        if (geteuid() == 0) {
                assert_int_equal(lstat(at("tree/latest"), &st), 0);
                assert_true(st.st_uid == 42 && st.st_gid == 43);
                assert_int_equal(lgetxattr(at("tree/latest"), "trusted.test", value, sizeof(value)), 1);
        }
}

/* A default ACL on the way must not leave its mark. */
static void test_default_acl(void **state) {
        char digest[DIGEST_HEX_SIZE];

        take("before", digest);
        assert_int_equal(setxattr(dir, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
        change_all_gone();
        restore("before", 3);
        expect_digest(digest);
}

static void test_refused(void **state) {
        static const char *const names[] = { "", ".", ".x", "a/b", "a b", "\xC3\xA4" };
        char digest[DIGEST_HEX_SIZE], deep[PATH_MAX], *bad[3] = { tree, NULL, NULL };
        _cleanup_free_ char *why = NULL;
        struct stat st;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                assert_int_equal(snapshot_take(store, names[i], roots, NULL, digest, &why), -EINVAL);
        assert_int_equal(stat(store, &st), -1);

        bad[1] = at("tree/a");
        assert_int_equal(snapshot_take(store, "x", bad, NULL, digest, &why), -EINVAL);
        bad[1] = tree;
        assert_int_equal(snapshot_take(store, "x", bad, NULL, digest, &why), -EINVAL);
        bad[1] = at("tree-2/../x");
        assert_int_equal(snapshot_take(store, "x", bad, NULL, digest, &why), -EINVAL);
        bad[1] = at("tree-2/");
        assert_int_equal(snapshot_take(store, "x", bad, NULL, digest, &why), -EINVAL);
        bad[1] = at("tree-2");
        assert_int_equal(snapshot_digest_now(bad, digest, &why), 0);
        bad[1] = at("no/such/parent");
        assert_int_equal(snapshot_digest_now(bad, digest, &why), 0);
        bad[0] = (char *) "relative";
        assert_int_equal(snapshot_digest_now(bad, digest, &why), -EINVAL);

        assert_int_equal(mkfifo(at("tree/fifo"), 0600), 0);
        assert_int_equal(snapshot_take(store, "x", roots, NULL, digest, &why), -EBADFD);
        assert_non_null(strstr(why, "tree/fifo"));
        assert_int_equal(snapshot_describe(store, "x", digest, NULL, &why), -ENOENT);
        assert_int_equal(unlink(at("tree/fifo")), 0);

        (void) stpcpy(deep, "tree/deep");
        for (unsigned i = 0; i < 33; i++) {
                assert_int_equal(mkdir(at(deep), 0700), 0);
                strcat(deep, "/d");
        }
        assert_int_equal(snapshot_take(store, "x", roots, NULL, digest, &why), -ELOOP);
}

/* What could not be part of a snapshot is no obstacle to going back to one. */
static void test_restore_over_odd_tree(void **state) {
        char digest[DIGEST_HEX_SIZE];

        take("before", digest);
        assert_int_equal(mkfifo(at("tree/fifo"), 0600), 0);
        restore("before", 1);
        expect_digest(digest);
}

static void test_hard_link(void **state) {
        char digest[DIGEST_HEX_SIZE];
        struct stat st;

        assert_int_equal(link(lone, at("tree/linked")), 0);
        take("before", digest);
        change_all_gone();
        restore("before", 3);
        expect_digest(digest);
        assert_int_equal(stat(lone, &st), 0);
        assert_int_equal(st.st_nlink, 1);
}

static void test_missing_parent(void **state) {
        char *nested[] = { (char *) at("wants/link"), NULL }, digest[DIGEST_HEX_SIZE], now[DIGEST_HEX_SIZE];

        nested[0] = format("%s/wants/link", dir);
        assert_int_equal(mkdir(at("wants"), 0755), 0);
        assert_int_equal(symlink("x", nested[0]), 0);
        assert_int_equal(snapshot_take(store, "before", nested, NULL, digest, NULL), 1);
        assert_int_equal(remove_tree(at("wants")), 0);
        restore("before", 1);
        assert_int_equal(snapshot_digest_now(nested, now, NULL), 0);
        assert_string_equal(now, digest);
        free(nested[0]);
}

static void test_leftovers(void **state) {
        char digest[DIGEST_HEX_SIZE];
        struct stat st;

        take("before", digest);
        assert_int_equal(mkdir(at(".tree.dhetcd-new-abc123"), 0700), 0);
        put(".tree.dhetcd-new-abc123/half", "x", 0600, 0);
        put(".lone.dhetcd-new-abc123", "x", 0600, 0);
        put(".tree.dhetcd-new-other-thing", "not ours", 0600, 0);
        change_content();
        change_lone();
        restore("before", 2);
        assert_int_equal(stat(at(".tree.dhetcd-new-abc123"), &st), -1);
        assert_int_equal(stat(at(".lone.dhetcd-new-abc123"), &st), -1);
        assert_int_equal(stat(at(".tree.dhetcd-new-other-thing"), &st), 0);
}

/* The object of "key", which two files have. */
static const char *object_path(void) {
        char hex[DIGEST_HEX_SIZE];
        static char path[PATH_MAX];

        assert_int_equal(digest_bytes("key", 3, hex), 0);
        (void) snprintf(path, sizeof(path), "%s/objects/%.2s/%s", store, hex, hex + 2);
        return path;
}

static void test_damaged_object(void **state) {
        char digest[DIGEST_HEX_SIZE], changed[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;

        take("before", digest);
        restore("before", 0);
        assert_int_equal(write_file_durable(object_path(), "kez", 3, 0600, (uid_t) -1, (gid_t) -1), 0);
        change_content();
        change_lone();
        assert_int_equal(snapshot_digest_now(roots, changed, NULL), 0);
        assert_int_equal(snapshot_restore(store, "before", &why), -EBADMSG);
        assert_non_null(strstr(why, "same.key"));
        expect_digest(changed);

        assert_int_equal(unlink(object_path()), 0);
        assert_int_equal(snapshot_restore(store, "before", &why), -EBADMSG);
        expect_digest(changed);

        /* The next snapshot puts it right. */
        assert_int_equal(write_file_durable(object_path(), "kez", 3, 0600, (uid_t) -1, (gid_t) -1), 0);
        take("after", changed);
        restore("before", 2);
        expect_digest(digest);
}

static void test_lock(void **state) {
        char digest[DIGEST_HEX_SIZE];
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *why = NULL;

        take("before", digest);
        fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(flock(fd, LOCK_SH), 0);
        assert_int_equal(snapshot_take(store, "other", roots, NULL, digest, &why), -EBUSY);
        assert_int_equal(snapshot_prune(store, &why), -EBUSY);
        restore("before", 0);
        assert_int_equal(flock(fd, LOCK_EX), 0);
        assert_int_equal(snapshot_restore(store, "before", &why), -EBUSY);
}

static void test_damaged_manifest(void **state) {
        _cleanup_free_ char *path = format("%s/snapshots/before.json", store), *text = NULL, *why = NULL;
        char digest[DIGEST_HEX_SIZE], changed[DIGEST_HEX_SIZE];
        size_t size;

        take("before", digest);
        change_content();
        assert_int_equal(snapshot_digest_now(roots, changed, NULL), 0);
        assert_int_equal(read_file(path, 1024 * 1024, false, &text, &size), 0);

        for (size_t i = 0; i < size; i += 3) {
                text[i] ^= 1;
                assert_int_equal(write_file_durable(path, text, size, 0600, (uid_t) -1, (gid_t) -1), 0);
                text[i] ^= 1;
                if (snapshot_describe(store, "before", digest, NULL, &why) < 0)
                        assert_int_equal(snapshot_restore(store, "before", &why), -EBADMSG);
        }
        expect_digest(changed);

        assert_int_equal(write_file_durable(path, text, size / 2, 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(snapshot_restore(store, "before", &why), -EBADMSG);
        assert_int_equal(snapshot_prune(store, &why), -EBADMSG);
        assert_int_equal(snapshot_take(store, "before", roots, NULL, digest, &why), -EBADMSG);
}

static unsigned count_objects(void) {
        unsigned n = 0;

        for (unsigned i = 0; i < 256; i++) {
                _cleanup_free_ char *folder = format("%s/objects/%02x", store, i);

                if (path_exists(folder) > 0)
                        n += count_entries(folder, "") - 2;
        }
        return n;
}

static void test_remove_and_prune(void **state) {
        char digest[DIGEST_HEX_SIZE];
        unsigned before;

        assert_int_equal(snapshot_prune(store, NULL), 0);
        assert_int_equal(mkdir_durable(store, 0700), 1); /* half-made, by who died then */
        assert_int_equal(snapshot_prune(store, NULL), 0);
        assert_int_equal(snapshot_remove(store, "first", NULL), 0);
        take("first", digest);
        before = count_objects();
        change_content();
        take("second", digest);
        assert_int_equal(count_objects(), before + 1);
        assert_int_equal(snapshot_prune(store, NULL), 0);

        put("store/snapshots/third.json.dhetcd-abcdef", "half", 0600, 0);
        put("store/objects/00-not-an-object", "", 0600, 0);
        assert_int_equal(snapshot_remove(store, "second", NULL), 0);
        assert_int_equal(snapshot_remove(store, "second", NULL), 0);
        assert_int_equal(snapshot_prune(store, NULL), 1);
        assert_int_equal(count_objects(), before);
        assert_int_equal(count_entries(at("store/snapshots"), "third"), 0);
        restore("first", 1);

        assert_int_equal(snapshot_remove(store, "first", NULL), 0);
        assert_int_equal(snapshot_prune(store, NULL), before);
        assert_int_equal(count_objects(), 0);
}

/* Killed at any moment: each root is the old or the new one, and doing it again completes it. */
static void test_killed(void **state) {
        char before[DIGEST_HEX_SIZE], changed[DIGEST_HEX_SIZE];
        unsigned seed = 7, old = 0, new = 0;

        roots[1] = NULL; /* the tree alone */
        take("before", before);
        change_content();
        change_link();
        take("changed", changed);
        for (unsigned i = 0; i < 300; i++) {
                bool back = i % 2 == 0;
                char digest[DIGEST_HEX_SIZE];
                pid_t pid = fork();

                if (pid == 0)
                        _exit(snapshot_restore(store, back ? "before" : "changed", NULL) < 0);
                usleep(rand_r(&seed) % 12000);
                kill(pid, SIGKILL);
                assert_int_equal(waitpid(pid, NULL, 0), pid);

                assert_int_equal(snapshot_digest_now(roots, digest, NULL), 0);
                if (streq(digest, back ? before : changed))
                        new ++;
                else {
                        assert_string_equal(digest, back ? changed : before);
                        old++;
                }
                assert_true(snapshot_restore(store, back ? "before" : "changed", NULL) >= 0);
                expect_digest(back ? before : changed);
                expect_no_leftovers();
        }
        print_message("killed: %u old, %u new\n", old, new);
        change_content();
        restore("before", 1);
        expect_no_leftovers();
        roots[1] = lone;
}

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
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                if (changes[i].make == change_all_gone || changes[i].make == change_tree_to_link)
                        continue;
                changes[i].make();
                restore("before", changes[i].roots);
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

#define test(f) cmocka_unit_test_setup_teardown(f, make_all, drop_all)

int main(void) {
        static const struct CMUnitTest tests[] = {
                test(test_take),
                test(test_restore),
                test(test_restored_metadata),
                test(test_default_acl),
                test(test_refused),
                test(test_restore_over_odd_tree),
                test(test_hard_link),
                test(test_missing_parent),
                test(test_leftovers),
                test(test_damaged_object),
                test(test_lock),
                test(test_damaged_manifest),
                test(test_remove_and_prune),
                test(test_killed),
                test(test_root_is_mount_point),
                test(test_mount_inside),
                test(test_overlay_lower),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
