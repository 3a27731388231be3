/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "install-record.h"

#include <fcntl.h>
#include <sys/file.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"

#define RECORD_SIZE_MAX (256U * 1024U)
#define RECORDS_MAX 10000U
#define LOCK_FILE INSTALLS_DIR "/lock"
#define LOCK_TIMEOUT (5 * USEC_PER_SEC)
#define LOCK_PAUSE (100 * USEC_PER_MSEC)
#define UNIT_PREFIX "dhetcd-install-"
#define UNIT_SUFFIX ".service"

bool install_id_is_valid(const char *id) {
        return id && strlen(id) == INSTALL_ID_DIGITS && strspn(id, "0123456789abcdef") == INSTALL_ID_DIGITS;
}

char *install_path(const char *id, const char *file) {
        return file ? format(INSTALLS_DIR "/%s/%s", id, file) : format(INSTALLS_DIR "/%s", id);
}

int install_record_load(const char *id, json_t **ret, char **reterr) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        _cleanup_json_ json_t *v = NULL;
        size_t size;
        int r;

        if (!install_id_is_valid(id))
                return fail(reterr, -EINVAL, "'%.64s' is not the id of a run of the installer", id);
        path = install_path(id, "install.json");
        if (!path)
                return -ENOMEM;
        r = read_file(path, RECORD_SIZE_MAX, false, &text, &size);
        if (r == -ENOENT)
                return fail(reterr, r, "there is no run %s of the installer", id);
        if (r < 0)
                return fail(reterr, r, "%s cannot be read: %s", path, strerror(-r));
        v = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (!streq(json_get_string(v, "install"), id) || !json_get_string(v, "dir") || !json_get_string(v, "state") ||
            !json_get_string(v, "text"))
                return fail(reterr, -EBADMSG, "%s is damaged", path);
        *ret = TAKE_PTR(v);
        return 0;
}

int install_record_save(const json_t *record, char **reterr) {
        const char *id = json_get_string(record, "install");
        _cleanup_free_ char *dir = install_path(id, NULL), *path = install_path(id, "install.json");
        _cleanup_free_ char *text = json_to_text(record, JSON_INDENT(2));
        int r;

        if (!dir || !path || !text)
                return -ENOMEM;
        r = mkdir_durable(dir, 0700);
        if (r >= 0)
                r = write_file_durable(path, text, strlen(text), 0600, (uid_t) -1, (gid_t) -1);
        return r < 0 ? fail(reterr, r, "%s cannot be written: %s", path, strerror(-r)) : 0;
}

int install_record_end(json_t *record, const char *state, const char *text, json_t *lines) {
        lines = lines ?: json_array();
        if (json_object_set_new(record, "lines", lines) < 0 ||
            json_object_set_new(record, "state", json_string(state)) < 0 ||
            json_object_set_new(record, "text", json_string(text)) < 0 ||
            json_object_set_new(record, "ended_usec", json_integer((json_int_t) now_real())) < 0)
                return -ENOMEM;
        return 0;
}

static int by_time(const void *a, const void *b) {
        json_int_t x = json_get_integer(*(json_t *const *) a, "asked_usec", 0);
        json_int_t y = json_get_integer(*(json_t *const *) b, "asked_usec", 0);

        return (y > x) - (y < x);
}

static int sort(json_t **found, size_t n, json_t **ret) {
        _cleanup_json_ json_t *array = json_array();

        if (n > 0)
                qsort(found, n, sizeof(*found), by_time);
        for (size_t i = 0; i < n; i++)
                if (json_array_append(array, found[i]) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(array);
        return *ret ? 0 : -ENOMEM;
}

int install_records(json_t **ret) {
        _cleanup_(closedirp) DIR *d = opendir(INSTALLS_DIR);
        json_t **found = NULL;
        struct dirent *e;
        size_t n = 0;
        int r = 0;

        if (!d && errno != ENOENT)
                return -errno;
        while (d && (e = readdir(d)) && n < RECORDS_MAX) {
                json_t *v = NULL, **grown = reallocarray(found, n + 1, sizeof(*found));

                if (!grown) {
                        r = -ENOMEM;
                        break;
                }
                found = grown;
                if (install_record_load(e->d_name, &v, NULL) < 0)
                        continue;
                (void) json_object_del(v, "lines");
                found[n++] = v;
        }
        if (r >= 0)
                r = sort(found, n, ret);
        while (n > 0)
                json_decref(found[--n]);
        free(found);
        return r;
}

/* ---- the lock ---- */

/* dhetcdd looks every second whether somebody has it, and has it itself for that moment. */
static int take_lock(int fd) {
        uint64_t deadline = now_boot() + LOCK_TIMEOUT;

        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return -errno;
                if (now_boot() >= deadline)
                        return -EBUSY;
                (void) usleep(LOCK_PAUSE);
        }
        return 0;
}

int install_lock(const char *id) {
        _cleanup_close_ int fd = -EBADF;
        int r = mkdir_durable(INSTALLS_DIR, 0700);

        if (r < 0)
                return r;
        fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = take_lock(fd);
        if (r < 0)
                return r;
        if (ftruncate(fd, 0) < 0)
                return -errno;
        r = write_all(fd, id, strlen(id));
        return r < 0 ? r : TAKE_FD(fd);
}

static bool is_running(const char *id) {
        _cleanup_json_ json_t *record = NULL;

        return install_record_load(id, &record, NULL) >= 0 && streq(json_get_string(record, "state"), INSTALL_RUNNING);
}

int install_unit_holder(const char *units, char ret_id[static INSTALL_ID_DIGITS + 1]) {
        _cleanup_(closedirp) DIR *d = opendir(units);
        struct dirent *e;

        while (d && (e = readdir(d))) {
                const char *id = e->d_name + strlen(UNIT_PREFIX);

                if (strncmp(e->d_name, UNIT_PREFIX, strlen(UNIT_PREFIX)) != 0 ||
                    strlen(id) != INSTALL_ID_DIGITS + strlen(UNIT_SUFFIX) ||
                    !streq(id + INSTALL_ID_DIGITS, UNIT_SUFFIX))
                        continue;
                memcpy(ret_id, id, INSTALL_ID_DIGITS);
                ret_id[INSTALL_ID_DIGITS] = '\0';
                if (is_running(ret_id))
                        return 1;
        }
        return 0;
}

int install_lock_holder(char ret_id[static INSTALL_ID_DIGITS + 1]) {
        _cleanup_close_ int fd = open(LOCK_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (flock(fd, LOCK_SH | LOCK_NB) >= 0)
                return 0;
        if (errno != EWOULDBLOCK)
                return -errno;
        n = pread(fd, ret_id, INSTALL_ID_DIGITS, 0);
        if (n < 0)
                return -errno;
        ret_id[n] = '\0';
        return 1;
}
