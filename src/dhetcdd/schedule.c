/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "schedule.h"

#include <time.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "job.h"

#define SCHEDULE_SIZE_MAX (64U * 1024U)
#define ON_SIZE_MAX 256U

Schedule *schedule_free(Schedule *s) {
        if (!s)
                return NULL;
        strv_free(s->nodes);
        json_decref(s->options);
        free(s->on);
        free(s->until);
        free(s);
        return NULL;
}

int schedule_new(char *const *nodes, json_t *options, const char *on, const char *until, uint32_t uid, Schedule **ret) {
        _cleanup_(schedule_freep) Schedule *s = calloc(1, sizeof(Schedule));

        if (!s)
                return -ENOMEM;
        *s = (Schedule){
                .nodes = strv_copy(nodes),
                .options = json_incref(options),
                .on = strdup(on),
                .until = strdup(until),
                .uid = uid,
                .asked_usec = now_real(),
        };
        if (!s->nodes || !s->on || !s->until)
                return -ENOMEM;
        *ret = TAKE_PTR(s);
        return 0;
}

bool schedule_on_is_valid(const char *on) {
        static const char taken[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 *-:,./~+_";
        size_t n = strlen(on);

        return n > 0 && n <= ON_SIZE_MAX && strspn(on, taken) == n && strspn(on, " ") < n;
}

/* ---- the record ---- */

json_t *schedule_to_json(const Schedule *s) {
        return json_pack("{s:o, s:O, s:s, s:s, s:I, s:I, s:b}", "nodes", json_from_strv(s->nodes), "options",
                         s->options, "on", s->on, "until", s->until, "uid", (json_int_t) s->uid, "asked_usec",
                         (json_int_t) s->asked_usec, "armed", (int) s->armed);
}

static char *record_path(const char *dir, const char *node) {
        return format("%s/%s.json", dir, node);
}

int schedule_save(const Schedule *s, const char *dir, char **reterr) {
        _cleanup_free_ char *path = record_path(dir, s->nodes[0]), *text = NULL;
        _cleanup_json_ json_t *v = schedule_to_json(s);
        int r;

        text = v ? json_to_text(v, JSON_INDENT(2)) : NULL;
        if (!path || !text)
                return -ENOMEM;
        r = mkdir_durable(dir, 0700);
        if (r >= 0)
                r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

static int nodes_from_json(const json_t *array, char ***ret) {
        json_t *v;
        size_t i;
        int r;

        if (json_array_size(array) < 1 || json_array_size(array) > JOB_NODES_MAX)
                return -EBADMSG;
        json_array_foreach (array, i, v) {
                if (!json_is_string(v) || address_check(json_string_value(v)) < 0)
                        return -EBADMSG;
                r = strv_append(ret, json_string_value(v));
                if (r < 0)
                        return r;
        }
        return 0;
}

int schedule_load(const char *dir, const char *node, Schedule **ret, char **reterr) {
        _cleanup_free_ char *path = record_path(dir, node), *text = NULL;
        _cleanup_(schedule_freep) Schedule *s = NULL;
        _cleanup_strv_ char **nodes = NULL;
        _cleanup_json_ json_t *v = NULL;
        const char *on, *until;
        json_t *options;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, SCHEDULE_SIZE_MAX, false, &text, NULL);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        v = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        on = json_get_string(v, "on");
        until = json_get_string(v, "until");
        options = json_object_get(v, "options");
        r = nodes_from_json(json_object_get(v, "nodes"), &nodes);
        if (r < 0 || !streq(nodes[0], node) || !on || !schedule_on_is_valid(on) || !until || !json_is_object(options))
                return fail(reterr, -EBADMSG, "%s is damaged; run \"dhetcd unschedule %s\" and schedule it again", path,
                            node);
        r = schedule_new(nodes, options, on, until, (uint32_t) json_get_integer(v, "uid", 0), &s);
        if (r < 0)
                return r;
        s->asked_usec = (uint64_t) json_get_integer(v, "asked_usec", 0);
        s->armed = json_is_true(json_object_get(v, "armed"));
        *ret = TAKE_PTR(s);
        return 0;
}

int schedule_remove(const char *dir, const char *node) {
        _cleanup_free_ char *path = record_path(dir, node);

        return path ? unlink_durable(path) : -ENOMEM;
}

int schedule_list(const char *dir, char ***ret) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        _cleanup_strv_ char **names = NULL;
        struct dirent *e;

        *ret = NULL;
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((e = readdir(d))) {
                size_t n = strlen(e->d_name);
                _cleanup_free_ char *node =
                        n > 5 && streq(e->d_name + n - 5, ".json") ? strndup(e->d_name, n - 5) : NULL;
                int r;

                if (!node || address_check(node) < 0)
                        continue;
                r = strv_append(&names, node);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(names);
        return 0;
}

/* ---- the timer ---- */

char *schedule_timer(const char *node) {
        return format("dhetcd-add@%s.timer", node);
}

int schedule_write_timer(const Schedule *s, const char *units_dir, char **reterr) {
        _cleanup_free_ char *dir = format("%s/dhetcd-add@%s.timer.d", units_dir, s->nodes[0]), *path = NULL,
                            *text = NULL;
        int r;

        path = dir ? format("%s/50-schedule.conf", dir) : NULL;
        text = format("# Written by dhetcdd. To change it: dhetcd unschedule %s, then dhetcd schedule.\n"
                      "[Timer]\nOnCalendar=\nOnCalendar=%s\n",
                      s->nodes[0], s->on);
        if (!path || !text)
                return -ENOMEM;
        r = mkdir_durable(dir, 0755);
        if (r >= 0)
                r = write_file_durable(path, text, strlen(text), 0644, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

int schedule_remove_timer(const char *units_dir, const char *node) {
        _cleanup_free_ char *dir = format("%s/dhetcd-add@%s.timer.d", units_dir, node), *path = NULL;
        int r;

        path = dir ? format("%s/50-schedule.conf", dir) : NULL;
        if (!path)
                return -ENOMEM;
        r = unlink_durable(path);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (rmdir(dir) < 0) /* an operator's own drop-ins stay */
                return errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST ? 0 : -errno;
        return fsync_parent(dir);
}
