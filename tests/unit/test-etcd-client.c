/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every call of etcd-client.h against a real etcd: TLS, passwords, restarts, a learner, and what goes wrong. Needs the
 * paths of etcd and etcdctl in ETCD_BIN and ETCDCTL_BIN, else it is skipped; loopback only, and nothing outside its own
 * folder. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "etcd-node.h"

#include "basic/digest.h"
#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "etcd/etcd-client.h"

#define EXIT_SKIP 77
#define SEC USEC_PER_SEC
#define PATIENCE (10 * SEC)
#define PASSWORD "correct horse"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEASURE_MEMORY false
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MEASURE_MEMORY false
#endif
#ifndef MEASURE_MEMORY
#define MEASURE_MEMORY true
#endif

/* Runs a call that wants `reterr` as `&why`, and compares its result; prints the text of each expected error once. */
#define CHECK_CALL(call, want)                                                                                         \
        do {                                                                                                           \
                _cleanup_free_ char *why = NULL;                                                                       \
                int _r = (call), _want = (want);                                                                       \
                if (_r != _want) {                                                                                     \
                        fprintf(stderr, "%s:%d: %s gave %d (%s), not %d\n", __FILE__, __LINE__, #call, _r,             \
                                error_text(why, _r), _want);                                                           \
                        exit(EXIT_FAILURE);                                                                            \
                }                                                                                                      \
                CHECK(!why == (_r >= 0));                                                                              \
                CHECK(!why || !strstr(why, PASSWORD));                                                                 \
                if (why)                                                                                               \
                        printf("  as expected: %s\n", why);                                                            \
        } while (false)

#define CONTROL(...) ETCDCTL("--endpoints", first.endpoint, "--cacert", ca_file, __VA_ARGS__)

static Node first = { .name = "etcd-1" }, second = { .name = "etcd-2" };

static EtcdClient *client(const char *user, const char *password) {
        EtcdClient *c;

        CHECK_CALL(etcd_client_new(
                           &(EtcdOptions){ .user = user, .password = password, .ca_file = ca_file, .cancel_fd = -1 },
                           &c, &why),
                   0);
        return c;
}

static int member_count(EtcdClient *c, const char *endpoint, char **reterr) {
        _cleanup_(etcd_members_freep) EtcdMembers *m = NULL;
        int r = etcd_member_list(c, endpoint, true, PATIENCE, &m, reterr);

        return r < 0 ? r : (int) m->n;
}

static int status_of(EtcdClient *c, const char *endpoint, EtcdStatus *ret, char **reterr) {
        _cleanup_(etcd_status_done) EtcdStatus s = {};
        int r = etcd_status(c, endpoint, PATIENCE, &s, reterr);

        if (r < 0)
                return r;
        CHECK(s.cluster_id != 0 && s.member_id != 0 && s.raft_index > 0 && s.raft_term > 0 && s.db_size > 0);
        CHECK(strchr(s.version, '.'));
        if (ret) {
                *ret = s;
                ret->errors = NULL;
        }
        return 0;
}

/* Until it answers as a member with a leader: a real condition, polled against a deadline. */
static void await_ready(EtcdClient *c, const Node *n) {
        uint64_t end = now_boot() + 60 * SEC;

        for (;;) {
                _cleanup_(etcd_status_done) EtcdStatus s = {};
                _cleanup_free_ char *why = NULL;

                if (etcd_status(c, n->endpoint, SEC, &s, &why) >= 0 && s.leader != 0)
                        return;
                if (now_boot() > end)
                        fprintf(stderr, "%s\n", why ?: "no leader");
                CHECK(now_boot() <= end);
                sleep_msec(50);
        }
}

static uint64_t id_of(EtcdClient *c, const Node *n) {
        EtcdStatus s = {};

        CHECK_CALL(status_of(c, n->endpoint, &s, &why), 0);
        return s.member_id;
}

/* The local port of our connection to a port; 0: none. */
static uint16_t connection_to(uint16_t port) {
        for (int fd = 3; fd < 256; fd++) {
                struct sockaddr_in a;
                socklen_t size = sizeof(a);

                if (getpeername(fd, (struct sockaddr *) &a, &size) < 0 || a.sin_family != AF_INET ||
                    ntohs(a.sin_port) != port)
                        continue;
                size = sizeof(a);
                CHECK(getsockname(fd, (struct sockaddr *) &a, &size) == 0);
                return ntohs(a.sin_port);
        }
        return 0;
}

static void test_auth_off(EtcdClient *nobody, EtcdClient *root) {
        printf("authentication off\n");
        CHECK_CALL(member_count(nobody, first.endpoint, &why), 1);
        CHECK_CALL(member_count(root, first.endpoint, &why), 1); /* a user is no hindrance */
        CHECK_CALL(etcd_put_and_read(root, first.endpoint, "a", "b", PATIENCE, &why), 0);
        CHECK_CALL(etcd_is_learner_metric(root, first.endpoint, PATIENCE, &why), 0);
        CHECK_CALL(member_count(nobody, "http://127.0.0.1:1", &why), -EINVAL);
        CHECK_CALL(member_count(nobody, "https://localhost:1", &why), -EINVAL);
}

static void test_auth_on(EtcdClient *nobody, EtcdClient *root) {
        _cleanup_(etcd_client_freep) EtcdClient *wrong = client("root", "wrong"), *stranger = client("stranger", "x"),
                                                *plain = client("plain", PASSWORD);

        printf("authentication on\n");
        CONTROL("user", "add", "root:" PASSWORD);
        CONTROL("user", "grant-role", "root", "root");
        CONTROL("user", "add", "plain:" PASSWORD);
        CONTROL("auth", "enable");

        CHECK_CALL(etcd_put_and_read(root, first.endpoint, "a", "c", PATIENCE, &why), 0); /* notices, and logs in */
        CHECK_CALL(etcd_put_and_read(nobody, first.endpoint, "a", "d", PATIENCE, &why), -EACCES);
        CHECK_CALL(etcd_put_and_read(wrong, first.endpoint, "a", "d", PATIENCE, &why), -EACCES);
        CHECK_CALL(etcd_put_and_read(stranger, first.endpoint, "a", "d", PATIENCE, &why), -EACCES);
        CHECK_CALL(etcd_put_and_read(plain, first.endpoint, "a", "d", PATIENCE, &why), -EACCES);
        CHECK_CALL(status_of(root, first.endpoint, NULL, &why), 0);
        CHECK_CALL(status_of(plain, first.endpoint, NULL, &why), 0);
        CHECK_CALL(etcd_is_learner_metric(nobody, first.endpoint, PATIENCE, &why), 0);
}

static void test_calls(EtcdClient *root) {
        EtcdHash one = {}, two = {};
        char *alarms = NULL;
        uint16_t port;

        printf("calls, on one connection\n");
        port = connection_to(first.port);
        CHECK(port != 0);
        CHECK_CALL(etcd_alarms(root, first.endpoint, PATIENCE, &alarms, &why), 0);
        CHECK(!alarms);
        CHECK_CALL(etcd_hash_kv(root, first.endpoint, 0, PATIENCE, &one, &why), 0);
        CHECK(one.hash != 0 && one.revision > 0);
        CHECK_CALL(etcd_put_and_read(root, first.endpoint, "empty", "", PATIENCE, &why), 0);
        CHECK_CALL(etcd_hash_kv(root, first.endpoint, one.revision, PATIENCE, &two, &why), 0);
        CHECK(two.hash == one.hash && two.revision == one.revision + 1);
        CHECK_CALL(etcd_hash_kv(root, first.endpoint, 1000000, PATIENCE, &two, &why), -EREMOTEIO);
        CHECK_CALL(etcd_delete(root, first.endpoint, "empty", PATIENCE, &why), 0);
        CHECK_CALL(etcd_delete(root, first.endpoint, "empty", PATIENCE, &why), 0);
        for (unsigned i = 0; i < 200; i++) {
                CHECK_CALL(status_of(root, first.endpoint, NULL, &why), 0);
                CHECK_CALL(etcd_put_and_read(root, first.endpoint, "a", "b", PATIENCE, &why), 0);
        }
        CHECK_CALL(etcd_is_learner_metric(root, first.endpoint, PATIENCE, &why), 0);
        CHECK(connection_to(first.port) == port);
}

static void test_members(EtcdClient *root) {
        _cleanup_(etcd_members_freep) EtcdMembers *m = NULL;
        uint64_t id = 0, other;

        printf("members\n");
        CHECK_CALL(etcd_member_promote(root, first.endpoint, 4711, PATIENCE, &why), -ENOENT);
        CHECK_CALL(etcd_member_remove(root, first.endpoint, 4711, PATIENCE, &why), -ENOENT);
        CHECK_CALL(etcd_member_promote(root, first.endpoint, id_of(root, &first), PATIENCE, &why), -EREMOTEIO);
        CHECK_CALL(etcd_member_add_learner(root, first.endpoint, second.peer_url, PATIENCE, &id, &why), 0);
        CHECK_CALL(etcd_member_add_learner(root, first.endpoint, second.peer_url, PATIENCE, &other, &why), -EEXIST);
        CHECK_CALL(etcd_member_add_learner(root, first.endpoint, "https://127.0.0.1:19999", PATIENCE, &other, &why),
                   -EBUSY);
        CHECK_CALL(etcd_member_add_learner(root, first.endpoint, "nonsense", PATIENCE, &other, &why), -EREMOTEIO);

        CHECK_CALL(etcd_member_list(root, first.endpoint, true, PATIENCE, &m, &why), 0);
        CHECK(m->n == 2 && m->cluster_id != 0);
        CHECK(etcd_members_find_peer(m, second.peer_url) == etcd_members_find_id(m, id));
        CHECK(etcd_members_find_id(m, id)->learner && streq(etcd_members_find_id(m, id)->name, ""));
        CHECK(!etcd_members_find_id(m, id)->client_urls);
        CHECK(streq(etcd_members_find_peer(m, first.peer_url)->name, first.name));
        CHECK(!etcd_members_find_peer(m, first.peer_url)->learner);
        CHECK(!etcd_members_find_peer(m, "https://127.0.0.1:1") && !etcd_members_find_id(m, 1));

        CHECK_CALL(etcd_member_remove(root, first.endpoint, id, PATIENCE, &why), 0);
        CHECK_CALL(member_count(root, first.endpoint, &why), 1);
}

/* A learner that runs: it takes a voter's token, gives none itself, and is promoted when it has caught up. */
static void test_learner(EtcdClient *root) {
        _cleanup_(etcd_client_freep) EtcdClient *lone = client("root", PASSWORD), *fresh = client("root", PASSWORD);
        _cleanup_free_ char *cluster = format("%s=%s,%s=%s", first.name, first.peer_url, second.name, second.peer_url);
        _cleanup_(etcd_members_freep) EtcdMembers *m = NULL;
        uint64_t id = 0, end = now_boot() + 60 * SEC;
        EtcdStatus s = {};
        int r;

        printf("a learner\n");
        /* Just removed: refused for the rest of the second. */
        while ((r = etcd_member_add_learner(root, first.endpoint, second.peer_url, PATIENCE, &id, NULL)) ==
               -EHOSTDOWN) {
                CHECK(now_boot() <= end);
                sleep_msec(100);
        }
        CHECK(r == 0);
        write_config(&second, cluster, "existing", false);
        start_node(&second);
        await_ready(root, &second);
        CHECK_CALL(etcd_is_learner_metric(root, second.endpoint, PATIENCE, &why), 1);
        CHECK_CALL(status_of(root, second.endpoint, &s, &why), 0);
        CHECK(s.learner && s.member_id == id && s.leader == id_of(root, &first));

        CHECK_CALL(member_count(lone, second.endpoint, &why), -EOPNOTSUPP);
        CHECK_CALL(etcd_put_and_read(lone, second.endpoint, "a", "b", PATIENCE, &why), -EOPNOTSUPP);
        CHECK(etcd_client_set_voters(fresh, (char *[]){ second.endpoint, first.endpoint, NULL }) == 0);
        CHECK_CALL(status_of(fresh, second.endpoint, NULL, &why), 0);
        {
                EtcdHash h = {};
                _cleanup_free_ char *why = NULL;

                r = etcd_hash_kv(fresh, second.endpoint, 0, PATIENCE, &h, &why); /* with a voter's token */
                printf("  HashKV at a learner: %d %s\n", r, why ?: "");
                CHECK(r == 0 || (r == -EOPNOTSUPP && !strstr(why, "Authenticate")));
        }
        CHECK_CALL(etcd_move_leader(root, first.endpoint, id, PATIENCE, &why), -EREMOTEIO);

        kill(second.pid, SIGSTOP);
        for (unsigned i = 0; i < 1200; i++)
                CHECK_CALL(etcd_delete(root, first.endpoint, "nothing", PATIENCE, &why), 0);
        for (unsigned i = 0; i < 1200; i++)
                CHECK_CALL(etcd_put_and_read(root, first.endpoint, "a", "b", PATIENCE, &why), 0);
        CHECK_CALL(etcd_member_promote(root, first.endpoint, id, PATIENCE, &why), -EAGAIN);
        kill(second.pid, SIGCONT);

        while ((r = etcd_member_promote(root, first.endpoint, id, PATIENCE, NULL)) == -EAGAIN) {
                CHECK(now_boot() <= end);
                sleep_msec(50);
        }
        CHECK(r == 0);
        /* The new voter learns of its promotion a moment after the leader answered. */
        while (etcd_is_learner_metric(root, second.endpoint, PATIENCE, NULL) != 0) {
                CHECK(now_boot() <= end);
                sleep_msec(20);
        }
        CHECK_CALL(etcd_put_and_read(root, second.endpoint, "a", "two", PATIENCE, &why), 0);
        CHECK_CALL(etcd_is_learner_metric(root, second.endpoint, PATIENCE, &why), 0);
        CHECK_CALL(etcd_member_list(root, second.endpoint, true, PATIENCE, &m, &why), 0);
        CHECK(!etcd_members_find_id(m, id)->learner && streq(etcd_members_find_id(m, id)->name, second.name));
        CHECK(streq(etcd_members_find_id(m, id)->client_urls[0], second.endpoint));
}

static void test_two_voters(EtcdClient *root) {
        uint64_t mine = id_of(root, &first), id = id_of(root, &second), end = now_boot() + 60 * SEC;
        EtcdStatus s = {};
        int r;

        printf("two voters\n");
        CHECK_CALL(etcd_move_leader(root, second.endpoint, mine, PATIENCE, &why), -EREMOTEIO);
        CHECK_CALL(etcd_move_leader(root, first.endpoint, id, PATIENCE, &why), 0);
        CHECK_CALL(status_of(root, second.endpoint, &s, &why), 0);
        CHECK(s.leader == id);

        /* Without the other there is no quorum. */
        kill(second.pid, SIGSTOP);
        CHECK_CALL(etcd_put_and_read(root, first.endpoint, "a", "c", SEC, &why), -ETIMEDOUT);
        CHECK_CALL(status_of(root, first.endpoint, NULL, &why), 0);
        kill(second.pid, SIGCONT);
        await_ready(root, &first);

        /* Removing waits for a cluster that is healthy for 5 s. */
        while ((r = etcd_member_remove(root, first.endpoint, id, PATIENCE, NULL)) == -EHOSTDOWN || r == -ETIMEDOUT) {
                CHECK(now_boot() <= end);
                sleep_msec(200);
        }
        CHECK(r == 0);
        stop_node(&second, SIGKILL);
        /* The one that is left elects itself. */
        while ((r = etcd_put_and_read(root, first.endpoint, "a", "one", PATIENCE, NULL)) == -EHOSTDOWN ||
               r == -ETIMEDOUT) {
                CHECK(now_boot() <= end);
                sleep_msec(50);
        }
        CHECK(r == 0);
        CHECK_CALL(member_count(root, first.endpoint, &why), 1);
}

static void fill_database(EtcdClient *c, unsigned from, unsigned to) {
        _cleanup_free_ char *value = malloc(MEBIBYTE);

        for (unsigned i = from; i < to; i++) {
                char key[32];

                for (size_t at = 0; at < MEBIBYTE - 1; at++)
                        value[at] = (char) ('a' + (at * 2654435761U + i) % 26);
                value[MEBIBYTE - 1] = '\0';
                snprintf(key, sizeof(key), "big/%u", i);
                CHECK_CALL(etcd_put_and_read(c, first.endpoint, key, value, PATIENCE, &why), 0);
        }
}

typedef struct Seen {
        uint64_t max; /* 0: no limit */
        uint64_t done, remaining;
        unsigned calls;
        int cancel_fd; /* made readable after half */
} Seen;

static int on_progress(uint64_t done, uint64_t remaining, void *userdata) {
        Seen *s = userdata;

        CHECK(done >= s->done);
        s->done = done;
        s->remaining = remaining;
        s->calls++;
        if (s->cancel_fd > 0 && done > remaining)
                CHECK(write(s->cancel_fd, "x", 1) == 1);
        return s->max > 0 && done > s->max ? -EFBIG : 0;
}

static long peak_kib(void) {
        struct rusage u;

        CHECK(getrusage(RUSAGE_SELF, &u) == 0);
        return u.ru_maxrss;
}

static void check_snapshot_file(char *path, const EtcdSnapshot *s) {
        _cleanup_free_ char *data = NULL;
        char hex[DIGEST_HEX_SIZE];
        struct stat st;
        size_t size;

        CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && (uint64_t) st.st_size == s->bytes);
        CHECK(read_file(path, 256 * MEBIBYTE, false, &data, &size) == 0);
        CHECK(digest_bytes(data, size - DIGEST_SIZE, hex) == 0 && streq(hex, s->sha256));
        hex_encode((uint8_t *) data + size - DIGEST_SIZE, DIGEST_SIZE, hex);
        CHECK(streq(hex, s->sha256));
        ETCDCTL("snapshot", "status", path);
}

static void test_snapshot(EtcdClient *root) {
        _cleanup_free_ char *saves = in_folder("saves"), *path = in_folder("saves/snapshot"),
                            *nowhere = in_folder("no/snapshot");
        EtcdSnapshot s = {};
        Seen seen = {};
        int fds[2];
        long before;

        printf("a snapshot\n");
        CHECK(mkdir(saves, 0700) == 0);
        fill_database(root, 0, 24);

        before = peak_kib();
        CHECK_CALL(etcd_snapshot(root, first.endpoint, path, PATIENCE, on_progress, &seen, &s, &why), 0);
        printf("  %" PRIu64 " bytes in %u messages; memory grew by %ld KiB\n", s.bytes, seen.calls,
               peak_kib() - before);
        CHECK(s.bytes > 20 * MEBIBYTE && seen.done == s.bytes && seen.calls > 10 && seen.remaining == 0);
        CHECK(!MEASURE_MEMORY || peak_kib() - before < 4096);
        check_snapshot_file(path, &s);

        seen = (Seen){ .max = MEBIBYTE };
        CHECK_CALL(etcd_snapshot(root, first.endpoint, path, PATIENCE, on_progress, &seen, &s, &why), -EFBIG);
        check_snapshot_file(path, &s); /* the old one */
        CHECK_CALL(etcd_snapshot(root, first.endpoint, nowhere, PATIENCE, NULL, NULL, &s, &why), -ENOENT);
        CHECK(unlink(path) == 0);
        CHECK(pipe2(fds, O_CLOEXEC) == 0);
        etcd_client_set_cancel(root, fds[0]);
        seen = (Seen){ .cancel_fd = fds[1] };
        CHECK_CALL(etcd_snapshot(root, first.endpoint, path, PATIENCE, on_progress, &seen, &s, &why), -ECANCELED);
        CHECK_CALL(member_count(root, first.endpoint, &why), -ECANCELED);
        etcd_client_set_cancel(root, -1);
        close(fds[0]);
        close(fds[1]);
        CHECK(dir_is_empty(saves) > 0);
        CHECK_CALL(etcd_snapshot(root, first.endpoint, path, PATIENCE, NULL, NULL, &s, &why), 0);
}

static void test_restart(EtcdClient *root) {
        _cleanup_(etcd_client_freep) EtcdClient *nobody = client(NULL, NULL);

        printf("a restart\n");
        stop_node(&first, SIGTERM);
        CHECK_CALL(member_count(root, first.endpoint, &why), -ECONNREFUSED);
        start_node(&first);
        await_ready(nobody, &first);
        CHECK_CALL(member_count(root, first.endpoint, &why), 1); /* its token died with the server */
        CHECK_CALL(member_count(root, first.endpoint, &why), 1);
}

static void test_certificates(EtcdClient *root) {
        _cleanup_(etcd_client_freep) EtcdClient *c = NULL, *d = NULL, *with = NULL;
        _cleanup_free_ char *cluster = format("%s=%s", first.name, first.peer_url), *missing = in_folder("missing");
        EtcdOptions o = { .user = "root", .password = PASSWORD, .ca_file = other_ca_file, .cancel_fd = -1 };

        printf("certificates\n");
        CHECK_CALL(etcd_client_new(&o, &c, &why), 0);
        CHECK_CALL(member_count(c, first.endpoint, &why), -EKEYREJECTED);
        o.ca_file = missing;
        CHECK_CALL(etcd_client_new(&o, &d, &why), 0);
        CHECK_CALL(member_count(d, first.endpoint, &why), -EKEYREJECTED);

        /* The file is read again. */
        RUN("cp", ca_file, missing);
        etcd_client_reconnect(d);
        CHECK_CALL(member_count(d, first.endpoint, &why), 1);

        stop_node(&first, SIGTERM);
        write_config(&first, cluster, "new", true);
        start_node(&first);
        o = (EtcdOptions){ .user = "root",
                           .password = PASSWORD,
                           .ca_file = ca_file,
                           .cert_file = ca_file,
                           .key_file = key_file,
                           .cancel_fd = -1 };
        CHECK_CALL(etcd_client_new(&o, &with, &why), 0);
        await_ready(with, &first);
        CHECK_CALL(member_count(with, first.endpoint, &why), 1);
        CHECK_CALL(member_count(root, first.endpoint, &why), -EKEYREJECTED);
        for (unsigned i = 0; i < 50; i++)
                CHECK(member_count(root, first.endpoint, NULL) == -EKEYREJECTED);

        stop_node(&first, SIGTERM);
        write_config(&first, cluster, "new", false);
        start_node(&first);
        await_ready(root, &first);
}

static void test_deadline_and_cancel(EtcdClient *root) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        uint16_t port = find_ports();
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_free_ char *silent = format("https://127.0.0.1:%u", port);
        EtcdStatus s = {};
        uint64_t start;

        printf("deadline and cancellation\n");
        CHECK(bind(fd, (struct sockaddr *) &a, sizeof(a)) == 0 && listen(fd, 8) == 0);
        start = now_boot();
        CHECK_CALL(etcd_status(root, silent, SEC / 2, &s, &why), -ETIMEDOUT);
        CHECK(now_boot() - start >= SEC / 2 && now_boot() - start < 2 * SEC);
        CHECK_CALL(etcd_status(root, first.endpoint, 0, &s, &why), -ETIMEDOUT);

        CHECK(timerfd_settime(timer, 0, &(struct itimerspec){ .it_value.tv_nsec = 200000000 }, NULL) == 0);
        etcd_client_set_cancel(root, timer);
        start = now_boot();
        CHECK_CALL(etcd_status(root, silent, 30 * SEC, &s, &why), -ECANCELED);
        CHECK(now_boot() - start >= SEC / 10 && now_boot() - start < 2 * SEC);
        CHECK_CALL(member_count(root, first.endpoint, &why), -ECANCELED);
        etcd_client_set_cancel(root, -1);
        CHECK_CALL(member_count(root, first.endpoint, &why), 1);
}

static void test_full_database(EtcdClient *root) {
        _cleanup_free_ char *alarms = NULL, *value = malloc(MEBIBYTE),
                            *want = format("NOSPACE at %" PRIx64, id_of(root, &first));
        _cleanup_(etcd_status_done) EtcdStatus s = {};
        int r = 0;

        printf("a full database\n");
        memset(value, 'x', MEBIBYTE - 1);
        value[MEBIBYTE - 1] = '\0';
        for (unsigned i = 0; i < 100 && r == 0; i++)
                r = etcd_put_and_read(root, first.endpoint, "filler", value, PATIENCE, NULL);
        CHECK(r == -EREMOTEIO);
        CHECK_CALL(etcd_put_and_read(root, first.endpoint, "filler", value, PATIENCE, &why), -EREMOTEIO);
        CHECK_CALL(etcd_alarms(root, first.endpoint, PATIENCE, &alarms, &why), 1);
        CHECK(streq(alarms, want));
        CHECK_CALL(etcd_status(root, first.endpoint, PATIENCE, &s, &why), 0);
        CHECK(s.errors && strstr(s.errors, "NOSPACE"));
        printf("  %s; status says: %s\n", alarms, s.errors);
}

int main(void) {
        _cleanup_(etcd_client_freep) EtcdClient *nobody = NULL, *root = NULL;
        _cleanup_free_ char *cluster = NULL;

        setlinebuf(stdout);
        if (!set_up()) {
                printf("skipped: ETCD_BIN and ETCDCTL_BIN do not name etcd and etcdctl\n");
                return EXIT_SKIP;
        }

        make_node(&first);
        make_node(&second);
        nobody = client(NULL, NULL);
        root = client("root", PASSWORD);
        cluster = format("%s=%s", first.name, first.peer_url);
        write_config(&first, cluster, "new", false);
        start_node(&first);
        await_ready(nobody, &first);

        test_auth_off(nobody, root);
        test_auth_on(nobody, root);
        test_calls(root);
        test_members(root);
        test_learner(root);
        test_two_voters(root);
        test_snapshot(root);
        test_restart(root);
        test_certificates(root);
        test_deadline_and_cancel(root);
        test_full_database(root);

        printf("all well\n");
        return EXIT_SUCCESS;
}
