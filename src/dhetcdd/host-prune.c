/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What old transactions left on this host goes when a host is released, and when the daemon is about to leave. Nobody
 * waits for it: a failure is told, and tried again the next time. */

#include "basic/config.h"
#include "basic/fs.h"
#include "host-history.h"
#include "host-operation.h"

const HostHistory host_history = { .records = DHETCD_HOST_DIR, .store = DHETCD_SNAPSHOT_STORE };

static bool in_use(const Host *h, const char *txn) {
        for (const HostOperation *i = h->operations; i; i = i->next)
                if (i->txn && streq(i->txn, txn))
                        return true;
        return false;
}

static int find_old(char ***ret, char **reterr) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_(host_lock_done) HostLock lock = {};
        int r;

        r = config_load(NULL, &config, NULL, reterr);
        if (r >= 0)
                r = host_lock_read(&lock, reterr);
        if (r < 0)
                return r;
        return host_history_old(&host_history, lock.job, &(HistoryLimits){ config->keep_jobs, config->keep_days },
                                now_real(), ret, reterr);
}

/* How many. */
static int forget_old(Host *h, char *const *old, char **reterr) {
        int n = 0, r = 0;

        STRV_FOREACH (txn, old) {
                if (r < 0)
                        return r;
                if (in_use(h, *txn))
                        continue;
                (void) host_forget_record(h, *txn);
                r = host_history_forget(&host_history, *txn, reterr);
                n++;
        }
        return r < 0 ? r : n;
}

/* What was being written in the transaction's folders when the daemon was killed. */
static int forget_unfinished(const char *txn, char **reterr) {
        _cleanup_free_ char *dir = host_transaction_dir(txn), *package = dir ? format("%s/package", dir) : NULL;
        int r;

        if (!package)
                return -ENOMEM;
        r = remove_unfinished(dir);
        if (r >= 0)
                r = remove_unfinished(package);
        return r < 0 ? fail(reterr, r, "%s cannot be tidied up: %s", dir, strerror(-r)) : 0;
}

void host_prune(Host *h, const char *released) {
        _cleanup_strv_ char **old = NULL;
        _cleanup_free_ char *why = NULL;
        int r;

        r = find_old(&old, &why);
        if (r >= 0)
                r = forget_old(h, old, &why);
        /* The store, too, may have something that was not finished. */
        if (r > 0 || (r == 0 && released))
                r = host_history_collect(&host_history, &why);
        if (r >= 0 && released)
                r = forget_unfinished(released, &why);
        if (r < 0)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .error = r },
                          "What old jobs left on this host could not be removed: %s", error_text(why, r));
}
