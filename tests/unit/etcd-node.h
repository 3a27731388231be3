/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Nodes of a real etcd: processes on loopback that a test starts, stops and starts again, with TLS, and with all their
 * files in one folder that is removed at the end (kept where KEEP is set in the environment). */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define MEBIBYTE (1024U * 1024U)

#define CHECK(what)                                                                                                    \
        do {                                                                                                           \
                if (!(what)) {                                                                                         \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                             \
                        exit(EXIT_FAILURE);                                                                            \
                }                                                                                                      \
        } while (false)

typedef struct Node {
        const char *name;
        uint16_t port; /* the peer's is the next */
        pid_t pid;     /* 0: not running */
        char *endpoint, *peer_url, *config;
} Node;

extern const char *etcd_bin, *etcdctl_bin;       /* of the environment's ETCD_BIN and ETCDCTL_BIN */
extern char *ca_file, *key_file, *other_ca_file; /* the first two are the nodes' certificate, its own authority */

/* Makes the folder and the certificates. False where the environment names no etcd or etcdctl. */
bool set_up(void);
char *in_folder(const char *name);
/* Two free ports in a row, below those that connections are made from. */
uint16_t find_ports(void);

void make_node(Node *n);
void write_config(Node *n, const char *cluster, const char *state, bool client_certificates);
void start_node(Node *n);
void stop_node(Node *n, int with);

/* Runs a program, found in PATH, with its output in the log of the folder; it must succeed. */
#define RUN(...) CHECK(wait_for(spawn((char *[]){ __VA_ARGS__, NULL })) == 0)
#define ETCDCTL(...) RUN((char *) etcdctl_bin, __VA_ARGS__)
pid_t spawn(char *const argv[]);
int wait_for(pid_t pid);

void sleep_msec(unsigned msec);
