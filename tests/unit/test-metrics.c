/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/string-util.h"
#include "dhetcdd/metrics.h"

static char dir[] = "/tmp/dhetcd-test-metrics-XXXXXX";

static Job *add(JobQueue *q, char *const *nodes, JobState state, uint64_t queued, uint64_t ended) {
        _cleanup_json_ json_t *options = json_object();
        Job *j = NULL;

        assert_int_equal(job_new(nodes, options, 0, &j), 0);
        j->state = state;
        j->queued_usec = queued * USEC_PER_SEC;
        j->ended_usec = ended * USEC_PER_SEC;
        assert_int_equal(job_set_text(j, "x"), 0);
        assert_int_equal(job_queue_add(q, j), 0);
        return j;
}

static void log_types(const Job *j, size_t n, const char *const *types) {
        _cleanup_free_ char *path = job_txn_dir(j, dir, n);
        _cleanup_(txn_log_freep) TxnLog *l = NULL;

        assert_true(mkdir_durable(path, 0700) >= 0);
        assert_int_equal(txn_log_open(path, true, &l, NULL), 0);
        for (; *types; types++)
                assert_int_equal(txn_log_append(l, *types, NULL, NULL), 0);
}

static void assert_has(const char *text, const char *line) {
        _cleanup_free_ char *whole = format("\n%s\n", line);

        if (!strstr(text, whole))
                fail_msg("no line '%s' in:\n%s", line, text);
}

static void test_no_jobs(void **state) {
        JobQueue q = {};
        _cleanup_free_ char *text = metrics_format(&q, dir);

        assert_has(text, "dhetcd_jobs{state=\"stuck\"} 0");
        assert_null(strstr(text, "dhetcd_last_job"));
}

static void test_the_last_job(void **state) {
        static char *const nodes[] = { (char *) "10.0.0.2", (char *) "2001:db8::3", NULL };
        _cleanup_(job_queue_done) JobQueue q = {};
        _cleanup_free_ char *text = NULL, *info = NULL;
        Job *last;

        add(&q, nodes, JOB_STUCK, 100, 150);
        last = add(&q, nodes, JOB_ROLLED_BACK, 110, 200);
        add(&q, nodes, JOB_QUEUED, 120, 0);
        log_types(last, 1, (const char *const[]){ "begin", "intent", "done", "commit", "undo", "undone", NULL });
        log_types(last, 2, (const char *const[]){ "begin", "done", "undo-failed", "undone", NULL });

        text = metrics_format(&q, dir);
        info = format("dhetcd_last_job_info{job=\"%s\",kind=\"add\",state=\"rolled-back\"} 1", last->id);
        assert_has(text, info);
        assert_has(text, "dhetcd_jobs{state=\"queued\"} 1");
        assert_has(text, "dhetcd_jobs{state=\"stuck\"} 1");
        assert_has(text, "dhetcd_last_job_success 0");
        assert_has(text, "dhetcd_last_job_end_timestamp_seconds 200.000");
        assert_has(text, "dhetcd_last_job_duration_seconds 90.000");
        assert_has(text, "dhetcd_last_job_steps{node=\"10.0.0.2\",result=\"done\"} 2");
        assert_has(text, "dhetcd_last_job_steps{node=\"10.0.0.2\",result=\"undone\"} 1");
        assert_has(text, "dhetcd_last_job_steps{node=\"2001:db8::3\",result=\"undo-failed\"} 1");
}

static void test_file(void **state) {
        _cleanup_free_ char *file = format("%s/" METRICS_FILE, dir), *none = format("%s/none", dir), *why = NULL;
        _cleanup_free_ char *text = NULL, *expected = NULL;
        JobQueue q = {};
        struct stat st;

        assert_int_equal(metrics_write("", &q, dir, &why), 0);
        assert_int_equal(metrics_write(none, &q, dir, &why), 0);
        assert_int_equal(path_exists(none), 0);
        assert_int_equal(metrics_write(dir, &q, dir, &why), 0);
        assert_int_equal(metrics_write(dir, &q, dir, &why), 0);
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_int_equal(read_file(file, 65536, false, &text, NULL), 0);
        expected = metrics_format(&q, dir);
        assert_string_equal(text, expected);
        assert_null(why);
}

static int setup(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
        return remove_tree(dir);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_no_jobs, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_last_job, setup, teardown),
                cmocka_unit_test_setup_teardown(test_file, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
