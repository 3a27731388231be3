/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dhetcd grow: the vendor's page from its first to its last step. Each part looks first whether it is done already, so
 * that the same command goes on where an earlier one ended. The nodes are added by a job like any other; as long as it
 * is open, the installer's lock is no obstacle to it. */

#include <poll.h>

#include "basic/error.h"
#include "basic/event.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "bus/names.h"
#include "host/cluster-cnf.h"
#include "host/install-record.h"
#include "install-internal.h"

#define ASK_TIMEOUT (90 * USEC_PER_SEC) /* Look asks every member */
#define CNF_TIMEOUT (60 * USEC_PER_SEC)
#define POLL_MSEC 1000
#define FAILURES_MAX 120U /* in a row: dhetcdd may be upgraded meanwhile */
#define REACHED "reached" /* of the record: the installer has come to the expected failure */

static void say(Install *i, const char *part, const char *text) {
        log_event(EVENT_STEP_PROGRESS, LOG_INFO, &(EventContext){ .job = i->id, .step = part }, "%s: %s", part, text);
}

static const json_t *nodes_of(const Install *i) {
        return json_object_get(i->record, "nodes");
}

/* ---- what is so already ---- */

/* A method of ours that answers with JSON. */
static int ask(Install *i, const char *method, const char *argument, json_t **ret, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *text = NULL;
        int r;

        r = sd_bus_message_new_method_call(i->bus, &call, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, method);
        if (r >= 0 && argument)
                r = sd_bus_message_append_basic(call, 's', argument);
        if (r >= 0)
                r = sd_bus_call(i->bus, call, ASK_TIMEOUT, &error, &reply);
        if (r >= 0)
                r = sd_bus_message_read_basic(reply, 's', &text);
        if (r >= 0 && !(*ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL)))
                r = -EBADMSG;
        return r < 0 ? fail(reterr, r, "dhetcdd did not answer %s: %s", method, error.message ?: strerror(-r)) : 0;
}

static bool is_voter(const json_t *members, const char *node) {
        const json_t *m;
        size_t k;

        json_array_foreach (members, k, m)
                if (streq(json_get_string(m, "address"), node))
                        return !streq(json_get_string(m, "role"), "learner");
        return false;
}

/* Those of the nodes that are to be added yet. */
static int missing_voters(Install *i, char ***ret, char **reterr) {
        _cleanup_json_ json_t *seen = NULL;
        _cleanup_strv_ char **missing = NULL;
        const json_t *members, *node;
        size_t k;
        int r;

        r = ask(i, "Look", NULL, &seen, reterr);
        if (r < 0)
                return r;
        members = json_object_get(json_object_get(seen, "cluster"), "members");
        if (json_array_size(members) == 0)
                return fail(reterr, -EHOSTDOWN, "the cluster's members are not known: %s",
                            json_get_string(seen, "error") ?: "see \"dhetcd cluster\"");
        json_array_foreach (nodes_of(i), k, node)
                if (!is_voter(members, json_string_value(node)) && strv_append(&missing, json_string_value(node)) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(missing);
        return 0;
}

/* An earlier run in the same folder, with the same cluster.cnf: has it `reached` the expected failure, or succeeded? */
static bool was_there(Install *i, bool reached) {
        const char *dir = json_get_string(i->record, "dir");
        _cleanup_json_ json_t *all = NULL;
        char digest[DIGEST_HEX_SIZE];
        const json_t *record;
        size_t k;

        if (installer_cnf_digest(dir, digest) < 0 || install_records(&all) < 0)
                return false;
        json_array_foreach (all, k, record) {
                const char *state = json_get_string(record, "state");

                if (!streq(json_get_string(record, "dir"), dir) || !streq(json_get_string(record, "cnf"), digest))
                        continue;
                if (streq(state, INSTALL_SUCCEEDED) ||
                    (reached && (streq(state, INSTALL_EXPECTED) || json_is_true(json_object_get(record, REACHED)))))
                        return true;
        }
        return false;
}

/* ---- step 1: cluster.cnf ---- */

/* Those of the nodes that cluster.cnf does not name as etcd nodes yet. */
static int missing_in_cnf(Install *i, const char *path, char ***ret, char **reterr) {
        _cleanup_(cluster_cnf_freep) ClusterCnf *c = NULL;
        _cleanup_strv_ char **missing = NULL;
        _cleanup_free_ char *text = NULL;
        const json_t *node;
        size_t size, k;
        int r;

        r = read_file(path, CNF_SIZE_MAX, /* follow= */ false, &text, &size);
        if (r < 0)
                return fail(reterr, r, "%s: %s; put the one there that the installer was run with last", path,
                            strerror(-r));
        r = cluster_cnf_parse(text, size, &c, reterr);
        if (r < 0)
                return r;
        json_array_foreach (nodes_of(i), k, node) {
                unsigned n = cluster_cnf_node_of_host(c, json_string_value(node));

                if ((n == 0 || !cluster_cnf_is_etcd(c, n)) && strv_append(&missing, json_string_value(node)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE_PTR(missing);
        return 0;
}

/* "dhetcd cnf add", as the owner of the folder: nobody's rights are lent to who can change what is in it. */
static int run_cnf_add(Install *i, char *const *hosts, char **reterr) {
        _cleanup_free_ char *option = format("--installer-dir=%s", i->installer.dir);
        const char *const words[] = { DHETCD_BIN_DIR "/dhetcd", "cnf", "add", option };
        _cleanup_strv_ char **argv = NULL;
        int r = option ? 0 : -ENOMEM;

        for (size_t k = 0; k < ELEMENTSOF(words) && r >= 0; k++)
                r = strv_append(&argv, words[k]);
        STRV_FOREACH (host, hosts)
                r = r < 0 ? r : strv_append(&argv, *host);
        if (r < 0)
                return r;
        i->deadline = now_boot() + CNF_TIMEOUT;
        r = install_program(i, CNF_FILE, (const char *const *) argv, reterr);
        if (r >= 0 && i->end.canceled)
                return -ECANCELED;
        if (r >= 0 && !streq(i->end.result, "success"))
                return fail(reterr, -EINVAL, "%s/" CNF_FILE " could not be extended; see the lines above",
                            i->installer.dir);
        return r;
}

static bool extend_cnf(Install *i) {
        const char *dir = json_get_string(i->record, "dir");
        _cleanup_free_ char *path = format("%s/" CNF_FILE, dir), *why = NULL;
        _cleanup_strv_ char **missing = NULL;
        int r;

        r = path ? installer_open(dir, &i->installer, &why) : -ENOMEM;
        if (r >= 0)
                r = missing_in_cnf(i, path, &missing, &why);
        if (r >= 0 && !missing) {
                say(i, CNF_FILE, "it names the nodes already");
                return true;
        }
        if (r >= 0)
                r = run_cnf_add(i, missing, &why);
        if (r == -ECANCELED)
                install_end_as(i, INSTALL_CANCELED, strdup("canceled before the installer was run"));
        else if (r < 0)
                install_end_failed(i, r, why);
        return r >= 0;
}

/* ---- step 2: the installer, as far as it comes ---- */

static bool is_canceled(const Install *i, int msec) {
        struct pollfd p = { .fd = i->cancel_fd, .events = POLLIN };

        return poll(&p, 1, msec) > 0;
}

static bool install_binaries(Install *i) {
        _cleanup_strv_ char **missing = NULL;
        char digest[DIGEST_HEX_SIZE];
        _cleanup_free_ char *why = NULL;
        int r;

        r = missing_voters(i, &missing, &why);
        if (r < 0) {
                install_end_failed(i, r, why);
                return false;
        }
        if (!missing || was_there(i, /* reached= */ true)) {
                say(i, "installer", !missing ? "the nodes are members already" : "it has come that far already");
                return true;
        }
        install_run_installer(i);
        if (!streq(i->state, INSTALL_EXPECTED) && !streq(i->state, INSTALL_SUCCEEDED))
                return false;
        say(i, "installer", i->text ?: "as expected");
        /* For who goes on, if this is not to see the end. */
        if (installer_cnf_digest(json_get_string(i->record, "dir"), digest) < 0 ||
            json_object_set_new(i->record, "cnf", json_string(digest)) < 0 ||
            json_object_set_new(i->record, REACHED, json_true()) < 0 || install_record_save(i->record, &why) < 0)
                log_event(EVENT_WARNING, LOG_WARNING, &(EventContext){ .job = i->id },
                          "It is not on disk that the installer has come so far: %s", why ?: "memory ran out");
        return true;
}

/* ---- steps 3 to 7: the job ---- */

static int append_option(sd_bus_message *call, const char *name, const json_t *v) {
        if (json_is_string(v))
                return sd_bus_message_append(call, "{sv}", name, "s", json_string_value(v));
        if (json_is_boolean(v))
                return sd_bus_message_append(call, "{sv}", name, "b", json_is_true(v));
        return json_integer_value(v) > 0
                       ? sd_bus_message_append(call, "{sv}", name, "t", (uint64_t) json_integer_value(v))
                       : 0; /* for ever */
}

/* What is left of the window, which began when "grow" was asked for; 0: there is none. */
static int window_left(const json_t *options, uint64_t *ret, char **reterr) {
        uint64_t deadline = (uint64_t) json_get_integer(options, "deadline", 0), now = now_real();

        *ret = deadline > now ? deadline - now : 0;
        if (deadline > 0 && *ret == 0)
                return fail(reterr, -ETIME, "the window ended before the nodes could be added");
        return 0;
}

static int append_options(sd_bus_message *call, const Install *i, uint64_t window) {
        static const char *const names[] = { "restart",     "policy", "move-data-aside",
                                             "require-odd", "wait",   "wait-timeout" };
        const json_t *options = json_object_get(i->record, "options");
        int r;

        r = sd_bus_message_open_container(call, 'a', "{sv}");
        for (size_t k = 0; k < ELEMENTSOF(names) && r >= 0; k++)
                r = append_option(call, names[k], json_object_get(options, names[k]));
        if (r >= 0 && window > 0)
                r = sd_bus_message_append(call, "{sv}", "window", "t", window);
        if (r >= 0)
                r = sd_bus_message_append(call, "{sv}", "grow", "s", i->id);
        return r < 0 ? r : sd_bus_message_close_container(call);
}

static int begin_job(Install *i, char **nodes, char **ret, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t window;
        const char *job;
        int r;

        r = window_left(json_object_get(i->record, "options"), &window, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(i->bus, &call, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, "AddNodes");
        if (r >= 0)
                r = sd_bus_message_append_strv(call, nodes);
        if (r >= 0)
                r = append_options(call, i, window);
        if (r >= 0)
                r = sd_bus_message_append(call, "t", (uint64_t) 0);
        if (r >= 0)
                r = sd_bus_call(i->bus, call, ASK_TIMEOUT, &error, &reply);
        if (r >= 0)
                r = sd_bus_message_read_basic(reply, 's', &job);
        if (sd_bus_error_has_name(&error, DHETCD_ERROR_BUSY) &&
            json_object_set_new(i->record, INSTALL_BUSY, json_true()) < 0)
                return -ENOMEM;
        if (r < 0)
                return fail(reterr, r, "the nodes could not be added: %s", error.message ?: strerror(-r));
        *ret = strdup(job);
        return *ret ? 0 : -ENOMEM;
}

static bool has_ended(const char *state) {
        return state && !streq(state, "queued") && !streq(state, "running");
}

/* Its state in *ret, once it has one that stays. A cancel is passed on, and its end waited for. */
static int wait_job(Install *i, const char *job, char **ret, char **ret_text, char **reterr) {
        _cleanup_free_ char *told = NULL;
        bool canceled = false;
        unsigned failures = 0;

        for (;;) {
                _cleanup_free_ char *why = NULL, *line = NULL;
                _cleanup_json_ json_t *v = NULL;
                int r = ask(i, "GetJob", job, &v, &why);
                const char *text = json_get_string(v, "text");

                if (r < 0 && ++failures >= FAILURES_MAX)
                        return fail(reterr, r, "%s; see: dhetcd show %s", error_text(why, r), job);
                if (r >= 0)
                        failures = 0;
                if (text && !streq(text, told)) {
                        line = format("job %s: %s", job, text);
                        say(i, "etcd", line ?: text);
                        free(told);
                        told = strdup(text);
                }
                if (has_ended(json_get_string(v, "state"))) {
                        *ret = strdup(json_get_string(v, "state"));
                        *ret_text = strdup(text ?: "");
                        return *ret && *ret_text ? 0 : -ENOMEM;
                }
                if (canceled)
                        (void) poll(NULL, 0, POLL_MSEC);
                else if (is_canceled(i, POLL_MSEC)) {
                        canceled = true;
                        (void) sd_bus_call_method(i->bus, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, "CancelJob",
                                                  NULL, NULL, "s", job);
                }
        }
}

static bool add_nodes(Install *i) {
        _cleanup_free_ char *job = NULL, *state = NULL, *text = NULL, *why = NULL;
        _cleanup_strv_ char **missing = NULL;
        int r;

        installer_output_done(&i->output); /* its lines are not those that matter from here on */
        r = missing_voters(i, &missing, &why);
        if (r >= 0 && !missing) {
                say(i, "etcd", "the nodes are members already");
                return true;
        }
        if (r >= 0)
                r = begin_job(i, missing, &job, &why);
        if (r >= 0)
                r = wait_job(i, job, &state, &text, &why);
        if (r < 0)
                install_end_failed(i, r, why);
        else if (!streq(state, "committed"))
                install_end_as(i, is_canceled(i, 0) ? INSTALL_CANCELED : INSTALL_FAILED,
                               format("job %s is %s: %s; see: dhetcd show %s", job, state, text, job));
        return r >= 0 && streq(state, "committed");
}

/* ---- step 8: the installer, to its end ---- */

static bool install_rest(Install *i) {
        if (i->programs == 0 && was_there(i, /* reached= */ false)) {
                install_end_as(i, INSTALL_SUCCEEDED, strdup("all of it was done already"));
                return true;
        }
        install_run_installer(i);
        if (streq(i->state, INSTALL_EXPECTED))
                install_end_as(i, INSTALL_FAILED,
                               format("the nodes are members now, but the installer does not see it: %s", i->text));
        return true;
}

void grow_run(Install *i) {
        static bool (*const parts[])(Install * i) = { extend_cnf, install_binaries, add_nodes, install_rest };

        for (size_t k = 0; k < ELEMENTSOF(parts); k++)
                if (!parts[k](i))
                        return;
}
