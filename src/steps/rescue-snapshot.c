/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The snapshots of etcd's data that jobs of this host saved (backup.c), and files that somebody names. */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "rescue.h"

#define NODES_MAX 99U
#define ID_DIGITS 8U

void rescue_snapshot_done(RescueSnapshot *s) {
        free(s->job);
        free(s->path);
        *s = (RescueSnapshot){};
}

/* ---- finding ---- */

static bool is_job(const char *s) {
        return strlen(s) == ID_DIGITS && strspn(s, "0123456789abcdef") == ID_DIGITS;
}

/* What the log of a transaction tells of its snapshot: 1, or 0 where it has none any more. */
static int look_into(const char *job, unsigned n, RescueSnapshot *ret) {
        _cleanup_free_ char *dir = format("%s/%s/%u", DHETCD_JOBS_DIR, job, n), *path = NULL;
        _cleanup_json_ json_t *records = NULL;
        json_t *record;
        size_t i;

        path = dir ? format("%s/etcd.snapshot", dir) : NULL;
        if (!path)
                return -ENOMEM;
        if (path_exists(path) <= 0 || txn_log_read(dir, &records, NULL, NULL) < 0)
                return 0;
        json_array_foreach (records, i, record) {
                const json_t *value = json_object_get(record, "value");
                const char *sha256 = json_get_string(value, "sha256");

                if (!streq(json_get_string(record, "key"), "backup") || !sha256 ||
                    strlen(sha256) != DIGEST_HEX_SIZE - 1)
                        continue;
                *ret = (RescueSnapshot){
                        .job = strdup(job),
                        .path = TAKE_PTR(path),
                        .n = n,
                        .bytes = (uint64_t) json_get_integer(value, "bytes", 0),
                        .usec = (uint64_t) json_get_integer(record, "time", 0),
                };
                memcpy(ret->sha256, sha256, DIGEST_HEX_SIZE);
                return ret->job ? 1 : -ENOMEM;
        }
        return 0;
}

static int newest_of_job(const char *job, RescueSnapshot *newest) {
        for (unsigned n = 1; n <= NODES_MAX; n++) {
                _cleanup_(rescue_snapshot_done) RescueSnapshot s = {};
                _cleanup_free_ char *dir = format("%s/%s/%u", DHETCD_JOBS_DIR, job, n);
                int r;

                if (!dir)
                        return -ENOMEM;
                if (path_exists(dir) <= 0)
                        return 0;
                r = look_into(job, n, &s);
                if (r < 0)
                        return r;
                if (r > 0 && (!newest->path || s.usec >= newest->usec)) {
                        rescue_snapshot_done(newest);
                        *newest = s;
                        s = (RescueSnapshot){};
                }
        }
        return 0;
}

int rescue_snapshot_newest(const char *job, RescueSnapshot *ret, char **reterr) {
        _cleanup_(closedirp) DIR *d = job ? NULL : opendir(DHETCD_JOBS_DIR);
        struct dirent *e;
        int r = 0;

        if (job)
                r = newest_of_job(job, ret);
        else if (!d)
                return fail(reterr, -errno, "%s cannot be read: %s", DHETCD_JOBS_DIR, strerror(errno));
        while (r >= 0 && d && (e = readdir(d)))
                if (is_job(e->d_name))
                        r = newest_of_job(e->d_name, ret);
        return r < 0 ? r : ret->path != NULL;
}

int rescue_snapshot_find(Addition *a, RescueSnapshot *ret, char **reterr) {
        const char *asked = a->rescue.snapshot;
        int r;

        if (*asked == '/') {
                *ret = (RescueSnapshot){ .path = strdup(asked) };
                return ret->path ? 0 : -ENOMEM;
        }
        r = rescue_snapshot_newest(asked, ret, reterr);
        if (r == 0)
                return fail(reterr, -ENOENT,
                            "job %s of this host has no etcd.snapshot below %s/%s; see \"dhetcd list\"", asked,
                            DHETCD_JOBS_DIR, asked);
        return r < 0 ? r : 0;
}

/* ---- verifying ---- */

/* The SHA-256 of all but the last 32 bytes, which must be it. */
static int digest_database(const void *data, size_t size, char ret[static DIGEST_HEX_SIZE]) {
        char at_end[DIGEST_HEX_SIZE];
        int r;

        if (size <= DIGEST_SIZE)
                return -EBADMSG;
        r = digest_bytes(data, size - DIGEST_SIZE, ret);
        if (r < 0)
                return r;
        hex_encode((const uint8_t *) data + size - DIGEST_SIZE, DIGEST_SIZE, at_end);
        return streq(ret, at_end) ? 0 : -EBADMSG;
}

static int open_snapshot(const char *path, void **ret_data, size_t *ret_size, struct stat *st, char **reterr) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0 || fstat(fd, st) < 0)
                return fail(reterr, -errno, "%s cannot be opened: %s. dhetcd sees no other /tmp than its own", path,
                            strerror(errno));
        if (!S_ISREG(st->st_mode) || st->st_size <= 0)
                return fail(reterr, -EINVAL, "%s is no snapshot of etcd", path);
        *ret_size = (size_t) st->st_size;
        *ret_data = mmap(NULL, *ret_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*ret_data == MAP_FAILED)
                return fail(reterr, -errno, "%s cannot be read: %s", path, strerror(errno));
        return 0;
}

int rescue_snapshot_verify(RescueSnapshot *s, char **reterr) {
        char found[DIGEST_HEX_SIZE];
        struct stat st;
        size_t size;
        void *data;
        int r;

        r = open_snapshot(s->path, &data, &size, &st, reterr);
        if (r < 0)
                return r;
        r = digest_database(data, size, found);
        (void) munmap(data, size);
        if (r < 0 || (*s->sha256 && !streq(found, s->sha256)))
                return fail(reterr, -EBADMSG,
                            "%s is damaged: its SHA-256 is not the one that %s; use another one (dhetcd list, then "
                            "--from-snapshot=JOB)",
                            s->path, r < 0 ? "etcd wrote at its end" : "the job's log has");
        memcpy(s->sha256, found, sizeof(found));
        s->bytes = size;
        if (s->usec == 0)
                s->usec = (uint64_t) st.st_mtim.tv_sec * USEC_PER_SEC;
        return 0;
}

int rescue_snapshot_take_in(Addition *a, RescueSnapshot *s, char **reterr) {
        struct stat st;
        size_t size;
        void *data;
        int r;

        if (s->job)
                return 0;
        r = open_snapshot(s->path, &data, &size, &st, reterr);
        if (r < 0)
                return r;
        free(s->path);
        s->path = format("%s/etcd.snapshot", a->dir);
        s->job = strdup(a->job);
        s->n = (unsigned) a->index + 1;
        if (!s->path || !s->job)
                r = -ENOMEM;
        if (r >= 0)
                r = write_file_durable(s->path, data, size, 0600, (uid_t) -1, (gid_t) -1);
        (void) munmap(data, size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be written: %s", s->path ?: a->dir, strerror(-r));
        return rescue_snapshot_verify(s, reterr);
}
