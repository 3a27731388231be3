/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The write-ahead log. The file is the truth; the array in memory is what was read plus what was durably appended. */

#include "txn-log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

#define SUM_DIGITS 16U
#define RESERVE (256 * 1024)
#define SUM_SUFFIX_SIZE (strlen(",\"sum\":\"") + SUM_DIGITS + strlen("\"}"))

struct TxnLog {
        int fd;
        char *path;
        json_t *records;
        char sum[SUM_DIGITS + 1];          /* of the newest record */
        size_t size;                       /* of all records */
        char previous_sum[SUM_DIGITS + 1]; /* before the newest record, which can be taken back; */
        size_t previous_size;              /* 0: it cannot */
        bool torn;                         /* a write failed: what follows them in the file is unknown */
};

static char *log_path(const char *dir) {
        return format("%s/log.jsonl", dir);
}

/* The sum that a record's bytes (without the sum) must carry after a record with `previous`. */
static int chain_sum(const char *previous, const char *body, size_t size, char ret[static SUM_DIGITS + 1]) {
        _cleanup_free_ char *chained = malloc(SUM_DIGITS + size);
        char hex[DIGEST_HEX_SIZE];
        size_t n = strlen(previous);
        int r;

        if (!chained)
                return -ENOMEM;
        memcpy(chained, previous, n);
        memcpy(chained + n, body, size);
        r = digest_bytes(chained, n + size, hex);
        if (r < 0)
                return r;
        memcpy(ret, hex, SUM_DIGITS);
        ret[SUM_DIGITS] = '\0';
        return 0;
}

/* One line without its newline. -EBADMSG when it is not the record `seq` that follows a record with sum `previous`; the
 * line's own sum is then not to be trusted. */
static int parse_line(const char *line, size_t size, const char *previous, json_int_t seq, json_t **ret,
                      char ret_sum[static SUM_DIGITS + 1]) {
        _cleanup_json_ json_t *record = NULL;
        char sum[SUM_DIGITS + 1];
        json_error_t error;
        size_t body;
        int r;

        if (size <= SUM_SUFFIX_SIZE)
                return -EBADMSG;
        body = size - SUM_SUFFIX_SIZE;
        if (memcmp(line + body, ",\"sum\":\"", strlen(",\"sum\":\"")) != 0 || memcmp(line + size - 2, "\"}", 2) != 0)
                return -EBADMSG;

        r = chain_sum(previous, line, body, sum);
        if (r < 0)
                return r;
        if (memcmp(line + size - 2 - SUM_DIGITS, sum, SUM_DIGITS) != 0)
                return -EBADMSG;

        record = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
        if (!record && json_error_code(&error) == json_error_out_of_memory)
                return -ENOMEM;
        if (!record || json_integer_value(json_object_get(record, "seq")) != seq ||
            !json_is_string(json_object_get(record, "type")))
                return -EBADMSG;

        (void) json_object_del(record, "sum");
        memcpy(ret_sum, sum, sizeof(sum));
        *ret = TAKE_PTR(record);
        return 0;
}

/* Whether a further record begins behind the first byte: a quote inside a record's strings is escaped, so these bytes
 * are found at the beginning of records only. */
static bool begins_another(const char *text, size_t size) {
        return memmem(text + 1, size - 1, "{\"seq\":", strlen("{\"seq\":"));
}

/* Whether a bad line is what a crash in the midst of its write leaves: a beginning of it, or zeroes where a part
 * did not reach the disk. A line that was once written to its end was relied on, and is damaged. 0: damaged. */
static int is_torn(const char *line, size_t size, const char *previous, json_int_t seq) {
        const char *end = memchr(line, '\n', size);
        _cleanup_json_ json_t *record = NULL;
        char sum[SUM_DIGITS + 1];
        int r;

        if (memchr(line, '\0', end ? (size_t) (end - line) : size))
                return 1;
        if (end)
                return 0;
        /* All of it but its newline, which is another byte now: no write does that. */
        r = parse_line(line, size - 1, previous, seq, &record, sum);
        return r == -ENOMEM ? r : r < 0;
}

static int damaged(const char *path, json_int_t seq, char **reterr) {
        return fail(reterr, -EBADMSG,
                    "%s: record %" JSON_INTEGER_FORMAT
                    " is damaged, and not as a crash leaves it; nothing is done from "
                    "such a log. Keep the file, look at it with \"less %s\", and settle by hand from the host's "
                    "snapshots in /var/lib/dhetcd/store",
                    path, seq, path);
}

/* Reads the whole text. *ret_good is the number of bytes that hold good records; fewer than `size` means a torn end. */
static int parse_log(const char *path, const char *text, size_t size, json_t **ret, size_t *ret_good,
                     char ret_sum[static SUM_DIGITS + 1], char **reterr) {
        _cleanup_json_ json_t *records = json_array();
        char sum[SUM_DIGITS + 1] = "";
        size_t good = 0;
        int r;

        if (!records)
                return -ENOMEM;

        while (good < size) {
                const char *line = text + good, *end = memchr(line, '\n', size - good);
                json_int_t seq = (json_int_t) json_array_size(records) + 1;
                json_t *record = NULL;
                char next[SUM_DIGITS + 1];

                r = end ? parse_line(line, (size_t) (end - line), sum, seq, &record, next) : -EBADMSG;
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        r = begins_another(line, size - good) ? 0 : is_torn(line, size - good, sum, seq);
                        if (r > 0)
                                break; /* the last record: what a crash leaves */
                        return r < 0 ? r : damaged(path, seq, reterr);
                }
                if (json_array_append_new(records, record) < 0)
                        return -ENOMEM;
                memcpy(sum, next, sizeof(sum));
                good += (size_t) (end - line) + 1;
        }

        *ret = TAKE_PTR(records);
        *ret_good = good;
        memcpy(ret_sum, sum, sizeof(sum));
        return 0;
}

int txn_log_read(const char *dir, json_t **ret, bool *ret_torn, char **reterr) {
        _cleanup_free_ char *path = log_path(dir), *text = NULL;
        char sum[SUM_DIGITS + 1];
        size_t size = 0, good = 0;
        int r;

        if (!path)
                return -ENOMEM;

        r = read_file(path, TXN_LOG_SIZE_MAX, false, &text, &size);
        if (r == -ENOENT)
                size = 0;
        else if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));

        r = parse_log(path, text, size, ret, &good, sum, reterr);
        if (r < 0)
                return r;
        if (ret_torn)
                *ret_torn = good < size;
        return 0;
}

/* Cuts off a torn end, so that the next record begins on a line of its own. */
static int cut_torn_end(TxnLog *l) {
        if (ftruncate(l->fd, (off_t) l->size) < 0 || fsync(l->fd) < 0)
                return -errno;
        l->torn = false;
        return 0;
}

/* Room for the records to come, so that a disk that others fill does not keep a transaction from going back. */
static int reserve(TxnLog *l) {
        if (fallocate(l->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t) l->size + RESERVE) < 0 && errno != EOPNOTSUPP)
                return -errno;
        return 0;
}

int txn_log_open(const char *dir, bool create, TxnLog **ret, char **reterr) {
        _cleanup_(txn_log_freep) TxnLog *l = calloc(1, sizeof(TxnLog));
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (!l)
                return -ENOMEM;
        l->fd = -EBADF;
        l->path = log_path(dir);
        if (!l->path)
                return -ENOMEM;

        l->fd = open(l->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
        if (l->fd < 0)
                return fail(reterr, -errno, "%s cannot be opened: %s", l->path, strerror(errno));
        if (flock(l->fd, LOCK_EX | LOCK_NB) < 0)
                return fail(reterr, errno == EWOULDBLOCK ? -EBUSY : -errno,
                            "%s is held by another process that drives this transaction", l->path);
        if (create) {
                r = fsync_parent(l->path);
                if (r < 0)
                        return fail(reterr, r, "%s cannot be synced: %s", dir, strerror(-r));
        }

        r = read_file(l->path, TXN_LOG_SIZE_MAX, false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", l->path, strerror(-r));
        r = parse_log(l->path, text, size, &l->records, &l->size, l->sum, reterr);
        if (r < 0)
                return r;
        r = l->size < size ? cut_torn_end(l) : 0;
        if (r < 0)
                return fail(reterr, r, "%s: its torn end cannot be cut off: %s", l->path, strerror(-r));
        /* Who wrote the last record may have died before it was durable, and what we do now rests on it. */
        if (l->size > 0 && fsync(l->fd) < 0)
                return fail(reterr, -errno, "%s cannot be synced: %s", l->path, strerror(errno));
        r = reserve(l);
        if (r < 0 && l->size == 0)
                return fail(reterr, r, "%s: no room for %d KiB of it can be kept: %s", l->path, RESERVE / 1024,
                            strerror(-r));

        *ret = TAKE_PTR(l);
        return 0;
}

TxnLog *txn_log_free(TxnLog *l) {
        if (!l)
                return NULL;
        closep(&l->fd);
        free(l->path);
        json_decref(l->records);
        free(l);
        return NULL;
}

const json_t *txn_log_records(const TxnLog *l) {
        return l->records;
}

/* Texts go into a file that is read with a limit. */
static int cut_texts(json_t *record) {
        static const char *const names[] = { "why", "cause", "advice" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *text = json_get_string(record, names[i]);
                _cleanup_free_ char *cut = NULL;

                if (!text || strlen(text) <= TXN_TEXT_MAX)
                        continue;
                cut = text_limit(text, TXN_TEXT_MAX, /* printable= */ false);
                if (!cut || json_object_set_new(record, names[i], json_string(cut)) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* Whether a text, as it would be written, is the recorded one; both may be NULL. */
static bool same_text(const char *recorded, const char *text) {
        _cleanup_free_ char *cut = text && strlen(text) > TXN_TEXT_MAX ? text_limit(text, TXN_TEXT_MAX, false) : NULL;

        return streq(recorded, cut ?: text);
}

/* The bytes of a record without its sum: everything up to the closing brace. */
static int format_body(const TxnLog *l, const char *type, json_t *fields, json_t **ret_record, char **ret_body) {
        _cleanup_json_ json_t *record = NULL;
        char *body;

        record = json_pack("{sI ss sI}", "seq", (json_int_t) json_array_size(l->records) + 1, "type", type, "time",
                           (json_int_t) now_real());
        if (!record || (fields && json_object_update_missing(record, fields) < 0) || cut_texts(record) < 0)
                return -ENOMEM;
        body = json_to_text(record, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER);
        if (!body)
                return -ENOMEM;

        body[strlen(body) - 1] = '\0';
        *ret_body = body;
        *ret_record = TAKE_PTR(record);
        return 0;
}

int txn_log_append(TxnLog *l, const char *type, json_t *fields, char **reterr) {
        _cleanup_json_ json_t *record = NULL;
        _cleanup_free_ char *body = NULL, *line = NULL;
        char sum[SUM_DIGITS + 1];
        int r;

        if (l->torn && cut_torn_end(l) < 0)
                return fail(reterr, -ESTALE, "%s: an earlier write failed, no further record is taken", l->path);

        r = format_body(l, type, fields, &record, &body);
        if (r < 0)
                return r;
        r = chain_sum(l->sum, body, strlen(body), sum);
        if (r < 0)
                return r;
        line = format("%s,\"sum\":\"%s\"}\n", body, sum);
        if (!line || json_array_append(l->records, record) < 0)
                return -ENOMEM;

        r = write_all(l->fd, line, strlen(line));
        if (r >= 0 && fsync(l->fd) < 0)
                r = -errno;
        if (r < 0) {
                l->torn = true;
                (void) (cut_torn_end(l) < 0); /* else before the next record */
                (void) json_array_remove(l->records, json_array_size(l->records) - 1);
                return fail(reterr, r, "%s cannot be written: %s", l->path, strerror(-r));
        }

        l->previous_size = l->size;
        memcpy(l->previous_sum, l->sum, sizeof(sum));
        l->size += strlen(line);
        memcpy(l->sum, sum, sizeof(sum));
        return 0;
}

bool txn_log_is_full(const TxnLog *l) {
        return l->size > TXN_LOG_FULL;
}

int txn_log_append_failure(TxnLog *l, const char *type, json_t *fields, char **reterr) {
        if (txn_log_is_full(l) && txn_is_recorded(l->records, type, json_get_string(fields, "step"), NULL))
                return 0;
        return txn_log_append(l, type, fields, reterr);
}

int txn_log_append_end(TxnLog *l, bool again, json_t *fields, char **reterr) {
        bool stuck = streq(json_get_string(fields, "state"), txn_state_to_string(TXN_STUCK));

        if (stuck && (again || txn_log_is_full(l)) && txn_is_at_end(l->records))
                return 0;
        return txn_log_append(l, "end", fields, reterr);
}

int txn_log_take_back(TxnLog *l) {
        if (l->torn || l->previous_size == 0)
                return -ESTALE;
        l->size = l->previous_size;
        l->previous_size = 0;
        memcpy(l->sum, l->previous_sum, sizeof(l->sum));
        (void) json_array_remove(l->records, json_array_size(l->records) - 1);
        l->torn = true;
        return cut_torn_end(l); /* else before the next record */
}

const char *txn_state_to_string(TxnState s) {
        static const char *const names[_TXN_STATE_MAX] = {
                [TXN_EMPTY] = "empty",       [TXN_RUNNING] = "running",     [TXN_UNDOING] = "undoing",
                [TXN_FORWARD] = "forward",   [TXN_COMMITTED] = "committed", [TXN_ROLLED_BACK] = "rolled-back",
                [TXN_REJECTED] = "rejected", [TXN_STUCK] = "stuck",
        };

        return s >= 0 && s < _TXN_STATE_MAX ? names[s] : "unknown";
}

static TxnState end_state(const char *state) {
        for (TxnState s = TXN_COMMITTED; s < _TXN_STATE_MAX; s++)
                if (streq(txn_state_to_string(s), state))
                        return s;
        return TXN_STUCK; /* written by a newer version: a human must look */
}

const json_t *txn_noted(const json_t *records, const char *key) {
        for (size_t i = json_array_size(records); i > 0; i--) {
                const json_t *record = json_array_get(records, i - 1);

                if (streq(json_get_string(record, "type"), "note") && streq(json_get_string(record, "key"), key))
                        return json_object_get(record, "value");
        }

        return NULL;
}

TxnState txn_state_of(const json_t *records) {
        TxnState state = TXN_EMPTY;
        bool committed = false;
        json_t *record;
        size_t i;

        json_array_foreach (records, i, record) {
                const char *type = json_get_string(record, "type");

                if (streq(type, "end"))
                        state = end_state(json_get_string(record, "state"));
                else if (streq(type, "commit")) {
                        committed = true;
                        state = TXN_FORWARD;
                } else if (streq(type, "look"))
                        state = TXN_FORWARD;
                else if (streq(type, "revert-refused"))
                        state = TXN_COMMITTED;
                else if (streq(type, "undo") || streq(type, "revert")) {
                        committed = committed && streq(type, "undo");
                        state = TXN_UNDOING;
                } else if (state == TXN_EMPTY || state == TXN_STUCK)
                        state = committed ? TXN_FORWARD : TXN_RUNNING;
        }

        return state;
}

bool txn_is_looking(const json_t *records) {
        for (size_t i = json_array_size(records); i > 0; i--) {
                const char *type = json_get_string(json_array_get(records, i - 1), "type");

                if (streq(type, "look"))
                        return true;
                if (streq(type, "revert") || streq(type, "revert-refused"))
                        return false;
        }

        return false;
}

/* The newest "failed" or "end" that says why. */
static const json_t *newest_reason(const json_t *records) {
        for (size_t i = json_array_size(records); i > 0; i--) {
                json_t *record = json_array_get(records, i - 1);
                const char *type = json_get_string(record, "type");

                if (json_get_string(record, "why") && (streq(type, "failed") || streq(type, "end") ||
                                                       streq(type, "revert") || streq(type, "revert-refused")))
                        return record;
        }

        return NULL;
}

const char *txn_reason_of(const json_t *records) {
        return json_get_string(newest_reason(records), "why");
}

static bool is_end(const json_t *record) {
        return streq(json_get_string(record, "type"), "end");
}

const char *txn_last_words_of(const json_t *records) {
        for (size_t i = json_array_size(records); i > 0; i--) {
                const json_t *record = json_array_get(records, i - 1);

                if (is_end(record) && json_get_string(record, "why"))
                        return json_get_string(record, "why");
        }
        return NULL;
}

bool txn_is_recorded(const json_t *records, const char *type, const char *step, const char *why) {
        json_t *record;
        size_t i;

        json_array_foreach (records, i, record)
                if (streq(json_get_string(record, "type"), type) && streq(json_get_string(record, "step"), step) &&
                    (!why || same_text(json_get_string(record, "why"), why)))
                        return true;
        return false;
}

bool txn_was_stuck(const json_t *records, const char *why, const char *advice) {
        json_t *record;
        size_t i;

        json_array_foreach (records, i, record)
                if (is_end(record) && same_text(json_get_string(record, "why"), why) &&
                    same_text(json_get_string(record, "advice"), advice))
                        return true;
        return false;
}

bool txn_is_at_end(const json_t *records) {
        return is_end(json_array_get(records, json_array_size(records) - 1));
}

const char *txn_cause_of(const json_t *records) {
        const json_t *newest = newest_reason(records);

        return json_get_string(newest, "cause") ?: json_get_string(newest, "why");
}

const char *txn_advice_of(const json_t *records) {
        if (txn_state_of(records) != TXN_STUCK)
                return NULL;
        for (size_t i = json_array_size(records); i > 0; i--) {
                json_t *record = json_array_get(records, i - 1);

                if (streq(json_get_string(record, "type"), "end"))
                        return json_get_string(record, "advice");
        }
        return NULL;
}
