/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The data directory is moved aside as it is and stays there, whatever comes; etcd goes on with a copy, or with a
 * snapshot that is restored in its place. */

#include "basic/error.h"
#include "rescue.h"
#include "scripts.h"
#include "steps.h"

#define FILL_TIMEOUT (3600 * USEC_PER_SEC)

static int fill(Addition *a, Host *own, const char *script, char *const *arguments, char **reterr) {
        _cleanup_(script_result_done) ScriptResult result = {};
        size_t lines;
        int r;

        r = host_run_script(own->client, a->txn, step_rescue_data.name, script, arguments, FILL_TIMEOUT, &result,
                            reterr);
        if (r < 0)
                return r;
        if (streq(result.result, "success") && result.status == 0)
                return 0;
        lines = strv_length(result.output);
        return fail(reterr, -EREMOTEIO, "%s: \"%s\" failed (%s, status %d)%s%s. See \"journalctl DHETCD_JOB=%s\"",
                    own->address, script, result.result, result.status, lines > 0 ? "; its last line: " : "",
                    lines > 0 ? result.output[lines - 1] : "", a->job);
}

static int restore_snapshot(Addition *a, Host *own, char **reterr) {
        _cleanup_(rescue_snapshot_done) RescueSnapshot s = {};
        char n[16], *arguments[] = { NULL, n, NULL };
        int r;

        r = rescue_snapshot_find(a, &s, reterr);
        if (r >= 0)
                r = rescue_snapshot_take_in(a, &s, reterr);
        if (r < 0)
                return r;
        (void) snprintf(n, sizeof(n), "%u", s.n);
        arguments[0] = s.job;
        addition_progress(a, "restoring %s", s.path);
        return fill(a, own, "restore-data", arguments, reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        Host *own = addition_this_host(a);
        int r;

        r = host_prepare_data_directory(own->client, a->txn, step_rescue_data.name, /* move_aside= */ true,
                                        CALL_TIMEOUT, reterr);
        if (r < 0)
                return r;
        if (a->rescue.snapshot)
                return restore_snapshot(a, own, reterr);
        addition_progress(a, "copying the data directory");
        return fill(a, own, "copy-data", NULL, reterr);
}

/* What was moved aside comes back; what was filled in is moved aside in its turn. */
static int undo(void *world, char **reterr) {
        Addition *a = world;
        int r = restore_hosts(a, &step_rescue_data, reterr); /* stops what still fills it */

        return r < 0 ? r
                     : host_restore_data_directory(addition_this_host(a)->client, a->txn, step_rescue_data.name,
                                                   CALL_TIMEOUT, reterr);
}

const Step step_rescue_data = {
        .name = "rescue-data",
        .title = "Moving the data directory aside, and putting a copy or a snapshot in its place",
        .changes = CHANGES_THIS_HOST,
        .apply = apply,
        .undo = undo,
};
