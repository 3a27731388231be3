/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "scripts.h"

#include "basic/error.h"

int skip_step(char **ret_why, const char *why) {
        (void) fail(ret_why, -EALREADY, "%s", why);
        return 0;
}

/* ---- what they print ---- */

static bool was_relayed(const Addition *a, const char *unit, const char *address) {
        const json_t *hosts = json_object_get(txn_recall(a->transaction, "relayed"), unit);
        json_t *host;
        size_t i;

        json_array_foreach (hosts, i, host)
                if (streq(json_string_value(host), address))
                        return true;
        return false;
}

static int remember_relayed(Addition *a, const char *unit, const char *address, char **reterr) {
        _cleanup_json_ json_t *relayed = json_deep_copy(txn_recall(a->transaction, "relayed"));
        json_t *hosts;

        if (!relayed)
                relayed = json_object();
        hosts = json_object_get(relayed, unit);
        if (!hosts) {
                hosts = json_array();
                if (json_object_set_new(relayed, unit, hosts) < 0)
                        return -ENOMEM;
        }
        if (json_array_append_new(hosts, json_string(address)) < 0)
                return -ENOMEM;
        return txn_remember(a->transaction, "relayed", TAKE_PTR(relayed), reterr);
}

/* Into this host's journal; it has those of its own scripts. */
static int relay(Addition *a, const Host *h, const char *step, const char *script, char *const *lines, char **reterr) {
        _cleanup_free_ char *unit = format(DHETCD_EXEC_UNIT, a->txn, step, script);

        if (!unit)
                return -ENOMEM;
        if (h->this_host)
                return 0;
        addition_relay(a, h, unit, lines);
        return remember_relayed(a, unit, h->address, reterr);
}

/* Of a script whose end we did not hear of: the worker died, the job was canceled, or the connection broke. That its
 * lines cannot be had is no reason not to go back. */
static void relay_rest(Addition *a, const Host *h, const char *step, const char *script) {
        _cleanup_free_ char *unit = format(DHETCD_EXEC_UNIT, a->txn, step, script), *why = NULL;
        _cleanup_strv_ char **lines = NULL;
        int r;

        if (!unit || h->this_host || was_relayed(a, unit, h->address))
                return;
        r = host_script_output(h->client, a->txn, step, script, CALL_TIMEOUT, &lines, &why);
        if (r >= 0 && lines)
                r = relay(a, h, step, script, lines, &why);
        if (r < 0)
                addition_event(a, EVENT_WARNING, LOG_WARNING, h,
                               "What a script printed is not all told here: %s. See on %s: journalctl -u %s",
                               error_text(why, r), h->address, unit);
}

int run_vendor_script(Addition *a, Host *h, const char *step, const char *script, char *const *arguments,
                      char **reterr) {
        _cleanup_(script_result_done) ScriptResult result = {};
        size_t lines;
        int r;

        r = host_run_script(h->client, a->txn, step, script, arguments, a->config->step_timeout_usec, &result, reterr);
        if (r < 0)
                return r;
        r = relay(a, h, step, script, result.output, reterr);
        if (r < 0)
                return r;
        if (streq(result.result, "success") && result.status == 0)
                return 0;

        lines = strv_length(result.output);
        return fail(reterr, -EREMOTEIO,
                    "%s: the vendor's script \"%s\" failed (%s, status %d)%s%s. See \"journalctl DHETCD_JOB=%s\" there",
                    h->address, script, result.result, result.status, lines > 0 ? "; its last line: " : "",
                    lines > 0 ? result.output[lines - 1] : "", a->job);
}

/* ---- undo ---- */

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
                for (const char *const *script = step->scripts; script && *script && r >= 0; script++)
                        relay_rest(a, h, step->name, *script);
                RET_GATHER(result, r);
        }
        return result;
}
