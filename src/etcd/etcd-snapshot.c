/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "etcd-internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/file.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"
#include "etcd/snapshot-sink.h"

#define SNAPSHOT ETCD_MAINTENANCE "Snapshot"

typedef struct Download {
        SnapshotSink sink;
        EtcdProgress progress;
        void *userdata;
        int write_error, stopped;
} Download;

static int on_blob(const uint8_t *data, size_t size, void *userdata) {
        _cleanup_message_ Pb__SnapshotResponse *answer = NULL;
        Download *d = userdata;
        int r;

        r = etcd_unpack(&pb__snapshot_response__descriptor, data, size, &answer);
        if (r < 0)
                return r;
        r = d->write_error = snapshot_sink_feed(&d->sink, answer->blob.data, answer->blob.len);
        if (r < 0)
                return r;
        return d->stopped = d->progress ? d->progress(d->sink.bytes, answer->remaining_bytes, d->userdata) : 0;
}

/* Fills the open file; in the end its content is verified. */
static int download(EtcdClient *c, const char *endpoint, const char *path, uint64_t timeout, Download *d,
                    EtcdSnapshot *ret, char **reterr) {
        Pb__SnapshotRequest request = PB__SNAPSHOT_REQUEST__INIT;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = SNAPSHOT,
                .message = &request.base,
                .deadline = deadline_after(timeout),
                .idle = timeout ?: 1,
                .on_message = on_blob,
                .userdata = d,
        };
        int r;

        r = etcd_request(c, &q, reterr);
        if (d->write_error < 0)
                return fail(reterr, d->write_error, "Snapshot at %s: cannot write '%s': %s", endpoint, path,
                            strerror(-d->write_error));
        if (d->stopped < 0)
                return fail(reterr, d->stopped, "Snapshot at %s: given up after %" PRIu64 " bytes: %s", endpoint,
                            d->sink.bytes, strerror(-d->stopped));
        if (r < 0)
                return r;

        r = snapshot_sink_end(&d->sink, ret->sha256);
        if (r == -EBADMSG)
                return fail(reterr, r, "Snapshot at %s: %" PRIu64 " bytes came, but their SHA-256 is missing or wrong",
                            endpoint, d->sink.bytes);
        ret->bytes = d->sink.bytes;
        return r;
}

static int download_durable(EtcdClient *c, const char *endpoint, const char *path, int fd, uint64_t timeout,
                            Download *d, EtcdSnapshot *ret, char **reterr) {
        int r;

        r = snapshot_sink_init(&d->sink, fd);
        if (r >= 0)
                r = download(c, endpoint, path, timeout, d, ret, reterr);
        snapshot_sink_done(&d->sink);
        if (r >= 0 && fsync(fd) < 0)
                r = fail(reterr, -errno, "Snapshot: cannot write '%s': %m", path);
        return r;
}

int etcd_snapshot(EtcdClient *c, const char *endpoint, const char *path, uint64_t timeout, EtcdProgress progress,
                  void *userdata, EtcdSnapshot *ret, char **reterr) {
        Download d = { .progress = progress, .userdata = userdata };
        _cleanup_close_ int fd = -EBADF;
        char temporary[PATH_MAX];
        EtcdSnapshot result = {};
        int r;

        if ((size_t) snprintf(temporary, sizeof(temporary), "%s.dhetcd-XXXXXX", path) >= sizeof(temporary))
                return -ENAMETOOLONG;
        fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
        if (fd < 0)
                return fail(reterr, -errno, "Snapshot: cannot make '%s': %m", temporary);
        (void) flock(fd, LOCK_EX); /* that it is no leftover yet: fs.h */

        r = download_durable(c, endpoint, path, fd, timeout, &d, &result, reterr);
        if (r >= 0) {
                r = rename_durable(temporary, path);
                if (r < 0)
                        r = fail(reterr, r, "Snapshot: cannot make '%s': %s", path, strerror(-r));
        }
        if (r < 0) {
                (void) unlink(temporary);
                return r;
        }
        *ret = result;
        return 0;
}
