/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Look, Plan and Examine: read-only questions that need etcd and other hosts, which this daemon does not speak to.
 * A transient unit with a worker does, in a sandbox that lets it write nothing but its own runtime directory; it
 * sends its answer, one line of JSON, through a pipe. */

#include <fcntl.h>

#include "basic/error.h"
#include "bus/names.h"
#include "bus/unit-job.h"
#include "manager-internal.h"

#define LOOKS_MAX 4U
#define ANSWER_SIZE_MAX (1024U * 1024U)
#define START_USEC (60 * USEC_PER_SEC)

struct Look {
        Manager *manager; /* weak */
        Look *next;
        sd_bus_message *message; /* the call that waits */
        char id[JOB_ID_DIGITS + 1];
        char *request;
        char **without; /* properties this systemd does not know */
        UnitJob *starter;
        sd_event_source *io, *timer;
        int fd; /* the pipe, to be read */
        char *answer;
        size_t size;
};

static Look *look_free(Look *l) {
        if (!l)
                return NULL;
        unit_job_free(l->starter);
        sd_event_source_unref(l->io);
        sd_event_source_unref(l->timer);
        sd_bus_message_unref(l->message);
        strv_free(l->without);
        if (l->fd >= 0)
                close(l->fd);
        free(l->request);
        free(l->answer);
        free(l);
        return NULL;
}

DEFINE_CLEANUP(Look *, look_free)

void looks_free(Look *first) {
        while (first) {
                Look *next = first->next;

                look_free(first);
                first = next;
        }
}

/* Answers and frees it. */
static void finish(Look *l, const char *error) {
        Manager *m = l->manager;

        if (error)
                (void) sd_bus_reply_method_errorf(l->message, DHETCD_ERROR_FAILED,
                                                  "%s; see \"journalctl -u dhetcd-look-%s\"", error, l->id);
        else
                (void) sd_bus_reply_method_return(l->message, "s", l->answer);
        for (Look **p = &m->looks; *p; p = &(*p)->next)
                if (*p == l) {
                        *p = l->next;
                        break;
                }
        look_free(l);
}

static int grow(Look *l) {
        char *grown = realloc(l->answer, l->size + 16384 + 1);

        if (!grown)
                return -ENOMEM;
        l->answer = grown;
        return 0;
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Look *l = userdata;
        ssize_t n;

        if (l->size > ANSWER_SIZE_MAX || grow(l) < 0) {
                finish(l, "the answer is too long");
                return 0;
        }
        n = read(fd, l->answer + l->size, 16384);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                finish(l, "the look ended without an answer");
                return 0;
        }
        l->size += (size_t) n;
        l->answer[l->size] = '\0';
        if (l->answer[l->size - 1] == '\n') {
                l->answer[l->size - 1] = '\0';
                finish(l, NULL);
        }
        return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Look *l = userdata;

        finish(l, "the look took too long");
        return 0;
}

static int start(Look *l);

static void on_started(void *userdata, int r, const char *result, const char *why) {
        _cleanup_free_ char *text = NULL;
        Look *l = userdata;

        if (r >= 0)
                return; /* the pipe tells the rest */
        if (!result && txn_unit_learn(why, &l->without) > 0) {
                l->starter = unit_job_free(l->starter);
                if (start(l) >= 0)
                        return;
        }
        text = format("the look could not be started: %s", error_text(why, r));
        finish(l, text ?: "the look could not be started");
}

static int start(Look *l) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_free_ char *unit = format("dhetcd-look-%s.service", l->id);
        _cleanup_close_ int write_end = -EBADF;
        int fds[2], r;

        if (!unit)
                return -ENOMEM;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        if (l->fd >= 0)
                close(l->fd);
        l->fd = fds[0];
        write_end = fds[1]; /* the message has its own copy of it */
        if (fcntl(l->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        l->io = sd_event_source_unref(l->io);
        r = look_unit_message(l->manager->bus, l->id, l->request, write_end, l->without, &call);
        if (r >= 0)
                r = sd_event_add_io(l->manager->event, &l->io, l->fd, EPOLLIN, on_answer, l);
        if (r >= 0)
                r = unit_job_new(l->manager->bus, on_started, l, &l->starter);
        return r < 0 ? r : unit_job_send(l->starter, call, unit, START_USEC);
}

static int begin(Manager *m, sd_bus_message *message, const json_t *request, sd_bus_error *error) {
        _cleanup_(look_freep) Look *l = calloc(1, sizeof(Look));
        size_t n = 0;
        int r;

        for (const Look *other = m->looks; other; other = other->next)
                n++;
        if (n >= LOOKS_MAX)
                return sd_bus_error_set(error, DHETCD_ERROR_BUSY, "Others look at the cluster right now; try again");
        if (!l)
                return -ENOMEM;
        l->fd = -EBADF;
        l->manager = m;
        l->message = sd_bus_message_ref(message);
        l->request = json_to_text(request, JSON_COMPACT);
        if (!l->request)
                return -ENOMEM;
        r = job_random_id(l->id);
        if (r >= 0)
                r = sd_event_add_time(m->event, &l->timer, CLOCK_BOOTTIME, now_boot() + LOOK_USEC, 0, on_timeout, l);
        if (r >= 0)
                r = start(l);
        if (r < 0)
                return r;
        l->next = m->looks;
        m->looks = TAKE_PTR(l);
        return 1;
}

int manager_method_look(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *request = json_object();
        Manager *m = userdata;
        int r;

        r = polkit_check(m->polkit, message, POLKIT_INSPECT, NULL, manager_method_look, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        return request ? begin(m, message, request, error) : -ENOMEM;
}

int manager_method_examine(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_t *request = json_pack("{sb}", "doctor", 1);
        Manager *m = userdata;
        int r;

        r = polkit_check(m->polkit, message, POLKIT_INSPECT, NULL, manager_method_examine, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        return request ? begin(m, message, request, error) : -ENOMEM;
}

int manager_method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(add_request_done) AddRequest a = {};
        _cleanup_json_ json_t *request = NULL;
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        int r;

        r = manager_read_add_request(message, &a, error);
        if (r >= 0) {
                r = add_request_window(a.options, &text);
                if (r < 0)
                        return manager_set_error(error, r, text);
        }
        request = json_pack("{so sO*}", "nodes", json_from_strv(a.nodes), "options", a.options);
        if (r < 0)
                return r;
        r = polkit_check(m->polkit, message, POLKIT_INSPECT, NULL, manager_method_plan, m, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        return request ? begin(m, message, request, error) : -ENOMEM;
}
