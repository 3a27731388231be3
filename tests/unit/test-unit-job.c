/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* UnitJob against a systemd that does what the test wants, on the other end of a socket pair. */

#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "test-util.h"

#include "basic/string-util.h"
#include "bus/unit-job.h"

#define UNIT "dh-etcd.service"
#define OUR_JOB SYSTEMD_PATH "/job/7"
#define OTHER_JOB SYSTEMD_PATH "/job/6"
#define LONG (20 * USEC_PER_SEC)

/* What the false systemd does with a call that makes a job. */
typedef enum Manner {
        ANSWER_THEN_END,
        END_THEN_ANSWER,  /* the job is gone before we know its name */
        OTHERS_END_FIRST, /* jobs of the same unit and of others */
        MANY_OTHERS_END_FIRST,
        ANSWER_ONLY, /* the job never ends */
        NOTHING,     /* no answer */
        ERROR,
        HANG_UP, /* after the answer */
        HANG_UP_AT_ONCE,
} Manner;

typedef struct Fixture {
        sd_event *event;
        sd_bus *client, *server;
        Manner manner;
        const char *result, *error_name;
        unsigned subscribed, reloaded;

        UnitJob *job;
        unsigned ended;
        int error;
        char *word, *why;
} Fixture;

/* ---- the false systemd ---- */

static void send_removed(Fixture *f, const char *job, const char *unit, const char *result) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        assert_true(sd_bus_message_new_signal(f->server, &m, SYSTEMD_PATH, SYSTEMD_MANAGER, "JobRemoved") >= 0);
        assert_true(sd_bus_message_append(m, "uoss", UINT32_C(7), job, unit, result) >= 0);
        assert_true(sd_bus_message_set_sender(m, SYSTEMD_SERVICE) >= 0);
        assert_true(sd_bus_send(f->server, m, NULL) >= 0);
}

static int on_hang_up(sd_event_source *s, void *userdata) {
        Fixture *f = userdata;

        sd_event_source_unref(s);
        (void) sd_bus_flush(f->server);
        sd_bus_close(f->server);
        return 0;
}

static void hang_up(Fixture *f) {
        sd_event_source *s;

        assert_true(sd_event_add_defer(f->event, &s, on_hang_up, f) >= 0);
}

static int on_job_call(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Fixture *f = userdata;

        switch (f->manner) {
        case NOTHING:
                return 1;
        case HANG_UP_AT_ONCE:
                hang_up(f);
                return 1;
        case ERROR:
                return sd_bus_error_set(reterr, f->error_name, "as the test wants it");
        case END_THEN_ANSWER:
                send_removed(f, OUR_JOB, UNIT, f->result);
                return sd_bus_reply_method_return(m, "o", OUR_JOB);
        case OTHERS_END_FIRST:
                send_removed(f, OTHER_JOB, UNIT, "canceled");
                send_removed(f, SYSTEMD_PATH "/job/5", "other.service", "failed");
                break;
        case MANY_OTHERS_END_FIRST:
                for (unsigned i = 0; i < 100; i++)
                        send_removed(f, OTHER_JOB, UNIT, "canceled");
                break;
        default:
                break;
        }

        assert_true(sd_bus_reply_method_return(m, "o", OUR_JOB) >= 0);
        if (f->manner == HANG_UP)
                hang_up(f);
        else if (f->manner != ANSWER_ONLY) {
                send_removed(f, OTHER_JOB, UNIT, "failed");
                send_removed(f, OUR_JOB, UNIT, f->result);
        }
        return 1;
}

static int on_subscribe(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        ((Fixture *) userdata)->subscribed++;
        return sd_bus_error_set(reterr, "org.freedesktop.systemd1.AlreadySubscribed", "Client is already subscribed.");
}

static int on_enable(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Fixture *f = userdata;

        if (f->manner == ERROR)
                return sd_bus_error_set(reterr, f->error_name, "as the test wants it");
        return sd_bus_reply_method_return(m, "ba(sss)", 1, 0);
}

static int on_reload(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        ((Fixture *) userdata)->reloaded++;
        return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable systemd[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("StartUnit", "ss", "o", on_job_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", on_job_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("GetJob", "u", "o", on_job_call, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Subscribe", "", "", on_subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("EnableUnitFiles", "asbb", "ba(sss)", on_enable, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Reload", "", "", on_reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* ---- the fixture ---- */

static void on_end(void *userdata, int r, const char *result, const char *why) {
        Fixture *f = userdata;

        f->ended++;
        f->error = r;
        f->word = result ? strdup(result) : NULL;
        f->why = why ? strdup(why) : NULL;
        f->job = unit_job_free(f->job); /* as a caller may */
        sd_event_exit(f->event, 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));
        sd_id128_t id;
        int pair[2];

        assert_non_null(f);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_true(sd_id128_randomize(&id) >= 0);

        assert_true(sd_bus_new(&f->server) >= 0);
        assert_true(sd_bus_set_fd(f->server, pair[0], pair[0]) >= 0);
        assert_true(sd_bus_set_server(f->server, true, id) >= 0);
        assert_true(sd_bus_set_anonymous(f->server, true) >= 0);
        assert_true(sd_bus_start(f->server) >= 0);
        assert_true(sd_bus_attach_event(f->server, f->event, 0) >= 0);
        assert_true(sd_bus_add_object_vtable(f->server, NULL, SYSTEMD_PATH, SYSTEMD_MANAGER, systemd, f) >= 0);

        assert_true(sd_bus_new(&f->client) >= 0);
        assert_true(sd_bus_set_fd(f->client, pair[1], pair[1]) >= 0);
        assert_true(sd_bus_set_anonymous(f->client, true) >= 0);
        assert_true(sd_bus_start(f->client) >= 0);
        assert_true(sd_bus_attach_event(f->client, f->event, 0) >= 0);

        f->result = "done";
        assert_int_equal(unit_job_new(f->client, on_end, f, &f->job), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        unit_job_free(f->job);
        sd_bus_close(f->client);
        sd_bus_close(f->server);
        sd_bus_unref(f->client);
        sd_bus_unref(f->server);
        sd_event_unref(f->event);
        free(f->word);
        free(f->why);
        free(f);
        return 0;
}

static void expect(Fixture *f, int error, const char *word) {
        assert_true(sd_event_loop(f->event) >= 0);
        assert_int_equal(f->ended, 1);
        assert_int_equal(f->error, error);
        if (word)
                assert_string_equal(f->word, word);
        else
                assert_null(f->word);
        if (error < 0)
                assert_non_null(f->why);
        else
                assert_null(f->why);
}

/* ---- the tests ---- */

static void test_result_strings(void **state) {
        static const struct {
                const char *result;
                int error;
        } cases[] = {
                { "done", 0 },
                { "canceled", -ECANCELED },
                { "timeout", -ETIMEDOUT },
                { "failed", -EIO },
                { "dependency", -EIO },
                { "skipped", -ENOEXEC },
                { "invalid", -ENOEXEC },
                { "assert", -EPROTO },
                { "unsupported", -EOPNOTSUPP },
                { "collected", -ECANCELED },
                { "once", -ESTALE },
                { "frozen", -EDEADLK },
                { "concurrency", -EBUSY },
                { "from-the-future", -EPROTO },
                { "", -EPROTO },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *meaning = NULL;
                void *fixture;
                Fixture *f;

                assert_int_equal(unit_job_result_check(cases[i].result, &meaning), cases[i].error);
                assert_non_null(meaning);

                assert_int_equal(setup(&fixture), 0);
                f = fixture;
                f->result = cases[i].result;
                assert_int_equal(unit_job_verb(f->job, "StartUnit", UNIT, LONG), 0);
                expect(f, cases[i].error, cases[i].result);
                assert_int_equal(f->subscribed, 1);
                teardown(&fixture);
        }
        assert_int_equal(unit_job_result_check(NULL, NULL), -EPROTO);
}

static void test_manners(void **state) {
        static const struct {
                Manner manner;
                int error;
                const char *word;
                uint64_t timeout;
        } cases[] = {
                { ANSWER_THEN_END, -EIO, "failed", LONG },
                { END_THEN_ANSWER, -EIO, "failed", LONG },
                { OTHERS_END_FIRST, -EIO, "failed", LONG },
                { MANY_OTHERS_END_FIRST, -EIO, "failed", LONG },
                { ANSWER_ONLY, -ETIMEDOUT, "timeout", 50 * USEC_PER_MSEC },
                { NOTHING, -ETIMEDOUT, "timeout", 50 * USEC_PER_MSEC },
                { HANG_UP, -ECONNRESET, NULL, LONG },
                { HANG_UP_AT_ONCE, -ECONNRESET, NULL, LONG },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                void *fixture;
                Fixture *f;

                assert_int_equal(setup(&fixture), 0);
                f = fixture;
                f->manner = cases[i].manner;
                f->result = "failed";
                assert_int_equal(unit_job_verb(f->job, "StartUnit", UNIT, cases[i].timeout), 0);
                expect(f, cases[i].error, cases[i].word);
                teardown(&fixture);
        }
}

static void test_errors(void **state) {
        static const struct {
                const char *name;
                int error;
        } cases[] = {
                { "org.freedesktop.systemd1.UnitExists", -EEXIST },
                { "org.freedesktop.systemd1.NoSuchUnit", -ENOENT },
                { "org.freedesktop.systemd1.NoSuchJob", -ENXIO },
                { "org.freedesktop.systemd1.UnitMasked", -ERFKILL },
                { SD_BUS_ERROR_ACCESS_DENIED, -EACCES },
                { "org.example.Unheard", -EIO },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                void *fixture;
                Fixture *f;

                assert_int_equal(setup(&fixture), 0);
                f = fixture;
                f->manner = ERROR;
                f->error_name = cases[i].name;
                assert_int_equal(unit_job_attach(f->job, 7, UNIT, LONG), 0);
                expect(f, cases[i].error, NULL);
                assert_non_null(strstr(f->why, "as the test wants it"));
                teardown(&fixture);
        }
}

static void test_attach(void **state) {
        Fixture *f = *state;

        assert_int_equal(unit_job_attach(f->job, 7, UNIT, LONG), 0);
        expect(f, 0, "done");
}

static void test_transient(void **state) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Fixture *f = *state;

        assert_int_equal(unit_job_transient_open(f->client, UNIT, &m), 0);
        assert_true(sd_bus_message_append(m, "(sv)", "Description", "s", "test") >= 0);
        assert_true(unit_job_transient_close(m) >= 0);
        assert_int_equal(unit_job_send(f->job, m, UNIT, LONG), 0);
        expect(f, 0, "done");
}

static void test_enable_reloads(void **state) {
        Fixture *f = *state;

        assert_int_equal(unit_job_enable(f->job, true, UNIT, LONG), 0);
        expect(f, 0, "done");
        assert_int_equal(f->reloaded, 1);
}

static void test_enable_fails(void **state) {
        Fixture *f = *state;

        f->manner = ERROR;
        f->error_name = SD_BUS_ERROR_FILE_NOT_FOUND;
        assert_int_equal(unit_job_enable(f->job, true, UNIT, LONG), 0);
        expect(f, -ENOENT, NULL);
        assert_int_equal(f->reloaded, 0);
}

/* A wait that is dropped calls nobody, whatever comes. */
static void test_freed_in_between(void **state) {
        Fixture *f = *state;

        f->manner = ANSWER_THEN_END;
        assert_int_equal(unit_job_verb(f->job, "StartUnit", UNIT, LONG), 0);
        f->job = unit_job_free(f->job);
        for (unsigned i = 0; i < 50; i++)
                assert_true(sd_event_run(f->event, USEC_PER_MSEC) >= 0);
        assert_int_equal(f->ended, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_result_strings),
                cmocka_unit_test(test_manners),
                cmocka_unit_test(test_errors),
                cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
                cmocka_unit_test_setup_teardown(test_transient, setup, teardown),
                cmocka_unit_test_setup_teardown(test_enable_reloads, setup, teardown),
                cmocka_unit_test_setup_teardown(test_enable_fails, setup, teardown),
                cmocka_unit_test_setup_teardown(test_freed_in_between, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
