/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page, step 4: the package goes to every node and is unpacked there by the vendor's script. The new node comes first:
 * it has least to lose. */

#include "basic/error.h"
#include "basic/fs.h"
#include "cluster.h"
#include "host/package.h"
#include "scripts.h"
#include "steps.h"

static int unpack(Addition *a, Host *h, const char *data, size_t size, const char *digest, char **reterr) {
        _cleanup_free_ char *number = format("%u", h->number);
        char *arguments[] = { number, NULL };
        int r;

        if (!number)
                return -ENOMEM;
        addition_progress_of(a, h, &(Progress){}, "unpacking the package on %s", h->address);
        r = host_deliver(h->client, a->txn, step_deploy.name, data, size, digest, CALL_TIMEOUT, reterr);
        if (r >= 0)
                r = run_vendor_script(a, h, step_deploy.name, "unpackage-server", arguments, reterr);
        if (r >= 0)
                r = run_vendor_script(a, h, step_deploy.name, "unpackage-client", NULL, reterr);
        return r;
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_free_ char *data = NULL;
        char digest[DIGEST_HEX_SIZE];
        size_t size;
        int r;

        r = read_file(DH_PACKAGE, PACKAGE_SIZE_MAX, false, &data, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", DH_PACKAGE, strerror(-r));
        r = digest_bytes(data, size, digest);
        if (r >= 0)
                r = unpack(a, addition_new_node(a), data, size, digest, reterr);
        FOREACH_MEMBER (h, a)
                if (r >= 0)
                        r = unpack(a, h, data, size, digest, reterr);

        explicit_bzero(data, size);
        return r;
}

static int prove_host(const Addition *a, const Host *h, const json_t *facts, const json_t *member_facts,
                      char **reterr) {
        const json_t *config = json_object_get(facts, "config");
        const char *error = json_get_string(facts, "config_error");

        if (!json_is_object(config))
                return fail(reterr, -EUCLEAN, "%s: %s is not usable after unpacking: %s", h->address, DH_ETCD_CONFIG,
                            error ?: "it is not there");
        if (!streq(json_get_string(config, "name"), h->name))
                return fail(reterr, -EUCLEAN, "%s: %s names member '%s' instead of '%s'", h->address, DH_ETCD_CONFIG,
                            json_get_string(config, "name") ?: "", h->name);
        if (!streq(json_get_string(config, "initial_advertise_peer_urls"), h->peer_url))
                return fail(reterr, -EUCLEAN, "%s: %s advertises '%s' instead of %s", h->address, DH_ETCD_CONFIG,
                            json_get_string(config, "initial_advertise_peer_urls") ?: "", h->peer_url);
        if (!streq(json_get_string(config, "initial_cluster_token"), a->cluster_id) ||
            !streq(json_get_string(facts, "cluster_id"), a->cluster_id))
                return fail(reterr, -EUCLEAN, "%s: %s is not of cluster %s", h->address, DH_ETCD_LATEST, a->cluster_id);
        if (json_get_integer(facts, "config_mode", -1) != json_get_integer(member_facts, "config_mode", -2))
                return fail(reterr, -EUCLEAN, "%s: %s has another mode (%o) than on a member (%o)", h->address,
                            DH_ETCD_CONFIG, (unsigned) json_get_integer(facts, "config_mode", 0),
                            (unsigned) json_get_integer(member_facts, "config_mode", 0));
        return 0;
}

/* A script that says it succeeded may have done half of its work. */
static int prove_unpacked(const Addition *a, const Host *h, char **reterr) {
        _cleanup_strv_ char **differences = NULL;
        _cleanup_free_ char *list = NULL;
        int r = host_check_unpacked(h->client, a->txn, CALL_TIMEOUT, &differences, reterr);

        if (r < 0 || !differences || !*differences)
                return r;
        list = strv_join(differences, "; ");
        return fail(reterr, -EUCLEAN,
                    "%s: the vendor's scripts ended without an error, but %s. See \"journalctl "
                    "DHETCD_JOB=%s\" there",
                    h->address, list ?: "", a->job);
}

static int prove(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_json_ json_t *member_facts = NULL;

        FOREACH_NODE (h, a) { /* by number: a member is first */
                _cleanup_json_ json_t *facts = NULL;
                int r;

                r = host_describe(h->client, CALL_TIMEOUT, &facts, reterr);
                if (r < 0)
                        return r;
                if (!member_facts)
                        member_facts = json_incref(facts);
                r = prove_host(a, h, facts, member_facts, reterr);
                if (r >= 0)
                        r = prove_unpacked(a, h, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool was_restarted(Addition *a, const Host *h) {
        const json_t *restarted = txn_recall(a->transaction, "restarted");
        json_t *address;
        size_t i;

        json_array_foreach (restarted, i, address)
                if (streq(json_string_value(address), h->address))
                        return true;
        return false;
}

static int undo(void *world, char **reterr) {
        Addition *a = world;
        int r = restore_hosts(a, &step_deploy, reterr);

        if (r < 0 || !txn_recall(a->transaction, "restarted"))
                return r;
        return cluster_rolling_restart(a, "deploy-undo", was_restarted, reterr);
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->seconds = 2 * (unsigned) a->n_hosts;
        f->why = "a running etcd reads its certificates at each handshake: it needs no restart for them";
}

static const char *const scripts[] = { "unpackage-server", "unpackage-client", NULL };

const Step step_deploy = {
        .name = "deploy",
        .title = "Unpacking the package on the members and the new node",
        .changes = CHANGES_MEMBERS | CHANGES_NEW | CHANGES_THIS_HOST,
        .scripts = scripts,
        .undoes = "every host gets its old files back; members that were restarted are restarted with them",
        .foresee = foresee,
        .apply = apply,
        .prove = prove,
        .undo = undo,
};
