/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 3: the cluster has passwords already; they replace the generated ones in the package. And where the
 * generator made a new CA, the package's files trust the old one as well, so that nobody is refused while certificates
 * change. */

#include "basic/error.h"
#include "basic/fs.h"
#include "host/authorities.h"
#include "host/package.h"
#include "scripts.h"
#include "steps.h"

/* The CA certificates in use now: those that the members' config.yaml trust. */
static int present_authorities(Addition *a, char **ret, char **reterr) {
        _cleanup_free_ char *path = addition_trust_path(a);
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, PEM_SIZE_MAX, false, ret, NULL);
        return r < 0 ? fail(reterr, r, "%s cannot be read: %s", path, strerror(-r)) : 0;
}

static int merge(Addition *a, char **reterr) {
        _cleanup_free_ char *present = NULL;
        int r;

        r = present_authorities(a, &present, reterr);
        return r < 0 ? r : package_merge(DH_PACKAGE, DH_CLIENT_DIR, present, reterr);
}

/* Whoever takes the job over must trust the new CA as well. */
static int keep_plan(Addition *a, char **reterr) {
        _cleanup_free_ char *plan = NULL;
        int r;

        r = addition_portable_plan(a, &plan, reterr);
        FOREACH_HOST (h, a)
                if (r >= 0)
                        r = host_keep_plan(h->client, a->txn, plan, CALL_TIMEOUT, reterr);
        return r;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(package_info_freep) PackageInfo *package = NULL;
        int r;

        r = merge(a, reterr);
        if (r < 0)
                return r;
        r = package_inspect(DH_PACKAGE, &package, reterr);
        if (r < 0)
                return r;
        r = addition_trust(a, package->authorities, reterr);
        if (r > 0)
                r = keep_plan(a, reterr);
        if (r < 0)
                return r;
        return txn_remember(a->transaction, "package", json_string(package->digest), reterr);
}

/* Done again, it must find nothing left to do. */
static int prove(void *world, char **reterr) {
        int r = merge(world, reterr);

        return r > 0 ? fail(reterr, -EUCLEAN, "%s changes every time the passwords are merged into it", DH_PACKAGE) : r;
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_merge, reterr);
}

const Step step_merge = {
        .name = "merge",
        .title = "Merging the cluster's passwords and its present CA into the package",
        .changes = CHANGES_THIS_HOST,
        .undoes = "the package of before is back",
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
