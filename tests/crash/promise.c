/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "promise.h"

#include <limits.h>

#include "basic/fs.h"
#include "basic/string-util.h"
#include "hooks.h"
#include "txn/snapshot.h"
#include "world.h"

#define PROMISES_MAX 64U

typedef struct Promise {
        char kind[16], name[64], value[DIGEST_HEX_SIZE];
} Promise;

static Promise promises[PROMISES_MAX];
static size_t n_promises;

static void put(const char *kind, const char *name, const char *value) {
        size_t i = 0;

        while (i < n_promises && !(streq(promises[i].kind, kind) && streq(promises[i].name, name)))
                i++;
        if (i == PROMISES_MAX)
                return;
        n_promises = i == n_promises ? i + 1 : n_promises;
        (void) snprintf(promises[i].kind, sizeof(promises[i].kind), "%s", kind);
        (void) snprintf(promises[i].name, sizeof(promises[i].name), "%s", name);
        (void) snprintf(promises[i].value, sizeof(promises[i].value), "%s", value);
}

void promise_begin(const char *path) {
        size_t kept = 0;

        for (size_t i = 0; i < n_promises; i++) {
                const char *name = promises[i].name;

                /* Above it as well: the digest of a directory is of all that is in it. */
                if (!streq(promises[i].kind, "path") ||
                    (strncmp(name, path, strlen(path)) != 0 && strncmp(name, path, strlen(name)) != 0))
                        promises[kept++] = promises[i];
        }
        n_promises = kept;
}

static bool digest_now(const char *path, char ret[static DIGEST_HEX_SIZE]) {
        char absolute[PATH_MAX], *roots[] = { absolute, NULL };

        (void) snprintf(absolute, sizeof(absolute), "%s", in(path));
        return snapshot_digest_now(roots, ret, NULL) >= 0;
}

void promise_path(const char *path) {
        char digest[DIGEST_HEX_SIZE];

        hooks_suspend();
        if (digest_now(path, digest))
                put("path", path, digest);
        hooks_resume();
}

static size_t count_records(const char *folder) {
        _cleanup_json_ json_t *records = NULL;

        return txn_log_read(in(folder), &records, NULL, NULL) >= 0 ? json_array_size(records) : 0;
}

void promise_log(const char *folder) {
        char count[32];

        hooks_suspend();
        (void) snprintf(count, sizeof(count), "%zu", count_records(folder));
        put("log", folder, count);
        hooks_resume();
}

void promise_snapshot(const char *name, const char *digest) {
        put("snapshot", name, digest);
}

void promise_end(TxnState state) {
        put("end", "transaction", txn_state_to_string(state));
}

size_t promises_format(char *buffer, size_t size) {
        size_t used = 0;

        for (size_t i = 0; i < n_promises && used < size; i++)
                used += (size_t) snprintf(buffer + used, size - used, "%s %s %s\n", promises[i].kind, promises[i].name,
                                          promises[i].value);
        return used;
}

/* ---- holding them to it ---- */

static bool snapshot_is_whole(const char *name, const char *digest) {
        _cleanup_free_ char *path = format("%s/snapshots/%s.json", in("store"), name), *why = NULL;
        char now[DIGEST_HEX_SIZE];
        _cleanup_json_ json_t *manifest = NULL;
        json_t *entries, *entry;
        bool good = true;
        size_t i;

        if (snapshot_describe(in("store"), name, now, NULL, &why) < 0)
                return complain("snapshot %s was promised: %s", name, why);
        if (!streq(now, digest))
                return complain("snapshot %s is another", name);

        manifest = json_load_file(path, 0, NULL);
        entries = json_object_get(json_object_get(manifest, "tree"), "entries");
        json_array_foreach (entries, i, entry) {
                const char *hex = json_get_string(entry, "sha256");
                char actual[DIGEST_HEX_SIZE], object[PATH_MAX];

                if (!hex)
                        continue;
                (void) snprintf(object, sizeof(object), "%s/objects/%.2s/%s", in("store"), hex, hex + 2);
                if (digest_file(object, actual) < 0 || !streq(actual, hex))
                        good = complain("snapshot %s lacks object %s", name, hex);
        }
        return good;
}

static bool one_holds(const char *kind, const char *name, const char *value) {
        char digest[DIGEST_HEX_SIZE];

        if (streq(kind, "path")) {
                if (!digest_now(name, digest) || !streq(digest, value))
                        return complain("%s was promised to be on disk, and is not", name);
        } else if (streq(kind, "log")) {
                if (count_records(name) < strtoul(value, NULL, 10))
                        return complain("%s was promised to have %s records, and has %zu", name, value,
                                        count_records(name));
        } else if (streq(kind, "end")) {
                _cleanup_json_ json_t *records = NULL;

                if (txn_log_read(in("txn"), &records, NULL, NULL) < 0 ||
                    !streq(txn_state_to_string(txn_state_of(records)), value))
                        return complain("%s was promised, the log says %s", value,
                                        txn_state_to_string(txn_state_of(records)));
        } else if (streq(kind, "snapshot"))
                return snapshot_is_whole(name, value);
        return true;
}

bool promises_hold(const char *text) {
        char kind[16], name[64], value[DIGEST_HEX_SIZE];
        bool good = true;

        for (; *text; text = strchr(text, '\n') + 1)
                if (sscanf(text, "%15s %63s %64s", kind, name, value) != 3 || !one_holds(kind, name, value))
                        good = false;
        return good;
}
