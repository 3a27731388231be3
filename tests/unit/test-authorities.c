/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "test-util.h"

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "host/authorities.h"

static char dir[] = "/tmp/test-authorities-XXXXXX";
static char *ca_old, *ca_new, *ca_v1, *leaf, *leaf_key, *other_key, *encrypted_key;

static EVP_PKEY *new_key(void) {
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
        EVP_PKEY *key = NULL;

        assert_true(EVP_PKEY_keygen_init(context) > 0);
        assert_true(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) > 0);
        assert_true(EVP_PKEY_keygen(context, &key) > 0);
        EVP_PKEY_CTX_free(context);
        return key;
}

static char *take_text(BIO *bio) {
        char *data, *text;
        long size = BIO_get_mem_data(bio, &data);

        text = strndup(data, (size_t) size);
        BIO_free(bio);
        return text;
}

static char *key_text(EVP_PKEY *key, const char *password) {
        BIO *bio = BIO_new(BIO_s_mem());

        assert_true(PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_128_cbc() : NULL, password,
                                                  password ? (int) strlen(password) : 0, NULL, NULL));
        return take_text(bio);
}

/* A self-signed certificate. `constraints`: NULL for version 1 without extensions. */
static char *new_certificate(EVP_PKEY *key, const char *name, const char *constraints) {
        X509 *x = X509_new();
        BIO *bio = BIO_new(BIO_s_mem());
        ASN1_TIME *t = ASN1_TIME_new();

        ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
        X509_set_version(x, constraints ? 2 : 0);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1,
                                   0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        assert_true(ASN1_TIME_set_string(t, "20240102030405Z"));
        X509_set1_notBefore(x, t);
        assert_true(ASN1_TIME_set_string(t, "20540102030405Z"));
        X509_set1_notAfter(x, t);
        ASN1_TIME_free(t);
        X509_set_pubkey(x, key);
        if (constraints) {
                X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, constraints);

                X509_add_ext(x, e, -1);
                X509_EXTENSION_free(e);
        }
        assert_true(X509_sign(x, key, EVP_sha256()) > 0);
        assert_true(PEM_write_bio_X509(bio, x));
        X509_free(x);
        return take_text(bio);
}

static int make_all(void **state) {
        EVP_PKEY *a = new_key(), *b = new_key(), *c = new_key();

        ca_old = new_certificate(a, "old", "critical,CA:TRUE");
        ca_new = new_certificate(b, "new", "CA:TRUE");
        ca_v1 = new_certificate(c, "ancient", NULL);
        leaf = new_certificate(c, "leaf", "CA:FALSE");
        leaf_key = key_text(c, NULL);
        other_key = key_text(b, NULL);
        encrypted_key = key_text(c, "secret");
        EVP_PKEY_free(a);
        EVP_PKEY_free(b);
        EVP_PKEY_free(c);
        return mkdtemp(dir) ? 0 : -1;
}

static int drop_all(void **state) {
        char *all[] = { ca_old, ca_new, ca_v1, leaf, leaf_key, other_key, encrypted_key };

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                free(all[i]);
        return remove_tree(dir);
}

static void test_authorities_of(void **state) {
        _cleanup_free_ char *noisy = format("# a comment\r\n%s%s%ssome text\n%s-----BEGIN NONSENSE-----\nx\n%s%s",
                                            leaf_key, ca_old, leaf, ca_v1, ca_old, ca_new);
        _cleanup_free_ char *expected = format("%s%s%s", ca_old, ca_v1, ca_new), *found = NULL, *none = NULL;

        assert_int_equal(authorities_of(noisy, &found, NULL), 0);
        assert_string_equal(found, expected);
        assert_int_equal(authorities_of(leaf, &none, NULL), 0);
        assert_string_equal(none, "");
        free(none);
        assert_int_equal(authorities_of("", &none, NULL), 0);
        assert_string_equal(none, "");
}

static void test_crlf(void **state) {
        _cleanup_free_ char *text = calloc(2, strlen(ca_old)), *found = NULL;

        for (char *s = ca_old, *p = text; *s; s++) {
                if (*s == '\n')
                        *p++ = '\r';
                *p++ = *s;
        }
        assert_int_equal(authorities_of(text, &found, NULL), 0);
        assert_string_equal(found, ca_old);
}

static void test_damaged(void **state) {
        _cleanup_free_ char *cut = strndup(ca_old, strlen(ca_old) / 2), *joined = NULL, *flipped = strdup(ca_old);
        const char *cases[4];

        joined = format("%s\n%s", cut, ca_new);
        flipped[strlen(flipped) / 2] = '!';
        cases[0] = cut;
        cases[1] = joined;
        cases[2] = flipped;
        cases[3] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *found = NULL, *why = NULL;

                assert_int_equal(authorities_of(cases[i], &found, &why), -EBADMSG);
                assert_non_null(why);
                assert_null(found);
        }
}

static void test_missing(void **state) {
        _cleanup_free_ char *both = format("%s%s", ca_old, ca_new), *missing = NULL, *nothing = NULL, *no_leaf = NULL;

        assert_int_equal(authorities_missing(ca_old, both, &missing, NULL), 0);
        assert_string_equal(missing, ca_new);
        assert_int_equal(authorities_missing(both, ca_old, &nothing, NULL), 0);
        assert_string_equal(nothing, "");
        assert_int_equal(authorities_missing("", leaf, &no_leaf, NULL), 0);
        assert_string_equal(no_leaf, "");
}

static void test_add_file(void **state) {
        _cleanup_free_ char *path = format("%s/ca.crt", dir), *link = format("%s/link.crt", dir), *why = NULL,
                            *text = NULL;
        _cleanup_free_ char *before = format("# ours\n%.*s", (int) strlen(ca_old) - 1, ca_old), *after = NULL;
        struct stat st;
        char value[8];

        assert_int_equal(
                write_file_durable(path, before, strlen(before), 0644, geteuid() == 0 ? 77 : (uid_t) -1, (gid_t) -1),
                0);
        assert_int_equal(setxattr(path, "user.test", "kept", 4, 0), 0);
        assert_int_equal(authorities_add_file(AT_FDCWD, path, ca_old, &why), 0);
        assert_int_equal(authorities_add_file(AT_FDCWD, path, ca_new, &why), 1);
        assert_int_equal(authorities_add_file(AT_FDCWD, path, ca_new, &why), 0);

        after = format("%s\n%s", before, ca_new);
        assert_int_equal(read_file(path, PEM_SIZE_MAX, false, &text, NULL), 0);
        assert_string_equal(text, after);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        if (geteuid() == 0)
                assert_int_equal(st.st_uid, 77);
        assert_int_equal(getxattr(path, "user.test", value, sizeof(value)), 4);

        assert_int_equal(symlink("ca.crt", link), 0);
        assert_int_equal(authorities_add_file(AT_FDCWD, link, ca_v1, &why), -ELOOP);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(authorities_add_file(AT_FDCWD, path, ca_v1, &why), -ENOENT);
        assert_non_null(strstr(why, path));
        assert_int_equal(unlink(link), 0);
}

static void test_validity(void **state) {
        _cleanup_free_ char *why = NULL;
        uint64_t from, to;

        assert_int_equal(certificate_validity(leaf, &from, &to, NULL), 0);
        assert_int_equal(from, 1704164645 * USEC_PER_SEC);
        assert_int_equal(to, 2650935845 * USEC_PER_SEC);
        assert_int_equal(certificate_validity(leaf_key, &from, &to, &why), -ENODATA);
}

static void put(const char *name, const char *text) {
        _cleanup_free_ char *path = format("%s/%s", dir, name);

        assert_int_equal(write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1), 0);
}

static void test_credentials(void **state) {
        _cleanup_free_ char *bundle = format("%s%s", ca_old, ca_new), *below = format("%s/below", dir), *cert, *key,
                            *ca;
        _cleanup_free_ char *why = NULL, *fifo = format("%s/fifo", dir);

        assert_int_equal(client_credentials_find(dir, &ca, &cert, &key, NULL), 0);
        assert_string_equal(ca, "");
        assert_null(cert);
        assert_null(key);
        free(ca);

        put("0-password", "secret");
        put("1-other", other_key);
        put("2-encrypted", encrypted_key);
        put("3-authorities", bundle);
        put("4-again", ca_old);
        put("5-certificate", leaf);
        assert_int_equal(mkdir(below, 0700), 0);
        put("below/key", leaf_key);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_int_equal(client_credentials_find(dir, &ca, &cert, &key, NULL), 0);
        assert_string_equal(ca, bundle);
        assert_null(cert);
        assert_null(key);
        free(ca);

        put("6-key", leaf_key);
        assert_int_equal(client_credentials_find(dir, &ca, &cert, &key, NULL), 0);
        assert_string_equal(strrchr(cert, '/'), "/5-certificate");
        assert_string_equal(strrchr(key, '/'), "/6-key");

        put("7-broken", "-----BEGIN CERTIFICATE-----\n");
        assert_int_equal(client_credentials_find(dir, &(char *){ NULL }, &(char *){ NULL }, &(char *){ NULL }, &why),
                         -EBADMSG);
        assert_non_null(strstr(why, "7-broken"));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_authorities_of), cmocka_unit_test(test_crlf),     cmocka_unit_test(test_damaged),
                cmocka_unit_test(test_missing),        cmocka_unit_test(test_add_file), cmocka_unit_test(test_validity),
                cmocka_unit_test(test_credentials),
        };

        return cmocka_run_group_tests(tests, make_all, drop_all);
}
