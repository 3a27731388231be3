/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd trust: shows a host's ssh key and pins it in the known_hosts file that jobs use. Nothing is accepted that
 * nobody has looked at, and never a key other than the one that is known. Unlike every other verb it works itself, as
 * root: dhetcdd has no network. */

#include <fcntl.h>
#include <libgen.h>
#include <sys/file.h>

#include "basic/config.h"
#include "basic/error.h"
#include "basic/event.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/known-hosts.h"
#include "cli.h"
#include "program.h"

#define GLOBAL_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts"
#define KNOWN_HOSTS_SIZE_MAX (1024U * 1024U)
#define SCAN_TIMEOUT_USEC (20 * USEC_PER_SEC)
#define LOOK_TIMEOUT_USEC (10 * USEC_PER_SEC)

typedef struct Trust {
        Config *config;
        const char *address;
        char *name;               /* in known_hosts */
        KnownKeys offered, known; /* by the host; for it, in both files */
} Trust;

static void trust_done(Trust *t) {
        config_free(t->config);
        free(t->name);
        known_keys_done(&t->offered);
        known_keys_done(&t->known);
}

/* ---- what is there ---- */

/* ssh-keygen finds hashed names and patterns too. */
static int look_up(Trust *t, const char *file) {
        const char *const argv[] = { "ssh-keygen", "-F", t->name, "-f", file, NULL };
        _cleanup_free_ char *output = NULL;
        int r;

        if (path_exists(file) <= 0)
                return 0;
        r = program_read(argv, LOOK_TIMEOUT_USEC, &output);
        return r < 0 ? r : known_keys_read(output, &t->known);
}

static int scan(Trust *t) {
        _cleanup_free_ char *port = format("%u", t->config->ssh_port), *seconds = NULL, *output = NULL;
        int r;

        seconds = format("%u", t->config->ssh_connect_timeout_sec);
        if (!port || !seconds)
                return -ENOMEM;
        r = program_read((const char *const[]){ "ssh-keyscan", "-T", seconds, "-p", port, "--", t->address, NULL },
                         SCAN_TIMEOUT_USEC, &output);
        return r < 0 ? r : known_keys_read(output, &t->offered);
}

static int find_out(Trust *t) {
        int r;

        r = look_up(t, t->config->ssh_known_hosts_file);
        if (r >= 0)
                r = look_up(t, GLOBAL_KNOWN_HOSTS);
        if (r == -ENOENT) {
                fprintf(stderr, "dhetcd: ssh-keygen is not installed; install openssh-client\n");
                return EXIT_FAILED;
        }
        if (r >= 0)
                r = scan(t);
        if (r == -ENOENT || (r < 0 && r != -ETIMEDOUT)) {
                fprintf(stderr, "dhetcd: ssh-keyscan could not be run: %s\n", strerror(-r));
                return EXIT_FAILED;
        }
        if (r == -ETIMEDOUT || t->offered.n == 0) {
                fprintf(stderr,
                        "dhetcd: %s: no ssh server answered on port %u, or it refuses us for a while; see there: "
                        "systemctl status ssh\n",
                        t->address, t->config->ssh_port);
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}

/* ---- what it means ---- */

static const KnownKey *find_type(const KnownKeys *keys, const char *type, const char *blob) {
        for (size_t i = 0; i < keys->n; i++)
                if (streq(keys->items[i].type, type) && (!blob || streq(keys->items[i].blob, blob)))
                        return keys->items + i;
        return NULL;
}

static bool is_authority(const KnownKeys *keys) {
        for (size_t i = 0; i < keys->n; i++)
                if (keys->items[i].authority)
                        return true;
        return false;
}

/* The known key that speaks against what the host offers: of its type and another, or revoked; NULL: none does. */
static const KnownKey *find_conflict(const Trust *t) {
        bool matches = t->known.n == 0 || is_authority(&t->known);

        for (size_t i = 0; i < t->known.n; i++) {
                const KnownKey *k = t->known.items + i;

                if (k->revoked && find_type(&t->offered, k->type, k->blob))
                        return k;
                if (k->revoked || k->authority)
                        continue;
                if (find_type(&t->offered, k->type, k->blob))
                        matches = true;
                else if (find_type(&t->offered, k->type, NULL))
                        return k;
        }
        return matches ? NULL : t->known.items;
}

static void print_keys(FILE *f, const KnownKeys *keys, const char *prefix) {
        for (size_t i = 0; i < keys->n; i++) {
                fprintf(f, "%s%s ", prefix, keys->items[i].fingerprint);
                print_clean(f, keys->items[i].type);
                fputc('\n', f);
        }
}

static int refuse_changed(const Trust *t, const KnownKey *known) {
        log_event(EVENT_HOST_KEY_CHANGED, LOG_ERR, &(EventContext){ .host = t->address, .error = -EKEYREJECTED },
                  "The ssh key of %s is not the one that is known (%s)%s: it was not trusted", t->address,
                  known->fingerprint, known->revoked ? ", which is revoked" : "");
        fprintf(stderr,
                "%sdhetcd: THE KEY OF %s IS NOT THE ONE THAT IS KNOWN. Somebody may be between you and it.%s\nKnown:\n",
                colour_on(2, COLOUR_RED), t->address, colour_off(2));
        print_keys(stderr, &t->known, known->revoked ? "  (revoked among these) " : "  ");
        fprintf(stderr, "The host that answers offers:\n");
        print_keys(stderr, &t->offered, "  ");
        fprintf(stderr,
                "Nothing was changed. If the host got a new key, and only then: dhetcd trust --remove %s%s, and trust "
                "it "
                "again\n",
                t->address, path_exists(GLOBAL_KNOWN_HOSTS) > 0 ? ", or take it out of " GLOBAL_KNOWN_HOSTS : "");
        return EXIT_FAILED;
}

/* ---- the decision ---- */

static bool asked_yes(void) {
        char answer[16] = "";

        fprintf(stderr, "Compare with \"ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\" on the host itself.\n"
                        "Trust it? Type \"yes\": ");
        if (!fgets(answer, sizeof(answer), stdin))
                return false;
        answer[strcspn(answer, "\r\n")] = '\0';
        return streq(answer, "yes");
}

/* Keeps of what is offered only what was named. */
static int keep_named(Trust *t) {
        KnownKeys kept = {};

        for (size_t i = 0; i < t->offered.n; i++) {
                if (streq(t->offered.items[i].fingerprint, args.fingerprint) && kept.n == 0) {
                        kept.items = calloc(1, sizeof(KnownKey));
                        if (!kept.items)
                                return client_fail(-ENOMEM);
                        kept.items[kept.n++] = t->offered.items[i];
                        t->offered.items[i] = (KnownKey){};
                }
        }
        if (kept.n == 0) {
                fprintf(stderr, "dhetcd: %s offers no key with the fingerprint %s. It was not trusted; it offers:\n",
                        t->address, args.fingerprint);
                print_keys(stderr, &t->offered, "  ");
                return EXIT_FAILED;
        }
        known_keys_done(&t->offered);
        t->offered = kept;
        return EXIT_DONE;
}

static int decide(Trust *t) {
        if (args.fingerprint)
                return keep_named(t);
        if (!args.quiet || !args.yes) {
                fprintf(stderr, "The ssh server at %s has these keys:\n", t->address);
                print_keys(stderr, &t->offered, "  ");
        }
        if (args.yes)
                return EXIT_DONE;
        if (!isatty(STDIN_FILENO)) {
                fprintf(stderr,
                        "dhetcd: Nobody is there to be asked, so nothing was trusted; name the right one: "
                        "dhetcd trust %s --fingerprint=SHA256:…\n",
                        t->address);
                return EXIT_FAILED;
        }
        if (asked_yes())
                return EXIT_DONE;
        fprintf(stderr, "Nothing was trusted.\n");
        return EXIT_FAILED;
}

/* ---- the file ---- */

/* Held until the descriptor is closed: two at once must not lose each other's lines. */
static int lock_file(const char *path, int *ret) {
        _cleanup_free_ char *copy = strdup(path);
        _cleanup_close_ int fd = -EBADF;
        const char *dir;
        int r;

        if (!copy)
                return -ENOMEM;
        dir = dirname(copy);
        r = mkdir_durable(dir, 0755);
        if (r < 0)
                return r;
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int read_known(const char *path, char **ret) {
        int r = read_file(path, KNOWN_HOSTS_SIZE_MAX, true, ret, NULL);

        if (r == -ENOENT)
                *ret = strdup("");
        return r == -ENOENT ? (*ret ? 0 : -ENOMEM) : r;
}

static int write_known(const char *path, const char *text) {
        return path_exists(path) > 0 ? replace_file_durable(path, text, strlen(text))
                                     : write_file_durable(path, text, strlen(text), 0644, (uid_t) -1, (gid_t) -1);
}

static int write_failed(const char *path, int error) {
        fprintf(stderr, "dhetcd: %s could not be changed: %s\n", path,
                error == -EWOULDBLOCK ? "another \"dhetcd trust\" is at work; try again" : strerror(-error));
        return EXIT_FAILED;
}

static int append_keys(const Trust *t, char **text) {
        for (size_t i = 0; i < t->offered.n; i++) {
                const KnownKey *k = t->offered.items + i;
                size_t n = strlen(*text);
                char *longer = format("%s%s%s %s %s\n", *text, n > 0 && (*text)[n - 1] != '\n' ? "\n" : "", t->name,
                                      k->type, k->blob);

                if (!longer)
                        return -ENOMEM;
                free(*text);
                *text = longer;
        }
        return 0;
}

/* The host's keys that are trusted; `changed`: from now on, or, of none, no longer. */
static int print_trusted(const char *address, const KnownKeys *keys, bool changed) {
        _cleanup_json_ json_t *array = json_array(), *v = NULL;

        if (args.json == JSON_OFF)
                return EXIT_DONE;
        for (size_t i = 0; keys && i < keys->n; i++)
                (void) json_array_append_new(array, json_pack("{s:s, s:s}", "type", keys->items[i].type, "fingerprint",
                                                              keys->items[i].fingerprint));
        v = json_pack("{s:s, s:b, s:O}", "host", address, "changed", (int) changed, "keys", array);
        return v ? print_json(v) : client_fail(-ENOMEM);
}

static int pin(const Trust *t) {
        const char *path = t->config->ssh_known_hosts_file;
        _cleanup_close_ int lock = -EBADF;
        _cleanup_free_ char *text = NULL;
        int r;

        r = lock_file(path, &lock);
        if (r >= 0)
                r = read_known(path, &text);
        if (r >= 0)
                r = append_keys(t, &text);
        if (r >= 0)
                r = write_known(path, text);
        if (r < 0)
                return write_failed(path, r);
        for (size_t i = 0; i < t->offered.n; i++)
                log_event(EVENT_HOST_TRUSTED, LOG_NOTICE, &(EventContext){ .host = t->address },
                          "The ssh key of %s is trusted from now on: %s %s", t->address, t->offered.items[i].type,
                          t->offered.items[i].fingerprint);
        if (!args.quiet)
                fprintf(stderr, "%s is trusted: written to %s.\n", t->address, path);
        return print_trusted(t->address, &t->offered, true);
}

/* ---- the verb ---- */

static int trust(Trust *t) {
        const KnownKey *conflict;
        int k;

        k = find_out(t);
        if (k != EXIT_DONE)
                return k;
        conflict = find_conflict(t);
        if (conflict)
                return refuse_changed(t, conflict);
        if (t->known.n > 0) {
                if (args.fingerprint && (k = keep_named(t)) != EXIT_DONE)
                        return k;
                if (!args.quiet)
                        fprintf(stderr, "%s is trusted already.\n", t->address);
                return print_trusted(t->address, &t->known, false);
        }
        k = decide(t);
        return k == EXIT_DONE ? pin(t) : k;
}

static int remove_trust(const Trust *t) {
        const char *path = t->config->ssh_known_hosts_file;
        _cleanup_free_ char *text = NULL, *left = NULL;
        _cleanup_close_ int lock = -EBADF;
        size_t removed = 0;
        int r;

        r = lock_file(path, &lock);
        if (r >= 0)
                r = read_known(path, &text);
        if (r >= 0 && !(left = known_hosts_without(text, t->name, &removed)))
                r = -ENOMEM;
        if (r >= 0 && removed == 0) {
                fprintf(stderr, "dhetcd: %s has no key of %s; see \"dhetcd trust --list\"\n", path, t->name);
                return EXIT_FAILED;
        }
        if (r >= 0)
                r = write_known(path, left);
        if (r < 0)
                return write_failed(path, r);
        log_event(EVENT_HOST_DISTRUSTED, LOG_NOTICE, &(EventContext){ .host = t->address },
                  "The ssh key of %s is no longer trusted", t->address);
        return print_trusted(t->address, NULL, true);
}

static int list_file(const char *path, json_t *array) {
        _cleanup_(known_keys_done) KnownKeys keys = {};
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_known(path, &text);
        if (r >= 0)
                r = known_keys_read(text, &keys);
        if (r < 0) {
                fprintf(stderr, "dhetcd: %s cannot be read: %s\n", path, strerror(-r));
                return EXIT_FAILED;
        }
        for (size_t i = 0; i < keys.n; i++) {
                const KnownKey *k = keys.items + i;
                const char *marker = k->revoked ? "revoked" : k->authority ? "authority" : "key";

                if (json_array_append_new(array,
                                          json_pack("{s:s, s:s, s:s, s:s, s:s}", "host", k->hosts, "type", k->type,
                                                    "fingerprint", k->fingerprint, "is", marker, "file", path)) < 0)
                        return client_fail(-ENOMEM);
        }
        return EXIT_DONE;
}

static void print_entry(const json_t *v) {
        const char *host = json_get_string(v, "host");

        printf("%-24s %-20s %-9s %-51s %s\n", host[0] == '|' ? "(hashed)" : host, json_get_string(v, "type"),
               json_get_string(v, "is"), json_get_string(v, "fingerprint"), json_get_string(v, "file"));
}

static int list_trust(const Trust *t) {
        _cleanup_json_ json_t *array = json_array();
        json_t *v;
        size_t i;
        int k;

        k = list_file(t->config->ssh_known_hosts_file, array);
        if (k == EXIT_DONE)
                k = list_file(GLOBAL_KNOWN_HOSTS, array);
        if (k != EXIT_DONE || args.json != JSON_OFF)
                return k == EXIT_DONE ? print_json(array) : k;
        if (args.legend)
                printf("%-24s %-20s %-9s %-51s %s\n", "HOST", "TYPE", "IS", "FINGERPRINT", "FILE");
        json_array_foreach (array, i, v)
                print_entry(v);
        return EXIT_DONE;
}

static int usage(const char *text) {
        fprintf(stderr, "dhetcd: %s\n", text);
        return EXIT_USAGE;
}

int verb_trust(int argc, char **argv) {
        _cleanup_(trust_done) Trust t = { .address = argv[1] };
        _cleanup_free_ char *why = NULL;

        if (config_load(NULL, &t.config, NULL, &why) < 0) {
                fprintf(stderr, "dhetcd: The configuration is wrong: %s\n", error_text(why, -EINVAL));
                return EXIT_FAILED;
        }
        if (args.list)
                return argc > 1 || args.remove ? usage("trust --list takes no host") : list_trust(&t);
        if (argc != 2)
                return usage("trust needs the address of one host, or --list");
        if (args.fingerprint && (strncmp(args.fingerprint, "SHA256:", 7) != 0 || args.remove))
                return usage("--fingerprint= takes SHA256:… as ssh-keygen -l prints it, and goes with trust HOST only");
        if (address_check(t.address) < 0) {
                fprintf(stderr, "dhetcd: '");
                print_clean(stderr, t.address);
                fprintf(stderr, "' is no address of a host; jobs know hosts by their addresses\n");
                return EXIT_FAILED;
        }
        if (geteuid() != 0) {
                fprintf(stderr, "dhetcd: Only root may change %s; run it as root\n", t.config->ssh_known_hosts_file);
                return EXIT_FAILED;
        }
        t.name = known_host_name(t.address, t.config->ssh_port);
        if (!t.name)
                return client_fail(-ENOMEM);
        return args.remove ? remove_trust(&t) : trust(&t);
}
