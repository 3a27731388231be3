/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "addition.h"

#include <fcntl.h>
#include <poll.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "bus/host-state.h"
#include "host/authorities.h"

#define SECRET_SIZE_MAX 4096U
#define JOB_FILE_SIZE_MAX (256U * 1024U)

/* ---- making ---- */

static char *copy_or_null(const char *s) {
        return s ? strdup(s) : NULL;
}

static int load_rescue(Addition *a, const json_t *options) {
        const char *job = json_get_string(options, "job"), *snapshot = json_get_string(options, "from-snapshot");

        a->rescue = (Rescue){
                .confirmed = json_is_true(json_object_get(options, "yes-i-lose-quorum")),
                .job = copy_or_null(job),
                .snapshot = copy_or_null(snapshot),
        };
        return (job && !a->rescue.job) || (snapshot && !a->rescue.snapshot) ? -ENOMEM : 0;
}

static int load_options(Addition *a, const json_t *options) {
        a->wait = !json_is_false(json_object_get(options, "wait"));
        a->restart_always = streq(a->config->restart, "always");
        if (json_object_get(options, "restart"))
                a->restart_always = streq(json_get_string(options, "restart"), "always");
        a->move_data_aside = a->config->move_data_aside || json_is_true(json_object_get(options, "move-data-aside"));
        a->force = json_is_true(json_object_get(options, "force"));
        a->keep = streq(json_get_string(options, "policy"), "keep");
        a->require_odd = a->config->require_odd || json_is_true(json_object_get(options, "require-odd"));
        a->wait_timeout =
                (uint64_t) json_get_integer(options, "wait-timeout", (json_int_t) a->config->wait_timeout_usec);
        a->deadline = (uint64_t) json_get_integer(options, "deadline", 0);
        return load_rescue(a, options);
}

static int load_nodes(Addition *a, const json_t *nodes, const char *from, char **reterr) {
        json_t *node;
        size_t i;
        int r;

        json_array_foreach ((json_t *) nodes, i, node) {
                if (!json_is_string(node) || address_check(json_string_value(node)) < 0)
                        return fail(reterr, -EBADMSG, "%s: an entry of \"nodes\" is not an address", from);
                r = strv_append(&a->nodes, json_string_value(node));
                if (r < 0)
                        return r;
        }
        return 0;
}
static int load_job(Addition *a, unsigned number, char **reterr) {
        _cleanup_free_ char *path = format("%s/%s/job.json", DHETCD_JOBS_DIR, a->job), *text = NULL;
        _cleanup_json_ json_t *job = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, JOB_FILE_SIZE_MAX, false, &text, NULL);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        job = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        a->kind = job_kind_from_string(json_get_string(job, "kind"));
        if (a->kind < 0)
                return fail(reterr, -EBADMSG, "%s: the job's kind is not known to this version", path);

        r = load_nodes(a, json_object_get(job, "nodes"), path, reterr);
        if (r < 0)
                return r;
        if (number < 1 || number > strv_length(a->nodes))
                return fail(reterr, -EBADMSG, "%s: the job has no node number %u", path, number);

        a->index = number - 1;
        return load_options(a, json_object_get(job, "options"));
}

static int load_config(Addition *a, char **reterr) {
        _cleanup_strv_ char **warnings = NULL;
        int r;

        r = config_load(NULL, &a->config, &warnings, reterr);
        if (r < 0)
                return r;
        STRV_FOREACH (w, warnings)
                addition_event(a, EVENT_WARNING, LOG_WARNING, NULL, "%s", *w);
        return 0;
}

int addition_load(const char *txn, int cancel_fd, Addition **ret, char **reterr) {
        _cleanup_(addition_freep) Addition *a = calloc(1, sizeof(Addition));
        char job[9];
        unsigned number;
        int r, end = 0;

        if (!a)
                return -ENOMEM;
        a->cancel_fd = cancel_fd;

        if (sscanf(txn, "%8[0-9a-f]-%2u%n", job, &number, &end) != 2 || txn[end] != '\0' || strlen(job) != 8)
                return fail(reterr, -EINVAL, "'%s' is not the name of a transaction (JOB-NUMBER)", txn);
        a->job = strdup(job);
        a->txn = strdup(txn);
        a->dir = format("%s/%s/%u", DHETCD_JOBS_DIR, job, number);
        if (!a->job || !a->txn || !a->dir)
                return -ENOMEM;

        r = load_config(a, reterr);
        if (r < 0)
                return r;
        r = load_job(a, number, reterr);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(a);
        return 0;
}

int addition_new_look(const json_t *request, const char *dir, int cancel_fd, Addition **ret, char **reterr) {
        _cleanup_(addition_freep) Addition *a = calloc(1, sizeof(Addition));
        int r;

        if (!a)
                return -ENOMEM;
        a->cancel_fd = cancel_fd;
        a->warnings = json_array();
        a->txn = strdup("look");
        a->dir = strdup(dir);
        if (!a->warnings || !a->txn || !a->dir)
                return -ENOMEM;
        r = load_config(a, reterr);
        if (r >= 0)
                r = load_nodes(a, json_object_get(request, "nodes"), "the request", reterr);
        if (r >= 0)
                r = load_options(a, json_object_get(request, "options"));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

static void host_done(Host *h) {
        host_client_free(h->client);
        free(h->address);
        free(h->name);
        free(h->peer_url);
        free(h->client_url);
        free(h->config_digest);
        json_decref(h->records);
}

Addition *addition_free(Addition *a) {
        if (!a)
                return NULL;
        FOREACH_PLANNED (h, a)
                host_done(h);
        free(a->hosts);
        etcd_client_free(a->etcd);
        txn_free(a->transaction);
        strv_free(a->nodes);
        config_free(a->config);
        json_decref(a->warnings);
        free(a->cluster_id);
        free(a->rescue.job);
        free(a->rescue.snapshot);
        free(a->taken_over_from);
        free(a->job);
        free(a->txn);
        free(a->dir);
        free(a);
        return NULL;
}

int addition_add_host(Addition *a, const char *address, const char *name, unsigned number, const char *peer_url,
                      const char *client_url, uint64_t member_id, Host **ret) {
        SshOptions ssh = {
                .user = a->config->ssh_user,
                .identity_file = a->config->ssh_identity_file,
                .known_hosts = a->config->ssh_known_hosts_file,
                .port = a->config->ssh_port,
                .connect_timeout = a->config->ssh_connect_timeout_sec,
        };
        Host *grown = reallocarray(a->hosts, a->n_hosts + 1, sizeof(Host)), *h;
        int r;

        if (!grown)
                return -ENOMEM;
        a->hosts = grown;
        h = a->hosts + a->n_hosts++;

        *h = (Host){
                .address = strdup(address),
                .name = copy_or_null(name),
                .number = number,
                .peer_url = copy_or_null(peer_url),
                .client_url = copy_or_null(client_url),
                .member_id = member_id,
                .member = member_id != 0,
                .new_node = a->kind == JOB_ADD && a->nodes && streq(address, a->nodes[a->index]),
        };
        h->this_host = address_is_local(address) > 0;
        if (!h->address || (name && !h->name) || (peer_url && !h->peer_url) || (client_url && !h->client_url))
                return -ENOMEM;
        r = host_client_new(address, h->this_host, &ssh, a->cancel_fd, &h->client);
        if (r < 0)
                return r;

        *ret = h;
        return 0;
}

void addition_drop_last_host(Addition *a) {
        host_done(a->hosts + --a->n_hosts);
}

int addition_add_this_host(Addition *a, const json_t *facts, Host **ret, char **reterr) {
        json_t *address;
        size_t i;

        json_array_foreach (json_object_get(facts, "addresses"), i, address) {
                const char *s = json_string_value(address);

                if (s && address_check(s) >= 0 && address_is_local(s) > 0)
                        return addition_add_host(a, s, NULL, 0, NULL, NULL, 0, ret);
        }
        return fail(reterr, -EADDRNOTAVAIL, "this host has no address that others could reach");
}

/* ---- the plan on disk ---- */

static json_t *host_to_json(const Host *h) {
        return json_pack("{ss ss* sI ss* ss* sI ss* sb sb}", "address", h->address, "name", h->name, "number",
                         (json_int_t) h->number, "peer_url", h->peer_url, "client_url", h->client_url, "member_id",
                         (json_int_t) (h->member ? h->member_id : 0), "config_digest", h->config_digest, "new",
                         (int) h->new_node, "lost", (int) h->lost);
}

static json_t *plan_to_json(const Addition *a) {
        _cleanup_json_ json_t *plan = NULL;
        json_t *hosts = json_array();

        plan = json_pack("{sI ss ss ss so}", "format", (json_int_t) 1, "txn", a->txn, "node", a->nodes[a->index],
                         "cluster_id", a->cluster_id, "hosts", hosts);
        if (!plan)
                return NULL;
        FOREACH_PLANNED (h, a)
                if (json_array_append_new(hosts, host_to_json(h)) < 0)
                        return NULL;
        return TAKE_PTR(plan);
}

int addition_save_plan(Addition *a, char **reterr) {
        _cleanup_json_ json_t *plan = plan_to_json(a);
        _cleanup_free_ char *path = format("%s/plan.json", a->dir), *text = NULL;
        int r;

        text = plan ? json_to_text(plan, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
        if (!path || !text)
                return -ENOMEM;
        r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

/* What of job.json another host needs. */
static int read_portable_job(const Addition *a, json_t **ret, char **reterr) {
        _cleanup_free_ char *path = format("%s/%s/job.json", DHETCD_JOBS_DIR, a->job), *text = NULL;
        static const char *const keys[] = { "kind", "nodes", "options", "uid", "queued_usec" };
        _cleanup_json_ json_t *all = NULL, *job = json_object();
        int r;

        if (!path || !job)
                return -ENOMEM;
        r = read_file(path, JOB_FILE_SIZE_MAX, false, &text, NULL);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (json_object_get(all, keys[i]) && json_object_set(job, keys[i], json_object_get(all, keys[i])) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(job);
        return 0;
}

int addition_portable_plan(Addition *a, char **ret, char **reterr) {
        _cleanup_free_ char *trust = addition_trust_path(a), *authorities = NULL;
        _cleanup_json_ json_t *job = NULL, *plan = plan_to_json(a), *all = NULL;
        int r;

        if (!trust || !plan)
                return -ENOMEM;
        r = read_portable_job(a, &job, reterr);
        if (r < 0)
                return r;
        r = read_file(trust, PEM_SIZE_MAX, false, &authorities, NULL);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", trust, strerror(-r));

        all = json_pack("{sI ss ss sO sO ss}", "format", (json_int_t) 1, "txn", a->txn, "holder",
                        addition_this_host(a)->address, "job", job, "plan", plan, "authorities", authorities);
        *ret = all ? json_to_text(all, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
        return *ret ? 0 : -ENOMEM;
}

static int host_from_json(Addition *a, const json_t *entry) {
        const char *address = json_get_string(entry, "address");
        const char *digest = json_get_string(entry, "config_digest");
        Host *h;
        int r;

        if (!address || address_check(address) < 0)
                return -EBADMSG;
        r = addition_add_host(a, address, json_get_string(entry, "name"),
                              (unsigned) json_get_integer(entry, "number", 0), json_get_string(entry, "peer_url"),
                              json_get_string(entry, "client_url"), (uint64_t) json_get_integer(entry, "member_id", 0),
                              &h);
        if (r < 0)
                return r;
        h->config_digest = copy_or_null(digest);
        h->lost = json_is_true(json_object_get(entry, "lost"));
        return digest && !h->config_digest ? -ENOMEM : 0;
}

int addition_load_plan(Addition *a, char **reterr) {
        _cleanup_free_ char *path = format("%s/plan.json", a->dir), *text = NULL;
        _cleanup_json_ json_t *plan = NULL;
        json_t *entry;
        size_t i;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, JOB_FILE_SIZE_MAX, false, &text, NULL);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        plan = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (json_get_integer(plan, "format", 0) != 1 || !json_get_string(plan, "cluster_id"))
                return fail(reterr, -EBADMSG, "%s is damaged", path);

        a->cluster_id = strdup(json_get_string(plan, "cluster_id"));
        if (!a->cluster_id)
                return -ENOMEM;
        json_array_foreach (json_object_get(plan, "hosts"), i, entry) {
                r = host_from_json(a, entry);
                if (r < 0)
                        return fail(reterr, r, "%s: host %zu is damaged", path, i + 1);
        }
        return 0;
}

/* ---- asking ---- */

Host *addition_new_node(Addition *a) {
        FOREACH_PLANNED (h, a)
                if (h->new_node)
                        return h;
        return NULL;
}

Host *addition_this_host(Addition *a) {
        FOREACH_PLANNED (h, a)
                if (h->this_host)
                        return h;
        return NULL;
}

Host *addition_find_member(Addition *a, uint64_t member_id) {
        FOREACH_PLANNED (h, a)
                if (member_id != 0 && h->member_id == member_id)
                        return h;
        return NULL;
}

size_t addition_members(const Addition *a) {
        size_t n = 0;

        FOREACH_PLANNED (h, a)
                n += h->member;
        return n;
}

int addition_set_holder(Addition *a, char **reterr) {
        Host *own = addition_this_host(a);

        if (!own)
                return fail(reterr, -ENODEV, "this host is not one of the job's");
        FOREACH_PLANNED (h, a)
                if (host_client_set_holder(h->client, own->address) < 0)
                        return -ENOMEM;
        return 0;
}

bool addition_changes(const Step *step, const Host *h) {
        return (step->changes & CHANGES_THIS_HOST && h->this_host) || (step->changes & CHANGES_MEMBERS && h->member) ||
               (step->changes & CHANGES_NEW && h->new_node);
}

static const char *address_of_number(const Addition *a, unsigned number) {
        FOREACH_PLANNED (h, a)
                if (h->number == number)
                        return h->address;
        return NULL;
}

char **addition_all_nodes(const Addition *a) {
        _cleanup_strv_ char **nodes = NULL;
        size_t later = a->index + 1;

        for (unsigned number = 1;; number++) {
                const char *address = address_of_number(a, number);

                if (!address)
                        address = a->nodes[later] ? a->nodes[later++] : NULL;
                if (!address)
                        return TAKE_PTR(nodes);
                if (strv_append(&nodes, address) < 0)
                        return NULL;
        }
}

char *addition_initial_cluster(const Addition *a, bool with_new) {
        _cleanup_strv_ char **entries = NULL;

        FOREACH_PLANNED (h, a) {
                _cleanup_free_ char *entry = NULL;

                if (h->number == 0 || (h->new_node && !with_new))
                        continue;
                entry = format("%s=%s", h->name, h->peer_url);
                if (!entry || strv_append(&entries, entry) < 0)
                        return NULL;
        }
        return strv_join(entries, ",");
}

/* ---- etcd ---- */

char *addition_trust_path(const Addition *a) {
        return format("%s/trust.pem", a->dir);
}

int addition_trust(Addition *a, const char *pem, char **reterr) {
        _cleanup_free_ char *path = addition_trust_path(a);
        int r;

        if (!path)
                return -ENOMEM;
        r = path_exists(path);
        if (r == 0)
                r = write_file_durable(path, "", 0, 0600, (uid_t) -1, (gid_t) -1);
        if (r < 0)
                return fail(reterr, r, "%s cannot be written: %s", path, strerror(-r));

        r = authorities_add_file(AT_FDCWD, path, pem, reterr);
        if (r > 0 && a->etcd)
                etcd_client_reconnect(a->etcd);
        return r;
}

static int read_client_file(const char *name, char **ret, char **reterr) {
        _cleanup_free_ char *path = format("%s/%s", DH_ROOT_CLIENT_DIR, name), *text = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(path, SECRET_SIZE_MAX, true, &text, NULL);
        if (r < 0)
                return fail(reterr, r,
                            "this host has no usable etcd root client: %s: %s. Start the job on a host that has "
                            "%s, usually a node with an etcd member",
                            path, strerror(-r), DH_ROOT_CLIENT_DIR);
        text[strcspn(text, "\r\n")] = '\0';
        if (*text == '\0')
                return fail(reterr, -EBADMSG, "%s is empty", path);
        *ret = TAKE_PTR(text);
        return 0;
}

static void wipe(char **s) {
        if (*s)
                explicit_bzero(*s, strlen(*s));
        free(*s);
}

int addition_open_etcd(Addition *a, char **reterr) {
        _cleanup_free_ char *user = NULL, *ca = addition_trust_path(a), *found_ca = NULL, *cert = NULL, *key = NULL;
        _cleanup_(wipe) char *password = NULL;
        _cleanup_strv_ char **voters = NULL;
        int r;

        if (!ca)
                return -ENOMEM;
        r = read_client_file("user", &user, reterr);
        if (r >= 0)
                r = read_client_file("password", &password, reterr);
        if (r < 0)
                return r;
        r = client_credentials_find(DH_ROOT_CLIENT_DIR, &found_ca, &cert, &key, reterr);
        if (r < 0)
                return r;

        a->etcd = etcd_client_free(a->etcd);
        r = etcd_client_new(&(EtcdOptions){ .user = user,
                                            .password = password,
                                            .ca_file = ca,
                                            .cert_file = a->config->etcd_cert_file ?: cert,
                                            .key_file = a->config->etcd_key_file ?: key,
                                            .cancel_fd = a->cancel_fd },
                            &a->etcd, reterr);
        if (r < 0)
                return r;

        FOREACH_MEMBER (h, a)
                if (strv_append(&voters, h->client_url) < 0)
                        return -ENOMEM;
        return voters ? etcd_client_set_voters(a->etcd, voters) : 0;
}

/* ---- undoing ---- */

int addition_prove_undone(Addition *a, int (*prove)(Addition *a, char **reterr), char **reterr) {
        int r;

        /* Before the first snapshots nothing can have been changed. */
        if (!txn_recall(a->transaction, "snapshots-taken") || txn_recall(a->transaction, "undo-proved"))
                return 0;
        r = prove(a, reterr);
        return r < 0 ? r : txn_remember(a->transaction, "undo-proved", json_true(), reterr);
}

/* ---- waiting ---- */

/* What cannot be canceled any more must not hold up the shutdown of this host either. */
static bool gives_way(const Addition *a) {
        return a->cancel_fd < 0 && host_goes_down();
}

int addition_sleep(Addition *a, uint64_t usec) {
        struct pollfd p = { .fd = a->cancel_fd, .events = POLLIN };
        int r;

        if (gives_way(a))
                return -ESHUTDOWN;
        r = poll(&p, a->cancel_fd >= 0 ? 1 : 0, (int) (usec / USEC_PER_MSEC));
        if (r < 0 && errno != EINTR)
                return -errno;
        if (r > 0)
                return -ECANCELED;
        return gives_way(a) ? -ESHUTDOWN : 0;
}

void addition_no_cancel(void *world) {
        Addition *a = world;

        if (a->cancel_fd < 0)
                return;
        a->cancel_fd = -1;
        FOREACH_PLANNED (h, a)
                host_client_set_cancel(h->client, -1);
        if (a->etcd)
                etcd_client_set_cancel(a->etcd, -1);
}
