/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cluster.cnf as a file, for "cnf" and "grow". Failures have been said and are exit codes. */

#include "host/cluster-cnf.h"

typedef struct CnfFile {
        char *path; /* without symlinks */
        char *data; /* as it was read */
        size_t size;
        ClusterCnf *cnf;
} CnfFile;

void cnf_file_done(CnfFile *f);

/* --file=, else DIR/cluster.cnf, else where the installer puts it; NULL on OOM. */
char *cnf_choose_path(const char *dir);
int cnf_open(const char *path, CnfFile *ret);

/* Adds the hosts, with the roles and the key that the command line gives, shows the diff, and writes it unless
 * --dry-run. *ret_backup (may be NULL) is where the old file is, NULL where nothing was changed. */
int cnf_add_hosts(CnfFile *f, char *const *hosts, char **ret_backup);
