/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The plan of a node addition: its steps in order, its hosts from the member list, and what it will take. */

#include "steps/forecast.h"
#include "steps/preflight.h"
#include "steps/window.h"
#include "test-util.h"

#define GIB ((uint64_t) 1 << 30)
#define URL(n) "https://10.9.0." #n ":2380"

/* ---- the steps ---- */

static const char *const names[] = {
        "preflight", "lock",        "backup", "generate", "merge",   "trust",  "deploy", "narrow",
        "restart",   "add-learner", "start",  "sync",     "promote", "finish", "verify", "unlock",
};

static void test_steps(void **state) {
        assert_int_equal(plan_add.n, ELEMENTSOF(names));
        for (size_t i = 0; i < plan_add.n; i++) {
                const Step *s = plan_add.steps[i];

                assert_string_equal(s->name, names[i]);
                assert_non_null(s->title);
                assert_int_equal(s->rejects, s == &step_preflight || s == &step_lock);
                assert_int_equal(s->undo_last, s == &step_lock);
                assert_int_equal(s->point_of_no_return, s == &step_promote);
                assert_int_equal(s->happened != NULL, s->point_of_no_return);
        }
}

/* What changes something before the promotion can be undone; deploy's undo restarts those that were restarted. */
static void test_undo(void **state) {
        for (size_t i = 0; !plan_add.steps[i]->point_of_no_return; i++) {
                const Step *s = plan_add.steps[i];
                bool changes = s->changes != 0 || s == &step_lock || s == &step_add_learner;

                assert_int_equal(s->undo != NULL, changes && s != &step_restart);
                assert_int_equal(s->undoes != NULL, changes);
        }
}

/* ---- the hosts ---- */

static void add_url(char ***urls, const char *address, size_t n, unsigned port) {
        _cleanup_free_ char *url = format("https://%.*s:%u", (int) n, address, port);

        assert_non_null(url);
        assert_return_code(strv_append(urls, url), 0);
}

/* "NAME ADDRESS…", a learner's with a '+' before it; a name of "" is one that has never started. */
static void read_member(const char *text, EtcdMember *m) {
        const char *name = text + (*text == '+'), *rest = strchr(name, ' ');

        m->learner = *text == '+';
        m->name = strndup(name, (size_t) (rest - name));
        assert_non_null(m->name);
        while (*rest) {
                size_t n = strcspn(++rest, " ");

                add_url(&m->peer_urls, rest, n, 2380);
                add_url(&m->client_urls, rest, n, 2379);
                rest += n;
        }
}

static EtcdMembers *make_members(const char *const *list) {
        EtcdMembers *m = calloc(1, sizeof(EtcdMembers));

        assert_non_null(m);
        m->items = calloc(4, sizeof(EtcdMember));
        assert_non_null(m->items);
        for (; list[m->n]; m->n++) {
                m->items[m->n].id = 0xa1 + m->n;
                read_member(list[m->n], m->items + m->n);
        }
        return m;
}

static Addition *make_addition(const char *const *nodes, const char *options) {
        _cleanup_json_ json_t *request =
                json_pack("{so so}", "nodes", json_array(), "options", json_loads(options, 0, NULL));
        _cleanup_free_ char *why = NULL;
        Addition *a;

        for (; *nodes; nodes++)
                json_array_append_new(json_object_get(request, "nodes"), json_string(*nodes));
        if (addition_new_look(request, "/nonexistent", -1, &a, &why) < 0)
                fail_msg("%s", why);
        return a;
}

static char *joined_nodes(const Addition *a) {
        _cleanup_strv_ char **nodes = addition_all_nodes(a);

        return strv_join(nodes, " ");
}

static void test_hosts(void **state) {
        static const struct {
                const char *members[4], *nodes[4];
                const char *new, *with, *without, *all;
        } table[] = {
                { { "etcd-1 10.9.0.1" },
                  { "10.9.0.2" },
                  "etcd-2",
                  "etcd-1=" URL(1) ",etcd-2=" URL(2),
                  "etcd-1=" URL(1),
                  "10.9.0.1 10.9.0.2" },
                /* By number, whatever order etcd lists them in; a later node has no part in it yet. */
                { { "etcd-2 10.9.0.2", "etcd-1 10.9.0.1" },
                  { "10.9.0.9", "10.9.0.5" },
                  "etcd-3",
                  "etcd-1=" URL(1) ",etcd-2=" URL(2) ",etcd-3=" URL(9),
                  "etcd-1=" URL(1) ",etcd-2=" URL(2),
                  "10.9.0.1 10.9.0.2 10.9.0.9 10.9.0.5" },
                /* A lost member's number is taken again, its prefix is everyone's. */
                { { "my-etcd-1 10.9.0.1", "my-etcd-3 10.9.0.3" },
                  { "10.9.0.7" },
                  "my-etcd-2",
                  "my-etcd-1=" URL(1) ",my-etcd-2=" URL(7) ",my-etcd-3=" URL(3),
                  "my-etcd-1=" URL(1) ",my-etcd-3=" URL(3),
                  "10.9.0.1 10.9.0.7 10.9.0.3" },
                /* Two gaps, two nodes; and one gap, two nodes. */
                { { "etcd-1 10.9.0.1", "etcd-4 10.9.0.4" },
                  { "10.9.0.7", "10.9.0.6" },
                  "etcd-2",
                  "etcd-1=" URL(1) ",etcd-2=" URL(7) ",etcd-4=" URL(4),
                  "etcd-1=" URL(1) ",etcd-4=" URL(4),
                  "10.9.0.1 10.9.0.7 10.9.0.6 10.9.0.4" },
                { { "etcd-2 10.9.0.2" },
                  { "10.9.0.7", "10.9.0.6" },
                  "etcd-1",
                  "etcd-1=" URL(7) ",etcd-2=" URL(2),
                  "etcd-2=" URL(2),
                  "10.9.0.7 10.9.0.2 10.9.0.6" },
                { { "etcd-1 10.9.0.1" },
                  { "2001:db8::2" },
                  "etcd-2",
                  "etcd-1=" URL(1) ",etcd-2=https://[2001:db8::2]:2380",
                  "etcd-1=" URL(1),
                  "10.9.0.1 2001:db8::2" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(etcd_members_freep) EtcdMembers *members = make_members(table[i].members);
                _cleanup_(addition_freep) Addition *a = make_addition(table[i].nodes, "{}");
                _cleanup_free_ char *with = NULL, *without = NULL, *all = NULL, *why = NULL;
                unsigned number = 0;

                if (preflight_plan_hosts(a, members, &why) < 0)
                        fail_msg("row %zu: %s", i, why);
                with = addition_initial_cluster(a, true);
                without = addition_initial_cluster(a, false);
                all = joined_nodes(a);
                assert_string_equal(with, table[i].with);
                assert_string_equal(without, table[i].without);
                assert_string_equal(all, table[i].all);
                assert_int_equal(addition_members(a), members->n);
                assert_string_equal(addition_new_node(a)->name, table[i].new);
                assert_string_equal(addition_new_node(a)->address, table[i].nodes[0]);
                assert_false(addition_new_node(a)->member);
                FOREACH_HOST (h, a) {
                        assert_true(h->number > number);
                        number = h->number;
                        assert_int_equal(h->new_node, !h->member);
                        assert_int_equal(h->member_id != 0, h->member);
                }
        }
}

static void test_hosts_refused(void **state) {
        static const struct {
                const char *members[4], *nodes[4];
                int error;
                const char *words;
        } table[] = {
                { { "etcd-1 10.9.0.1", "etcd-4 10.9.0.4" },
                  { "10.9.0.7" },
                  -EUCLEAN,
                  "more gaps than this job has nodes" },
                { { "etcd-3 10.9.0.3" }, { "10.9.0.7" }, -EUCLEAN, "dhetcd add NODE NODE" },
                { { "etcd-1 10.9.0.1", "+etcd-2 10.9.0.2" }, { "10.9.0.7" }, -EBUSY, "member a2 is a learner already" },
                { { "etcd-1 10.9.0.1", " 10.9.0.2" }, { "10.9.0.7" }, -EHOSTDOWN, "etcdctl.sh member remove a2" },
                { { "etcd-1 10.9.0.1", "etcd-two 10.9.0.2" },
                  { "10.9.0.7" },
                  -EUCLEAN,
                  "'etcd-two' has no node number" },
                { { "etcd-1 10.9.0.1", "etcd-2x 10.9.0.2" }, { "10.9.0.7" }, -EUCLEAN, "'etcd-2x' has no node number" },
                { { "etcd-1 10.9.0.1", "etcd-2 10.9.0.2 10.9.0.3" }, { "10.9.0.7" }, -EUCLEAN, "exactly one peer URL" },
                { { "etcd-1 10.9.0.1", "etcd-2 name" }, { "10.9.0.7" }, -EUCLEAN, "exactly one peer URL" },
                { { "etcd-1 10.9.0.1", "etcd-2 10.9.0.2" },
                  { "10.9.0.2" },
                  -EEXIST,
                  "10.9.0.2 is a member of the cluster" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(etcd_members_freep) EtcdMembers *members = make_members(table[i].members);
                _cleanup_(addition_freep) Addition *a = make_addition(table[i].nodes, "{}");
                _cleanup_free_ char *why = NULL;

                assert_int_equal(preflight_plan_hosts(a, members, &why), table[i].error);
                if (!strstr(why, table[i].words))
                        fail_msg("row %zu: %s", i, why);
        }
}

/* ---- the time ---- */

static Addition *plan_of(const char *const *nodes, const char *options) {
        _cleanup_(etcd_members_freep) EtcdMembers *members =
                make_members((const char *const[]){ "etcd-1 10.9.0.1", NULL });
        Addition *a = make_addition(nodes, options);

        assert_return_code(preflight_plan_hosts(a, members, NULL), 0);
        return a;
}

static const char *const one_node[] = { "10.9.0.2", NULL }, *const two_nodes[] = { "10.9.0.2", "10.9.0.3", NULL };

static void test_seconds(void **state) {
        _cleanup_(addition_freep) Addition *a = plan_of(one_node, "{}");
        unsigned backup = forecast_seconds(a, &step_backup), sync = forecast_seconds(a, &step_sync), slow;
        unsigned narrow = forecast_seconds(a, &step_narrow);

        a->db_size = 4 * GIB;
        assert_true(forecast_seconds(a, &step_backup) > backup);
        assert_true(forecast_seconds(a, &step_sync) > sync);
        assert_int_equal(forecast_seconds(a, &step_narrow), narrow);

        a->copy_rate = GIB / 64; /* as the backup has measured it */
        slow = forecast_seconds(a, &step_sync);
        assert_in_range(slow, 4 * 64, 4 * 64 + 5);
        a->copy_rate = GIB;
        assert_in_range(forecast_seconds(a, &step_sync), 4, 9);
}

static unsigned sum(Addition *a, size_t from, size_t to) {
        unsigned seconds = 0;

        for (size_t i = from; i < to; i++)
                seconds += forecast_seconds(a, plan_add.steps[i]);
        return seconds;
}

/* From a step to the promotion; what comes after it no window ends. */
static void test_window(void **state) {
        _cleanup_(addition_freep) Addition *a = plan_of(one_node, "{}"), *two = plan_of(two_nodes, "{}"),
                                           *keep = plan_of(two_nodes, "{\"policy\":\"keep\"}");
        size_t promote = 0;

        while (!plan_add.steps[promote]->point_of_no_return)
                promote++;
        for (size_t i = 0; i < plan_add.n; i++) {
                const char *step = plan_add.steps[i]->name;
                uint64_t expected = i <= promote ? sum(a, i, promote + 1) * USEC_PER_SEC : 0;
                uint64_t later = i <= promote ? sum(two, 0, plan_add.n) * USEC_PER_SEC : 0;

                assert_int_equal(window_needed(a, step), expected);
                assert_int_equal(window_needed(keep, step), expected);
                assert_int_equal(window_needed(two, step), expected + later);
        }
        a->db_size = 4 * GIB;
        assert_true(window_needed(a, "lock") > sum(two, 1, promote + 1) * USEC_PER_SEC);
}

/* All of a job: the second node with the first as a member, its package made with the first. */
static void test_forecast(void **state) {
        _cleanup_(addition_freep) Addition *a = plan_of(two_nodes, "{\"restart\":\"always\"}");
        _cleanup_json_ json_t *job = forecast_job(a, &plan_add);
        const json_t *additions = json_object_get(job, "additions");
        json_int_t seconds = 0;

        assert_int_equal(json_array_size(additions), 2);
        for (size_t n = 0; n < 2; n++) {
                const json_t *one = json_array_get(additions, n), *steps = json_object_get(one, "steps");
                json_int_t own = 0;

                assert_string_equal(json_get_string(one, "node"), two_nodes[n]);
                assert_int_equal(json_get_integer(one, "members_after", 0), n + 2);
                assert_int_equal(json_array_size(steps), plan_add.n);
                for (size_t i = 0; i < plan_add.n; i++) {
                        const json_t *s = json_array_get(steps, i);

                        assert_string_equal(json_get_string(s, "step"), names[i]);
                        own += json_get_integer(s, "seconds", 0);
                        if (streq(names[i], "restart"))
                                assert_int_equal(json_array_size(json_object_get(s, "restarts")), n + 1);
                        if (n == 1)
                                assert_int_equal(json_is_true(json_object_get(s, "skipped")),
                                                 streq(names[i], "generate") || streq(names[i], "trust"));
                }
                assert_int_equal(json_get_integer(one, "seconds", 0), own);
                seconds += own;
        }
        assert_int_equal(json_get_integer(job, "seconds", 0), seconds);
        assert_int_equal(json_get_integer(job, "members_after", 0), 3);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_steps),         cmocka_unit_test(test_undo),    cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_hosts_refused), cmocka_unit_test(test_seconds), cmocka_unit_test(test_window),
                cmocka_unit_test(test_forecast),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
