/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "snapshot-fixture.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

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

static bool has_sentence(char *const *sentences, const char *part) {
        STRV_FOREACH (s, sentences)
                if (strstr(*s, part))
                        return true;
        return false;
}

static void test_restore(void **state) {
        char digest[DIGEST_HEX_SIZE];

        take("before", digest);
        for (const Change *c = changes; c->what; c++) {
                _cleanup_strv_ char **differences = NULL, **none = NULL;
                _cleanup_free_ char *why = NULL;
                char changed[DIGEST_HEX_SIZE];

                c->make();
                assert_int_equal(snapshot_digest_now(roots, changed, NULL), 0);
                if (streq(changed, digest))
                        print_error("%s: the digest did not notice\n", c->what);
                assert_string_not_equal(changed, digest);

                assert_true(snapshot_compare(store, "before", &differences, &why) > 0);
                if (!has_sentence(differences, c->difference))
                        print_error("%s: %s\n", c->what, differences[0]);
                assert_true(has_sentence(differences, c->difference));

                restore("before", c->roots);
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

/* dhetcdd has no CAP_SYS_ADMIN. */
static void use_admin_capability(bool use) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

        assert_int_equal(syscall(SYS_capget, &header, data), 0);
        if (use)
                data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective |= CAP_TO_MASK(CAP_SYS_ADMIN);
        else
                data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
        assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

/* An attribute of security.* that cannot be set is nobody's business, one that can be set is. */
static void test_security_xattr(void **state) {
        char *key = at("tree/c2ca0c898/server.key"), with[DIGEST_HEX_SIZE], without[DIGEST_HEX_SIZE], value[8];
        _cleanup_strv_ char **differences = NULL;

        if (setxattr(key, "security.test", "x", 1, 0) < 0)
                skip();
        assert_int_equal(lremovexattr(at("tree/latest"), "trusted.test"), 0); /* without the right it is not seen */
        take("all", with);
        use_admin_capability(false);
        take("ours", without);
        assert_string_not_equal(with, without);
        assert_int_equal(replace_file_durable(key, "kex", 3), 0);
        assert_int_equal(getxattr(key, "user.test", value, sizeof(value)), 3);
        restore("ours", 1);
        expect_digest(without);
        change_all_gone();
        restore("all", 3);
        assert_int_equal(snapshot_compare(store, "all", &differences, NULL), 0);
        assert_int_equal(getxattr(key, "security.test", value, sizeof(value)), -1);

        use_admin_capability(true);
        restore("all", 1);
        expect_digest(with);
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

/* The clock is set back to `seconds` while a snapshot is taken. */
static void take_at(const char *name, time_t seconds) {
        _cleanup_free_ char *path = format("%s/snapshots/%s.json", store, name);
        struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };
        char digest[DIGEST_HEX_SIZE];

        take(name, digest);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* As an earlier version wrote it. */
static void forget_sequence(const char *name) {
        _cleanup_free_ char *path = format("%s/snapshots/%s.json", store, name), *text = NULL;
        struct stat st;
        char *line;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(read_file(path, 1000000, false, &text, NULL), 0);
        line = strstr(text, " \"sequence\": ");
        assert_non_null(line);
        memset(line, ' ', strcspn(line, "\n"));
        assert_int_equal(write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]){ st.st_atim, st.st_mtim }, 0), 0);
}

static void test_order(void **state) {
        take_at("job-1.deploy", 1000);
        take_at("job-10.narrow", 970);
        take_at("job-1.narrow", 970);
        take_at("job-1.start", 980);
        assert_int_equal(snapshot_is_older(store, "job-1.deploy", "job-1.narrow"), 1);
        assert_int_equal(snapshot_is_older(store, "job-1.narrow", "job-1.deploy"), 0);
        assert_int_equal(snapshot_is_older(store, "job-1.deploy", "job-1.start"), 1);
        assert_int_equal(snapshot_is_older(store, "job-1.narrow", "job-1.start"), 1);
        assert_int_equal(snapshot_is_older(store, "job-1.narrow", "job-1.narrow"), 0);
        assert_int_equal(snapshot_is_older(store, "job-1.narrow", "job-1.none"), -ENOENT);

        /* What is older than the numbers goes by time. */
        forget_sequence("job-1.deploy");
        assert_int_equal(snapshot_is_older(store, "job-1.deploy", "job-1.narrow"), 0);
        assert_int_equal(snapshot_is_older(store, "job-1.narrow", "job-1.start"), 1);
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

int main(void) {
        static const struct CMUnitTest tests[] = {
                test(test_take),
                test(test_restore),
                test(test_restored_metadata),
                test(test_default_acl),
                test(test_security_xattr),
                test(test_refused),
                test(test_restore_over_odd_tree),
                test(test_hard_link),
                test(test_missing_parent),
                test(test_leftovers),
                test(test_damaged_object),
                test(test_order),
                test(test_lock),
                test(test_damaged_manifest),
                test(test_remove_and_prune),
                test(test_killed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
