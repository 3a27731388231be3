/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The methods of org.dhetcd1.Host as typed calls. What another host answers is untrusted: types are D-Bus' business,
 * sizes and forms are checked here. */

#include "host-client.h"

#include "basic/error.h"
#include "basic/string-util.h"
#include "host-call.h"

#define FACTS_SIZE_MAX (4U * 1024U * 1024U)
#define OUTPUT_LINES_MAX 500U
#define DIFFERENCES_MAX 200U
#define USER_SIZE_MAX 256U

/* What a script or a job in systemd may take is the host's to watch; the call itself waits this much longer. */
#define ANSWER_GRACE (30 * USEC_PER_SEC)

/* ---- answers ---- */

static int call_without_answer(HostClient *h, const Call *call, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;

        return host_client_call(h, call, &answer, reterr);
}

static int call_for_boolean(HostClient *h, const Call *call, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        int r, value;

        r = host_client_call(h, call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "b", &value);
        return r < 0 ? host_client_bad_answer(h, call, r, reterr) : value;
}

static int call_for_json(HostClient *h, const Call *call, json_t **ret, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        _cleanup_json_ json_t *object = NULL;
        const char *text;
        int r;

        r = host_client_call(h, call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "s", &text);
        if (r < 0 || strlen(text) > FACTS_SIZE_MAX)
                return host_client_bad_answer(h, call, r, reterr);
        object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(object))
                return host_client_bad_answer(h, call, -EBADMSG, reterr);
        *ret = TAKE_PTR(object);
        return 0;
}

static int read_strv(sd_bus_message *m, size_t max, char ***ret) {
        _cleanup_strv_ char **v = NULL;
        const char *s;
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "s", &s)) > 0) {
                if (++n > max)
                        return -E2BIG;
                r = strv_append(&v, s);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return sd_bus_message_exit_container(m);
}

static int call_for_strings(HostClient *h, const Call *call, size_t max, char ***ret, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        int r;

        r = host_client_call(h, call, &answer, reterr);
        if (r < 0)
                return r;
        r = read_strv(answer, max, ret);
        return r < 0 ? host_client_bad_answer(h, call, r, reterr) : 0;
}

/* ---- looking ---- */

int host_describe(HostClient *h, uint64_t timeout, json_t **ret, char **reterr) {
        return call_for_json(h, &(Call){ .method = "Describe", .timeout = timeout }, ret, reterr);
}

int host_examine(HostClient *h, uint64_t timeout, json_t **ret, char **reterr) {
        return call_for_json(h, &(Call){ .method = "Examine", .timeout = timeout }, ret, reterr);
}

int host_admin_user(HostClient *h, uint64_t timeout, char **ret_user, uint32_t *ret_uid, uint32_t *ret_gid,
                    char **reterr) {
        Call call = { .method = "AdminUser", .timeout = timeout };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        const char *user;
        uint32_t uid, gid;
        int r;

        r = host_client_call(h, &call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "suu", &user, &uid, &gid);
        if (r < 0 || *user == '\0' || strlen(user) > USER_SIZE_MAX)
                return host_client_bad_answer(h, &call, r, reterr);
        *ret_user = strdup(user);
        if (!*ret_user)
                return -ENOMEM;
        *ret_uid = uid;
        *ret_gid = gid;
        return 0;
}

int host_try_connect(HostClient *h, char *const *urls, uint64_t timeout, char ***ret, char **reterr) {
        CallArgument arguments[] = { CALL_STRV(urls) };

        return call_for_strings(h, &(Call){ "TryConnect", arguments, ELEMENTSOF(arguments), timeout },
                                strv_length(urls), ret, reterr);
}

int host_compare(HostClient *h, const char *txn, const char *step, uint64_t timeout, char ***ret, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };

        return call_for_strings(h, &(Call){ "Compare", arguments, ELEMENTSOF(arguments), timeout }, DIFFERENCES_MAX,
                                ret, reterr);
}

/* ---- lock, snapshots ---- */

int host_lock(HostClient *h, const char *txn, const char *holder, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(holder) };

        return call_without_answer(h, &(Call){ "Lock", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_unlock(HostClient *h, const char *txn, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn) };

        return call_without_answer(h, &(Call){ "Unlock", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_forget(HostClient *h, const char *txn, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn) };

        return call_without_answer(h, &(Call){ "Forget", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_keep_plan(HostClient *h, const char *txn, const char *plan, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(plan) };

        return call_without_answer(h, &(Call){ "KeepPlan", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_recall(HostClient *h, const char *txn, uint64_t timeout, json_t **ret, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn) };

        return call_for_json(h, &(Call){ "Recall", arguments, ELEMENTSOF(arguments), timeout }, ret, reterr);
}

int host_take_lock(HostClient *h, const char *txn, const char *from, const char *holder, uint64_t timeout,
                   char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(from), CALL_STRING(holder) };

        return call_without_answer(h, &(Call){ "TakeLock", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_close(HostClient *h, const char *txn, const char *outcome, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(outcome) };

        return call_without_answer(h, &(Call){ "Close", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_snapshot(HostClient *h, const char *txn, const char *step, uint64_t timeout,
                  char ret_digest[static DIGEST_HEX_SIZE], char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };
        Call call = { "Snapshot", arguments, ELEMENTSOF(arguments), timeout };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        const char *digest;
        int r;

        r = host_client_call(h, &call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "s", &digest);
        if (r < 0 || strlen(digest) != DIGEST_HEX_SIZE - 1 || strspn(digest, "0123456789abcdef") != DIGEST_HEX_SIZE - 1)
                return host_client_bad_answer(h, &call, r, reterr);
        memcpy(ret_digest, digest, DIGEST_HEX_SIZE);
        return 0;
}

int host_restore(HostClient *h, const char *txn, const char *step, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };

        return call_for_boolean(h, &(Call){ "Restore", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

/* ---- the package and the scripts ---- */

int host_deliver(HostClient *h, const char *txn, const char *step, const void *data, size_t size, const char *digest,
                 uint64_t timeout, char **reterr) {
        CallArgument arguments[] = {
                CALL_TXN(txn),
                CALL_STRING(step),
                { .type = ARGUMENT_BYTES, .bytes = data, .size = size },
                CALL_STRING(digest),
        };

        return call_without_answer(
                h, &(Call){ "Deliver", arguments, ELEMENTSOF(arguments), timeout, /* secret= */ true }, reterr);
}

void script_result_done(ScriptResult *s) {
        free(s->result);
        strv_free(s->output);
        *s = (ScriptResult){};
}

int host_run_script(HostClient *h, const char *txn, const char *step, const char *script, char *const *arguments,
                    uint64_t timeout, ScriptResult *ret, char **reterr) {
        CallArgument all[] = { CALL_TXN(txn), CALL_STRING(step), CALL_STRING(script), CALL_STRV(arguments),
                               CALL_UINT64(timeout) };
        Call call = { "RunScript", all, ELEMENTSOF(all), timeout + ANSWER_GRACE };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        ScriptResult s = {};
        const char *result;
        int32_t status;
        int r;

        r = host_client_call(h, &call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "si", &result, &status);
        if (r >= 0)
                r = read_strv(answer, OUTPUT_LINES_MAX, &s.output);
        if (r < 0)
                return host_client_bad_answer(h, &call, r, reterr);
        s.status = status;
        s.result = strdup(result);
        if (!s.result) {
                script_result_done(&s);
                return -ENOMEM;
        }
        *ret = s;
        return 0;
}

int host_check_unpacked(HostClient *h, const char *txn, uint64_t timeout, char ***ret, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn) };

        return call_for_strings(h, &(Call){ "CheckUnpacked", arguments, ELEMENTSOF(arguments), timeout },
                                DIFFERENCES_MAX, ret, reterr);
}

int host_script_output(HostClient *h, const char *txn, const char *step, const char *script, uint64_t timeout,
                       char ***ret, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step), CALL_STRING(script) };

        return call_for_strings(h, &(Call){ "ScriptOutput", arguments, ELEMENTSOF(arguments), timeout },
                                OUTPUT_LINES_MAX, ret, reterr);
}

/* ---- files, data, unit ---- */

int host_edit_config(HostClient *h, const char *txn, const char *step, const char *initial_cluster,
                     const char *initial_cluster_state, uint64_t timeout, char **reterr) {
        const char *const pairs[] = { "initial-cluster", initial_cluster, "initial-cluster-state",
                                      initial_cluster_state };
        CallArgument arguments[] = {
                CALL_TXN(txn),
                CALL_STRING(step),
                { .type = ARGUMENT_PAIRS, .pairs = pairs, .size = ELEMENTSOF(pairs) },
        };

        return call_for_boolean(h, &(Call){ "EditConfig", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_force_new_cluster(HostClient *h, const char *txn, const char *step, bool force, uint64_t timeout,
                           char **reterr) {
        const char *const pairs[] = { "force-new-cluster", force ? "true" : "false" };
        CallArgument arguments[] = {
                CALL_TXN(txn),
                CALL_STRING(step),
                { .type = ARGUMENT_PAIRS, .pairs = pairs, .size = ELEMENTSOF(pairs) },
        };

        return call_for_boolean(h, &(Call){ "EditConfig", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_trust_authorities(HostClient *h, const char *txn, const char *step, const char *pem, uint64_t timeout,
                           char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step), CALL_STRING(pem) };

        return call_for_boolean(h, &(Call){ "TrustAuthorities", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_prepare_data_directory(HostClient *h, const char *txn, const char *step, bool move_aside, uint64_t timeout,
                                char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step), CALL_BOOL(move_aside) };

        return call_for_boolean(h, &(Call){ "PrepareDataDirectory", arguments, ELEMENTSOF(arguments), timeout },
                                reterr);
}

int host_restore_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };

        return call_without_answer(h, &(Call){ "RestoreDataDirectory", arguments, ELEMENTSOF(arguments), timeout },
                                   reterr);
}

int host_own_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };

        return call_without_answer(h, &(Call){ "OwnDataDirectory", arguments, ELEMENTSOF(arguments), timeout }, reterr);
}

int host_disown_data_directory(HostClient *h, const char *txn, const char *step, uint64_t timeout, char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step) };

        return call_without_answer(h, &(Call){ "DisownDataDirectory", arguments, ELEMENTSOF(arguments), timeout },
                                   reterr);
}

int host_manage_unit(HostClient *h, const char *txn, const char *step, const char *verb, uint64_t timeout,
                     char **reterr) {
        CallArgument arguments[] = { CALL_TXN(txn), CALL_STRING(step), CALL_STRING(verb), CALL_UINT64(timeout) };
        Call call = { "ManageUnit", arguments, ELEMENTSOF(arguments), timeout + ANSWER_GRACE };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        const char *result;
        int r;

        r = host_client_call(h, &call, &answer, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(answer, "s", &result);
        if (r < 0)
                return host_client_bad_answer(h, &call, r, reterr);
        if (!streq(result, "done"))
                return fail(reterr, -EREMOTEIO, "%s: %s of dh-etcd ended with \"%.64s\"", host_client_address(h), verb,
                            result);
        return 0;
}
