/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/error.h"
#include "rescue.h"

/* One look: 1 yes, 0 no (*reterr says why), -ECANCELED. */
static int is_alone(Addition *a, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *members = NULL;
        const Host *own = addition_this_host(a);
        _cleanup_free_ char *alarms = NULL;
        int r;

        r = etcd_member_list(a->etcd, own->client_url, /* linearizable= */ true, ETCD_TIMEOUT, &members, reterr);
        if (r >= 0) /* goes through raft in every version; the list does not in 3.4 */
                r = etcd_alarms(a->etcd, own->client_url, ETCD_TIMEOUT, &alarms, reterr);
        if (r < 0)
                return r == -ECANCELED ? r : 0;
        if (members->n == 1 && !members->items[0].learner && strv_contains(members->items[0].peer_urls, own->peer_url))
                return 1;
        (void) fail(reterr, -EUCLEAN, "%s: the member list has %zu members, not this one alone", own->address,
                    members->n);
        return 0;
}

int rescue_wait_alone(Addition *a, uint64_t timeout, char **reterr) {
        uint64_t deadline = now_boot() + timeout;

        for (;;) {
                _cleanup_free_ char *why = NULL;
                int r = is_alone(a, &why);

                if (r > 0)
                        return 0;
                if (r == 0 && now_boot() >= deadline)
                        r = -ETIMEDOUT;
                if (r < 0)
                        return fail(reterr, r, "%s", error_text(why, r));
                r = addition_sleep(a, POLL_INTERVAL);
                if (r < 0)
                        return r;
        }
}
