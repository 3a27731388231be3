/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test-util.h"

#include "cli/cli.h"
#include "cli/report.h"

Args args; /* of main.c */

int client_fail(int error) {
        return EXIT_FAILED;
}

static char *escaped(const char *text) {
        char *html = NULL;
        size_t size;
        FILE *f = open_memstream(&html, &size);

        html_escape(f, text);
        fclose(f);
        return html;
}

static void test_escape(void **state) {
        static const char *const cases[][2] = {
                { "plain ü", "plain ü" },
                { "<script>alert('1')&\"", "&lt;script&gt;alert(&#39;1&#39;)&amp;&quot;" },
                { "a\033[2J\nb\x7f", "a [2J b " },
                { "", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *html = escaped(cases[i][0]);

                assert_string_equal(html, cases[i][1]);
        }
}

#define EVIL "\"'><script>x</script>"

/* Every text that comes from elsewhere is hostile. */
static void test_nothing_gets_out(void **state) {
        _cleanup_json_ json_t *data = json_pack(
                "{s{ss ss ss s{ss} s[{ss ss ss ss s[{ss ss sI sI ss s{ss}}]}]} s[{sI si ss ss ss ss sI sI}]}", "job",
                "job", EVIL, "state", EVIL, "text", EVIL, "options", EVIL, EVIL, "transactions", "node", EVIL, "state",
                EVIL, "reason", EVIL, "txn", EVIL, "steps", "step", EVIL, "state", EVIL, "started_usec",
                (json_int_t) 1000000, "ended_usec", (json_int_t) 3000000, "why", EVIL, "hosts", EVIL, EVIL, "lines",
                "usec", (json_int_t) 2000000, "priority", 99, "message", EVIL, "host", EVIL, "phase", "restarting",
                "what", "entries", "done", (json_int_t) 1, "total", (json_int_t) 9);
        _cleanup_free_ char *html = NULL;

        assert_non_null(data);
        html = report_html(data);
        assert_non_null(html);
        assert_null(strstr(html, "<script"));
        assert_null(strstr(html, "\"'"));
        assert_non_null(strstr(html, "&lt;script&gt;"));
        assert_non_null(strstr(html, "<svg"));
        assert_non_null(strstr(html, "class=\"restart\""));
        assert_non_null(strstr(html, "at most 8 entries"));
        assert_null(strstr(html, "nan"));
        assert_null(strstr(html, "inf"));
}

/* A restart of one of two voters, before the promotion and after it; the third voter makes it none. */
static void test_gaps(void **state) {
        static const struct {
                const char *hosts; /* of "narrow": the members and the new node */
                size_t gaps;
        } cases[] = {
                { "{\"a\": \"x\", \"b\": \"x\"}", 2 },
                { "{\"a\": \"x\", \"b\": \"x\", \"c\": \"x\"}", 1 },
                { "{\"a\": \"x\", \"b\": \"x\", \"c\": \"x\", \"d\": \"x\"}", 0 },
                { "{}", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *hosts = json_loads(cases[i].hosts, 0, NULL), *gaps = NULL, *data = NULL;

                data = json_pack("{s{s[{ss s[{ss sO} {ss ss sI}]}]} s[{sI ss ss ss} {sI ss ss ss} {sI ss ss ss} "
                                 "{sI ss ss ss}]}",
                                 "job", "transactions", "txn", "j-1", "steps", "step", "narrow", "hosts", hosts, "step",
                                 "promote", "state", "done", "ended_usec", (json_int_t) 50, "lines", "usec",
                                 (json_int_t) 10, "host", "a", "phase", "restarting", "txn", "j-1", "usec",
                                 (json_int_t) 14, "host", "a", "phase", "restarted", "txn", "j-1", "usec",
                                 (json_int_t) 60, "host", "b", "phase", "restarting", "txn", "j-1", "usec",
                                 (json_int_t) 65, "host", "b", "phase", "restarted", "txn", "j-1");
                assert_non_null(data);
                gaps = report_gaps(data);
                assert_int_equal(json_array_size(gaps), cases[i].gaps);
                if (cases[i].gaps > 0) {
                        assert_int_equal(json_get_integer(json_array_get(gaps, 0), "from_usec", 0), 10);
                        assert_int_equal(json_get_integer(json_array_get(gaps, 0), "until_usec", 0), 14);
                }
        }
}

static size_t count(const char *text, const char *what) {
        size_t n = 0;

        while ((text = strstr(text, what))) {
                text += strlen(what);
                n++;
        }
        return n;
}

/* Two learners are two lines; an address that would not fit beside the picture is pressed. */
static void test_picture(void **state) {
        static const char text[] =
                "{\"job\": {\"transactions\": [{\"node\": \"a\", \"steps\": [{\"step\": \"sync\", \"started_usec\": "
                "1000,"
                "\"ended_usec\": 9000}]}]}, \"lines\": ["
                "{\"usec\": 1500, \"host\": \"fd00:1234:5678:9abc:def0:1234:5678:9abc\", \"message\": \"x\"},"
                "{\"usec\": 2000, \"txn\": \"j-1\", \"what\": \"entries\", \"done\": 1, \"total\": 9},"
                "{\"usec\": 3000, \"txn\": \"j-1\", \"what\": \"entries\", \"done\": 9, \"total\": 9},"
                "{\"usec\": 7000, \"txn\": \"j-2\", \"what\": \"entries\", \"done\": 1, \"total\": 9}]}";
        _cleanup_json_ json_t *data = json_loads(text, 0, NULL);
        _cleanup_free_ char *html = NULL;

        assert_non_null(data);
        html = report_html(data);
        assert_non_null(html);
        assert_int_equal(count(html, "<polyline"), 2);
        assert_int_equal(count(html, "textLength="), 1);
}

static void test_nothing_is_known(void **state) {
        _cleanup_json_ json_t *data = json_object();
        _cleanup_free_ char *html = report_html(data);

        assert_non_null(html);
        assert_null(strstr(html, "<svg"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_escape),  cmocka_unit_test(test_nothing_gets_out), cmocka_unit_test(test_gaps),
                cmocka_unit_test(test_picture), cmocka_unit_test(test_nothing_is_known),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
