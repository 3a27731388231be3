/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "world.h"

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "basic/fs.h"
#include "basic/string-util.h"

#define BUFFERS 16U
#define PATTERN_MAX 16384U
#define XATTR "trusted.dhetcd-test"

typedef struct Entry {
        const char *path, *data; /* data: content or link target; NULL for a directory */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        time_t mtime; /* 0: any */
} Entry;

static const Entry old_tree[] = {
        { "world/etc", NULL, S_IFDIR | 0750, 0, 34, 1500000001 },
        { "world/etc/clients", NULL, S_IFDIR | 0700, 12, 34, 1500000002 },
        { "world/etc/clients/a.pem", "@9000", S_IFREG | 0600, 12, 34, 1500000003 },
        { "world/etc/clients/b.pem", "old b\n", S_IFREG | 0640, 0, 0, 1500000004 },
        { "world/etc/clients/deep", NULL, S_IFDIR | 0711, 0, 0, 1500000005 },
        { "world/etc/clients/deep/empty", "", S_IFREG | 0444, 0, 0, 1500000006 },
        { "world/etc/config", CONFIG_OLD, S_IFREG | 0640, 12, 34, 1500000007 },
        { "world/etc/data", NULL, S_IFDIR | 0700, 12, 12, 1500000008 },
        { "world/etc/data/wal", "@5000", S_IFREG | 0600, 12, 12, 1500000009 },
        { "world/etc/obsolete", "to be deleted\n", S_IFREG | 0644, 0, 0, 1500000010 },
        { "world/etc/settings", "old settings\n", S_IFREG | 0644, 12, 0, 1500000013 },
        { "world/etc/stale", "of an older package\n", S_IFREG | 0600, 0, 12, 1500000014 },
        { "world/way", "etc/config", S_IFLNK | 0777, 12, 34, 1500000011 },
        { "world/lone", "never changed\n", S_IFREG | 0604, 34, 12, 1500000012 },
};

static const Entry new_tree[] = {
        { "world/etc", NULL, S_IFDIR | 0750, 0, 34, 0 },
        { "world/etc/clients", NULL, S_IFDIR | 0700, 0, 0, 0 },
        { "world/etc/clients/a.pem", "@7000", S_IFREG | 0600, 12, 34, 0 },
        { "world/etc/clients/c.pem", "new c\n", S_IFREG | 0640, 0, 0, 0 },
        { "world/etc/clients/sub", NULL, S_IFDIR | 0700, 0, 0, 0 },
        { "world/etc/clients/sub/d.pem", "new d\n", S_IFREG | 0600, 0, 0, 0 },
        { "world/etc/config", CONFIG_NEW, S_IFREG | 0640, 12, 34, 0 },
        { "world/etc/data.aside", NULL, S_IFDIR | 0700, 12, 12, 1500000008 },
        { "world/etc/data.aside/wal", "@5000", S_IFREG | 0600, 12, 12, 1500000009 },
        { "world/etc/fresh", "fresh\n", S_IFREG | 0600, 12, 34, 0 },
        { "world/etc/keys", NULL, S_IFDIR | 0750, 0, 0, 0 },
        { "world/etc/keys/root.key", "a key\n", S_IFREG | 0640, 0, 0, 0 },
        { "world/etc/settings", "new settings\n", S_IFREG | 0640, 0, 0, 0 },
        { "world/later", "made later\n", S_IFREG | 0644, 0, 0, 0 },
        { "world/way", "etc/fresh", S_IFLNK | 0777, 0, 0, 0 },
        { "world/lone", "never changed\n", S_IFREG | 0604, 34, 12, 1500000012 },
        { "world/promoted", "a voter\n", S_IFREG | 0600, 0, 0, 0 },
};

static char base_path[PATH_MAX / 2];
static char root_paths[4][PATH_MAX];
static char *root_list[5];

const char *in(const char *relative) {
        static char buffers[BUFFERS][PATH_MAX];
        static unsigned next;
        char *s = buffers[next++ % BUFFERS];

        (void) snprintf(s, PATH_MAX, "%s/%s", base_path, relative);
        return s;
}

void world_set_base(const char *base) {
        static const char *const roots[] = { "world/etc", "world/later", "world/way", "world/lone" };

        (void) snprintf(base_path, sizeof(base_path), "%s", base);
        for (size_t i = 0; i < ELEMENTSOF(roots); i++) {
                (void) snprintf(root_paths[i], PATH_MAX, "%s", in(roots[i]));
                root_list[i] = root_paths[i];
        }
}

char **world_roots(void) {
        return root_list;
}

bool complain(const char *text, ...) {
        va_list ap;

        (void) fprintf(stderr, "%s: ", base_path);
        va_start(ap, text);
        (void) vfprintf(stderr, text, ap);
        va_end(ap);
        (void) fputc('\n', stderr);
        return false;
}

Content content(const char *text) {
        static char pattern[PATTERN_MAX];
        size_t size;

        if (*text != '@')
                return (Content){ text, strlen(text) };
        size = strtoul(text + 1, NULL, 10);
        for (size_t i = 0; i < size && i < sizeof(pattern); i++)
                pattern[i] = (char) ('a' + (i * 7 + size) % 26);
        return (Content){ pattern, size };
}

/* ---- making ---- */

static int make_entry(const Entry *e) {
        struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };
        const char *path = in(e->path);
        int r = 0;

        if (S_ISDIR(e->mode))
                r = mkdir(path, 0700);
        else if (S_ISLNK(e->mode))
                r = symlink(e->data, path);
        else {
                Content c = content(e->data);
                _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

                r = fd < 0 ? -1 : write_all(fd, c.data, c.size);
        }
        if (r < 0 || lchown(path, e->uid, e->gid) < 0 || (!S_ISLNK(e->mode) && chmod(path, e->mode & 07777) < 0))
                return -errno;
        if (strstr(path, "config") && S_ISREG(e->mode) && setxattr(path, XATTR, "kept", 4, 0) < 0)
                return -errno;
        return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Again, after what was made in them changed it. */
static int set_directory_times(void) {
        for (size_t i = ELEMENTSOF(old_tree); i > 0; i--) {
                const Entry *e = &old_tree[i - 1];
                struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };

                if (S_ISDIR(e->mode) && utimensat(AT_FDCWD, in(e->path), times, 0) < 0)
                        return -errno;
        }
        return 0;
}

int world_prepare(void) {
        static const char *const folders[] = { "world", "txn", "record", "store" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                r = remove_tree(in(folders[i]));
                if (r < 0)
                        return r;
        }
        r = mkdir_durable(in("world"), 0755);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(old_tree); i++)
                r = make_entry(&old_tree[i]);
        return r < 0 ? r : set_directory_times();
}

/* ---- comparing ---- */

static bool same_content(const Entry *e, const char *path) {
        _cleanup_free_ char *data = NULL;
        Content c = content(e->data);
        size_t size;

        if (read_file(path, PATTERN_MAX, false, &data, &size) < 0 || size != c.size || memcmp(data, c.data, size) != 0)
                return complain("%s: wrong content", e->path);
        return true;
}

static bool same_entry(const Entry *e) {
        const char *path = in(e->path);
        char target[PATH_MAX], value[16];
        struct stat st;
        ssize_t n;

        if (lstat(path, &st) < 0)
                return complain("%s: %s", e->path, strerror(errno));
        if (st.st_mode != e->mode)
                return complain("%s: mode %o instead of %o", e->path, st.st_mode, e->mode);
        if (st.st_uid != e->uid || st.st_gid != e->gid)
                return complain("%s: belongs to %u:%u instead of %u:%u", e->path, st.st_uid, st.st_gid, e->uid, e->gid);
        if (e->mtime != 0 && (st.st_mtim.tv_sec != e->mtime || st.st_mtim.tv_nsec != 0))
                return complain("%s: modified at %lld instead of %lld", e->path, (long long) st.st_mtime,
                                (long long) e->mtime);
        if (strstr(e->path, "config") && (getxattr(path, XATTR, value, sizeof(value)) != 4))
                return complain("%s: its attribute is not there", e->path);
        if (S_ISREG(e->mode))
                return same_content(e, path);
        if (S_ISLNK(e->mode)) {
                n = readlink(path, target, sizeof(target) - 1);
                if (n < 0 || (size_t) n != strlen(e->data) || memcmp(target, e->data, (size_t) n) != 0)
                        return complain("%s: leads elsewhere", e->path);
        }
        return true;
}

static bool is_listed(const Entry *tree, size_t n, const char *path) {
        for (size_t i = 0; i < n; i++)
                if (streq(tree[i].path, path))
                        return true;
        return false;
}

static bool nothing_else(const Entry *tree, size_t n, const char *folder) {
        _cleanup_(closedirp) DIR *dir = opendir(in(folder));
        struct dirent *entry;
        bool good = true;

        if (!dir)
                return complain("%s: %s", folder, strerror(errno));
        while ((entry = readdir(dir))) {
                char path[PATH_MAX];

                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                (void) snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
                if (!is_listed(tree, n, path))
                        good = complain("%s is left over", path);
                else if (entry->d_type == DT_DIR && !nothing_else(tree, n, path))
                        good = false;
        }
        return good;
}

bool world_is(bool is_new) {
        const Entry *tree = is_new ? new_tree : old_tree;
        size_t n = is_new ? ELEMENTSOF(new_tree) : ELEMENTSOF(old_tree);
        bool good = nothing_else(tree, n, "world");

        for (size_t i = 0; i < n; i++)
                good = same_entry(&tree[i]) && good;
        return good;
}

bool world_config_is_whole(void) {
        static const char *const contents[] = { CONFIG_OLD, CONFIG_EDITED, CONFIG_NEW };
        _cleanup_free_ char *data = NULL;
        int r;

        r = read_file(in("world/etc/config"), PATTERN_MAX, false, &data, NULL);
        if (r < 0)
                return complain("the configuration cannot be read at this instant: %s", strerror(-r));
        for (size_t i = 0; i < ELEMENTSOF(contents); i++)
                if (streq(data, contents[i]))
                        return true;
        return complain("the configuration is half-written at this instant");
}
