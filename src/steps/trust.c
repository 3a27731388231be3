/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Only where the generator made a new CA: the members trust it beside their own, with their present certificates,
 * before any certificate changes. etcd reads the CAs it trusts only when it starts, but certificates at every
 * handshake: so a member that got its new certificate first would be refused by all others. */

#include "basic/error.h"
#include "cluster.h"
#include "host/authorities.h"
#include "host/package.h"
#include "scripts.h"
#include "steps.h"

/* 1 where the member does not trust everything in the package yet. */
static int member_lacks(Addition *a, const Host *h, const char *authorities, char **reterr) {
        _cleanup_json_ json_t *facts = NULL;
        _cleanup_free_ char *missing = NULL;
        const char *trusted;
        int r;

        r = host_describe(h->client, CALL_TIMEOUT, &facts, reterr);
        if (r < 0)
                return r;
        trusted = json_get_string(facts, "authorities");
        r = authorities_missing(trusted ?: "", authorities, &missing, reterr);
        return r < 0 ? r : *missing != '\0';
}

static int check(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(package_info_freep) PackageInfo *package = NULL;
        int r;

        r = package_inspect(DH_PACKAGE, &package, reterr);
        if (r < 0)
                return r;
        FOREACH_MEMBER (h, a) {
                r = member_lacks(a, h, package->authorities, reterr);
                if (r != 0)
                        return r;
        }
        return skip_step(reterr, "the CA is the one the members trust already");
}

static bool restart_all(Addition *a, const Host *h) {
        return true;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_(package_info_freep) PackageInfo *package = NULL;
        int r;

        r = package_inspect(DH_PACKAGE, &package, reterr);
        if (r < 0)
                return r;
        FOREACH_MEMBER (h, a) {
                r = host_trust_authorities(h->client, a->txn, step_trust.name, package->authorities, CALL_TIMEOUT,
                                           reterr);
                if (r < 0)
                        return r;
        }

        addition_progress(a, "the CA is new: members are restarted one at a time so that they trust both");
        r = txn_remember(a->transaction, "trust-restarted", json_true(), reterr);
        return r < 0 ? r : cluster_rolling_restart(a, step_trust.name, restart_all, reterr);
}

static int prove(void *world, char **reterr) {
        int r = check(world, reterr);

        return r > 0 ? fail(reterr, -EUCLEAN, "a member does not trust the new CA after its restart") : r;
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        int r;

        r = restore_hosts(a, &step_trust, reterr);
        if (r < 0 || !txn_recall(a->transaction, "trust-restarted"))
                return r;
        return cluster_rolling_restart(a, "trust-undo", restart_all, reterr);
}

/* What the generator will make is its secret; a package that is there already can be looked at. */
static void foresee(void *world, StepForecast *f) {
        StepForecast generate = {};

        f->restarts = CHANGES_MEMBERS;
        step_generate.foresee(world, &generate);
        if (!generate.skipped) {
                f->perhaps = true;
                f->why = "only where config_generator.sh makes a new CA: a running etcd reads the CAs it trusts only "
                         "when it starts";
                return;
        }
        if (check(world, NULL) != 0) {
                f->why = "the package has a CA that the members do not trust yet";
                return;
        }
        f->skipped = true;
        f->restarts = 0;
        f->why = "the CA is the one the members trust already";
}

const Step step_trust = {
        .name = "trust",
        .title = "Making the members trust the new CA beside the present one",
        .changes = CHANGES_MEMBERS,
        .undoes = "the members get their old files back, and are restarted where they had been",
        .foresee = foresee,
        .check = check,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
