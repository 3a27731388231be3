/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>

#include "test-util.h"

#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/snapshot.h"
/* The daemon is no library. */
#include "dhetcdd/host-history.c"

#define DAY ((time_t) 86400)
#define NOW ((time_t) 1000 * DAY)

static char dir[] = "/tmp/test-host-history-XXXXXX";
static char *records, *store, *tree;
static HostHistory history;

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        records = format("%s/host", dir);
        store = format("%s/store", dir);
        tree = format("%s/tree", dir);
        history = (HostHistory){ records, store };
        return mkdir(records, 0700) < 0 || mkdir(store, 0700) < 0 ? -1 : 0;
}

static int drop_dir(void **state) {
        free(records);
        free(store);
        free(tree);
        return remove_tree(dir);
}

static void set_time(const char *path, time_t seconds) {
        const struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void add_record(const char *txn, time_t seconds) {
        _cleanup_free_ char *at = format("%s/%s", records, txn), *log = format("%s/log.jsonl", at);

        assert_true(mkdir_durable(at, 0700) >= 0);
        assert_int_equal(write_file_durable(log, "", 0, 0600, (uid_t) -1, (gid_t) -1), 0);
        set_time(log, seconds);
        set_time(at, seconds - DAY);
}

static void add_snapshot(const char *txn, const char *content, time_t seconds) {
        _cleanup_free_ char *name = format("%s.deploy", txn), *path = format("%s/snapshots/%s.json", store, name);
        char digest[DIGEST_HEX_SIZE];

        assert_int_equal(write_file_durable(tree, content, strlen(content), 0600, (uid_t) -1, (gid_t) -1), 0);
        assert_int_equal(snapshot_take(store, name, (char *const[]){ tree, NULL }, NULL, digest, NULL), 1);
        set_time(path, seconds);
}

/* Joined with spaces, oldest last. */
static void assert_old(const char *open_job, unsigned keep_jobs, unsigned keep_days, const char *expected) {
        _cleanup_strv_ char **old = NULL;
        _cleanup_free_ char *joined = NULL;

        assert_int_equal(host_history_old(&history, open_job, &(HistoryLimits){ keep_jobs, keep_days },
                                          (uint64_t) NOW * USEC_PER_SEC, &old, NULL),
                         0);
        joined = strv_join(old, " ");
        assert_string_equal(joined ?: "", expected);
}

static void test_names(void **state) {
        assert_true(txn_is_valid("0123abcd-1"));
        assert_true(txn_is_valid("0123abcd-99"));
        assert_false(txn_is_valid("0123abcd-0"));
        assert_false(txn_is_valid("0123abcd-100"));
        assert_false(txn_is_valid("0123abcd"));
        assert_false(txn_is_valid("lock.json"));
        assert_false(txn_is_valid("."));
}

static void test_nothing_there(void **state) {
        assert_old(NULL, 1, 1, "");
        assert_int_equal(remove_tree(records), 0);
        assert_int_equal(remove_tree(store), 0);
        assert_old(NULL, 1, 1, "");
}

static void test_by_number_of_jobs(void **state) {
        add_record("aaaaaaaa-1", NOW - 30);
        add_record("bbbbbbbb-1", NOW - 40);
        add_record("bbbbbbbb-2", NOW - 10); /* so job b is the newest */
        add_record("cccccccc-1", NOW - 20);
        add_record("dddddddd-1", NOW - 50);
        assert_old(NULL, 4, 1, "");
        assert_old(NULL, 3, 1, "dddddddd-1");
        assert_old(NULL, 1, 1, "cccccccc-1 aaaaaaaa-1 dddddddd-1");
        /* The open job is kept, and takes nobody's place. */
        assert_old("dddddddd", 2, 1, "aaaaaaaa-1");
        assert_old("bbbbbbbb", 1, 1, "aaaaaaaa-1 dddddddd-1");
}

/* As KeepPlan leaves it: no log yet. */
static void test_a_new_one_has_no_log(void **state) {
        _cleanup_free_ char *at = format("%s/eeeeeeee-1", records);

        assert_int_equal(mkdir(at, 0700), 0);
        set_time(at, NOW - 1);
        add_record("aaaaaaaa-1", NOW - 2);
        assert_old(NULL, 1, 1, "aaaaaaaa-1");
}

static void test_by_age(void **state) {
        add_record("aaaaaaaa-1", NOW - 5 * DAY);
        add_snapshot("aaaaaaaa-1", "a", NOW - 1 * DAY); /* the newest of both counts */
        add_snapshot("bbbbbbbb-1", "b", NOW - 5 * DAY); /* a host may have snapshots only */
        add_record("cccccccc-1", NOW + 5 * DAY);        /* the clock was set back */
        assert_old(NULL, 9, 2, "bbbbbbbb-1");
        assert_old("bbbbbbbb", 9, 2, "");
        assert_old(NULL, 9, 5, "");
}

static size_t objects(void) {
        _cleanup_free_ char *command = format("find %s/objects -type f | wc -l", store);
        FILE *f = popen(command, "r");
        size_t n = 0;

        assert_int_equal(fscanf(f, "%zu", &n), 1);
        pclose(f);
        return n;
}

static void test_forget(void **state) {
        _cleanup_free_ char *record = format("%s/aaaaaaaa-1", records), *other = format("%s/aaaaaaaa-10", records);
        _cleanup_strv_ char **differences = NULL;
        char digest[DIGEST_HEX_SIZE];

        add_record("aaaaaaaa-1", NOW);
        add_record("aaaaaaaa-10", NOW);
        add_snapshot("aaaaaaaa-1", "one", NOW);
        add_snapshot("aaaaaaaa-10", "ten", NOW);
        assert_int_equal(objects(), 2);

        assert_int_equal(host_history_forget(&history, "aaaaaaaa-1", NULL), 0);
        assert_int_equal(host_history_collect(&history, NULL), 1);
        assert_int_equal(path_exists(record), 0);
        assert_true(path_exists(other) > 0);
        assert_int_equal(snapshot_describe(store, "aaaaaaaa-1.deploy", digest, NULL, NULL), -ENOENT);
        assert_int_equal(snapshot_describe(store, "aaaaaaaa-10.deploy", digest, NULL, NULL), 0);
        assert_int_equal(objects(), 1);
        assert_int_equal(snapshot_compare(store, "aaaaaaaa-10.deploy", &differences, NULL), 0);

        /* Again, and of what is not there. */
        assert_int_equal(host_history_forget(&history, "aaaaaaaa-1", NULL), 0);
        assert_int_equal(host_history_forget(&history, "ffffffff-1", NULL), 0);
        assert_int_equal(host_history_collect(&history, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test_setup_teardown(test_nothing_there, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_by_number_of_jobs, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_a_new_one_has_no_log, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_by_age, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_forget, make_dir, drop_dir),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
