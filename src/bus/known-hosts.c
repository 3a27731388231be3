/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "known-hosts.h"

#include <openssl/evp.h>

#include "basic/string-util.h"

#define KEYS_MAX 4096U
#define BLOB_SIZE_MAX 8192U
#define BLANKS " \t\r"

void known_key_done(KnownKey *k) {
        free(k->hosts);
        free(k->type);
        free(k->blob);
        *k = (KnownKey){};
}

void known_keys_done(KnownKeys *k) {
        for (size_t i = 0; i < k->n; i++)
                known_key_done(k->items + i);
        free(k->items);
        *k = (KnownKeys){};
}

/* As ssh-keygen -l prints it: base64 of the SHA-256 of the key itself, without padding. 0 for what is no key. */
static bool set_fingerprint(KnownKey *k) {
        unsigned char raw[BLOB_SIZE_MAX], digest[EVP_MAX_MD_SIZE];
        size_t size = strlen(k->blob), padding;
        unsigned n = 0;
        int decoded;

        if (size == 0 || size % 4 != 0 || size > BLOB_SIZE_MAX)
                return false;
        decoded = EVP_DecodeBlock(raw, (const unsigned char *) k->blob, (int) size);
        padding = (k->blob[size - 1] == '=') + (k->blob[size - 2] == '=');
        if (decoded <= (int) padding ||
            EVP_Digest(raw, (size_t) decoded - padding, digest, &n, EVP_sha256(), NULL) != 1)
                return false;
        memcpy(k->fingerprint, "SHA256:", 7);
        (void) EVP_EncodeBlock((unsigned char *) k->fingerprint + 7, digest, (int) n);
        k->fingerprint[strcspn(k->fingerprint, "=")] = '\0';
        return true;
}

/* The next word of *p, a copy; NULL where there is none, or no memory. */
static char *next_word(const char **p, const char *end) {
        const char *from;

        while (*p < end && strchr(BLANKS, **p))
                (*p)++;
        from = *p;
        while (*p < end && !strchr(BLANKS, **p))
                (*p)++;
        return *p > from ? strndup(from, (size_t) (*p - from)) : NULL;
}

/* 1: a key; 0: none. */
static int read_line(const char *p, const char *end, KnownKey *k) {
        char *word = next_word(&p, end);

        if (word && word[0] == '@') {
                k->revoked = streq(word, "@revoked");
                k->authority = streq(word, "@cert-authority");
                free(word);
                word = next_word(&p, end);
        }
        k->hosts = word;
        k->type = next_word(&p, end);
        k->blob = next_word(&p, end);
        return k->hosts && k->hosts[0] != '#' && k->type && k->blob && set_fingerprint(k);
}

int known_keys_read(const char *text, KnownKeys *ret) {
        for (const char *p = text, *end; *p; p = *end ? end + 1 : end) {
                KnownKey key = {}, *grown;

                end = strchrnul(p, '\n');
                if (read_line(p, end, &key) == 0) {
                        known_key_done(&key);
                        continue;
                }
                grown = ret->n < KEYS_MAX ? reallocarray(ret->items, ret->n + 1, sizeof(KnownKey)) : NULL;
                if (!grown) {
                        known_key_done(&key);
                        return ret->n < KEYS_MAX ? -ENOMEM : -E2BIG;
                }
                ret->items = grown;
                ret->items[ret->n++] = key;
        }
        return 0;
}

char *known_host_name(const char *address, unsigned port) {
        return port == 0 || port == 22 ? strdup(address) : format("[%s]:%u", address, port);
}

/* The field of hosts of a line: behind the marker, if there is one. */
static void find_hosts(const char *line, const char *end, const char **ret, const char **ret_end) {
        for (int i = 0; i < 2; i++) {
                while (line < end && strchr(BLANKS, *line))
                        line++;
                *ret = line;
                while (line < end && !strchr(BLANKS, *line))
                        line++;
                *ret_end = line;
                if (**ret != '@')
                        return;
        }
}

/* Writes the line (with its newline) to *out without `name`; whether it was there. */
static bool copy_without(const char *line, const char *end, const char *name, char **out) {
        const char *next = *end ? end + 1 : end, *hosts, *hosts_end;
        char *start = *out;
        bool found = false, others = false;

        find_hosts(line, end, &hosts, &hosts_end);
        *out = mempcpy(*out, line, (size_t) (hosts - line));
        for (const char *p = hosts; p < hosts_end;) {
                const char *comma = memchr(p, ',', (size_t) (hosts_end - p)) ?: hosts_end;
                size_t n = (size_t) (comma - p);

                if (n == strlen(name) && memcmp(p, name, n) == 0)
                        found = true;
                else {
                        if (others)
                                *(*out)++ = ',';
                        *out = mempcpy(*out, p, n);
                        others = true;
                }
                p = comma < hosts_end ? comma + 1 : hosts_end;
        }
        if (!found || others) {
                if (!found)
                        *out = mempcpy(start, line, (size_t) (hosts_end - line));
                *out = mempcpy(*out, hosts_end, (size_t) (next - hosts_end));
        } else
                *out = start;
        return found;
}

char *known_hosts_without(const char *text, const char *name, size_t *ret_removed) {
        char *copy = malloc(strlen(text) + 1), *out = copy;

        *ret_removed = 0;
        if (!copy)
                return NULL;
        for (const char *p = text, *end; *p; p = *end ? end + 1 : end) {
                end = strchrnul(p, '\n');
                if (copy_without(p, end, name, &out))
                        (*ret_removed)++;
        }
        *out = '\0';
        return copy;
}
