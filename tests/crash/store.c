/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "store.h"

#include <dirent.h>
#include <limits.h>

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/json-util.h"
#include "basic/string-util.h"
#include "txn/snapshot.h"
#include "world.h"

#define SUFFIX ".json"

/* Of each entry of the folder; one that is not there has none. */
static bool each_entry(const char *folder, bool (*look)(const char *folder, const char *name, json_t *known),
                       json_t *known) {
        _cleanup_(closedirp) DIR *dir = opendir(folder);
        struct dirent *entry;
        bool good = true;

        while (dir && (entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        good = look(folder, entry->d_name, known) && good;
        return good;
}

/* Adds the digests that the manifest names. */
static bool look_at_manifest(const char *folder, const char *name, json_t *known) {
        _cleanup_free_ char *path = format("%s/%s", folder, name);
        _cleanup_json_ json_t *manifest = NULL;
        size_t i, length = strlen(name);
        json_t *entry;

        if (length <= strlen(SUFFIX) || !streq(name + length - strlen(SUFFIX), SUFFIX))
                return complain("%s is left over", path);
        manifest = json_load_file(path, 0, NULL);
        if (!manifest)
                return complain("%s cannot be read", path);
        json_array_foreach (json_object_get(json_object_get(manifest, "tree"), "entries"), i, entry) {
                const char *hex = json_get_string(entry, "sha256");

                if (hex && json_object_set_new(known, hex, json_false()) < 0)
                        return complain("out of memory");
        }
        return true;
}

/* Ticks the object off. */
static bool look_at_object(const char *folder, const char *name, json_t *known) {
        _cleanup_free_ char *path = format("%s/%s", folder, name),
                            *hex = format("%s%s", strrchr(folder, '/') + 1, name);
        char actual[DIGEST_HEX_SIZE];

        if (!json_object_get(known, hex))
                return complain("%s is left over", path);
        if (digest_file(path, actual) < 0 || !streq(actual, hex))
                return complain("%s is damaged", path);
        return json_object_set_new(known, hex, json_true()) >= 0;
}

static bool look_at_folder(const char *folder, const char *name, json_t *known) {
        _cleanup_free_ char *path = format("%s/%s", folder, name);

        return each_entry(path, look_at_object, known);
}

static bool nothing_lacks(json_t *known) {
        const char *hex;
        bool good = true;
        json_t *seen;

        json_object_foreach (known, hex, seen)
                if (!json_is_true(seen))
                        good = complain("a snapshot lacks object %s", hex);
        return good;
}

bool store_is_clean(const char *store) {
        _cleanup_free_ char *snapshots = format("%s/snapshots", store), *objects = format("%s/objects", store),
                            *why = NULL;
        _cleanup_json_ json_t *known = json_object();
        int r = snapshot_prune(store, &why);

        if (r < 0)
                return complain("the store cannot be pruned: %s", error_text(why, r));
        if (path_exists(snapshots) == 0)
                return true; /* nothing was taken, and nothing is pruned */
        return each_entry(snapshots, look_at_manifest, known) && each_entry(objects, look_at_folder, known) &&
               nothing_lacks(known);
}
