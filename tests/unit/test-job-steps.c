/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "basic/string-util.h"
#include "dhetcdd/job-steps.h"

static json_t *records_of(const char *text) {
        _cleanup_free_ char *quoted = strdup(text);
        json_t *records;

        for (char *c = quoted; *c; c++)
                *c = *c == '\'' ? '"' : *c;
        records = json_loads(quoted, 0, NULL);
        assert_non_null(records);
        return records;
}

static void test_done_and_undone(void **state) {
        _cleanup_json_ json_t *records =
                records_of("[{'type':'intent','step':'lock','time':10},{'type':'done','step':'lock','time':15},"
                           "{'type':'intent','step':'deploy','time':20},"
                           "{'type':'snapshot','step':'deploy','time':21,'digests':{'10.0.0.1':'ab'}},"
                           "{'type':'failed','step':'deploy','time':30,'why':'no'},"
                           "{'type':'undo','step':'deploy','time':31},{'type':'undone','step':'deploy','time':40},"
                           "{'type':'note','key':'backup','value':{'sha256':'cd'},'time':41},"
                           "{'type':'end','state':'rolled-back','time':50}]");
        _cleanup_json_ json_t *steps = job_steps(records);
        const json_t *deploy;

        assert_int_equal(json_array_size(steps), 2);
        assert_string_equal(json_get_string(json_array_get(steps, 0), "state"), "done");
        assert_int_equal(json_get_integer(json_array_get(steps, 0), "ended_usec", 0), 15);
        deploy = json_array_get(steps, 1);
        assert_string_equal(json_get_string(deploy, "state"), "undone");
        assert_string_equal(json_get_string(deploy, "why"), "no");
        assert_int_equal(json_get_integer(deploy, "undone_usec", 0), 40);
        assert_string_equal(json_get_string(json_object_get(deploy, "hosts"), "10.0.0.1"), "ab");
        assert_string_equal(json_get_string(job_backup(records), "sha256"), "cd");
}

/* A log is no promise of what is in it. */
static void test_nonsense(void **state) {
        _cleanup_json_ json_t *records = records_of("[1,{},{'type':'done'},{'type':1,'step':2},{'step':'x','type':'y'},"
                                                    "{'type':'intent','step':'a','time':'b'}]");
        _cleanup_json_ json_t *steps = job_steps(records), *none = job_steps(NULL);

        assert_int_equal(json_array_size(steps), 1);
        assert_int_equal(json_array_size(none), 0);
        assert_null(job_backup(records));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_done_and_undone),
                cmocka_unit_test(test_nonsense),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
