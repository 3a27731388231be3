/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "authorities.h"

#include <dirent.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "basic/trusted-path.h"

#define CERTIFICATES_MAX 1024U
#define FILES_MAX 256U
#define BEGIN "-----BEGIN "
#define END "-----END "

DEFINE_CLEANUP(BIO *, BIO_free_all)

typedef struct Certificate {
        X509 *x509;
        unsigned char fingerprint[EVP_MAX_MD_SIZE];
        unsigned size;
} Certificate;

typedef struct Certificates {
        Certificate *items;
        size_t n;
} Certificates;

static void certificates_done(Certificates *c) {
        for (size_t i = 0; i < c->n; i++)
                X509_free(c->items[i].x509);
        free(c->items);
}

static bool is_authority(const Certificate *c) {
        int kind = X509_check_ca(c->x509);

        return kind == 1 || kind == 3; /* basicConstraints CA; self-signed, version 1 */
}

static bool certificates_contain(const Certificates *list, const Certificate *c) {
        for (size_t i = 0; i < list->n; i++)
                if (list->items[i].size == c->size && memcmp(list->items[i].fingerprint, c->fingerprint, c->size) == 0)
                        return true;
        return false;
}

/* Takes x509 over, whatever it returns. A certificate that is there already is dropped. */
static int certificates_add(Certificates *list, X509 *x509) {
        Certificate c = { .x509 = x509 }, *grown;

        if (!X509_digest(x509, EVP_sha256(), c.fingerprint, &c.size)) {
                X509_free(x509);
                return -ENOMEM;
        }
        if (certificates_contain(list, &c)) {
                X509_free(x509);
                return 0;
        }

        grown = list->n < CERTIFICATES_MAX ? reallocarray(list->items, list->n + 1, sizeof(Certificate)) : NULL;
        if (!grown) {
                X509_free(x509);
                return list->n < CERTIFICATES_MAX ? -ENOMEM : -E2BIG;
        }
        list->items = grown;
        list->items[list->n++] = c;
        return 0;
}

/* The next "-----BEGIN …CERTIFICATE-----" that begins a line, NULL where there is none. Keys, requests and comments are
 * stepped over without a look at what is in them. */
static const char *next_block(const char *text, const char *p) {
        static const char *const names[] = { "CERTIFICATE-----", "X509 CERTIFICATE-----", "TRUSTED CERTIFICATE-----" };

        while ((p = strstr(p, BEGIN))) {
                const char *name = p + strlen(BEGIN);

                for (size_t i = 0; i < ELEMENTSOF(names); i++)
                        if (strncmp(name, names[i], strlen(names[i])) == 0 && (p == text || p[-1] == '\n'))
                                return p;
                p = name;
        }

        return NULL;
}

/* Every certificate of a PEM text, each once, in its order. */
static int read_certificates(const char *pem, Certificates *ret, char **reterr) {
        const char *p = pem;
        int r;

        if (strlen(pem) > PEM_SIZE_MAX)
                return fail(reterr, -EFBIG, "certificates of more than %u bytes", PEM_SIZE_MAX);

        while ((p = next_block(pem, p))) {
                const char *end = strstr(p, END), *next = strstr(p + strlen(BEGIN), BEGIN);
                _cleanup_(BIO_free_allp) BIO *bio = NULL;
                X509 *x509;

                if (!end || (next && next < end))
                        return fail(reterr, -EBADMSG, "a certificate block has no end");
                end += strcspn(end, "\n");

                bio = BIO_new_mem_buf(p, (int) (end - p));
                if (!bio)
                        return -ENOMEM;
                x509 = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
                if (!x509)
                        return fail(reterr, -EBADMSG, "certificate %zu in it does not parse", ret->n + 1);
                r = certificates_add(ret, x509);
                if (r < 0)
                        return fail(reterr, r, "the certificates cannot be held: %s", strerror(-r));
                p = end;
        }

        return 0;
}

/* The CA certificates of `list` that are not in `except` (which may be NULL), as PEM. */
static int format_certificates(const Certificates *list, const Certificates *except, char **ret) {
        _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
        char *data;
        long size;

        if (!bio)
                return -ENOMEM;
        for (size_t i = 0; i < list->n; i++) {
                if (!is_authority(&list->items[i]) || (except && certificates_contain(except, &list->items[i])))
                        continue;
                if (!PEM_write_bio_X509(bio, list->items[i].x509))
                        return -ENOMEM;
        }

        size = BIO_get_mem_data(bio, &data);
        *ret = size > 0 ? strndup(data, (size_t) size) : strdup("");
        return *ret ? 0 : -ENOMEM;
}

int authorities_of(const char *pem, char **ret_pem, char **reterr) {
        _cleanup_(certificates_done) Certificates list = { .n = 0 };
        int r;

        r = read_certificates(pem, &list, reterr);
        if (r < 0)
                return r;
        return format_certificates(&list, NULL, ret_pem);
}

int authorities_missing(const char *pem, const char *add, char **ret_pem, char **reterr) {
        _cleanup_(certificates_done) Certificates present = { .n = 0 }, wanted = { .n = 0 };
        int r;

        r = read_certificates(pem, &present, reterr);
        if (r < 0)
                return r;
        r = read_certificates(add, &wanted, reterr);
        if (r < 0)
                return r;
        return format_certificates(&wanted, &present, ret_pem);
}

int authorities_add_file(int dir_fd, const char *path, const char *add, char **reterr) {
        char buffer[PATH_MAX];
        const char *at = file_at(dir_fd, path, buffer);
        _cleanup_free_ char *text = NULL, *missing = NULL, *new_text = NULL;
        size_t size;
        int r;

        r = read_file(at, PEM_SIZE_MAX, /* follow= */ false, &text, &size);
        if (r == -ELOOP)
                return fail(reterr, r, "%s is a symbolic link; name the file it leads to as trusted-ca-file", path);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        if (strlen(text) != size)
                return fail(reterr, -EBADMSG, "%s is not a PEM text", path);

        r = authorities_missing(text, add, &missing, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "%s", path);
        if (missing[0] == '\0') {
                r = fsync_parent(at); /* an earlier call may have died before it */
                return r < 0 ? fail(reterr, r, "%s cannot be synced: %s", path, strerror(-r)) : 0;
        }

        new_text = format("%s%s%s", text, size > 0 && text[size - 1] != '\n' ? "\n" : "", missing);
        if (!new_text)
                return -ENOMEM;
        if (strlen(new_text) > PEM_SIZE_MAX)
                return fail(reterr, -EFBIG, "%s would grow above %u bytes", path, PEM_SIZE_MAX);
        r = replace_file_durable(at, new_text, strlen(new_text));
        return r < 0 ? fail(reterr, r, "%s cannot be replaced: %s", path, strerror(-r)) : 1;
}

static int time_of(const ASN1_TIME *t, uint64_t *ret) {
        struct tm tm;
        time_t seconds;

        if (!ASN1_TIME_to_tm(t, &tm))
                return -EBADMSG;
        seconds = timegm(&tm);
        *ret = seconds > 0 ? (uint64_t) seconds * USEC_PER_SEC : 0;
        return 0;
}

int certificate_validity(const char *pem, uint64_t *ret_not_before, uint64_t *ret_not_after, char **reterr) {
        _cleanup_(certificates_done) Certificates list = { .n = 0 };
        int r;

        r = read_certificates(pem, &list, reterr);
        if (r < 0)
                return r;
        if (list.n == 0)
                return fail(reterr, -ENODATA, "there is no certificate in it");

        r = time_of(X509_get0_notBefore(list.items[0].x509), ret_not_before);
        if (r >= 0)
                r = time_of(X509_get0_notAfter(list.items[0].x509), ret_not_after);
        return r < 0 ? fail(reterr, r, "the certificate's dates do not parse") : 0;
}

/* A file of the directory and what was found in it. */
typedef struct Candidate {
        char *path;
        X509 *certificate; /* the first that is no CA */
        EVP_PKEY *key;
} Candidate;

typedef struct Search {
        Candidate *items;
        size_t n;
        Certificates authorities;
} Search;

static void search_done(Search *s) {
        for (size_t i = 0; i < s->n; i++) {
                free(s->items[i].path);
                X509_free(s->items[i].certificate);
                EVP_PKEY_free(s->items[i].key);
        }
        free(s->items);
        certificates_done(&s->authorities);
}

/* An encrypted key is none that we could use: never ask for its password. */
static int no_password(char *buffer, int size, int writing, void *userdata) {
        return 0;
}

static int search_certificates(Search *s, Candidate *c, const char *text, char **reterr) {
        _cleanup_(certificates_done) Certificates list = { .n = 0 };
        int r;

        r = read_certificates(text, &list, reterr);
        if (r < 0)
                return fail_prefix(reterr, r, "%s", c->path);

        for (size_t i = 0; i < list.n; i++) {
                bool authority = is_authority(&list.items[i]);

                if (!authority && c->certificate)
                        continue;
                if (!X509_up_ref(list.items[i].x509))
                        return -ENOMEM;
                if (!authority)
                        c->certificate = list.items[i].x509;
                else {
                        r = certificates_add(&s->authorities, list.items[i].x509);
                        if (r < 0)
                                return r;
                }
        }

        return 0;
}

static int search_file(Search *s, const char *path, char **reterr) {
        _cleanup_free_ char *text = NULL;
        _cleanup_(BIO_free_allp) BIO *bio = NULL;
        Candidate *c = &s->items[s->n];
        size_t size;
        int r;

        *c = (Candidate){ .path = strdup(path) };
        if (!c->path)
                return -ENOMEM;
        s->n++;

        r = read_file(path, PEM_SIZE_MAX, /* follow= */ true, &text, &size);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return 0; /* a directory, too large, not ours to read: not what we look for */

        r = search_certificates(s, c, text, reterr);
        bio = r < 0 ? NULL : BIO_new_mem_buf(text, (int) size);
        if (bio)
                c->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        explicit_bzero(text, size);
        return r < 0 ? r : (bio ? 0 : -ENOMEM);
}

static int search_directory(Search *s, const char *dir, char **reterr) {
        struct dirent **entries;
        int n, r = 0;

        n = scandir(dir, &entries, NULL, alphasort);
        if (n < 0)
                return fail(reterr, -errno, "%s cannot be listed: %s", dir, strerror(errno));
        if ((unsigned) n > FILES_MAX)
                r = fail(reterr, -E2BIG, "%s has more than %u entries", dir, FILES_MAX);

        s->items = calloc((size_t) n + 1, sizeof(Candidate));
        if (!s->items)
                r = -ENOMEM;
        for (int i = 0; i < n; i++) {
                _cleanup_free_ char *path = format("%s/%s", dir, entries[i]->d_name);

                if (r >= 0)
                        r = path ? search_file(s, path, reterr) : -ENOMEM;
                free(entries[i]);
        }
        free(entries);

        return r;
}

int client_credentials_find(const char *dir, char **ret_authorities, char **ret_cert_path, char **ret_key_path,
                            char **reterr) {
        _cleanup_free_ char *authorities = NULL, *cert = NULL, *key = NULL;
        _cleanup_(search_done) Search s = { .n = 0 };
        int r;

        r = search_directory(&s, dir, reterr);
        if (r < 0)
                return r;
        r = format_certificates(&s.authorities, NULL, &authorities);
        if (r < 0)
                return r;

        for (size_t i = 0; i < s.n && !cert; i++)
                for (size_t j = 0; j < s.n && !cert && s.items[i].certificate; j++)
                        if (s.items[j].key && X509_check_private_key(s.items[i].certificate, s.items[j].key) == 1) {
                                cert = strdup(s.items[i].path);
                                key = strdup(s.items[j].path);
                                if (!cert || !key)
                                        return -ENOMEM;
                        }

        *ret_authorities = TAKE_PTR(authorities);
        *ret_cert_path = TAKE_PTR(cert);
        *ret_key_path = TAKE_PTR(key);
        return 0;
}
