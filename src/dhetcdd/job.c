/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "job.h"

#include <systemd/sd-id128.h>

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/failpoint.h"
#include "basic/fs.h"
#include "basic/string-util.h"

#define JOB_JSON_SIZE_MAX (1024U * 1024U)

static const char *const state_names[_JOB_STATE_MAX] = {
        [JOB_QUEUED] = "queued",     [JOB_RUNNING] = "running",         [JOB_COMMITTED] = "committed",
        [JOB_REJECTED] = "rejected", [JOB_ROLLED_BACK] = "rolled-back", [JOB_STUCK] = "stuck",
        [JOB_CANCELED] = "canceled", [JOB_RESCUED] = "rescued",
};

const char *job_state_to_string(JobState s) {
        return s >= 0 && s < _JOB_STATE_MAX ? state_names[s] : "unknown";
}

JobState job_state_from_string(const char *s) {
        for (JobState i = 0; i < _JOB_STATE_MAX; i++)
                if (streq(state_names[i], s))
                        return i;
        return _JOB_STATE_INVALID;
}

bool job_id_is_valid(const char *s) {
        return s && strlen(s) == JOB_ID_DIGITS && strspn(s, "0123456789abcdef") == JOB_ID_DIGITS;
}

Job *job_free(Job *j) {
        if (!j)
                return NULL;
        strv_free(j->nodes);
        json_decref(j->options);
        free(j->text);
        free(j->taken_over_from);
        free(j->why_revert);
        free(j->stuck_text);
        free(j);
        return NULL;
}

int job_random_id(char ret[static JOB_ID_DIGITS + 1]) {
        sd_id128_t id;
        int r = sd_id128_randomize(&id);

        if (r < 0)
                return r;
        hex_encode(id.bytes, JOB_ID_DIGITS / 2, ret);
        return 0;
}

int job_new(char *const *nodes, json_t *options, uint32_t uid, Job **ret) {
        _cleanup_(job_freep) Job *j = calloc(1, sizeof(Job));
        int r;

        if (!j)
                return -ENOMEM;
        r = job_random_id(j->id);
        if (r < 0)
                return r;

        j->nodes = strv_copy(nodes);
        j->options = json_copy(options);
        if (!j->nodes || !j->options)
                return -ENOMEM;
        j->uid = uid;
        j->queued_usec = now_real();
        j->wait_timeout_usec = (uint64_t) json_integer_value(json_object_get(options, "wait-timeout"));
        *ret = TAKE_PTR(j);
        return 0;
}

int job_set_text(Job *j, const char *text) {
        char *copy = text_limit(text, JOB_TEXT_MAX, /* printable= */ false);

        if (!copy)
                return -ENOMEM;
        free(j->text);
        j->text = copy;
        return 0;
}

json_t *job_to_json(const Job *j) {
        return json_pack("{s:s, s:s, s:o, s:O, s:I, s:I, s:I, s:s, s:s, s:b, s:s*, s:b, s:s*}", "job", j->id, "kind",
                         job_words(j->kind)->name, "nodes", json_from_strv(j->nodes), "options", j->options, "uid",
                         (json_int_t) j->uid, "queued_usec", (json_int_t) j->queued_usec, "ended_usec",
                         (json_int_t) j->ended_usec, "state", job_state_to_string(j->state), "text", j->text ?: "",
                         "cancel", (int) j->cancel, "taken_over_from", j->taken_over_from, "revert", (int) j->revert,
                         "why_revert", j->why_revert);
}

static int nodes_from_json(const json_t *array, char ***ret) {
        _cleanup_strv_ char **nodes = NULL;
        json_t *v;
        size_t i;
        int r;

        if (!json_is_array(array) || json_array_size(array) == 0 || json_array_size(array) > JOB_NODES_MAX)
                return -EBADMSG;
        json_array_foreach (array, i, v) {
                const char *s = json_string_value(v);

                if (!s || address_check(s) < 0)
                        return -EBADMSG;
                r = strv_append(&nodes, s);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(nodes);
        return 0;
}

int job_from_json(const json_t *v, Job **ret, char **reterr) {
        _cleanup_(job_freep) Job *j = calloc(1, sizeof(Job));
        const char *id = json_string_value(json_object_get(v, "job"));
        const char *text = json_string_value(json_object_get(v, "text"));
        const char *from = json_string_value(json_object_get(v, "taken_over_from"));
        json_t *options = json_object_get(v, "options");
        int r;

        if (!j)
                return -ENOMEM;
        j->state = job_state_from_string(json_string_value(json_object_get(v, "state")));
        j->kind = job_kind_from_string(json_string_value(json_object_get(v, "kind")));
        if (j->kind < 0)
                return fail(reterr, -EBADMSG, "its kind is not known to this version");
        if (!job_id_is_valid(id) || !json_is_object(options) || j->state < 0)
                return fail(reterr, -EBADMSG, "it lacks a job id, a state or options");
        r = nodes_from_json(json_object_get(v, "nodes"), &j->nodes);
        if (r < 0)
                return fail(reterr, r, "its nodes are no list of 1 to %u addresses", JOB_NODES_MAX);

        memcpy(j->id, id, sizeof(j->id));
        j->options = json_incref(options);
        j->uid = (uint32_t) json_integer_value(json_object_get(v, "uid"));
        j->queued_usec = (uint64_t) json_integer_value(json_object_get(v, "queued_usec"));
        j->ended_usec = (uint64_t) json_integer_value(json_object_get(v, "ended_usec"));
        j->wait_timeout_usec = (uint64_t) json_integer_value(json_object_get(options, "wait-timeout"));
        j->cancel = json_is_true(json_object_get(v, "cancel"));
        j->taken_over_from = from ? strdup(from) : NULL;
        if (from && !j->taken_over_from)
                return -ENOMEM;
        j->revert = json_is_true(json_object_get(v, "revert"));
        if (json_get_string(v, "why_revert") && !(j->why_revert = strdup(json_get_string(v, "why_revert"))))
                return -ENOMEM;
        r = job_set_text(j, text ?: "");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

/* There before the job is, and gone after it has ended. */
static int mark_open(const Job *j, const char *dir, bool open) {
        _cleanup_free_ char *path = format("%s/open", dir);
        int r;

        if (!path)
                return -ENOMEM;
        if (open != (job_state_is_open(j->state) || j->state == JOB_STUCK))
                return 0;
        if (!open)
                return unlink_durable(path);
        r = path_exists(path);
        return r != 0 ? r : write_file_durable(path, "", 0, 0600, (uid_t) -1, (gid_t) -1);
}

int job_save(const Job *j, const char *jobs_dir, char **reterr) {
        _cleanup_free_ char *dir = format("%s/%s", jobs_dir, j->id), *path = format("%s/%s/job.json", jobs_dir, j->id);
        _cleanup_json_ json_t *v = job_to_json(j);
        _cleanup_free_ char *text = v ? json_to_text(v, JSON_INDENT(2)) : NULL;
        int r;

        if (!dir || !path || !text)
                return -ENOMEM;
        r = mkdir_durable(dir, 0700);
        if (r < 0)
                return fail(reterr, r, "%s cannot be made: %s", dir, strerror(-r));
        FAILPOINT("manager", job_state_to_string(j->state), "before-save");
        r = mark_open(j, dir, true);
        if (r >= 0)
                FAILPOINT("manager", job_state_to_string(j->state), "marked");
        if (r >= 0)
                r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        if (r >= 0)
                FAILPOINT("manager", job_state_to_string(j->state), "written");
        if (r >= 0)
                r = mark_open(j, dir, false);
        if (r < 0)
                return fail(reterr, r, "%s cannot be written: %s", path, strerror(-r));
        FAILPOINT("manager", job_state_to_string(j->state), "after-save");
        return 0;
}

int job_unmark(const Job *j, const char *jobs_dir) {
        _cleanup_free_ char *dir = format("%s/%s", jobs_dir, j->id);

        return dir ? mark_open(j, dir, false) : -ENOMEM;
}

/* The record last: what a crash or a failure leaves is still the job that it was, and removed the next time. */
int job_remove(const char *jobs_dir, const char *id) {
        _cleanup_free_ char *path = format("%s/%s", jobs_dir, id);
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *entry;

        if (!path)
                return -ENOMEM;
        dir = opendir(path);
        if (!dir)
                return errno == ENOENT ? 0 : -errno;
        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_free_ char *part = format("%s/%s", path, entry->d_name);
                int r;

                if (!part)
                        return -ENOMEM;
                if (streq(entry->d_name, ".") || streq(entry->d_name, "..") || streq(entry->d_name, "job.json"))
                        continue;
                r = remove_tree(part);
                if (r < 0)
                        return r;
        }
        return errno > 0 ? -errno : remove_tree(path);
}

/* The record first: it must not be run after all. */
int job_remove_refused(const char *jobs_dir, const char *id) {
        _cleanup_free_ char *path = format("%s/%s", jobs_dir, id), *record = format("%s/%s/job.json", jobs_dir, id);

        if (!path || !record)
                return -ENOMEM;
        (void) unlink(record); /* where that fails, so does the rest */
        return remove_tree(path);
}

int job_remove_untaken(const char *jobs_dir, const char *id) {
        _cleanup_free_ char *own = format("%s/%s/job.json", jobs_dir, id), *txn = format("%s/%s/1", jobs_dir, id);
        int r;

        if (!own || !txn)
                return -ENOMEM;
        if (path_exists(own) != 0 || path_exists(txn) != 0)
                return 0;
        r = job_remove(jobs_dir, id);
        return r < 0 ? r : 1;
}

#if DHETCD_FAILPOINTS
void job_failpoints(FILE *out) {
        static const char *const points[] = { "before-save", "marked", "written", "after-save", NULL };

        for (JobState i = 0; i < _JOB_STATE_MAX; i++)
                for (const char *const *p = points; *p; p++)
                        fprintf(out, "manager.%s.%s\n", job_state_to_string(i), *p);
}
#endif

int job_load(const char *jobs_dir, const char *id, Job **ret, char **reterr) {
        _cleanup_free_ char *path = format("%s/%s/job.json", jobs_dir, id), *text = NULL;
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_json_ json_t *v = NULL;
        size_t size;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, JOB_JSON_SIZE_MAX, false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        v = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (!v)
                return fail(reterr, -EBADMSG, "%s is not JSON", path);
        r = job_from_json(v, &j, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "%s", path);
        if (!streq(j->id, id))
                return fail(reterr, -EBADMSG, "%s is of job %s", path, j->id);
        *ret = TAKE_PTR(j);
        return 0;
}

char *job_txn_id(const Job *j, size_t n) {
        return format("%s-%zu", j->id, n);
}

char *job_txn_dir(const Job *j, const char *jobs_dir, size_t n) {
        return format("%s/%s/%zu", jobs_dir, j->id, n);
}

int job_txn_state(const Job *j, const char *jobs_dir, size_t n, TxnState *ret, char **ret_reason, char **reterr) {
        _cleanup_free_ char *dir = job_txn_dir(j, jobs_dir, n), *reason = NULL;
        _cleanup_json_ json_t *records = NULL;
        const char *why, *advice;
        int r;

        if (!dir)
                return -ENOMEM;
        r = txn_log_read(dir, &records, NULL, reterr);
        if (r < 0)
                return r;
        why = txn_reason_of(records);
        advice = txn_advice_of(records);
        if (ret_reason && why) {
                reason = advice ? format("%s. %s", why, advice) : strdup(why);
                if (!reason)
                        return -ENOMEM;
        }
        if (ret_reason)
                *ret_reason = TAKE_PTR(reason);
        *ret = txn_state_of(records);
        return 0;
}

bool job_txn_was_taken_over(const Job *j, const char *jobs_dir, size_t n) {
        _cleanup_free_ char *dir = job_txn_dir(j, jobs_dir, n);
        _cleanup_json_ json_t *records = NULL;
        json_t *record;
        size_t i;

        if (!dir || txn_log_read(dir, &records, NULL, NULL) < 0)
                return false;
        json_array_foreach (records, i, record)
                if (streq(json_string_value(json_object_get(record, "key")), JOB_TAKEOVER_NOTE))
                        return true;
        return false;
}

int job_current_txn(const Job *j, const char *jobs_dir, size_t *ret, TxnState *ret_state, char **ret_reason,
                    char **reterr) {
        size_t n, count = strv_length(j->nodes);
        TxnState state = TXN_EMPTY;
        int r;

        for (n = 1; n <= count; n++) {
                _cleanup_free_ char *reason = NULL;

                *ret = n;
                r = job_txn_state(j, jobs_dir, n, &state, &reason, reterr);
                if (r < 0)
                        return r;
                if (state != TXN_COMMITTED) {
                        *ret_state = state;
                        *ret_reason = TAKE_PTR(reason);
                        return 0;
                }
        }
        *ret = n;
        *ret_state = TXN_COMMITTED;
        *ret_reason = NULL;
        return 0;
}

int job_revert_txn(const Job *j, const char *jobs_dir, size_t *ret, char **reterr) {
        for (*ret = strv_length(j->nodes); *ret > 0; (*ret)--) {
                TxnState state;
                int r = job_txn_state(j, jobs_dir, *ret, &state, NULL, reterr);

                if (r < 0)
                        return r;
                if (state != TXN_EMPTY && state != TXN_ROLLED_BACK && state != TXN_REJECTED)
                        break;
        }
        return 0;
}

size_t job_members(const Job *j, const char *jobs_dir, size_t n) {
        _cleanup_free_ char *path = format("%s/%s/%zu/plan.json", jobs_dir, j->id, n), *text = NULL;
        _cleanup_json_ json_t *plan = NULL;
        size_t size, i, members = 0;
        json_t *host;

        if (!path || read_file(path, JOB_JSON_SIZE_MAX, false, &text, &size) < 0)
                return 0;
        plan = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        json_array_foreach (json_object_get(plan, "hosts"), i, host)
                members += json_get_integer(host, "member_id", 0) != 0;
        return members;
}
