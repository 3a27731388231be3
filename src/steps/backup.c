/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A snapshot of etcd's data, streamed from a voter that is no leader where there is one. It is kept: the last resort
 * where a quorum is lost. */

#include <inttypes.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "cluster.h"
#include "steps.h"

#define PROGRESS_INTERVAL (5 * USEC_PER_SEC)

typedef struct Progress {
        Addition *addition;
        uint64_t last;
} Progress;

static void on_progress(uint64_t done, uint64_t remaining, void *userdata) {
        Progress *p = userdata;

        if (now_boot() - p->last < PROGRESS_INTERVAL)
                return;
        p->last = now_boot();
        addition_progress(p->addition, "%" PRIu64 " of %" PRIu64 " MiB", done >> 20, (done + remaining) >> 20);
}

static char *backup_path(const Addition *a) {
        return format("%s/etcd.snapshot", a->dir);
}

static int apply(void *world, char **reterr) {
        Addition *a = world;
        _cleanup_free_ char *path = backup_path(a);
        Progress progress = { a, now_boot() };
        Host *leader, *source;
        EtcdSnapshot snapshot;
        int r;

        if (!path)
                return -ENOMEM;
        r = cluster_leader(a, &leader, reterr);
        if (r < 0)
                return r;
        source = leader;
        FOREACH_MEMBER (h, a)
                if (h != leader)
                        source = h;

        r = etcd_snapshot(a->etcd, source->client_url, path, a->config->step_timeout_usec, on_progress, &progress,
                          &snapshot, reterr);
        if (r < 0)
                return r;

        addition_progress(a, "%" PRIu64 " KiB from %s in %s, SHA-256 %.16s…", snapshot.bytes >> 10, source->address,
                          path, snapshot.sha256);
        return txn_remember(
                a->transaction, "backup",
                json_pack("{ss sI ss}", "path", path, "bytes", (json_int_t) snapshot.bytes, "sha256", snapshot.sha256),
                reterr);
}

const Step step_backup = {
        .name = "backup",
        .title = "Saving a snapshot of etcd's data",
        .apply = apply,
};
