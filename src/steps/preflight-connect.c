/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A firewall between two nodes is found before anything is changed: each pair of members to be, of which one is new,
 * tries the other's peer port, in both directions; and this host, which asks etcd, the new nodes' client port. */

#include "basic/error.h"
#include "preflight.h"

#define REFUSED "refused"
#define CONNECTED "connected"

static bool is_to_add(const Addition *a, const char *address) {
        for (size_t i = a->index; a->nodes[i]; i++)
                if (streq(a->nodes[i], address))
                        return true;
        return false;
}

static int append_url(char ***urls, const char *address, uint16_t port) {
        _cleanup_free_ char *url = address_url(address, port);

        return url ? strv_append(urls, url) : -ENOMEM;
}

/* What `h` must be able to reach; *ret NULL: nothing. */
static int urls_of(const Addition *a, const Host *h, char ***ret) {
        bool added = is_to_add(a, h->address);
        _cleanup_strv_ char **urls = NULL;
        int r = 0;

        for (size_t i = a->index; a->nodes[i] && r >= 0; i++) {
                if (streq(a->nodes[i], h->address))
                        continue;
                if (added || h->member)
                        r = append_url(&urls, a->nodes[i], DH_ETCD_PEER_PORT);
                if (r >= 0 && h->this_host)
                        r = append_url(&urls, a->nodes[i], DH_ETCD_CLIENT_PORT);
        }
        FOREACH_MEMBER (m, a)
                if (added && r >= 0)
                        r = strv_append(&urls, m->peer_url);
        *ret = TAKE_PTR(urls);
        return r;
}

/* Nobody listens yet on a new node, whose kernel then says so; a member listens. */
static bool is_reached(const Addition *a, const char *address, const char *word) {
        return streq(word, CONNECTED) || (streq(word, REFUSED) && is_to_add(a, address));
}

int preflight_connect(const Addition *a, const Host *h, char **reterr) {
        _cleanup_strv_ char **urls = NULL, **words = NULL;
        int r;

        r = urls_of(a, h, &urls);
        if (r < 0 || !urls)
                return r;
        r = host_try_connect(h->client, urls, CALL_TIMEOUT, &words, reterr);
        if (r < 0)
                return r;
        if (strv_length(words) != strv_length(urls))
                return fail(reterr, -EPROTO, "%s was asked to reach %zu addresses, and answers for %zu", h->address,
                            strv_length(urls), strv_length(words));
        for (size_t i = 0; urls[i]; i++) {
                char address[ADDRESS_MAX];
                uint16_t port;

                r = address_from_url(urls[i], address, &port);
                if (r < 0)
                        return r;
                if (!is_reached(a, address, words[i]))
                        return fail(reterr, -EHOSTUNREACH,
                                    "%s: port %u cannot be reached from %s (%s), so etcd could not either. Open it in "
                                    "the firewalls between the two; \"nft list ruleset\" shows a host's own",
                                    address, port, h->address, words[i]);
        }
        return 0;
}
