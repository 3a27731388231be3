/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "snapshot-fixture.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

char dir[] = "/tmp/test-snapshot-XXXXXX", *store, *tree, *lone, *link_root, *absent;
char *roots[5];

char *at(const char *name) {
        static char paths[8][PATH_MAX];
        static unsigned next;
        char *path = paths[next++ % 8];

        (void) snprintf(path, PATH_MAX, "%s/%s", dir, name);
        return path;
}

void put(const char *name, const char *text, mode_t mode, uid_t owner) {
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
const unsigned char acl[ACL_SIZE] = {
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

int make_all(void **state) {
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

int drop_all(void **state) {
        free(store);
        for (size_t i = 0; i < 4; i++)
                free(roots[i]);
        return remove_tree(dir);
}

void take(const char *name, char ret_digest[static DIGEST_HEX_SIZE]) {
        _cleanup_free_ char *why = NULL;
        int r = snapshot_take(store, name, roots, "a note", ret_digest, &why);

        if (r != 1)
                print_error("%s\n", why);
        assert_int_equal(r, 1);
}

void restore(const char *name, int expected) {
        _cleanup_free_ char *why = NULL;
        int r = snapshot_restore(store, name, &why);

        if (r != expected)
                print_error("%i %s\n", r, why);
        assert_int_equal(r, expected);
}

void expect_digest(const char *expected) {
        char digest[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;
        int r = snapshot_digest_now(roots, digest, &why);

        if (r < 0)
                print_error("%s\n", why);
        assert_int_equal(r, 0);
        assert_string_equal(digest, expected);
}

unsigned count_entries(const char *path, const char *containing) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        struct dirent *entry;
        unsigned n = 0;

        assert_non_null(d);
        while ((entry = readdir(d)))
                n += strstr(entry->d_name, containing) != NULL;
        return n;
}

void expect_no_leftovers(void) {
        assert_int_equal(count_entries(dir, "dhetcd"), 0);
        assert_int_equal(count_entries(tree, "dhetcd"), 0);
}

void change_content(void) {
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
void change_link(void) {
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
void change_all_gone(void) {
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
void change_lone(void) {
        put("lone", "other", 0600, 7);
}
static void change_lone_to_directory(void) {
        assert_int_equal(unlink(lone), 0);
        assert_int_equal(mkdir(lone, 0700), 0);
        put("lone/x", "x", 0600, 0);
}
void change_tree_to_link(void) {
        assert_int_equal(rename(tree, at("elsewhere")), 0);
        assert_int_equal(symlink("elsewhere", tree), 0);
}
static void change_root_link(void) {
        assert_int_equal(unlink(link_root), 0);
        assert_int_equal(symlink("tree", link_root), 0);
}

const Change changes[] = {
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
        {},
};
