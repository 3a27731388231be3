/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "data-path.h"

#include <libgen.h>
#include <stdbool.h>
#include <string.h>

#include "basic/config.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "data-place.h"

static bool is_below(const char *path, const char *dir) {
        size_t n = strlen(dir);

        while (n > 0 && dir[n - 1] == '/')
                n--;
        return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static bool is_of_system(const char *path) {
        static const char *const dirs[] = { "/bin",  "/boot", "/dev",  "/etc", "/lib", "/lib64",
                                            "/proc", "/root", "/sbin", "/sys", "/usr", "/var/lib/dhetcd" };

        for (size_t i = 0; i < ELEMENTSOF(dirs); i++)
                if (streq(path, dirs[i]) || is_below(path, dirs[i]))
                        return true;
        return false;
}

int data_path_find(const char *path, const char *elsewhere, char **ret, char **reterr) {
        DataPlace p;
        int r;

        r = data_place_find(path, &p, reterr);
        if (r < 0)
                return r;
        if (is_of_system(path) || (!is_below(path, DATA_ROOT) && !(elsewhere && is_below(path, elsewhere))))
                return fail(
                        reterr, -EPERM,
                        "the data directory '%.128s' is not below " DATA_ROOT
                        "; if it is to be there, name the directory above it as DataDirectory= in the section [etcd] "
                        "of /etc/dhetcd/dhetcd.conf",
                        path);
        if (is_of_system(p.path))
                return fail(reterr, -EINVAL, "the data directory '%.128s' leads to '%.128s'", path, p.path);
        *ret = strdup(p.path);
        return *ret ? 0 : -ENOMEM;
}

int data_path_find_configured(const char *path, char **ret, char **reterr) {
        _cleanup_(config_freep) Config *config = NULL;
        int r = config_load(NULL, &config, NULL, reterr);

        return r < 0 ? r : data_path_find(path, config->data_directory, ret, reterr);
}

int data_path_check_writable(const char *path, char **reterr) {
        char copy[PATH_MAX], *above = copy;

        if (strlen(path) >= sizeof(copy))
                return -ENAMETOOLONG;
        strcpy(copy, path);
        do
                above = dirname(above);
        while (access(above, F_OK) < 0 && errno == ENOENT && !streq(above, "/"));

        if (access(above, W_OK) >= 0)
                return 0;
        return fail(reterr, -errno,
                    "%s cannot be written: %s; let dhetcdd write there: systemctl edit dhetcdd, with [Service] and "
                    "ReadWritePaths=%s",
                    above, strerror(errno), above);
}
