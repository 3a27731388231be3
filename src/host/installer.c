/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "installer.h"

#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "cluster-cnf.h"

void installer_done(Installer *i) {
        free(i->dir);
        free(i->user);
        free(i->java);
        free(i->jar);
        free(i->script);
        *i = (Installer){};
}

/* ---- who can change it ---- */

static int check_one(const char *path, mode_t type, uid_t uid, gid_t gid, char **reterr) {
        bool is_dir = type == S_IFDIR;
        struct stat st;

        if (lstat(path, &st) < 0)
                return fail(reterr, -errno, "%s: %s", path, strerror(errno));
        if ((st.st_mode & S_IFMT) != type)
                return fail(reterr, -EINVAL, "%s is no %s", path, is_dir ? "folder" : "regular file");
        if (st.st_uid != 0 && st.st_uid != uid)
                return fail(reterr, -EPERM,
                            "%s belongs to user %u, who could change what is run as user %u; run: chown %u '%s'", path,
                            (unsigned) st.st_uid, (unsigned) uid, (unsigned) uid, path);
        /* In a sticky folder others can make files, but not replace these. */
        if (is_dir && (st.st_mode & S_ISVTX))
                return 0;
        if ((st.st_mode & S_IWOTH) || ((st.st_mode & S_IWGRP) && st.st_gid != 0 && (uid == 0 || st.st_gid != gid)))
                return fail(reterr, -EPERM, "%s can be changed by others than user %u; run: chmod go-w '%s'", path,
                            (unsigned) uid, path);
        return 0;
}

int installer_check_path(const char *path, mode_t type, uid_t uid, gid_t gid, char **reterr) {
        char prefix[PATH_MAX];
        int r = 0;

        if (*path != '/' || strlen(path) >= sizeof(prefix))
                return fail(reterr, -EINVAL, "'%.64s' is no absolute path", path);
        strcpy(prefix, path);
        for (char *slash = prefix + 1; r >= 0 && (slash = strchr(slash, '/')); slash++) {
                *slash = '\0';
                r = check_one(prefix, S_IFDIR, uid, gid, reterr);
                *slash = '/';
        }
        return r < 0 ? r : check_one(path, type, uid, gid, reterr);
}

/* ---- what is in it ---- */

static bool is_jar(const char *name) {
        size_t n = strlen(name);

        return strncmp(name, "Installer-", 10) == 0 && n > 14 && streq(name + n - 4, ".jar");
}

static int find_jar(const char *dir, char **ret, char **reterr) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        _cleanup_free_ char *found = NULL;
        struct dirent *e;

        if (!d)
                return fail(reterr, -errno, "%s cannot be read: %s", dir, strerror(errno));
        while ((errno = 0, e = readdir(d))) {
                if (!is_jar(e->d_name))
                        continue;
                if (found)
                        return fail(reterr, -EINVAL, "%s holds %s and %s: leave one of them there", dir,
                                    strrchr(found, '/') + 1, e->d_name);
                found = format("%s/%s", dir, e->d_name);
                if (!found)
                        return -ENOMEM;
        }
        if (errno != 0)
                return -errno;
        *ret = TAKE_PTR(found);
        return *ret ? 0 : fail(reterr, -EINVAL, "%s holds no Installer-VERSION.jar", dir);
}

static int find_java(char **ret, char **reterr) {
        static const char *const places[] = { "/usr/local/bin/java", "/usr/bin/java", "/bin/java" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (access(places[i], X_OK) >= 0) {
                        *ret = strdup(places[i]);
                        return *ret ? 0 : -ENOMEM;
                }
        return fail(reterr, -EINVAL, "java is neither in /usr/bin nor in /usr/local/bin: install it, or link it there");
}

/* 1: it has what the jar generates. 0: it has not yet. */
static int read_cnf(Installer *i, gid_t gid, char **reterr) {
        _cleanup_free_ char *path = format("%s/" CNF_FILE, i->dir), *text = NULL, *why = NULL;
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = NULL;
        const CnfFinding *wrong;
        size_t size;
        int r;

        if (!path)
                return -ENOMEM;
        r = path_exists(path);
        if (r == 0)
                return fail(reterr, -EINVAL, "%s is not there: put the edited one there, as the vendor's page says",
                            path);
        r = installer_check_path(path, S_IFREG, i->uid, gid, reterr); /* the scripts source it */
        if (r < 0)
                return r;
        r = read_file(path, CNF_SIZE_MAX, false, &text, &size);
        if (r >= 0)
                r = digest_bytes(text, size, i->cnf_digest);
        if (r >= 0)
                r = cluster_cnf_parse(text, size, &c, &why);
        if (r < 0)
                return fail(reterr, r, "%s: %s", path, error_text(why, r));
        wrong = cluster_cnf_error(c);
        if (wrong)
                return fail(reterr, -EINVAL, "%s: %s; see: dhetcd cnf check --file='%s'", path, wrong->text, path);
        r = cluster_cnf_generated_check(c);
        if (r == -ESTALE)
                return fail(reterr, -EINVAL,
                            "%s: what the installer generated is for other nodes than those above it; drop it: "
                            "dhetcd cnf add --installer-dir='%s'",
                            path, i->dir);
        return r;
}

static int check_script(Installer *i, gid_t gid, bool generated, char **reterr) {
        int there;

        i->script = format("%s/" INSTALLER_SCRIPT, i->dir);
        if (!i->script)
                return -ENOMEM;
        there = path_exists(i->script);
        if (there <= 0 && !generated)
                return there; /* the jar may make it */
        if (there == 0)
                return fail(reterr, -EINVAL,
                            "%s is not there; have the jar run again: dhetcd cnf add --installer-dir='%s'", i->script,
                            i->dir);
        there = installer_check_path(i->script, S_IFREG, i->uid, gid, reterr);
        if (there >= 0 && access(i->script, X_OK) < 0)
                return fail(reterr, -EINVAL, "%s cannot be run: %s; run: chmod +x '%s'", i->script, strerror(errno),
                            i->script);
        return there;
}

static int find_owner(Installer *i, gid_t *ret_gid, char **reterr) {
        const struct passwd *p;
        struct stat st;

        if (lstat(i->dir, &st) < 0)
                return fail(reterr, -EINVAL, "%s: %s; dhetcd does not see what is in /tmp and /var/tmp", i->dir,
                            strerror(errno));
        if (!S_ISDIR(st.st_mode))
                return fail(reterr, -EINVAL, "%s is no folder", i->dir);
        errno = 0;
        p = getpwuid(st.st_uid);
        if (!p)
                return fail(reterr, -EINVAL, "%s belongs to user %u, whom this host does not know", i->dir,
                            (unsigned) st.st_uid);
        i->uid = st.st_uid;
        i->user = strdup(p->pw_name);
        *ret_gid = p->pw_gid;
        return i->user ? 0 : -ENOMEM;
}

static int open_dir(const char *dir, Installer *i, gid_t *ret_gid, char **reterr) {
        int r;

        i->dir = strdup(dir);
        r = i->dir ? find_owner(i, ret_gid, reterr) : -ENOMEM;
        return r < 0 ? r : installer_check_path(dir, S_IFDIR, i->uid, *ret_gid, reterr);
}

int installer_open(const char *dir, Installer *ret, char **reterr) {
        _cleanup_(installer_done) Installer i = {};
        gid_t gid;
        int r = open_dir(dir, &i, &gid, reterr);

        if (r < 0)
                return r;
        *ret = i;
        i = (Installer){};
        return 0;
}

int installer_find(const char *dir, Installer *ret, char **reterr) {
        _cleanup_(installer_done) Installer i = {};
        gid_t gid = 0;
        int r, generated = 0;

        r = open_dir(dir, &i, &gid, reterr);
        if (r >= 0)
                r = generated = read_cnf(&i, gid, reterr);
        if (r >= 0)
                r = check_script(&i, gid, generated > 0, reterr);
        if (r >= 0 && generated == 0) {
                r = find_jar(dir, &i.jar, reterr);
                if (r >= 0)
                        r = installer_check_path(i.jar, S_IFREG, i.uid, gid, reterr);
                if (r >= 0)
                        r = find_java(&i.java, reterr);
        }
        if (r < 0)
                return r;
        *ret = i;
        i = (Installer){};
        return 0;
}

int installer_cnf_digest(const char *dir, char ret[static DIGEST_HEX_SIZE]) {
        _cleanup_free_ char *path = format("%s/" CNF_FILE, dir);

        return path ? digest_file(path, ret) : -ENOMEM;
}
