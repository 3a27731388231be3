/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "etcd-internal.h"

#include <inttypes.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "etcd/grpc-transport.h"

#define NAME_MAX_SIZE 256U
#define URL_MAX_SIZE 256U
#define URLS_MAX 16U

static void member_done(EtcdMember *m) {
        free(m->name);
        strv_free(m->peer_urls);
        strv_free(m->client_urls);
}

EtcdMembers *etcd_members_free(EtcdMembers *m) {
        if (!m)
                return NULL;
        for (size_t i = 0; i < m->n; i++)
                member_done(&m->items[i]);
        free(m->items);
        free(m);
        return NULL;
}

const EtcdMember *etcd_members_find_peer(const EtcdMembers *m, const char *peer_url) {
        for (size_t i = 0; i < m->n; i++)
                if (strv_contains(m->items[i].peer_urls, peer_url))
                        return &m->items[i];
        return NULL;
}

const EtcdMember *etcd_members_find_id(const EtcdMembers *m, uint64_t id) {
        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].id == id)
                        return &m->items[i];
        return NULL;
}

static bool url_ok(const char *url) {
        return etcd_text_ok(url, URL_MAX_SIZE) && !strpbrk(url, " ,\"'\\") &&
               (strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0);
}

static int copy_urls(char *const *from, size_t n, char ***ret) {
        if (n > URLS_MAX)
                return -EPROTO;
        for (size_t i = 0; i < n; i++) {
                int r = url_ok(from[i]) ? strv_append(ret, from[i]) : -EPROTO;

                if (r < 0)
                        return r;
        }
        return 0;
}

/* On failure, what was copied so far is in *ret, for member_done(). */
static int copy_member(const Pb__Member *from, EtcdMember *ret) {
        int r;

        *ret = (EtcdMember){ .id = from->id, .learner = from->is_learner };
        if (from->id == 0 || from->n_peer_urls == 0 || !etcd_text_ok(from->name, NAME_MAX_SIZE))
                return -EPROTO;
        ret->name = strdup(from->name);
        if (!ret->name)
                return -ENOMEM;
        r = copy_urls(from->peer_urls, from->n_peer_urls, &ret->peer_urls);
        return r < 0 ? r : copy_urls(from->client_urls, from->n_client_urls, &ret->client_urls);
}

static int copy_members(const Pb__MemberListResponse *from, EtcdMembers **ret) {
        _cleanup_(etcd_members_freep) EtcdMembers *m = NULL;
        int r;

        if (!from->header || from->n_members == 0 || from->n_members > ETCD_MEMBERS_MAX)
                return -EPROTO;

        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->cluster_id = from->header->cluster_id;
        m->items = calloc(from->n_members, sizeof(EtcdMember));
        if (!m->items)
                return -ENOMEM;

        for (size_t i = 0; i < from->n_members; i++) {
                if (etcd_members_find_id(m, from->members[i]->id))
                        return -EPROTO;
                r = copy_member(from->members[i], &m->items[m->n++]);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(m);
        return 0;
}

int etcd_member_list(EtcdClient *c, const char *endpoint, bool linearizable, uint64_t timeout, EtcdMembers **ret,
                     char **reterr) {
        Pb__MemberListRequest request = PB__MEMBER_LIST_REQUEST__INIT;
        _cleanup_message_ Pb__MemberListResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_CLUSTER "MemberList",
                .message = &request.base,
                .login = linearizable ? ETCD_LOGIN_ALWAYS : ETCD_LOGIN_WHEN_REFUSED,
                .deadline = deadline_after(timeout),
        };
        int r;

        request.linearizable = linearizable;
        r = etcd_unary(c, q, &pb__member_list_response__descriptor, &answer, reterr);
        if (r < 0)
                return r;
        r = copy_members(answer, ret);
        if (r == -EPROTO)
                return etcd_malformed(endpoint, q.method, "a member list that makes no sense", reterr);
        return r;
}

int etcd_member_add_learner(EtcdClient *c, const char *endpoint, const char *peer_url, uint64_t timeout,
                            uint64_t *ret_id, char **reterr) {
        Pb__MemberAddRequest request = PB__MEMBER_ADD_REQUEST__INIT;
        _cleanup_message_ Pb__MemberAddResponse *answer = NULL;
        char *urls[] = { (char *) peer_url };
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_CLUSTER "MemberAdd",
                .message = &request.base,
                .changes_cluster = true,
                .deadline = deadline_after(timeout),
        };
        int r;

        request.n_peer_urls = ELEMENTSOF(urls);
        request.peer_urls = urls;
        request.is_learner = true;
        r = etcd_unary(c, q, &pb__member_add_response__descriptor, &answer, reterr);
        /* A member's ID is made of its URL and the time in seconds, and no ID is ever taken twice. */
        if (r == -ENOENT)
                return fail(reterr, -EHOSTDOWN,
                            "MemberAdd at %s: a member with the URL %s was removed within this second; try again in "
                            "the next",
                            endpoint, peer_url);
        if (r < 0)
                return r;

        if (!answer->member || answer->member->id == 0)
                return etcd_malformed(endpoint, q.method, "no member; look at the member list for what was added",
                                      reterr);
        /* An etcd before 3.4 does not know learners, and takes the request as one for a voter. */
        if (!answer->member->is_learner)
                return fail(reterr, -EPROTO,
                            "MemberAdd at %s: etcd added %s as a voter instead of a learner; remove it with 'etcdctl "
                            "member "
                            "remove %" PRIx64 "'",
                            endpoint, peer_url, answer->member->id);
        *ret_id = answer->member->id;
        return 0;
}

int etcd_member_promote(EtcdClient *c, const char *endpoint, uint64_t id, uint64_t timeout, char **reterr) {
        Pb__MemberPromoteRequest request = PB__MEMBER_PROMOTE_REQUEST__INIT;
        _cleanup_message_ Pb__MemberPromoteResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_CLUSTER "MemberPromote",
                .message = &request.base,
                .changes_cluster = true,
                .deadline = deadline_after(timeout),
        };

        request.id = id;
        return etcd_unary(c, q, &pb__member_promote_response__descriptor, &answer, reterr);
}

int etcd_member_remove(EtcdClient *c, const char *endpoint, uint64_t id, uint64_t timeout, char **reterr) {
        Pb__MemberRemoveRequest request = PB__MEMBER_REMOVE_REQUEST__INIT;
        _cleanup_message_ Pb__MemberRemoveResponse *answer = NULL;
        EtcdRequest q = {
                .endpoint = endpoint,
                .method = ETCD_CLUSTER "MemberRemove",
                .message = &request.base,
                .changes_cluster = true,
                .deadline = deadline_after(timeout),
        };

        request.id = id;
        return etcd_unary(c, q, &pb__member_remove_response__descriptor, &answer, reterr);
}
