/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The facts of this host. What cannot be found out is null or absent: a host may be new, half set up or broken, and
 * says so in its facts instead of failing. */

#include "host-facts.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <systemd/sd-id128.h>

#include "basic/digest.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host-operation.h"
#include "host/authorities.h"
#include "host/config-yaml.h"
#include "host/data-directory.h"
#include "host/data-path.h"

#define PROC_NET_SIZE_MAX (8U * 1024U * 1024U)
#define DIRECTORIES_MAX 256U

static void set(json_t *facts, const char *name, json_t *value) {
        (void) json_object_set_new(facts, name, value ?: json_null());
}

static json_t *string_or_null(const char *s) {
        return (s ? json_string(s) : NULL) ?: json_null();
}

/* ---- the machine ---- */

static void add_identity(json_t *facts) {
        char text[SD_ID128_STRING_MAX], name[256] = "";
        sd_id128_t id;

        (void) gethostname(name, sizeof(name) - 1);
        set(facts, "version", json_string(DHETCD_VERSION));
        set(facts, "hostname", json_string(name));
        set(facts, "machine_id", sd_id128_get_machine(&id) < 0 ? NULL : json_string(sd_id128_to_string(id, text)));
        set(facts, "boot_id", sd_id128_get_boot(&id) < 0 ? NULL : json_string(sd_id128_to_string(id, text)));
        set(facts, "time_usec", json_integer((json_int_t) now_real()));
}

static bool address_text(const struct ifaddrs *i, char ret[static ADDRESS_MAX]) {
        const void *address;

        if (!i->ifa_addr)
                return false;
        if (i->ifa_addr->sa_family == AF_INET)
                address = &((const struct sockaddr_in *) i->ifa_addr)->sin_addr;
        else if (i->ifa_addr->sa_family == AF_INET6)
                address = &((const struct sockaddr_in6 *) i->ifa_addr)->sin6_addr;
        else
                return false;
        return inet_ntop(i->ifa_addr->sa_family, address, ret, ADDRESS_MAX) && address_check(ret) >= 0;
}

static json_t *addresses(void) {
        json_t *list = json_array();
        struct ifaddrs *all;

        if (getifaddrs(&all) < 0)
                return list;
        for (struct ifaddrs *i = all; i; i = i->ifa_next) {
                char text[ADDRESS_MAX];

                if (address_text(i, text))
                        (void) json_array_append_new(list, json_string(text));
        }
        freeifaddrs(all);
        return list;
}

/* "  0: 0100007F:094B 00000000:0000 0A …": local address and port, remote ones, state; 0A is LISTEN. */
static bool listens(const char *table, unsigned port) {
        for (const char *line = strchr(table, '\n'); line; line = strchr(line + 1, '\n')) {
                unsigned local, state;

                if (sscanf(line + 1, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local, &state) == 2 &&
                    local == port && state == 0x0a)
                        return true;
        }
        return false;
}

/* /proc files have no size, so read_file() does not read them. */
static char *read_proc(const char *path) {
        _cleanup_(fclosep) FILE *f = fopen(path, "re");
        _cleanup_free_ char *text = NULL;
        size_t size = 0, n = 0;

        while (f && n < PROC_NET_SIZE_MAX) {
                size_t got;

                if (n + 4096 >= size) {
                        char *grown = realloc(text, size = size * 2 + 16384);

                        if (!grown)
                                return NULL;
                        text = grown;
                }
                got = fread(text + n, 1, 4096, f);
                if (got == 0)
                        break;
                n += got;
        }
        if (text)
                text[n] = '\0';
        return TAKE_PTR(text);
}

static json_t *listening(void) {
        static const unsigned ports[] = { DH_ETCD_CLIENT_PORT, DH_ETCD_PEER_PORT };
        _cleanup_free_ char *four = read_proc("/proc/self/net/tcp"), *six = read_proc("/proc/self/net/tcp6");
        json_t *list = json_array();

        for (size_t i = 0; i < ELEMENTSOF(ports); i++)
                if (listens(four ?: "", ports[i]) || listens(six ?: "", ports[i]))
                        (void) json_array_append_new(list, json_integer(ports[i]));
        return list;
}

/* Of the file system that the path is on, or would be. */
static json_t *free_bytes(const char *path) {
        _cleanup_free_ char *at = strdup(path);
        struct statvfs s;
        char *slash;

        while (at && statvfs(at, &s) < 0) {
                slash = strrchr(at, '/');
                if (errno != ENOENT || !slash || slash == at)
                        return json_null();
                *slash = '\0';
        }
        return at ? json_integer((json_int_t) s.f_bavail * (json_int_t) s.f_frsize) : json_null();
}

/* ---- the vendor's files ---- */

static void add_scripts(json_t *facts) {
        set(facts, "vendor_scripts",
            json_pack("{sb sb sb sb}", "config_generator.sh", access(DH_CONFIG_GENERATOR, X_OK) >= 0,
                      "config_packager.sh", access(DH_CONFIG_PACKAGER, X_OK) >= 0, "enable_dh_etcd_systemd.sh",
                      access(DH_ENABLE_SYSTEMD, X_OK) >= 0, "dh_users", access(DH_USERS_FILE, R_OK) >= 0));
}

static void add_latest(json_t *facts) {
        char link[PATH_MAX];
        ssize_t n = readlink(DH_ETCD_LATEST, link, sizeof(link) - 1);
        const char *base;
        size_t length;

        if (n <= 0) {
                set(facts, "latest", NULL);
                set(facts, "cluster_id", NULL);
                return;
        }
        link[n] = '\0';
        set(facts, "latest", json_string(link));

        length = (size_t) n;
        while (length > 1 && link[length - 1] == '/')
                link[--length] = '\0';
        base = strrchr(link, '/');
        set(facts, "cluster_id", json_string(base ? base + 1 : link));
}

static json_t *package_digest(void) {
        char hex[DIGEST_HEX_SIZE];

        return digest_file(DH_PACKAGE, hex) < 0 ? json_null() : json_string(hex);
}

/* ---- the configuration ---- */

static json_t *tls_facts(const ConfigTls *t) {
        return json_pack("{so so so sb}", "cert_file", string_or_null(t->cert_file), "key_file",
                         string_or_null(t->key_file), "trusted_ca_file", string_or_null(t->trusted_ca_file),
                         "client_cert_auth", (int) t->client_cert_auth);
}

static json_t *config_facts(const ConfigYaml *c) {
        return json_pack("{so so so so so so so so so sb sb so so}", "name", string_or_null(c->name), "data_dir",
                         string_or_null(c->data_dir), "initial_cluster", string_or_null(c->initial_cluster),
                         "initial_cluster_state", string_or_null(c->initial_cluster_state), "initial_cluster_token",
                         string_or_null(c->initial_cluster_token), "listen_peer_urls",
                         string_or_null(c->listen_peer_urls), "listen_client_urls",
                         string_or_null(c->listen_client_urls), "initial_advertise_peer_urls",
                         string_or_null(c->initial_advertise_peer_urls), "advertise_client_urls",
                         string_or_null(c->advertise_client_urls), "strict_reconfig_check",
                         (int) c->strict_reconfig_check, "force_new_cluster", (int) c->force_new_cluster, "client",
                         tls_facts(&c->client), "peer", tls_facts(&c->peer));
}

static void add_authorities_of(char **pem, const char *path) {
        _cleanup_free_ char *text = NULL, *found = NULL, *missing = NULL, *joined = NULL;

        if (!path || read_file(path, PEM_SIZE_MAX, true, &text, NULL) < 0 || authorities_of(text, &found, NULL) < 0 ||
            authorities_missing(*pem, found, &missing, NULL) < 0)
                return;
        joined = format("%s%s", *pem, missing);
        if (joined) {
                free(*pem);
                *pem = TAKE_PTR(joined);
        }
}

static void add_certificate(json_t *list, const char *path) {
        _cleanup_free_ char *text = NULL;
        uint64_t from, until;

        if (!path || read_file(path, PEM_SIZE_MAX, true, &text, NULL) < 0 ||
            certificate_validity(text, &from, &until, NULL) < 0)
                return;
        (void) json_array_append_new(list, json_pack("{ss sI sI}", "file", path, "not_before_usec", (json_int_t) from,
                                                     "not_after_usec", (json_int_t) until));
}

static void add_trust(json_t *facts, const ConfigYaml *c) {
        _cleanup_free_ char *pem = strdup("");
        json_t *certificates = json_array();

        if (c && pem) {
                add_authorities_of(&pem, c->peer.trusted_ca_file);
                add_authorities_of(&pem, c->client.trusted_ca_file);
                add_certificate(certificates, c->peer.cert_file);
                if (!streq(c->peer.cert_file, c->client.cert_file))
                        add_certificate(certificates, c->client.cert_file);
        }
        set(facts, "authorities", json_string(pem ?: ""));
        set(facts, "certificates", certificates);
}

static void add_data_directory(json_t *facts, const ConfigYaml *c) {
        const char *path = c ? c->data_dir : NULL;
        DataDirectoryState state = DATA_DIRECTORY_ABSENT;
        _cleanup_free_ char *real = NULL, *refused = NULL;
        struct stat st = { .st_uid = 0 };
        uint64_t used = 0;

        if (data_path_find_configured(path ?: DH_ETCD_DATA_PARENT "/ID", &real, &refused) >= 0)
                (void) (data_path_check_writable(real, &refused) < 0);
        if (path && (data_directory_state(path, &state, NULL) < 0 || stat(path, &st) < 0))
                st = (struct stat){};
        if (path && data_directory_size(path, &used) < 0)
                used = 0;
        set(facts, "data_directory",
            json_pack("{so so ss sI sI sI so}", "path", string_or_null(path), "refused", string_or_null(refused),
                      "state", data_directory_state_to_string(state), "uid", (json_int_t) st.st_uid, "gid",
                      (json_int_t) st.st_gid, "used_bytes", (json_int_t) used, "free_bytes",
                      free_bytes(path ?: DH_ETCD_DATA_PARENT)));
}

/* The digest of config.yaml with the three keys' values blanked: equal ones differ only in what a running etcd ignores.
 */
static json_t *config_digest(void) {
        static const ConfigEdit blank[] = {
                { "initial-cluster", "-" },
                { "initial-cluster-state", "-" },
                { "initial-cluster-token", "-" },
        };
        _cleanup_free_ char *text = NULL, *blanked = NULL;
        char hex[DIGEST_HEX_SIZE];
        size_t size;

        if (read_file(DH_ETCD_CONFIG, CONFIG_YAML_SIZE_MAX, true, &text, &size) < 0 ||
            config_yaml_edit(text, size, blank, ELEMENTSOF(blank), &blanked, &size, NULL) < 0 ||
            digest_bytes(blanked, size, hex) < 0)
                return json_null();
        return json_string(hex);
}

/* The data directories of all clusters this host ever was in: a new node has no config.yaml yet that would name its
 * own. */
static json_t *data_directories(void) {
        _cleanup_(closedirp) DIR *d = opendir(DH_ETCD_DATA_PARENT);
        json_t *list = json_object();
        struct dirent *e;

        while (d && (e = readdir(d)) && json_object_size(list) < DIRECTORIES_MAX) {
                _cleanup_free_ char *path = format("%s/%s", DH_ETCD_DATA_PARENT, e->d_name);
                DataDirectoryState state;

                if (e->d_name[0] != '.' && path && data_directory_state(path, &state, NULL) >= 0)
                        (void) json_object_set_new(list, e->d_name, json_string(data_directory_state_to_string(state)));
        }
        return list;
}

static void add_config(json_t *facts) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        _cleanup_free_ char *why = NULL;
        struct stat st = {};
        int r;

        r = config_yaml_read(DH_ETCD_CONFIG, &c, &why);
        set(facts, "config", r < 0 ? NULL : config_facts(c));
        set(facts, "config_error", r < 0 && r != -ENOENT ? json_string(why ?: strerror(-r)) : NULL);
        if (stat(DH_ETCD_CONFIG, &st) < 0)
                st = (struct stat){};
        set(facts, "config_mode", json_integer(st.st_mode & 07777));
        set(facts, "config_digest", config_digest());
        add_trust(facts, c);
        add_data_directory(facts, c);
        set(facts, "data_directories", data_directories());
}

/* ---- ourselves ---- */

static json_t *lock_facts(void) {
        _cleanup_(host_lock_done) HostLock lock = {};

        if (host_lock_read(&lock, NULL) <= 0)
                return json_null();
        if (!lock.txn)
                lock.txn = format("%s-1", lock.job);
        return json_pack("{ss ss* ss sI}", "job", lock.job, "txn", lock.txn, "holder", lock.holder, "since_usec",
                         (json_int_t) lock.since_usec);
}

static json_t *unit_facts(const UnitState *u) {
        return json_pack("{ss ss ss ss ss ss sI sI sb}", "load_state", u->load_state, "active_state", u->active_state,
                         "sub_state", u->sub_state, "unit_file_state", u->unit_file_state, "result", u->result,
                         "invocation_id", u->invocation_id, "n_restarts", (json_int_t) u->n_restarts, "main_pid",
                         (json_int_t) u->main_pid, "job", u->job != 0);
}

json_t *host_facts(const UnitState *unit) {
        json_t *facts = json_object();

        if (!facts)
                return NULL;
        add_identity(facts);
        set(facts, "addresses", addresses());
        add_scripts(facts);
        add_latest(facts);
        add_config(facts);
        set(facts, "state_free_bytes", free_bytes(DHETCD_STATE_DIR));
        set(facts, "unit", unit_facts(unit));
        set(facts, "package_digest", package_digest());
        set(facts, "listening", listening());
        set(facts, "lock", lock_facts());
        return facts;
}

const char *host_own_address(char ret[static 256]) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        _cleanup_json_ json_t *all = NULL;
        uint16_t port;

        if (config_yaml_read(DH_ETCD_CONFIG, &c, NULL) >= 0 && c->initial_advertise_peer_urls &&
            address_from_url(c->initial_advertise_peer_urls, ret, &port) >= 0)
                return ret;
        all = addresses();
        if (json_array_size(all) > 0)
                snprintf(ret, 256, "%s", json_string_value(json_array_get(all, 0)));
        else {
                char name[256] = "";

                (void) gethostname(name, sizeof(name) - 1);
                snprintf(ret, 256, "%s", *name ? name : "localhost");
        }
        return ret;
}

/* ---- the method ---- */

static int describe_with_unit(HostOperation *op) {
        _cleanup_json_ json_t *facts = host_facts(&op->unit);
        _cleanup_free_ char *text = facts ? json_to_text(facts, JSON_COMPACT) : NULL;

        if (!text)
                return -ENOMEM;
        return host_operation_answer(op, json_pack("[s]", text));
}

int begin_describe(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, describe_with_unit);
}
