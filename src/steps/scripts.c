/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "scripts.h"

#include "basic/error.h"

int skip_step(char **ret_why, const char *why) {
        (void) fail(ret_why, -EALREADY, "%s", why);
        return 0;
}

int run_vendor_script(Addition *a, Host *h, const char *step, const char *script, char *const *arguments,
                      char **reterr) {
        _cleanup_(script_result_done) ScriptResult result = {};
        size_t lines;
        int r;

        r = host_run_script(h->client, a->txn, step, script, arguments, a->config->step_timeout_usec, &result, reterr);
        if (r < 0)
                return r;
        addition_relay(a, h, result.output);
        if (streq(result.result, "success") && result.status == 0)
                return 0;

        lines = strv_length(result.output);
        return fail(reterr, -EREMOTEIO,
                    "%s: the vendor's script \"%s\" failed (%s, status %d)%s%s. See \"journalctl DHETCD_JOB=%s\" there",
                    h->address, script, result.result, result.status, lines > 0 ? "; its last line: " : "",
                    lines > 0 ? result.output[lines - 1] : "", a->job);
}

int restore_hosts(Addition *a, const Step *step, char **reterr) {
        int result = 0;

        FOREACH_HOST (h, a) {
                int r;

                if (!addition_changes(step, h))
                        continue;
                r = host_restore(h->client, a->txn, step->name, CALL_TIMEOUT, result < 0 ? NULL : reterr);
                if (r > 0)
                        addition_event(a, EVENT_HOST_RESTORED, LOG_NOTICE, h, "%s: files are again as before \"%s\"",
                                       h->address, step->name);
                RET_GATHER(result, r);
        }
        return result;
}
