/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "snapshot-sink.h"

#include <string.h>

#include <openssl/evp.h>

#include "basic/fs.h"

int snapshot_sink_init(SnapshotSink *s, int fd) {
        *s = (SnapshotSink){ .fd = fd, .digest = EVP_MD_CTX_new() };
        if (!s->digest)
                return -ENOMEM;
        return EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

void snapshot_sink_done(SnapshotSink *s) {
        EVP_MD_CTX_free(s->digest);
        s->digest = NULL;
}

/* What can no longer be among the last 32 bytes is digested: first from the tail, then from the new data. */
int snapshot_sink_feed(SnapshotSink *s, const void *data, size_t size) {
        size_t all = s->tail_size + size, ripe = all > DIGEST_SIZE ? all - DIGEST_SIZE : 0;
        size_t from_tail = ripe < s->tail_size ? ripe : s->tail_size, from_data = ripe - from_tail;
        int r;

        if (size == 0)
                return 0;
        r = write_all(s->fd, data, size);
        if (r < 0)
                return r;

        if (EVP_DigestUpdate(s->digest, s->tail, from_tail) != 1 || EVP_DigestUpdate(s->digest, data, from_data) != 1)
                return -EIO;
        s->tail_size -= from_tail;
        memmove(s->tail, s->tail + from_tail, s->tail_size);
        memcpy(s->tail + s->tail_size, (const uint8_t *) data + from_data, size - from_data);
        s->tail_size += size - from_data;
        s->bytes += size;
        return 0;
}

int snapshot_sink_end(SnapshotSink *s, char ret_hex[static DIGEST_HEX_SIZE]) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned size;

        if (EVP_DigestFinal_ex(s->digest, digest, &size) != 1)
                return -EIO;
        if (s->bytes <= DIGEST_SIZE || size != DIGEST_SIZE || memcmp(digest, s->tail, DIGEST_SIZE) != 0)
                return -EBADMSG;
        hex_encode(digest, DIGEST_SIZE, ret_hex);
        return 0;
}
