/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "test-util.h"

#include "basic/fs.h"
#include "basic/string-util.h"
#include "txn/txn-log.h"

static char dir[] = "/tmp/test-txn-log-XXXXXX";

static int make_dir(void **state) {
        strcpy(dir + strlen(dir) - 6, "XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state) {
        return remove_tree(dir);
}

static char *log_file(void) {
        return format("%s/log.jsonl", dir);
}

/* A log of three records, and its text. */
static char *write_log(size_t *ret_size) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        _cleanup_json_ json_t *fields = json_pack("{ss}", "step", "lock");
        _cleanup_free_ char *path = log_file();
        char *text;

        assert_int_equal(txn_log_open(dir, true, &l, NULL), 0);
        assert_int_equal(txn_log_append(l, "intent", fields, NULL), 0);
        assert_int_equal(txn_log_append(l, "done", fields, NULL), 0);
        assert_int_equal(txn_log_append(l, "failed", NULL, NULL), 0);
        assert_int_equal(json_array_size(txn_log_records(l)), 3);
        assert_int_equal(read_file(path, TXN_LOG_SIZE_MAX, false, &text, ret_size), 0);
        return text;
}

static void put_log(const char *text, size_t size) {
        _cleanup_free_ char *path = log_file();

        assert_int_equal(write_file_durable(path, text, size, 0600, (uid_t) -1, (gid_t) -1), 0);
}

static void test_round_trip(void **state) {
        _cleanup_json_ json_t *records = NULL;
        bool torn = true;
        size_t size;

        free(write_log(&size));
        assert_int_equal(txn_log_read(dir, &records, &torn, NULL), 0);
        assert_false(torn);
        assert_int_equal(json_array_size(records), 3);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(json_get_integer(json_array_get(records, i), "seq", 0), i + 1);
        assert_string_equal(json_get_string(json_array_get(records, 0), "step"), "lock");
        assert_true(json_get_integer(json_array_get(records, 0), "time", 0) > 1600000000000000);
        assert_null(json_object_get(json_array_get(records, 0), "sum"));
}

static void test_absent(void **state) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        _cleanup_json_ json_t *records = NULL;

        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), 0);
        assert_int_equal(json_array_size(records), 0);
        assert_int_equal(txn_log_open(dir, false, &l, NULL), -ENOENT);
}

static void test_one_writer(void **state) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL, *other = NULL;
        _cleanup_free_ char *why = NULL;

        assert_int_equal(txn_log_open(dir, true, &l, NULL), 0);
        assert_int_equal(txn_log_open(dir, true, &other, &why), -EBUSY);
        assert_non_null(strstr(why, "held by another process"));
}

/* Which record, from 0, the byte at `offset` belongs to. */
static size_t record_of(const char *text, size_t offset) {
        size_t n = 0;

        for (size_t i = 0; i < offset; i++)
                n += text[i] == '\n';
        return n;
}

/* Cut at every byte: whole records before the cut are kept, the torn one goes, and the log can be continued. */
static void test_cut_everywhere(void **state) {
        size_t size;
        _cleanup_free_ char *text = write_log(&size);

        for (size_t cut = 0; cut <= size; cut++) {
                _cleanup_(txn_log_freep) TxnLog *l = NULL;
                _cleanup_json_ json_t *records = NULL;
                size_t whole = record_of(text, cut);

                put_log(text, cut);
                assert_int_equal(txn_log_open(dir, false, &l, NULL), 0);
                assert_int_equal(json_array_size(txn_log_records(l)), whole);
                assert_int_equal(txn_log_append(l, "after", NULL, NULL), 0);
                assert_int_equal(txn_log_read(dir, &records, NULL, NULL), 0);
                assert_int_equal(json_array_size(records), whole + 1);
                assert_string_equal(json_get_string(json_array_get(records, whole), "type"), "after");
        }
}

/* One bit flipped anywhere: the log is refused, loudly. Only a zero in the last record is taken for a torn end. */
static void test_flip_everywhere(void **state) {
        size_t size;
        _cleanup_free_ char *text = write_log(&size);

        for (size_t i = 0; i < size; i++)
                for (unsigned bit = 0; bit < 8; bit++) {
                        _cleanup_json_ json_t *records = NULL;
                        _cleanup_free_ char *why = NULL;
                        bool torn = false, zero;
                        int r;

                        text[i] ^= (char) (1 << bit);
                        put_log(text, size);
                        r = txn_log_read(dir, &records, &torn, &why);
                        zero = text[i] == '\0';
                        text[i] ^= (char) (1 << bit);

                        if (zero && record_of(text, i) == 2) {
                                assert_int_equal(r, 0);
                                assert_true(torn);
                                assert_int_equal(json_array_size(records), 2);
                        } else {
                                assert_int_equal(r, -EBADMSG);
                                assert_non_null(strstr(why, dir));
                        }
                }
}

/* A line that is missing, doubled or exchanged is damage, however whole each line is. */
static void test_order(void **state) {
        size_t size;
        _cleanup_free_ char *text = write_log(&size), *line2 = NULL, *line3 = NULL, *wrong = NULL;
        char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
        _cleanup_json_ json_t *records = NULL;

        line2 = strndup(second, (size_t) (third - second));
        line3 = strdup(third);
        *second = '\0';
        wrong = format("%s%s%s", text, line3, line2);
        put_log(wrong, strlen(wrong));
        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), -EBADMSG);

        free(wrong);
        wrong = format("%s%s%s%s", text, line2, line2, line3);
        put_log(wrong, strlen(wrong));
        assert_int_equal(txn_log_read(dir, &records, NULL, NULL), -EBADMSG);
}

/* Files may grow to `size` bytes; a write that would pass it is cut short, and the next fails. */
static void limit_files(rlim_t size) {
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A record that could be written in part only is cut off again, and the log goes on when there is room. */
static void test_heals(void **state) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        _cleanup_json_ json_t *records = NULL;
        _cleanup_free_ char *path = log_file(), *why = NULL;
        bool torn = true;
        struct stat st;

        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(txn_log_open(dir, true, &l, NULL), 0);
        assert_int_equal(txn_log_append(l, "intent", NULL, NULL), 0);
        assert_int_equal(stat(path, &st), 0);

        limit_files((rlim_t) st.st_size + 10);
        assert_int_equal(txn_log_append(l, "done", NULL, &why), -EFBIG);
        assert_non_null(strstr(why, path));
        assert_int_equal(txn_log_append(l, "done", NULL, NULL), -EFBIG);
        limit_files(RLIM_INFINITY);

        assert_int_equal(txn_log_append(l, "failed", NULL, NULL), 0);
        assert_int_equal(txn_log_read(dir, &records, &torn, NULL), 0);
        assert_false(torn);
        assert_int_equal(json_array_size(records), 2);
        assert_string_equal(json_get_string(json_array_get(records, 1), "type"), "failed");
        assert_true(json_equal(records, (json_t *) txn_log_records(l)));
}

static size_t count(const TxnLog *l) {
        return json_array_size(txn_log_records(l));
}

static void append_failure(TxnLog *l, const char *step, const char *why) {
        _cleanup_json_ json_t *fields = json_pack("{ss ss}", "step", step, "why", why);

        assert_int_equal(txn_log_append_failure(l, "undo-failed", fields, NULL), 0);
}

static void append_end(TxnLog *l, const char *end, const char *why) {
        _cleanup_json_ json_t *fields = json_pack("{ss ss}", "state", end, "why", why);

        assert_int_equal(txn_log_append_end(l, false, fields, NULL), 0);
}

/* Long texts are cut, and are the same ones when they come again. A log that is full takes no more of what failed, but
 * every end that tells something. */
static void test_does_not_fill_up(void **state) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        static char why[100000];
        size_t n;

        memset(why, 'w', sizeof(why) - 1);
        assert_int_equal(txn_log_open(dir, true, &l, NULL), 0);
        append_failure(l, "deploy", why);
        assert_int_equal(strlen(json_get_string(json_array_get(txn_log_records(l), 0), "why")), TXN_TEXT_MAX);
        assert_true(txn_is_recorded(txn_log_records(l), "undo-failed", "deploy", why));
        append_end(l, "stuck", why);
        assert_true(txn_was_stuck(txn_log_records(l), why, NULL));
        why[0] = 'x';
        assert_false(txn_is_recorded(txn_log_records(l), "undo-failed", "deploy", why));
        assert_false(txn_log_is_full(l));
        while (!txn_log_is_full(l))
                append_failure(l, "deploy", why);

        n = count(l);
        append_failure(l, "deploy", "other words");
        assert_int_equal(count(l), n);
        append_failure(l, "narrow", "of another step");
        append_end(l, "stuck", "once");
        assert_int_equal(count(l), n + 2);
        append_end(l, "stuck", "in other words");
        assert_int_equal(count(l), n + 2);
        append_end(l, "rolled-back", "at last");
        assert_int_equal(count(l), n + 3);
}

static void test_take_back(void **state) {
        _cleanup_(txn_log_freep) TxnLog *l = NULL;
        size_t size, n;

        free(write_log(&size));
        assert_int_equal(txn_log_open(dir, false, &l, NULL), 0);
        assert_int_equal(txn_log_take_back(l), -ESTALE); /* not of another process */
        assert_int_equal(txn_log_append(l, "intent", NULL, NULL), 0);
        assert_int_equal(txn_log_take_back(l), 0);
        assert_int_equal(txn_log_take_back(l), -ESTALE);
        assert_int_equal(txn_log_append(l, "done", NULL, NULL), 0);
        n = count(l);
        l = txn_log_free(l);
        assert_int_equal(txn_log_open(dir, false, &l, NULL), 0);
        assert_int_equal(count(l), n);
        assert_int_equal(n, 4);
        assert_string_equal(json_get_string(json_array_get(txn_log_records(l), 3), "type"), "done");
}

static void test_state(void **state) {
        static const struct {
                const char *records;
                TxnState state;
                const char *reason;
        } table[] = {
                { "[]", TXN_EMPTY, NULL },
                { "[{'type':'intent','step':'a'}]", TXN_RUNNING, NULL },
                { "[{'type':'intent'},{'type':'done'}]", TXN_RUNNING, NULL },
                { "[{'type':'intent'},{'type':'failed','why':'x'}]", TXN_RUNNING, "x" },
                { "[{'type':'intent'},{'type':'failed','why':'x'},{'type':'undo'}]", TXN_UNDOING, "x" },
                { "[{'type':'undo'},{'type':'undone'}]", TXN_UNDOING, NULL },
                { "[{'type':'intent'},{'type':'commit'}]", TXN_FORWARD, NULL },
                { "[{'type':'commit'},{'type':'intent'}]", TXN_FORWARD, NULL },
                { "[{'type':'end','state':'committed'}]", TXN_COMMITTED, NULL },
                { "[{'type':'end','state':'rolled-back','why':'y'}]", TXN_ROLLED_BACK, "y" },
                { "[{'type':'end','state':'rejected','why':'z'}]", TXN_REJECTED, "z" },
                { "[{'type':'end','state':'from the future'}]", TXN_STUCK, NULL },
                { "[{'type':'end','state':'stuck'},{'type':'undo'}]", TXN_UNDOING, NULL },
                { "[{'type':'commit'},{'type':'end','state':'stuck'},{'type':'intent'}]", TXN_FORWARD, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *text = strdup(table[i].records);
                _cleanup_json_ json_t *records = NULL;

                for (char *p = text; *p; p++)
                        *p = *p == '\'' ? '"' : *p;
                records = json_loads(text, 0, NULL);
                assert_non_null(records);
                assert_string_equal(txn_state_to_string(txn_state_of(records)), txn_state_to_string(table[i].state));
                assert_true(streq(txn_reason_of(records), table[i].reason));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_absent, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_one_writer, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_cut_everywhere, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_flip_everywhere, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_order, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_heals, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_does_not_fill_up, make_dir, drop_dir),
                cmocka_unit_test_setup_teardown(test_take_back, make_dir, drop_dir),
                cmocka_unit_test(test_state),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
