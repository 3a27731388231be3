/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "string-util.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdarg.h>
#include <time.h>

void strv_free(char **v) {
        STRV_FOREACH (s, v)
                free(*s);
        free(v);
}

size_t strv_length(char *const *v) {
        size_t n = 0;

        STRV_FOREACH (s, v)
                n++;
        return n;
}

bool strv_contains(char *const *v, const char *string) {
        STRV_FOREACH (s, v)
                if (streq(*s, string))
                        return true;
        return false;
}

int strv_append(char ***v, const char *string) {
        size_t n = strv_length(*v);
        _cleanup_free_ char *copy = strdup(string);
        char **grown;

        if (!copy)
                return -ENOMEM;
        grown = reallocarray(*v, n + 2, sizeof(char *));
        if (!grown)
                return -ENOMEM;
        grown[n] = TAKE_PTR(copy);
        grown[n + 1] = NULL;
        *v = grown;
        return 0;
}

char **strv_copy(char *const *v) {
        char **copy = calloc(1, sizeof(char *));

        STRV_FOREACH (s, v)
                if (!copy || strv_append(&copy, *s) < 0) {
                        strv_free(copy);
                        return NULL;
                }
        return copy;
}

char *strv_join(char *const *v, const char *separator) {
        size_t size = 1;
        char *joined, *p;

        STRV_FOREACH (s, v)
                size += strlen(*s) + strlen(separator);
        p = joined = malloc(size);
        if (!joined)
                return NULL;
        *p = '\0';
        STRV_FOREACH (s, v)
                p = stpcpy(stpcpy(p, s == v ? "" : separator), *s);
        return joined;
}

char *format(const char *fmt, ...) {
        char *s = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&s, fmt, ap) < 0)
                s = NULL;
        va_end(ap);
        return s;
}

/* Those of C1, which a terminal obeys too, are C2 80 to C2 9F in UTF-8. */
static void blank_controls(char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        *s = ' ';
                else if ((unsigned char) s[0] == 0xc2 && (unsigned char) s[1] >= 0x80 && (unsigned char) s[1] < 0xa0)
                        s[0] = s[1] = ' ';
}

char *text_limit(const char *s, size_t max, bool printable) {
        static const char dots[] = "…";
        size_t n = strnlen(s, max + 1);
        bool cut = n > max;
        char *text;

        if (cut) {
                n = max > strlen(dots) ? max - strlen(dots) : 0;
                while (n > 0 && ((unsigned char) s[n] & 0xc0) == 0x80)
                        n--;
        }
        text = format("%.*s%s", (int) n, s, cut ? dots : "");
        if (text && printable)
                blank_controls(text);
        return text;
}

static int address_check_ipv4(const char *s, const struct in_addr *a) {
        uint32_t host = ntohl(a->s_addr);
        char again[ADDRESS_MAX];

        if (!inet_ntop(AF_INET, a, again, sizeof(again)) || !streq(s, again))
                return -EINVAL;
        if (host == INADDR_ANY || host == INADDR_BROADCAST || host >> 24 == 127 || host >> 28 == 14)
                return -EADDRNOTAVAIL;
        return 0;
}

int address_check(const char *s) {
        char again[ADDRESS_MAX];
        struct in6_addr six;
        struct in_addr four;

        if (inet_pton(AF_INET, s, &four) == 1)
                return address_check_ipv4(s, &four);
        if (inet_pton(AF_INET6, s, &six) != 1 || !inet_ntop(AF_INET6, &six, again, sizeof(again)) || !streq(s, again))
                return -EINVAL;
        if (IN6_IS_ADDR_UNSPECIFIED(&six) || IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_MULTICAST(&six) ||
            IN6_IS_ADDR_LINKLOCAL(&six) || IN6_IS_ADDR_V4MAPPED(&six))
                return -EADDRNOTAVAIL;
        return 0;
}

int address_is_local(const char *s) {
        struct ifaddrs *list;
        int found = 0;

        if (getifaddrs(&list) < 0)
                return -errno;
        for (struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
                char text[ADDRESS_MAX];
                const void *address;

                if (!i->ifa_addr)
                        continue;
                if (i->ifa_addr->sa_family == AF_INET)
                        address = &((struct sockaddr_in *) i->ifa_addr)->sin_addr;
                else if (i->ifa_addr->sa_family == AF_INET6)
                        address = &((struct sockaddr_in6 *) i->ifa_addr)->sin6_addr;
                else
                        continue;
                found = inet_ntop(i->ifa_addr->sa_family, address, text, sizeof(text)) && streq(text, s);
        }
        freeifaddrs(list);
        return found;
}

char *address_url(const char *address, uint16_t port) {
        bool six = strchr(address, ':');

        return format("https://%s%s%s:%u", six ? "[" : "", address, six ? "]" : "", port);
}

int address_from_url(const char *url, char ret_address[static ADDRESS_MAX], uint16_t *ret_port) {
        const char *start = url + strlen("https://"), *end, *p;
        uint32_t port = 0;

        if (strncmp(url, "https://", strlen("https://")) != 0)
                return -EINVAL;

        if (*start == '[') {
                end = strchr(++start, ']');
                if (!end || end[1] != ':')
                        return -EINVAL;
                p = end + 2;
        } else {
                end = strchr(start, ':');
                if (!end)
                        return -EINVAL;
                p = end + 1;
        }
        if ((size_t) (end - start) >= ADDRESS_MAX || *p == '\0')
                return -EINVAL;

        for (; *p; p++) {
                if (*p < '0' || *p > '9')
                        return -EINVAL;
                port = port * 10 + (uint32_t) (*p - '0');
                if (port > UINT16_MAX)
                        return -EINVAL;
        }
        if (port == 0)
                return -EINVAL;

        memcpy(ret_address, start, (size_t) (end - start));
        ret_address[end - start] = '\0';
        *ret_port = (uint16_t) port;
        return address_check(ret_address);
}

static uint64_t now(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

uint64_t now_boot(void) {
        return now(CLOCK_BOOTTIME);
}

uint64_t now_real(void) {
        return now(CLOCK_REALTIME);
}
