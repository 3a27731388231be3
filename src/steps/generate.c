/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 3: config_generator.sh makes a new package for all nodes, in the order of the node numbers. */

#include "basic/error.h"
#include "host/package.h"
#include "scripts.h"
#include "steps.h"

/* 1: where it has a config.yaml for one member by name, it has one for each. */
static int has_every_config(const PackageInfo *package, char **reterr) {
        const char *missing = NULL;
        bool any = false;

        STRV_FOREACH (name, package->names) {
                if (strv_contains(package->configured, *name))
                        any = true;
                else if (!missing)
                        missing = *name;
        }
        return any && missing ? fail(reterr, -EUCLEAN, "%s has no config.yaml for '%s'", DH_PACKAGE, missing) : 1;
}

/* 1: the package has all nodes of the job, in our order, under their present names, and the cluster's ID. */
static int package_covers(Addition *a, char **reterr) {
        _cleanup_(package_info_freep) PackageInfo *package = NULL;
        _cleanup_strv_ char **nodes = addition_all_nodes(a);
        int r;

        if (!nodes)
                return -ENOMEM;
        r = package_inspect(DH_PACKAGE, &package, reterr);
        if (r < 0)
                return r;
        if (!streq(package->cluster_id, a->cluster_id))
                return fail(reterr, -EUCLEAN, "%s is of cluster %s instead of %s", DH_PACKAGE,
                            package->cluster_id ?: "(none)", a->cluster_id);
        if (strv_length(package->nodes) != strv_length(nodes))
                return fail(reterr, -EUCLEAN, "%s lists %zu nodes instead of %zu", DH_PACKAGE,
                            strv_length(package->nodes), strv_length(nodes));
        for (size_t i = 0; nodes[i]; i++)
                if (!streq(package->nodes[i], nodes[i]))
                        return fail(reterr, -EUCLEAN, "%s has %s as node %zu instead of %s", DH_PACKAGE,
                                    package->nodes[i], i + 1, nodes[i]);
        FOREACH_NODE (h, a)
                if (!streq(package->names[h->number - 1], h->name))
                        return fail(reterr, -EUCLEAN, "%s names node %s '%s' instead of '%s'", DH_PACKAGE, h->address,
                                    package->names[h->number - 1], h->name);
        return has_every_config(package, reterr);
}

static int check(void *world, char **reterr) {
        _cleanup_free_ char *why = NULL;
        int r = package_covers(world, &why);

        if (r == -ENOMEM)
                return r;
        return r > 0 ? skip_step(reterr, "the package already lists every node of the job") : 1;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_strv_ char **arguments = addition_all_nodes(a);

        if (!arguments || strv_append(&arguments, "--cluster-id") < 0 || strv_append(&arguments, a->cluster_id) < 0)
                return -ENOMEM;
        return run_vendor_script(a, addition_this_host(a), step_generate.name, "generate", arguments, reterr);
}

static int prove(void *world, char **reterr) {
        int r = package_covers(world, reterr);

        return r < 0 ? fail_prefix(reterr, r,
                                   "config_generator.sh ended without an error, but what it made is not usable")
                     : 0;
}

static int undo(void *world, char **reterr) {
        return restore_hosts(world, &step_generate, reterr);
}

static void foresee(void *world, StepForecast *f) {
        f->skipped = package_covers(world, NULL) > 0;
        f->seconds = f->skipped ? 1 : 5;
        f->why = f->skipped ? "the package already lists every node of the job"
                            : "config_generator.sh runs, and the cluster keeps its ID";
}

static const char *const scripts[] = { "generate", NULL };

const Step step_generate = {
        .name = "generate",
        .title = "Generating the configuration package for all nodes",
        .changes = CHANGES_THIS_HOST,
        .scripts = scripts,
        .undoes = "the package of before is back",
        .foresee = foresee,
        .check = check,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
