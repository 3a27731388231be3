/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/fs.h"
#include "basic/string-util.h"
#include "dhetcdd/job-queue.h"

static char dir[] = "/tmp/dhetcd-test-queue-XXXXXX";
static char *const one_node[] = { (char *) "10.0.0.2", NULL };
static char *const two_nodes[] = { (char *) "10.0.0.2", (char *) "2001:db8::3", NULL };

static Job *make(JobQueue *q, JobState state, uint64_t queued) {
        _cleanup_json_ json_t *options = json_pack("{s:I}", "wait-timeout", (json_int_t) 100);
        Job *j = NULL;

        assert_int_equal(job_new(one_node, options, 0, &j), 0);
        j->state = state;
        j->queued_usec = queued;
        assert_int_equal(job_set_text(j, "x"), 0);
        if (q)
                assert_int_equal(job_queue_add(q, j), 0);
        return j;
}

static void test_states(void **state) {
        for (JobState s = 0; s < _JOB_STATE_MAX; s++) {
                assert_int_equal(job_state_from_string(job_state_to_string(s)), s);
                assert_int_equal(job_state_is_open(s), s == JOB_QUEUED || s == JOB_RUNNING);
        }
        assert_int_equal(job_state_from_string("finished"), _JOB_STATE_INVALID);
        assert_int_equal(job_state_from_string(NULL), _JOB_STATE_INVALID);
}

static void test_ids(void **state) {
        assert_true(job_id_is_valid("0123abcd"));
        assert_false(job_id_is_valid("0123ABCD"));
        assert_false(job_id_is_valid("0123abc"));
        assert_false(job_id_is_valid("0123abcde"));
        assert_false(job_id_is_valid("../../xx"));
        assert_false(job_id_is_valid(NULL));
}

static void test_first_come_first_served(void **state) {
        _cleanup_(job_queue_done) JobQueue q = {};
        Job *c = make(&q, JOB_QUEUED, 30), *a = make(&q, JOB_QUEUED, 10), *b = make(&q, JOB_QUEUED, 20);

        assert_ptr_equal(job_queue_next(&q), a);
        assert_null(job_queue_running(&q));
        assert_int_equal(job_queue_position(&q, a), 1);
        assert_int_equal(job_queue_position(&q, b), 2);
        a->state = JOB_RUNNING;
        assert_ptr_equal(job_queue_next(&q), a); /* a restarted daemon goes on with it */
        assert_ptr_equal(job_queue_running(&q), a);
        assert_int_equal(job_queue_position(&q, a), 0);
        assert_int_equal(job_queue_position(&q, b), 1);
        assert_int_equal(job_queue_position(&q, c), 2);
        b->state = JOB_CANCELED;
        assert_int_equal(job_queue_position(&q, c), 1);
        a->state = JOB_COMMITTED;
        assert_ptr_equal(job_queue_next(&q), c);
        c->state = JOB_STUCK;
        assert_null(job_queue_next(&q));
        assert_int_equal(job_queue_open(&q), 0);
}

static void test_same_time_same_order(void **state) {
        _cleanup_(job_queue_done) JobQueue q = {};
        Job *j[3];

        for (size_t i = 0; i < 3; i++)
                j[i] = make(NULL, JOB_QUEUED, 5);
        strcpy(j[0]->id, "cccccccc");
        strcpy(j[1]->id, "aaaaaaaa");
        strcpy(j[2]->id, "bbbbbbbb");
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(job_queue_add(&q, j[i]), 0);
        assert_string_equal(q.jobs[0]->id, "aaaaaaaa");
        assert_string_equal(q.jobs[1]->id, "bbbbbbbb");
        assert_string_equal(q.jobs[2]->id, "cccccccc");
}

static void test_limit_and_double(void **state) {
        _cleanup_(job_queue_done) JobQueue q = {};
        Job *more, *first = make(&q, JOB_RUNNING, 1);

        for (unsigned i = 1; i < JOB_QUEUE_OPEN_MAX; i++)
                (void) make(&q, JOB_QUEUED, 1 + i);
        more = make(NULL, JOB_QUEUED, 1000);
        assert_int_equal(job_queue_add(&q, more), -EXFULL);
        for (unsigned i = 0; i < 3; i++) /* what a takeover, or another version, has left on disk */
                assert_int_equal(job_queue_load(&q, make(NULL, JOB_RUNNING, 500 + i)), 0);
        assert_int_equal(job_queue_open(&q), JOB_QUEUE_OPEN_MAX + 3);
        assert_int_equal(job_queue_add(&q, more), -EXFULL);
        while (q.n > JOB_QUEUE_OPEN_MAX)
                job_queue_remove(&q, q.jobs[q.n - 1]);
        first->state = JOB_COMMITTED;
        assert_int_equal(job_queue_add(&q, more), 0);
        assert_int_equal(job_queue_add(&q, more), -EEXIST);
        assert_ptr_equal(job_queue_find(&q, more->id), more);
        job_queue_remove(&q, more);
        assert_int_equal(q.n, JOB_QUEUE_OPEN_MAX);
}

static void test_time_to_wait(void **state) {
        _cleanup_(job_queue_done) JobQueue q = {};
        Job *running = make(&q, JOB_RUNNING, 0), *a = make(&q, JOB_QUEUED, 10), *b = make(&q, JOB_QUEUED, 20);
        uint64_t next;

        assert_null(job_queue_expired(&q, 109, &next)); /* a running one does not wait */
        assert_int_equal(next, 110);
        assert_ptr_equal(job_queue_expired(&q, 110, &next), a);
        a->state = JOB_REJECTED;
        assert_null(job_queue_expired(&q, 110, &next));
        assert_int_equal(next, 120);
        b->wait_timeout_usec = 0;
        assert_null(job_queue_expired(&q, UINT64_MAX, &next));
        assert_true(next == UINT64_MAX);
        b->wait_timeout_usec = UINT64_MAX;
        assert_null(job_queue_expired(&q, UINT64_MAX, NULL));
        assert_int_equal(running->state, JOB_RUNNING);
}

static void test_pruning(void **state) {
        const uint64_t day = 86400 * USEC_PER_SEC, now = 1000 * day;
        _cleanup_(job_queue_done) JobQueue q = {};
        Job *old_stuck = make(&q, JOB_STUCK, 1), *old = make(&q, JOB_COMMITTED, 2), *mid = make(&q, JOB_REJECTED, 3),
            *young = make(&q, JOB_COMMITTED, 4);

        old_stuck->ended_usec = 1;
        old->ended_usec = now - 91 * day;
        mid->ended_usec = now - 2 * day;
        young->ended_usec = now - day;
        (void) make(&q, JOB_QUEUED, 5);

        assert_ptr_equal(job_queue_prunable(&q, 20, 90, now), old);
        job_queue_remove(&q, old);
        assert_null(job_queue_prunable(&q, 20, 90, now));
        assert_ptr_equal(job_queue_prunable(&q, 1, 90, now), mid);
        job_queue_remove(&q, mid);
        assert_null(job_queue_prunable(&q, 1, 90, now));
        assert_null(job_queue_prunable(&q, 1, 90, 0)); /* a clock that went back removes nothing */
}

static int setup(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
        return remove_tree(dir);
}

static void test_on_disk(void **state) {
        _cleanup_json_ json_t *options = json_pack("{s:s, s:I}", "restart", "always", "wait-timeout", (json_int_t) 7);
        _cleanup_(job_freep) Job *a = NULL, *b = NULL;
        _cleanup_free_ char *error = NULL;

        assert_int_equal(job_new(two_nodes, options, 1000, &a), 0);
        assert_int_equal(job_set_text(a, "a \"text\" – of it"), 0);
        a->state = JOB_RUNNING;
        a->cancel = true;
        a->ended_usec = 5;
        assert_int_equal(job_save(a, dir, &error), 0);
        assert_int_equal(job_load(dir, a->id, &b, &error), 0);
        assert_string_equal(b->id, a->id);
        assert_int_equal(strv_length(b->nodes), 2);
        assert_string_equal(b->nodes[1], "2001:db8::3");
        assert_true(json_equal(a->options, b->options));
        assert_int_equal(b->uid, 1000);
        assert_int_equal(b->queued_usec, a->queued_usec);
        assert_int_equal(b->ended_usec, 5);
        assert_int_equal(b->wait_timeout_usec, 7);
        assert_int_equal(b->state, JOB_RUNNING);
        assert_true(b->cancel);
        assert_string_equal(b->text, a->text);
}

/* Whatever a job is told, its record can be read again. */
static void test_long_text(void **state) {
        _cleanup_json_ json_t *options = json_object();
        _cleanup_(job_freep) Job *a = NULL, *b = NULL;
        _cleanup_free_ char *error = NULL;
        static char text[2000000];

        memset(text, 1, sizeof(text) - 1);
        assert_int_equal(job_new(two_nodes, options, 0, &a), 0);
        assert_int_equal(job_set_text(a, text), 0);
        assert_int_equal(job_save(a, dir, &error), 0);
        assert_int_equal(job_load(dir, a->id, &b, &error), 0);
        assert_int_equal(strlen(b->text), JOB_TEXT_MAX);
}

static void test_damaged_on_disk(void **state) {
        static const char *const texts[] = {
                "",
                "{",
                "[]",
                "{}",
                "{\"job\":\"0123abcd\",\"nodes\":[\"10.0.0.2\"],\"options\":{},\"state\":\"finished\"}",
                "{\"job\":\"0123abcd\",\"nodes\":[],\"options\":{},\"state\":\"queued\"}",
                "{\"job\":\"0123abcd\",\"nodes\":[\"x\"],\"options\":{},\"state\":\"queued\"}",
                "{\"job\":\"0123abcd\",\"nodes\":[\"10.0.0.2\"],\"options\":[],\"state\":\"queued\"}",
                "{\"job\":\"0123abcd\",\"kind\":\"cook\",\"nodes\":[\"10.0.0.2\"],\"options\":{},\"state\":\"queued\"}",
                "{\"job\":\"0123abce\",\"nodes\":[\"10.0.0.2\"],\"options\":{},\"state\":\"queued\"}",
        };
        _cleanup_free_ char *path = format("%s/0123abcd/job.json", dir), *job = format("%s/0123abcd", dir);

        assert_int_equal(mkdir_durable(job, 0700), 1);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_free_ char *error = NULL;
                Job *j = NULL;

                assert_int_equal(write_file_durable(path, texts[i], strlen(texts[i]), 0600, (uid_t) -1, (gid_t) -1), 0);
                assert_int_equal(job_load(dir, "0123abcd", &j, &error), -EBADMSG);
                assert_null(j);
                assert_non_null(strstr(error, path));
        }
}

/* A job of before there were kinds is an addition. */
static void test_kinds(void **state) {
        static const char old[] = "{\"job\":\"0123abcd\",\"nodes\":[\"10.0.0.2\"],\"options\":{},\"state\":\"queued\"}";
        _cleanup_json_ json_t *v = json_loads(old, 0, NULL), *kept = NULL;
        _cleanup_(job_freep) Job *j = NULL, *again = NULL;

        assert_int_equal(job_from_json(v, &j, NULL), 0);
        assert_int_equal(j->kind, JOB_ADD);
        j->kind = JOB_RESCUE;
        kept = job_to_json(j);
        assert_string_equal(json_get_string(kept, "kind"), "rescue");
        assert_int_equal(job_from_json(kept, &again, NULL), 0);
        assert_int_equal(again->kind, JOB_RESCUE);
        for (JobKind k = 0; k < _JOB_KIND_MAX; k++)
                assert_int_equal(job_kind_from_string(job_words(k)->name), k);
        assert_non_null(job_words(_JOB_KIND_INVALID));
}

/* Appends a whole record to a transaction's log through the writer that the worker uses. */
static void log_end(const Job *j, size_t n, const char *type, const char *end) {
        _cleanup_free_ char *txn = job_txn_dir(j, dir, n);
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        _cleanup_json_ json_t *fields = end ? json_pack("{s:s, s:s}", "state", end, "why", "because") : NULL;

        assert_true(mkdir_durable(txn, 0700) >= 0);
        assert_int_equal(txn_log_open(txn, true, &l, NULL), 0);
        assert_int_equal(txn_log_append(l, type, fields, NULL), 0);
}

/* What dhetcd-recover.service looks for. */
static void test_open_mark(void **state) {
        _cleanup_(job_freep) Job *j = make(NULL, JOB_QUEUED, 1);
        _cleanup_free_ char *mark = format("%s/%s/open", dir, j->id);

        for (JobState s = 0; s < _JOB_STATE_MAX; s++) {
                j->state = s;
                assert_int_equal(job_save(j, dir, NULL), 0);
                assert_int_equal(path_exists(mark) > 0, job_state_is_open(s) || s == JOB_STUCK);
                assert_int_equal(job_save(j, dir, NULL), 0);
        }
}

/* A crash between the last record and the mark. */
static void test_unmark(void **state) {
        _cleanup_(job_freep) Job *j = make(NULL, JOB_QUEUED, 1);
        _cleanup_free_ char *mark = format("%s/%s/open", dir, j->id);

        assert_int_equal(job_save(j, dir, NULL), 0);
        assert_int_equal(job_unmark(j, dir), 0);
        assert_int_equal(path_exists(mark), 1);
        j->state = JOB_STUCK;
        assert_int_equal(job_unmark(j, dir), 0);
        assert_int_equal(path_exists(mark), 1);
        j->state = JOB_CANCELED;
        assert_int_equal(job_unmark(j, dir), 0);
        assert_int_equal(path_exists(mark), 0);
}

static void test_remove_untaken(void **state) {
        _cleanup_(job_freep) Job *j = make(NULL, JOB_QUEUED, 1);
        _cleanup_free_ char *own = format("%s/%s", dir, j->id), *record = format("%s/job.json", own);
        _cleanup_free_ char *txn = job_txn_dir(j, dir, 1);

        assert_int_equal(job_save(j, dir, NULL), 0);
        assert_int_equal(job_remove_untaken(dir, j->id), 0);
        assert_int_equal(path_exists(record), 1);

        assert_int_equal(unlink(record), 0);
        assert_true(mkdir_durable(txn, 0700) >= 0);
        assert_int_equal(job_remove_untaken(dir, j->id), 0); /* it was begun: somebody must look at it */
        assert_int_equal(path_exists(txn), 1);

        assert_int_equal(rmdir(txn), 0);
        assert_int_equal(job_remove_untaken(dir, j->id), 1); /* with its mark */
        assert_int_equal(path_exists(own), 0);
}

/* What cannot be removed leaves the job's record, so it is no transaction without a job. */
static void test_remove_keeps_record(void **state) {
        _cleanup_(job_freep) Job *j = make(NULL, JOB_COMMITTED, 1);
        _cleanup_free_ char *own = format("%s/%s", dir, j->id), *record = format("%s/job.json", own);
        _cleanup_free_ char *txn = job_txn_dir(j, dir, 1), *half = NULL, *deep = NULL;

        for (size_t i = 0; i < 80; i++) { /* deeper than remove_tree() goes */
                char *below = format("%s/d", deep ?: txn);

                if (i == 40)
                        half = TAKE_PTR(deep);
                free(deep);
                deep = below;
        }
        assert_int_equal(job_save(j, dir, NULL), 0);
        assert_int_equal(mkdir_durable(deep, 0700), 1);
        assert_int_equal(job_remove(dir, j->id), -ELOOP);
        assert_int_equal(path_exists(record), 1);

        assert_int_equal(job_remove_refused(dir, j->id), -ELOOP);
        assert_int_equal(path_exists(record), 0); /* nothing can be run any more */

        assert_int_equal(remove_tree(half), 0);
        assert_int_equal(job_remove(dir, j->id), 0);
        assert_int_equal(path_exists(own), 0);
        assert_int_equal(job_remove(dir, j->id), 0);
}

static void test_current_transaction(void **state) {
        _cleanup_json_ json_t *options = json_object();
        _cleanup_(job_freep) Job *j = NULL;
        _cleanup_free_ char *reason = NULL, *why = NULL;
        TxnState txn;
        size_t n;

        assert_int_equal(job_new(two_nodes, options, 0, &j), 0);
        assert_int_equal(job_current_txn(j, dir, &n, &txn, &reason, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(txn, TXN_EMPTY);
        assert_null(reason);

        log_end(j, 1, "intent", NULL);
        assert_int_equal(job_current_txn(j, dir, &n, &txn, &reason, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(txn, TXN_RUNNING);

        log_end(j, 1, "end", "committed");
        log_end(j, 2, "end", "rejected");
        assert_int_equal(job_current_txn(j, dir, &n, &txn, &why, NULL), 0);
        assert_int_equal(n, 2);
        assert_int_equal(txn, TXN_REJECTED);
        assert_string_equal(why, "because");

        log_end(j, 2, "end", "committed");
        free(TAKE_PTR(why));
        assert_int_equal(job_current_txn(j, dir, &n, &txn, &why, NULL), 0);
        assert_int_equal(n, 3);
}

/* What to do besides is told only as long as the transaction is stuck. */
static void test_advice(void **state) {
        _cleanup_json_ json_t *options = json_object(), *fields = json_pack("{s:s, s:s, s:s}", "state", "stuck", "why",
                                                                            "because", "advice", "Run it");
        _cleanup_free_ char *stuck = NULL, *settled = NULL, *txn = NULL;
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        _cleanup_(job_freep) Job *j = NULL;
        TxnState found;

        assert_int_equal(job_new(one_node, options, 0, &j), 0);
        txn = job_txn_dir(j, dir, 1);
        assert_true(mkdir_durable(txn, 0700) >= 0);
        assert_int_equal(txn_log_open(txn, true, &l, NULL), 0);
        assert_int_equal(txn_log_append(l, "end", fields, NULL), 0);
        assert_int_equal(job_txn_state(j, dir, 1, &found, &stuck, NULL), 0);
        assert_int_equal(found, TXN_STUCK);
        assert_string_equal(stuck, "because. Run it");

        l = txn_log_free(l);
        log_end(j, 1, "end", "rolled-back");
        assert_int_equal(job_txn_state(j, dir, 1, &found, &settled, NULL), 0);
        assert_int_equal(found, TXN_ROLLED_BACK);
        assert_string_equal(settled, "because");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_states),
                cmocka_unit_test(test_ids),
                cmocka_unit_test(test_first_come_first_served),
                cmocka_unit_test(test_same_time_same_order),
                cmocka_unit_test(test_limit_and_double),
                cmocka_unit_test(test_time_to_wait),
                cmocka_unit_test(test_pruning),
                cmocka_unit_test_setup_teardown(test_on_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_long_text, setup, teardown),
                cmocka_unit_test_setup_teardown(test_open_mark, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unmark, setup, teardown),
                cmocka_unit_test_setup_teardown(test_remove_untaken, setup, teardown),
                cmocka_unit_test_setup_teardown(test_remove_keeps_record, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_on_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_current_transaction, setup, teardown),
                cmocka_unit_test(test_kinds),
                cmocka_unit_test_setup_teardown(test_advice, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
