/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A snapshot of etcd's data, streamed from a voter that is no leader where there is one. It is kept: the last resort
 * where a quorum is lost. */

#include <inttypes.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "cluster.h"
#include "steps.h"

#define BYTES_PER_SEC (50U << 20) /* for the forecast */
#define PROGRESS_INTERVAL USEC_PER_SEC
#define GROWTH (64U << 20) /* of a database while it is read, beside its doubling */

typedef struct Pace {
        Addition *addition;
        uint64_t begun, told; /* CLOCK_BOOTTIME */
} Pace;

static int on_progress(uint64_t done, uint64_t remaining, void *userdata) {
        uint64_t now = now_boot();
        Pace *p = userdata;

        if (done > 2 * p->addition->db_size + GROWTH)
                return -EFBIG;
        if (now - p->begun > p->addition->config->sync_timeout_usec)
                return -ETIME; /* no -ETIMEDOUT, after which it is tried again */
        if (now - p->told < PROGRESS_INTERVAL)
                return 0;
        p->told = now;
        addition_progress_of(p->addition, NULL,
                             &(Progress){ .done = done,
                                          .total = done + remaining,
                                          .rate = done * USEC_PER_SEC / (now - p->begun),
                                          .what = "bytes" },
                             "%" PRIu64 " of %" PRIu64 " MiB", done >> 20, (done + remaining) >> 20);
        return 0;
}

static char *backup_path(const Addition *a) {
        return format("%s/etcd.snapshot", a->dir);
}

static int find_source(Addition *a, Host **ret, char **reterr) {
        Host *leader;
        int r;

        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        *ret = leader;
        FOREACH_MEMBER (h, a)
                if (h != leader)
                        *ret = h;
        return 0;
}

static int save(Addition *a, void *userdata, char **reterr) {
        const char *path = userdata;
        _cleanup_(etcd_status_done) EtcdStatus before = {};
        Pace pace = { a, now_boot(), now_boot() };
        EtcdSnapshot snapshot;
        Host *source;
        int r;

        r = find_source(a, &source, reterr);
        if (r >= 0) /* the snapshot itself does not say its revision: it has what is applied now, or more */
                r = etcd_status(a->etcd, source->client_url, ETCD_TIMEOUT, &before, reterr);
        if (r >= 0)
                r = etcd_snapshot(a->etcd, source->client_url, path, a->config->step_timeout_usec, on_progress, &pace,
                                  &snapshot, reterr);
        if (r < 0)
                return r;

        a->copy_rate = snapshot.bytes * USEC_PER_SEC / (now_boot() - pace.begun + 1) + 1;
        addition_progress_of(a, source, &(Progress){},
                             "%" PRIu64 " KiB from %s in %s, revision %" PRId64 " or later, SHA-256 %.16s…",
                             snapshot.bytes >> 10, source->address, path, before.revision, snapshot.sha256);
        return txn_remember(a->transaction, "backup",
                            json_pack("{ss sI sI ss}", "path", path, "bytes", (json_int_t) snapshot.bytes, "revision",
                                      (json_int_t) before.revision, "sha256", snapshot.sha256),
                            reterr);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_free_ char *path = backup_path(a);

        return path ? cluster_persist(a, save, path, reterr) : -ENOMEM;
}

static void foresee(void *world, StepForecast *f) {
        const Addition *a = world;

        f->seconds = 1 + (unsigned) (a->db_size / BYTES_PER_SEC);
        f->why = "the snapshot is kept, also when all is undone";
}

const Step step_backup = {
        .name = "backup",
        .title = "Saving a snapshot of etcd's data",
        .asks = CHANGES_THIS_HOST,
        .foresee = foresee,
        .apply = apply,
};
