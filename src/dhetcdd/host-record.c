/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-record.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/txn-log.h"

#define RESTORE "Restore"

struct HostRecord {
        TxnLog *log;
};

int host_record_open(const char *dir, HostRecord **ret, char **reterr) {
        _cleanup_(host_record_freep) HostRecord *r = calloc(1, sizeof(HostRecord));
        int k;

        if (!r)
                return -ENOMEM;
        k = mkdir_durable(dir, 0700);
        if (k < 0)
                return fail(reterr, k, "%s cannot be made: %s", dir, strerror(-k));
        k = txn_log_open(dir, /* create= */ true, &r->log, reterr);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

HostRecord *host_record_free(HostRecord *r) {
        if (!r)
                return NULL;
        txn_log_free(r->log);
        free(r);
        return NULL;
}

static bool is_type(const json_t *record, const char *type) {
        return streq(json_get_string(record, "type"), type);
}

static bool is_same(const json_t *record, const HostKey *key) {
        return streq(json_get_string(record, "step"), key->step) &&
               streq(json_get_string(record, "operation"), key->operation) &&
               streq(json_get_string(record, "verb"), key->verb ?: "");
}

/* ---- asking ---- */

/* Whether this record, or an open restore before it, takes away the truth of everything before. */
static bool ends_life(const json_t *record) {
        return streq(json_get_string(record, "operation"), RESTORE) && is_type(record, "done") &&
               json_is_true(json_array_get(json_object_get(record, "answer"), 0));
}

HostRecordState host_record_find(const HostRecord *r, const HostKey *key, const json_t **ret) {
        bool restoring = false;
        HostRecordState state = HOST_RECORD_NONE;
        const json_t *found = NULL, *record;
        const char *arguments = NULL;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record) {
                if (streq(json_get_string(record, "operation"), RESTORE)) {
                        bool own = is_same(record, key);

                        restoring = !own && is_type(record, "intent");
                        if (!own && ends_life(record))
                                state = HOST_RECORD_NONE;
                }
                if (!is_same(record, key))
                        continue;
                if (is_type(record, "intent")) {
                        state = HOST_RECORD_OPEN;
                        found = json_object_get(record, "extra");
                } else if (is_type(record, "done")) {
                        found = json_object_get(record, "answer");
                        state = json_is_array(found) ? HOST_RECORD_DONE : HOST_RECORD_NONE;
                } else
                        state = HOST_RECORD_NONE;
                arguments = json_get_string(record, "arguments");
        }

        /* A restore that was cut short may have changed files. */
        if (restoring || !streq(arguments, key->arguments))
                state = HOST_RECORD_NONE;
        if (ret)
                *ret = state == HOST_RECORD_NONE ? NULL : found;
        return state;
}

const json_t *host_record_recall(const HostRecord *r, const char *step, const char *operation) {
        const json_t *found = NULL, *record;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record)
                if (is_type(record, "intent") && streq(json_get_string(record, "step"), step) &&
                    streq(json_get_string(record, "operation"), operation))
                        found = json_object_get(record, "extra");
        return found;
}

bool host_record_is_restored(const HostRecord *r, const char *step) {
        const json_t *record;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record)
                if (streq(json_get_string(record, "operation"), RESTORE) &&
                    streq(json_get_string(record, "step"), step))
                        return true;
        return false;
}

bool host_record_has_begun(const HostRecord *r, const char *operation) {
        const json_t *record;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record)
                if (is_type(record, "intent") && streq(json_get_string(record, "operation"), operation))
                        return true;
        return false;
}

bool host_record_is_open(const HostRecord *r, const char *step, const char *operation) {
        const json_t *record;
        bool open = false;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record)
                if (streq(json_get_string(record, "step"), step) &&
                    streq(json_get_string(record, "operation"), operation))
                        open = is_type(record, "intent");
        return open;
}

bool host_record_was_begun(const HostRecord *r, const char *step, const char *operation, const char *verb) {
        const HostKey key = { step, operation, verb, NULL };
        const json_t *record;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record)
                if (is_type(record, "intent") && is_same(record, &key))
                        return true;
        return false;
}

int host_record_restored(const HostRecord *r, char ***ret) {
        _cleanup_strv_ char **steps = NULL;
        const json_t *record;
        size_t i;

        json_array_foreach (txn_log_records(r->log), i, record) {
                const char *step = json_get_string(record, "step");
                int k;

                if (!step || !is_type(record, "done") || !streq(json_get_string(record, "operation"), RESTORE) ||
                    strv_contains(steps, step))
                        continue;
                k = strv_append(&steps, step);
                if (k < 0)
                        return k;
        }
        *ret = TAKE_PTR(steps);
        return 0;
}

/* Of a script: success and status 0. */
static bool ended_well(const json_t *record) {
        const json_t *answer = json_object_get(record, "answer");

        return is_type(record, "done") && (streq(json_get_string(record, "operation"), RESTORE) ||
                                           (streq(json_string_value(json_array_get(answer, 0)), "success") &&
                                            json_integer_value(json_array_get(answer, 1)) == 0));
}

/* Whether what this intent began may have been cut short; a later intent of the same speaks for itself. */
static bool leaves_half(const json_t *records, size_t at) {
        const json_t *begun = json_array_get(records, at);
        HostKey key = { json_get_string(begun, "step"), json_get_string(begun, "operation"),
                        json_get_string(begun, "verb"), NULL };

        for (size_t i = at + 1; i < json_array_size(records); i++) {
                const json_t *later = json_array_get(records, i);

                if (!streq(json_get_string(later, "step"), key.step))
                        continue;
                if (streq(json_get_string(later, "operation"), RESTORE) && is_type(later, "done"))
                        return false;
                if (is_same(later, &key) && (is_type(later, "intent") || ended_well(later)))
                        return false;
        }
        return true;
}

int host_record_half_written(const HostRecord *r, char ***ret) {
        const json_t *records = txn_log_records(r->log), *record;
        _cleanup_strv_ char **steps = NULL;
        size_t i;

        json_array_foreach (records, i, record) {
                const char *operation = json_get_string(record, "operation"), *step = json_get_string(record, "step");
                int k;

                if (!step || !is_type(record, "intent") ||
                    !(streq(operation, "RunScript") || streq(operation, RESTORE)))
                        continue;
                if (strv_contains(steps, step) || !leaves_half(records, i))
                        continue;
                k = strv_append(&steps, step);
                if (k < 0)
                        return k;
        }
        *ret = TAKE_PTR(steps);
        return 0;
}

int host_record_each_open(const HostRecord *r, const char *operation,
                          int (*callback)(void *userdata, const char *step, const char *verb), void *userdata) {
        const json_t *records = txn_log_records(r->log), *record, *later;
        size_t i, j;
        int k;

        json_array_foreach (records, i, record) {
                HostKey key = { json_get_string(record, "step"), operation, json_get_string(record, "verb"), NULL };
                bool ended = false;

                if (!is_type(record, "intent") || !streq(json_get_string(record, "operation"), operation))
                        continue;
                for (j = i + 1; j < json_array_size(records) && !ended; j++) {
                        later = json_array_get(records, j);
                        ended = is_same(later, &key);
                }
                if (ended)
                        continue;
                k = callback(userdata, key.step, key.verb);
                if (k < 0)
                        return k;
        }
        return 0;
}

/* ---- telling ---- */

static int append(HostRecord *r, const char *type, const HostKey *key, const char *name, json_t *value, char **reterr) {
        _cleanup_json_ json_t *fields = NULL;

        fields = json_pack("{ss ss ss ss}", "step", key->step, "operation", key->operation, "verb", key->verb ?: "",
                           "arguments", key->arguments);
        if (!fields || (value && json_object_set(fields, name, value) < 0))
                return -ENOMEM;
        return txn_log_append(r->log, type, fields, reterr);
}

/* Whether the newest record is an intent that ends as the like of it did before, and nothing is known by it that was
 * not known without: what is asked for days must not fill the record. */
static bool is_old_news(const HostRecord *r, const char *type, const HostKey *key, const json_t *answer) {
        const json_t *records = txn_log_records(r->log);
        size_t n = json_array_size(records);

        if (!txn_log_is_full(r->log) || n == 0 || !is_type(json_array_get(records, n - 1), "intent") ||
            !is_same(json_array_get(records, n - 1), key))
                return false;
        for (size_t i = n - 1; i > 0; i--) {
                const json_t *record = json_array_get(records, i - 1);

                if (is_same(record, key))
                        return is_type(record, type) && streq(json_get_string(record, "arguments"), key->arguments) &&
                               (!answer || json_equal(json_object_get(record, "answer"), answer));
                if (streq(json_get_string(record, "operation"), RESTORE))
                        return false;
        }
        return false;
}

int host_record_intent(HostRecord *r, const HostKey *key, json_t *extra, char **reterr) {
        return append(r, "intent", key, "extra", extra, reterr);
}

int host_record_done(HostRecord *r, const HostKey *key, json_t *answer, char **reterr) {
        if (is_old_news(r, "done", key, answer) && txn_log_take_back(r->log) >= 0)
                return 0;
        return append(r, "done", key, "answer", answer, reterr);
}

int host_record_failed(HostRecord *r, const HostKey *key, const char *why, char **reterr) {
        _cleanup_json_ json_t *text = json_string(why ?: "");

        if (is_old_news(r, "failed", key, NULL) && txn_log_take_back(r->log) >= 0)
                return 0;
        return append(r, "failed", key, "why", text, reterr);
}
