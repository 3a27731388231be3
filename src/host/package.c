/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What we know of the package's contents, and the two changes we make to them. */

#include "package.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "authorities.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "config-yaml.h"
#include "package-archive.h"
#include "package-check.h"

#define CLIENT_PREFIX PACKAGE_TOP "/client/"
#define PASSWORD_SIZE_MAX 4096U

PackageInfo *package_info_free(PackageInfo *p) {
        if (!p)
                return NULL;
        strv_free(p->users);
        strv_free(p->nodes);
        strv_free(p->names);
        strv_free(p->configured);
        free(p->cluster_id);
        free(p->authorities);
        free(p);
        return NULL;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The directories of dh-etcd/client/, with or without an entry of their own. */
static int collect_users(const PackageArchive *p, char ***ret) {
        _cleanup_strv_ char **users = calloc(1, sizeof(char *));
        int r;

        if (!users)
                return -ENOMEM;
        for (size_t i = 0; i < p->n; i++) {
                const PackageEntry *e = &p->entries[i];
                const char *name = e->path + strlen(CLIENT_PREFIX);
                _cleanup_free_ char *user = NULL;

                if (strncmp(e->path, CLIENT_PREFIX, strlen(CLIENT_PREFIX)) != 0 ||
                    (!strchr(name, '/') && archive_entry_filetype(e->metadata) != AE_IFDIR))
                        continue;
                user = strndup(name, strcspn(name, "/"));
                if (!user)
                        return -ENOMEM;
                if (strv_contains(users, user))
                        continue;
                r = strv_append(&users, user);
                if (r < 0)
                        return r;
        }

        qsort(users, strv_length(users), sizeof(char *), compare_strings);
        *ret = TAKE_PTR(users);
        return 0;
}

static int collect_nodes(const char *initial_cluster, PackageInfo *info, char **reterr) {
        _cleanup_(cluster_entries_freep) ClusterEntries *entries = NULL;
        int r;

        r = cluster_entries_parse(initial_cluster, &entries, reterr);
        if (r < 0)
                return r;

        for (size_t i = 0; i < entries->n; i++) {
                char address[ADDRESS_MAX];
                uint16_t port;

                r = address_from_url(entries->items[i].peer_url, address, &port);
                if (r < 0)
                        return fail(reterr, r, "'%s' in initial-cluster is not https://ADDRESS:PORT",
                                    entries->items[i].peer_url);
                r = strv_append(&info->nodes, address);
                if (r >= 0)
                        r = strv_append(&info->names, entries->items[i].name);
                if (r < 0)
                        return r;
        }

        return 0;
}

static bool is_config_yaml(const PackageEntry *e) {
        const char *name = strrchr(e->path, '/');

        return package_entry_is_file(e) && name && streq(name + 1, "config.yaml");
}

/* Takes one config.yaml in; the first decides, the others must agree. *cluster is its initial-cluster. */
static int take_config(const PackageEntry *e, PackageInfo *info, char **cluster, char **reterr) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        int r;

        r = config_yaml_parse(e->data, e->size, &c, reterr);
        if (r >= 0 && c->name)
                r = strv_append(&info->configured, c->name);
        if (r < 0 || !c->initial_cluster)
                return r;
        if (*cluster) {
                if (!streq(*cluster, c->initial_cluster) || !streq(info->cluster_id, c->initial_cluster_token))
                        return fail(reterr, -EBADMSG,
                                    "initial-cluster or its token differs from that of another config.yaml in it");
                return 0;
        }

        r = collect_nodes(c->initial_cluster, info, reterr);
        if (r < 0)
                return r;
        *cluster = TAKE_PTR(c->initial_cluster);
        info->cluster_id = TAKE_PTR(c->initial_cluster_token);
        return 0;
}

static int collect_configs(const PackageArchive *p, PackageInfo *info, char **reterr) {
        _cleanup_free_ char *cluster = NULL;

        info->nodes = calloc(1, sizeof(char *));
        info->names = calloc(1, sizeof(char *));
        info->configured = calloc(1, sizeof(char *));
        if (!info->nodes || !info->names || !info->configured)
                return -ENOMEM;

        for (size_t i = 0; i < p->n; i++) {
                int r;

                if (!is_config_yaml(&p->entries[i]))
                        continue;
                r = take_config(&p->entries[i], info, &cluster, reterr);
                if (r < 0)
                        return fail_prefix(reterr, r == -ENOMEM ? r : -EBADMSG, "entry '%s'", p->entries[i].path);
        }

        return 0;
}

/* Adds the CA certificates of one file to *all, unless they are in it. */
static int take_authorities(const PackageEntry *e, char **all, char **reterr) {
        _cleanup_free_ char *missing = NULL;
        char *joined;
        int r;

        r = authorities_missing(*all, e->data, &missing, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "entry '%s'", e->path);
        joined = format("%s%s", *all, missing);
        if (!joined)
                return -ENOMEM;
        free(*all);
        *all = joined;
        return 0;
}

static int collect_authorities(const PackageArchive *p, char **ret, char **reterr) {
        _cleanup_free_ char *all = strdup("");

        if (!all)
                return -ENOMEM;
        for (size_t i = 0; i < p->n; i++) {
                int r;

                if (!package_entry_is_file(&p->entries[i]) || p->entries[i].size > PEM_SIZE_MAX)
                        continue;
                r = take_authorities(&p->entries[i], &all, reterr);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(all);
        return 0;
}

static int load(const char *path, PackageArchive **ret, char ret_digest[static DIGEST_HEX_SIZE], char **reterr) {
        _cleanup_free_ char *packed = NULL;
        size_t size;
        int r;

        r = read_file(path, PACKAGE_SIZE_MAX, /* follow= */ false, &packed, &size);
        if (r >= 0)
                r = digest_bytes(packed, size, ret_digest);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));

        r = package_archive_read(packed, size, ret, reterr);
        return r < 0 ? fail_prefix(reterr, r, "%s", path) : 0;
}

int package_inspect(const char *path, PackageInfo **ret, char **reterr) {
        _cleanup_(package_archive_freep) PackageArchive *p = NULL;
        _cleanup_(package_info_freep) PackageInfo *info = calloc(1, sizeof(PackageInfo));
        int r;

        if (!info)
                return -ENOMEM;
        r = load(path, &p, info->digest, reterr);
        if (r < 0)
                return r;

        r = collect_users(p, &info->users);
        if (r >= 0)
                r = collect_configs(p, info, reterr);
        if (r >= 0)
                r = collect_authorities(p, &info->authorities, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "%s", path);

        *ret = TAKE_PTR(info);
        return 0;
}

/* Reads the password of a user: 1, or 0 where there is none. `buffer` is one byte larger than any password may be.
 * Nothing on the way may be a symlink: the directory belongs to a user who is not root. */
static int read_password(int client_fd, const char *user, char buffer[static PASSWORD_SIZE_MAX + 1], size_t *ret_size,
                         char **reterr) {
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        struct stat st;
        ssize_t n;

        dir_fd = openat(client_fd, user, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir_fd >= 0)
                fd = openat(dir_fd, "password", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT
                               ? 0
                               : fail(reterr, -errno,
                                      "the password of '%s' cannot be read (a symbolic link is not followed): %s", user,
                                      strerror(errno));

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return fail(reterr, -EBADFD, "the password of '%s' is not a regular file", user);
        do
                n = read(fd, buffer, PASSWORD_SIZE_MAX + 1);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return fail(reterr, -errno, "the password of '%s' cannot be read: %s", user, strerror(errno));
        if (n == 0 || n > (ssize_t) PASSWORD_SIZE_MAX)
                return fail(reterr, n == 0 ? -ENODATA : -EFBIG,
                            "the password of '%s' is empty or larger than %u bytes; put the right one there", user,
                            PASSWORD_SIZE_MAX);

        *ret_size = (size_t) n;
        return 1;
}

/* 1 when the package's password of the user is another one from now on. */
static int merge_password(PackageArchive *p, int client_fd, const char *user, char **reterr) {
        _cleanup_free_ char *path = format(CLIENT_PREFIX "%s/password", user);
        char password[PASSWORD_SIZE_MAX + 1];
        PackageEntry *e;
        size_t size = 0;
        int r;

        if (!path)
                return -ENOMEM;
        e = (PackageEntry *) package_archive_find(p, path);
        if (!e)
                return 0;
        if (!package_entry_is_file(e))
                return fail(reterr, -EBADMSG, "entry '%s' is not a regular file", path);

        r = read_password(client_fd, user, password, &size, reterr);
        if (r > 0) {
                if (size == e->size && memcmp(password, e->data, size) == 0)
                        r = 0;
                else {
                        r = package_entry_set_data(e, password, size);
                        r = r < 0 ? r : 1;
                }
        }
        explicit_bzero(password, sizeof(password));
        return r;
}

static int merge_passwords(PackageArchive *p, const char *client_dir, char **reterr) {
        _cleanup_close_ int client_fd = open(client_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_strv_ char **users = NULL;
        int changed = 0, r;

        if (client_fd < 0)
                return fail(reterr, -errno, "%s cannot be opened: %s", client_dir, strerror(errno));
        r = collect_users(p, &users);
        if (r < 0)
                return r;

        STRV_FOREACH (user, users) {
                r = merge_password(p, client_fd, *user, reterr);
                if (r < 0)
                        return fail_prefix(reterr, r, "%s", client_dir);
                changed |= r;
        }

        return changed;
}

static int merge_authorities_entry(PackageEntry *e, const char *authorities, char **reterr) {
        _cleanup_free_ char *own = NULL, *missing = NULL, *text = NULL;
        int r;

        if (!package_entry_is_file(e) || e->size > PEM_SIZE_MAX || strlen(e->data) != e->size)
                return 0;
        r = authorities_of(e->data, &own, reterr);
        if (r < 0 || own[0] == '\0')
                return r;
        r = authorities_missing(e->data, authorities, &missing, reterr);
        if (r < 0 || missing[0] == '\0')
                return r;

        text = format("%s%s%s", e->data, e->data[e->size - 1] == '\n' ? "" : "\n", missing);
        if (!text)
                return -ENOMEM;
        r = package_entry_set_data(e, text, strlen(text));
        explicit_bzero(text, strlen(text)); /* a key may stand beside the certificates */
        return r < 0 ? r : 1;
}

static int merge_authorities(PackageArchive *p, const char *authorities, char **reterr) {
        int changed = 0;

        for (size_t i = 0; authorities && i < p->n; i++) {
                int r = merge_authorities_entry(&p->entries[i], authorities, reterr);

                if (r < 0)
                        return fail_prefix(reterr, r, "entry '%s'", p->entries[i].path);
                changed |= r;
        }

        return changed;
}

static int store(const char *path, const PackageArchive *p, char **reterr) {
        _cleanup_(package_archive_freep) PackageArchive *again = NULL;
        _cleanup_free_ char *packed = NULL;
        size_t size;
        int r;

        r = package_archive_write(p, &packed, &size, reterr);
        if (r < 0)
                return r;
        r = package_archive_read(packed, size, &again, reterr);
        if (r < 0)
                return r;
        if (!package_archive_equal(p, again))
                return fail(reterr, -EBADMSG, "it cannot be rewritten without loss; nothing was changed");

        r = replace_file_durable(path, packed, size);
        return r < 0 ? fail(reterr, r, "it cannot be replaced: %s", strerror(-r)) : 0;
}

int package_merge(const char *path, const char *client_dir, const char *authorities, char **reterr) {
        _cleanup_(package_archive_freep) PackageArchive *p = NULL;
        char digest[DIGEST_HEX_SIZE];
        int passwords, bundles, r;

        r = load(path, &p, digest, reterr);
        if (r < 0)
                return r;
        passwords = merge_passwords(p, client_dir, reterr);
        if (passwords < 0)
                return passwords;
        bundles = merge_authorities(p, authorities, reterr);
        if (bundles < 0)
                return fail_prefix(reterr, bundles, "%s", path);
        if (passwords == 0 && bundles == 0) {
                r = fsync_parent(path); /* an earlier call may have died before it */
                return r < 0 ? fail(reterr, r, "%s cannot be synced: %s", path, strerror(-r)) : 0;
        }

        r = store(path, p, reterr);
        return r < 0 ? fail_prefix(reterr, r, "%s", path) : 1;
}
