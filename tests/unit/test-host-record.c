/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "test-util.h"

#include "basic/fs.h"
#include "basic/string-util.h"
/* The daemon is no library. */
#include "dhetcdd/host-record.c"

static char dir[] = "/tmp/test-host-record-XXXXXX";
static char *txn;

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        txn = format("%s/7f3a9c21-1", dir);
        return txn ? 0 : -1;
}

static int drop_dir(void **state) {
        free(txn);
        return remove_tree(dir);
}

static HostRecord *open_record(void) {
        HostRecord *r = NULL;

        assert_int_equal(host_record_open(txn, &r, NULL), 0);
        return r;
}

/* As a crash does it: what is on disk is all there is. */
static HostRecord *crash(HostRecord *r) {
        host_record_free(r);
        return open_record();
}

static const HostKey edit = { "narrow", "EditConfig", NULL, "d1" };
static const HostKey restart = { "restart", "ManageUnit", "restart", "d2" };
static const HostKey restore = { "narrow", "Restore", NULL, "d3" };

static void intent(HostRecord *r, const HostKey *key, json_t *extra) {
        assert_int_equal(host_record_intent(r, key, extra, NULL), 0);
        json_decref(extra);
}

static void done(HostRecord *r, const HostKey *key, json_t *answer) {
        assert_int_equal(host_record_done(r, key, answer, NULL), 0);
        json_decref(answer);
}

static void assert_state(const HostRecord *r, const HostKey *key, HostRecordState state) {
        assert_int_equal(host_record_find(r, key, NULL), state);
}

static void test_replay(void **state) {
        HostRecord *r = open_record();
        const json_t *found;

        assert_state(r, &edit, HOST_RECORD_NONE);
        intent(r, &edit, NULL);
        r = crash(r);
        assert_int_equal(host_record_find(r, &edit, &found), HOST_RECORD_OPEN);
        assert_null(found);

        done(r, &edit, json_pack("[b]", 1));
        r = crash(r);
        assert_int_equal(host_record_find(r, &edit, &found), HOST_RECORD_DONE);
        assert_true(json_is_true(json_array_get(found, 0)));
        assert_state(r, &restart, HOST_RECORD_NONE);
        host_record_free(r);
}

static void test_failed_is_done_again(void **state) {
        HostRecord *r = open_record();

        intent(r, &restart, json_pack("{ss}", "invocation", "abc"));
        assert_int_equal(host_record_failed(r, &restart, "no", NULL), 0);
        r = crash(r);
        assert_state(r, &restart, HOST_RECORD_NONE);
        host_record_free(r);
}

static void test_other_arguments_verb_step(void **state) {
        HostKey other_arguments = edit, other_verb = restart, other_step = edit;
        HostRecord *r = open_record();

        other_arguments.arguments = "d9";
        other_verb.verb = "stop";
        other_step.step = "finish";
        intent(r, &edit, NULL);
        done(r, &edit, json_pack("[b]", 1));
        intent(r, &restart, NULL);
        done(r, &restart, json_pack("[s]", "done"));
        assert_state(r, &other_arguments, HOST_RECORD_NONE);
        assert_state(r, &other_verb, HOST_RECORD_NONE);
        assert_state(r, &other_step, HOST_RECORD_NONE);

        /* A, B, A: the last A is to be done again, the world is B's. */
        intent(r, &other_arguments, NULL);
        done(r, &other_arguments, json_pack("[b]", 1));
        assert_state(r, &edit, HOST_RECORD_NONE);
        assert_state(r, &other_arguments, HOST_RECORD_DONE);
        host_record_free(r);
}

static void test_restore_ends_what_was_true(void **state) {
        HostRecord *r = open_record();

        intent(r, &restart, NULL);
        done(r, &restart, json_pack("[s]", "done"));
        assert_false(host_record_is_restored(r, "narrow"));

        /* One that changed nothing takes nothing away. */
        intent(r, &restore, NULL);
        done(r, &restore, json_pack("[b]", 0));
        assert_state(r, &restart, HOST_RECORD_DONE);
        assert_true(host_record_is_restored(r, "narrow"));
        assert_false(host_record_is_restored(r, "restart"));

        /* One that was cut short may have. */
        intent(r, &restore, NULL);
        r = crash(r);
        assert_state(r, &restart, HOST_RECORD_NONE);
        assert_state(r, &restore, HOST_RECORD_OPEN);

        done(r, &restore, json_pack("[b]", 1));
        assert_state(r, &restart, HOST_RECORD_NONE);
        assert_state(r, &restore, HOST_RECORD_DONE);

        intent(r, &restart, NULL);
        done(r, &restart, json_pack("[s]", "done"));
        r = crash(r);
        assert_state(r, &restart, HOST_RECORD_DONE);
        host_record_free(r);
}

/* Another step's restore takes away what an older one had brought back. */
static void test_restores_end_each_other(void **state) {
        const HostKey other = { "deploy", "Restore", NULL, "d5" };
        HostRecord *r = open_record();

        intent(r, &other, NULL);
        done(r, &other, json_pack("[b]", 1));
        assert_state(r, &other, HOST_RECORD_DONE);
        intent(r, &restore, NULL);
        assert_state(r, &other, HOST_RECORD_NONE);
        done(r, &restore, json_pack("[b]", 1));
        r = crash(r);
        assert_state(r, &other, HOST_RECORD_NONE);
        assert_state(r, &restore, HOST_RECORD_DONE);
        host_record_free(r);
}

static void test_recall(void **state) {
        const HostKey prepare = { "start", "PrepareDataDirectory", NULL, "d4" };
        HostRecord *r = open_record();

        assert_null(host_record_recall(r, "start", "PrepareDataDirectory"));
        intent(r, &prepare, json_pack("{si}", "was", 2));
        done(r, &prepare, json_pack("[b]", 1));
        intent(r, &restore, NULL);
        done(r, &restore, json_pack("[b]", 1));
        r = crash(r);
        assert_int_equal(json_get_integer(host_record_recall(r, "start", "PrepareDataDirectory"), "was", -1), 2);
        assert_null(host_record_recall(r, "sync", "PrepareDataDirectory"));
        host_record_free(r);
}

static int collect(void *userdata, const char *step, const char *verb) {
        _cleanup_free_ char *name = format("%s/%s", step, verb);

        return strv_append(userdata, name);
}

static void test_each_open(void **state) {
        const HostKey scripts[] = {
                { "deploy", "RunScript", "unpackage-server", "a" },
                { "deploy", "RunScript", "unpackage-client", "b" },
                { "start", "RunScript", "enable", "c" },
        };
        _cleanup_strv_ char **open = NULL;
        HostRecord *r = open_record();

        for (size_t i = 0; i < ELEMENTSOF(scripts); i++)
                intent(r, scripts + i, NULL);
        done(r, scripts + 1, json_pack("[s, i, []]", "success", 0));
        r = crash(r);
        assert_int_equal(host_record_each_open(r, "RunScript", collect, &open), 0);
        assert_int_equal(strv_length(open), 2);
        assert_string_equal(open[0], "deploy/unpackage-server");
        assert_string_equal(open[1], "start/enable");
        host_record_free(r);
}

/* What was restored since does not make it unbegun: what the script printed is still to be told. */
static void test_was_begun(void **state) {
        const HostKey script = { "deploy", "RunScript", "unpackage-server", "a" };
        HostRecord *r = open_record();

        assert_false(host_record_was_begun(r, "deploy", "RunScript", "unpackage-server"));
        intent(r, &script, NULL);
        assert_true(host_record_was_begun(r, "deploy", "RunScript", "unpackage-server"));
        done(r, &script, json_pack("[s, i, []]", "canceled", 0));
        intent(r, &restore, NULL);
        done(r, &restore, json_pack("[b]", 1));
        r = crash(r);
        assert_true(host_record_was_begun(r, "deploy", "RunScript", "unpackage-server"));
        assert_false(host_record_was_begun(r, "deploy", "RunScript", "unpackage-client"));
        assert_false(host_record_was_begun(r, "start", "RunScript", "unpackage-server"));
        assert_false(host_record_was_begun(r, "deploy", "EditConfig", "unpackage-server"));
        host_record_free(r);
}

static void assert_half(const HostRecord *r, const char *expected) {
        _cleanup_strv_ char **steps = NULL;
        _cleanup_free_ char *joined = NULL;

        assert_int_equal(host_record_half_written(r, &steps), 0);
        joined = strv_join(steps, " ");
        assert_string_equal(joined ?: "", expected);
}

/* What a power cut leaves in the middle of: a script, a script that failed and is not undone yet, a restore. */
static void test_half_written(void **state) {
        const HostKey server = { "deploy", "RunScript", "unpackage-server", "a" };
        const HostKey client = { "deploy", "RunScript", "unpackage-client", "b" };
        const HostKey back = { "deploy", "Restore", NULL, "c" }, later = { "narrow", "Restore", NULL, "d" };
        const HostKey repaired = { "deploy", "Restore", NULL, "repair" };
        HostRecord *r = open_record();

        intent(r, &edit, NULL); /* replaces the file at once */
        assert_half(r, "");
        intent(r, &server, NULL);
        assert_half(r, "deploy");
        done(r, &server, json_pack("[s, i, []]", "success", 0));
        assert_half(r, "");

        intent(r, &client, NULL);
        done(r, &client, json_pack("[s, i, []]", "exit-code", 3));
        assert_half(r, "deploy");
        intent(r, &client, NULL);
        assert_int_equal(host_record_failed(r, &client, "no", NULL), 0);
        assert_half(r, "deploy");

        assert_false(host_record_is_open(r, "deploy", "Restore"));
        assert_false(host_record_has_begun(r, "Restore"));
        intent(r, &repaired, NULL);
        assert_true(host_record_is_restored(r, "deploy"));
        assert_true(host_record_is_open(r, "deploy", "Restore"));
        assert_true(host_record_has_begun(r, "Restore"));
        r = crash(r);
        assert_half(r, "deploy"); /* until the worker has had it undone */
        intent(r, &later, NULL);
        assert_half(r, "deploy narrow");
        done(r, &later, json_pack("[b]", 1));
        intent(r, &back, NULL);
        done(r, &back, json_pack("[b]", 0));
        assert_half(r, "");
        assert_false(host_record_is_open(r, "deploy", "Restore"));
        host_record_free(r);
}

/* One daemon at a time: the log is locked. */
static size_t size_of_log(void) {
        _cleanup_free_ char *path = format("%s/log.jsonl", txn);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return (size_t) st.st_size;
}

static void failed(HostRecord *r, const HostKey *key, const char *why) {
        assert_int_equal(host_record_failed(r, key, why, NULL), 0);
}

/* What fails every few seconds for days, in other words each time. */
static void test_does_not_fill_up(void **state) {
        static char why[3000];
        HostRecord *r = open_record();
        size_t size;

        for (unsigned i = 0; size_of_log() <= TXN_LOG_FULL; i++) {
                memset(why, 'a' + (int) (i % 26), sizeof(why) - 1);
                intent(r, &edit, json_pack("{si}", "n", (int) i));
                failed(r, &edit, why);
                intent(r, &restart, NULL);
                done(r, &restart, json_pack("[b]", 1));
        }
        size = size_of_log();
        for (unsigned i = 0; i < 20; i++) {
                intent(r, &edit, NULL);
                failed(r, &edit, "in other words");
                intent(r, &restart, NULL);
                done(r, &restart, json_pack("[b]", 1));
        }
        assert_int_equal(size_of_log(), size);
        r = crash(r);
        assert_state(r, &edit, HOST_RECORD_NONE);
        assert_state(r, &restart, HOST_RECORD_DONE);
        assert_non_null(host_record_recall(r, edit.step, edit.operation));

        /* What tells something new is written. */
        intent(r, &edit, NULL);
        r = crash(r);
        assert_state(r, &edit, HOST_RECORD_OPEN);
        failed(r, &edit, "");
        intent(r, &restart, NULL);
        done(r, &restart, json_pack("[b]", 0));
        intent(r, &restore, NULL);
        done(r, &restore, json_pack("[b]", 1));
        intent(r, &edit, NULL);
        failed(r, &edit, "");
        intent(r, &edit, NULL);
        done(r, &edit, json_pack("[b]", 1));
        assert_true(size_of_log() > size);
        r = crash(r);
        assert_state(r, &edit, HOST_RECORD_DONE);
        assert_true(host_record_is_restored(r, restore.step));
        host_record_free(r);
}

static void test_two_daemons(void **state) {
        HostRecord *r = open_record(), *second = NULL;

        assert_int_equal(host_record_open(txn, &second, NULL), -EBUSY);
        host_record_free(r);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_replay, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_failed_is_done_again, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_other_arguments_verb_step, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_restore_ends_what_was_true, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_restores_end_each_other, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_recall, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_each_open, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_was_begun, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_half_written, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_does_not_fill_up, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_two_daemons, make_dir, drop_dir),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
