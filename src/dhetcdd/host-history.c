/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-history.h"

#include <string.h>
#include <sys/stat.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/snapshot.h"

#define MANIFEST_SUFFIX ".json"
#define USEC_PER_DAY (86400 * USEC_PER_SEC)

/* One transaction, and when something was last written of it; CLOCK_REALTIME. */
typedef struct Entry {
        char *txn;
        uint64_t time, job_time;
} Entry;

typedef struct Entries {
        Entry *items;
        size_t n;
} Entries;

static void entries_done(Entries *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->items[i].txn);
        free(e->items);
}

bool txn_is_valid(const char *s) {
        if (strspn(s, "0123456789abcdef") != HISTORY_JOB_DIGITS || s[HISTORY_JOB_DIGITS] != '-')
                return false;
        s += HISTORY_JOB_DIGITS + 1;
        return s[0] >= '1' && s[0] <= '9' && (s[1] == '\0' || (s[1] >= '0' && s[1] <= '9' && s[2] == '\0'));
}

static bool same_job(const char *a, const char *b) {
        return strncmp(a, b, HISTORY_JOB_DIGITS) == 0;
}

/* ---- what is there ---- */

static uint64_t time_of(const char *path) {
        struct stat st;

        if (lstat(path, &st) < 0)
                return 0;
        return (uint64_t) st.st_mtim.tv_sec * USEC_PER_SEC + (uint64_t) st.st_mtim.tv_nsec / 1000;
}

static int note(Entries *e, const char *txn, uint64_t time) {
        Entry *grown;

        for (size_t i = 0; i < e->n; i++)
                if (streq(e->items[i].txn, txn)) {
                        if (e->items[i].time < time)
                                e->items[i].time = time;
                        return 0;
                }

        grown = reallocarray(e->items, e->n + 1, sizeof(Entry));
        if (!grown)
                return -ENOMEM;
        e->items = grown;
        grown[e->n] = (Entry){ .txn = strdup(txn), .time = time };
        if (!grown[e->n].txn)
                return -ENOMEM;
        e->n++;
        return 0;
}

typedef int (*OnName)(const HostHistory *h, const char *name, void *userdata);

/* Every entry of a directory that may not be there. */
static int each_name(const HostHistory *h, const char *path, OnName on_name, void *userdata, char **reterr) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        struct dirent *e;
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : fail(reterr, -errno, "%s cannot be listed: %s", path, strerror(errno));
        while (r >= 0 && (errno = 0, e = readdir(d)))
                r = on_name(h, e->d_name, userdata);
        if (r >= 0 && errno > 0)
                r = -errno;
        return r < 0 ? fail(reterr, r, "%s cannot be listed: %s", path, strerror(-r)) : 0;
}

/* The directory, too: before a host is locked for it a transaction has no log yet. */
static int on_record(const HostHistory *h, const char *name, void *userdata) {
        _cleanup_free_ char *dir = format("%s/%s", h->records, name),
                            *log = format("%s/%s/log.jsonl", h->records, name);
        int r;

        if (!txn_is_valid(name))
                return 0;
        if (!dir || !log)
                return -ENOMEM;
        r = note(userdata, name, time_of(dir));
        return r < 0 ? r : note(userdata, name, time_of(log));
}

/* "TXN.STEP.json" -> "TXN" and "TXN.STEP"; false where it is something else. */
static bool split_manifest(char *name, char **ret_txn) {
        size_t n = strlen(name), suffix = strlen(MANIFEST_SUFFIX);
        char *dot;

        if (n <= suffix || !streq(name + n - suffix, MANIFEST_SUFFIX))
                return false;
        name[n - suffix] = '\0';
        dot = strchr(name, '.');
        if (!dot)
                return false;
        *ret_txn = strndup(name, (size_t) (dot - name));
        return *ret_txn && txn_is_valid(*ret_txn);
}

static int on_manifest(const HostHistory *h, const char *name, void *userdata) {
        _cleanup_free_ char *path = format("%s/snapshots/%s", h->store, name), *copy = strdup(name), *txn = NULL;

        if (!path || !copy)
                return -ENOMEM;
        return split_manifest(copy, &txn) ? note(userdata, txn, time_of(path)) : 0;
}

static int list(const HostHistory *h, Entries *e, char **reterr) {
        _cleanup_free_ char *snapshots = format("%s/snapshots", h->store);
        int r;

        if (!snapshots)
                return -ENOMEM;
        r = each_name(h, h->records, on_record, e, reterr);
        return r < 0 ? r : each_name(h, snapshots, on_manifest, e, reterr);
}

/* ---- what is old ---- */

static int newest_job_first(const void *a, const void *b) {
        const Entry *x = a, *y = b;

        if (x->job_time != y->job_time)
                return x->job_time > y->job_time ? -1 : 1;
        return strcmp(x->txn, y->txn);
}

/* A job is as old as the newest of its transactions. */
static void order_by_job(Entries *e) {
        for (size_t i = 0; i < e->n; i++)
                for (size_t k = 0; k < e->n; k++)
                        if (same_job(e->items[i].txn, e->items[k].txn) && e->items[i].job_time < e->items[k].time)
                                e->items[i].job_time = e->items[k].time;
        if (e->n > 0)
                qsort(e->items, e->n, sizeof(Entry), newest_job_first);
}

int host_history_old(const HostHistory *h, const char *open_job, const HistoryLimits *limits, uint64_t now, char ***ret,
                     char **reterr) {
        _cleanup_(entries_done) Entries e = { .n = 0 };
        _cleanup_strv_ char **old = NULL;
        const char *previous = NULL;
        unsigned jobs = 0;
        int r;

        r = list(h, &e, reterr);
        if (r < 0)
                return r;
        order_by_job(&e);

        for (size_t i = 0; i < e.n; i++) {
                const Entry *x = e.items + i;

                if (open_job && same_job(x->txn, open_job))
                        continue;
                if (!previous || !same_job(x->txn, previous))
                        jobs++;
                previous = x->txn;
                if (jobs <= limits->keep_jobs &&
                    (now < x->job_time || now - x->job_time <= limits->keep_days * USEC_PER_DAY))
                        continue;
                r = strv_append(&old, x->txn);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(old);
        return 0;
}

/* ---- forgetting ---- */

typedef struct Names {
        const char *txn;
        char **names;
} Names;

static int on_own_manifest(const HostHistory *h, const char *name, void *userdata) {
        _cleanup_free_ char *copy = strdup(name), *txn = NULL;
        Names *n = userdata;

        if (!copy)
                return -ENOMEM;
        return split_manifest(copy, &txn) && streq(txn, n->txn) ? strv_append(&n->names, copy) : 0;
}

int host_history_forget(const HostHistory *h, const char *txn, char **reterr) {
        _cleanup_free_ char *snapshots = format("%s/snapshots", h->store), *dir = format("%s/%s", h->records, txn);
        _cleanup_strv_ char **names = NULL;
        Names own = { .txn = txn };
        int r;

        if (!snapshots || !dir)
                return -ENOMEM;
        r = each_name(h, snapshots, on_own_manifest, &own, reterr);
        names = own.names;
        STRV_FOREACH (name, names) {
                if (r < 0)
                        return r;
                r = snapshot_remove(h->store, *name, reterr);
        }
        if (r < 0)
                return r;
        r = remove_tree(dir);
        return r < 0 ? fail(reterr, r, "%s cannot be removed: %s", dir, strerror(-r)) : 0;
}

int host_history_collect(const HostHistory *h, char **reterr) {
        return snapshot_prune(h->store, reterr);
}
