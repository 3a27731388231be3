/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "etcd-node.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

const char *etcd_bin, *etcdctl_bin;
char *ca_file, *key_file, *other_ca_file;

static char folder[] = "/tmp/test-etcd-client-XXXXXX";
static char *log_file;
static Node *nodes[8]; /* those made, to be killed at the end; weak */
static pid_t parent;

char *in_folder(const char *name) {
        return format("%s/%s", folder, name);
}

pid_t spawn(char *const argv[]) {
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid == 0) {
                int fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND, 0600);

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(fd, STDOUT_FILENO);
                dup2(fd, STDERR_FILENO);
                execvp(argv[0], argv);
                _exit(127);
        }
        return pid;
}

int wait_for(pid_t pid) {
        int status;

        CHECK(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void sleep_msec(unsigned msec) {
        nanosleep(&(struct timespec){ .tv_sec = msec / 1000, .tv_nsec = (long) (msec % 1000) * 1000000 }, NULL);
}

void stop_node(Node *n, int with) {
        if (n->pid <= 0)
                return;
        kill(n->pid, with);
        waitpid(n->pid, NULL, 0);
        n->pid = 0;
}

void start_node(Node *n) {
        n->pid = spawn((char *[]){ (char *) etcd_bin, "--config-file", n->config, NULL });
}

static void clean_up(void) {
        if (getpid() != parent)
                return;
        for (size_t i = 0; i < ELEMENTSOF(nodes) && nodes[i]; i++)
                stop_node(nodes[i], SIGKILL);
        if (getenv("KEEP"))
                printf("kept: %s\n", folder);
        else
                (void) !remove_tree(folder);
}

static bool port_is_free(uint16_t port) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = { .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) == 0);
        return bind(fd, (struct sockaddr *) &a, sizeof(a)) == 0;
}

uint16_t find_ports(void) {
        static unsigned at;

        if (at == 0)
                at = 20000 + (unsigned) getpid() * 8 % 12000;
        for (unsigned tries = 0; tries < 4000; tries++) {
                uint16_t port = (uint16_t) at;

                at = at >= 32000 ? 20000 : at + 2;
                if (port_is_free(port) && port_is_free((uint16_t) (port + 1)))
                        return port;
        }
        CHECK(!"free ports");
        return 0;
}

void write_config(Node *n, const char *cluster, const char *state, bool client_certificates) {
        _cleanup_free_ char *data = in_folder(n->name), *text = NULL;

        text = format("name: %s\n"
                      "data-dir: %s\n"
                      "listen-client-urls: %s\n"
                      "advertise-client-urls: %s\n"
                      "listen-peer-urls: %s\n"
                      "initial-advertise-peer-urls: %s\n"
                      "initial-cluster: %s\n"
                      "initial-cluster-state: %s\n"
                      "initial-cluster-token: test\n"
                      "quota-backend-bytes: %u\n"
                      "client-transport-security: { cert-file: %s, key-file: %s%s%s%s }\n"
                      "peer-transport-security: { cert-file: %s, key-file: %s, trusted-ca-file: %s, client-cert-auth: "
                      "true }\n",
                      n->name, data, n->endpoint, n->endpoint, n->peer_url, n->peer_url, cluster, state, 64 * MEBIBYTE,
                      ca_file, key_file, client_certificates ? ", trusted-ca-file: " : "",
                      client_certificates ? ca_file : "", client_certificates ? ", client-cert-auth: true" : "",
                      ca_file, key_file, ca_file);
        CHECK(write_file_durable(n->config, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1) == 0);
}

void make_node(Node *n) {
        _cleanup_free_ char *name = format("%s.yaml", n->name);
        size_t i = 0;

        while (nodes[i])
                i++;
        CHECK(i + 1 < ELEMENTSOF(nodes));
        nodes[i] = n;
        n->port = find_ports();
        n->endpoint = format("https://127.0.0.1:%u", n->port);
        n->peer_url = format("https://127.0.0.1:%u", n->port + 1U);
        n->config = in_folder(name);
}

static void make_certificate(const char *certificate, const char *key) {
        RUN("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/O=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", (char *) key, "-out",
            (char *) certificate);
}

bool set_up(void) {
        _cleanup_free_ char *other_key = NULL;

        etcd_bin = getenv("ETCD_BIN");
        etcdctl_bin = getenv("ETCDCTL_BIN");
        if (!etcd_bin || !etcdctl_bin || access(etcd_bin, X_OK) < 0 || access(etcdctl_bin, X_OK) < 0)
                return false;

        CHECK(mkdtemp(folder));
        parent = getpid();
        atexit(clean_up);
        log_file = in_folder("log");
        ca_file = in_folder("ca.pem");
        key_file = in_folder("key.pem");
        other_ca_file = in_folder("other-ca.pem");
        other_key = in_folder("other-key.pem");
        make_certificate(ca_file, key_file);
        make_certificate(other_ca_file, other_key);
        return true;
}
