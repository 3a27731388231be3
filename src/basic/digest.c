/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

void hex_encode(const uint8_t *data, size_t size, char *ret_hex) {
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < size; i++) {
                ret_hex[2 * i] = digits[data[i] >> 4];
                ret_hex[2 * i + 1] = digits[data[i] & 15];
        }
        ret_hex[2 * size] = '\0';
}

int digest_bytes(const void *data, size_t size, char ret_hex[static DIGEST_HEX_SIZE]) {
        uint8_t hash[DIGEST_SIZE];

        if (!EVP_Digest(data, size, hash, NULL, EVP_sha256(), NULL))
                return -ENOMEM;
        hex_encode(hash, sizeof(hash), ret_hex);
        return 0;
}

/* `max`: a file may grow while it is read. */
static int digest_up_to(int fd, uintmax_t max, char ret_hex[static DIGEST_HEX_SIZE]) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();
        uint8_t buffer[64 * 1024], hash[DIGEST_SIZE];
        uintmax_t size = 0;

        if (!context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL))
                return -ENOMEM;

        for (;;) {
                ssize_t n = read(fd, buffer, sizeof(buffer));

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
                if (size > max)
                        return -EFBIG;
                if (!EVP_DigestUpdate(context, buffer, (size_t) n))
                        return -ENOMEM;
        }

        if (!EVP_DigestFinal_ex(context, hash, NULL))
                return -ENOMEM;
        hex_encode(hash, sizeof(hash), ret_hex);
        return 0;
}

int digest_fd(int fd, char ret_hex[static DIGEST_HEX_SIZE]) {
        return digest_up_to(fd, UINTMAX_MAX, ret_hex);
}

int digest_file(const char *path, char ret_hex[static DIGEST_HEX_SIZE]) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADFD;
        return digest_up_to(fd, DIGEST_FILE_SIZE_MAX, ret_hex);
}
