/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What AddNodes may ask for. Everything that is wrong is said here, before anybody is asked for a password and before a
 * job is made. What a job runs with is fixed now: a later edit of the configuration changes no job that waits. */

#include "basic/error.h"
#include "basic/string-util.h"
#include "basic/time-of-day.h"
#include "manager-internal.h"

#define WAIT_TIMEOUT_MAX (366 * 86400 * USEC_PER_SEC)
#define TEXT_SIZE_MAX 4096U

void add_request_done(AddRequest *a) {
        strv_free(a->nodes);
        strv_free(a->warnings);
        json_decref(a->options);
        *a = (AddRequest){};
}

static int check_node(const char *node, char **nodes, char **reterr) {
        int r = address_check(node);

        if (r == -EADDRNOTAVAIL)
                return fail(
                        reterr, -EINVAL,
                        "'%.64s' can be no other host's address; name the address of the host that shall become a node",
                        node);
        if (r < 0)
                return fail(reterr, -EINVAL,
                            "'%.64s' is no IPv4 or IPv6 address in its usual spelling; names, ports, leading zeros and "
                            "zones are not taken",
                            node);
        if (strv_contains(nodes, node))
                return fail(reterr, -EINVAL, "%s is named twice", node);
        r = address_is_local(node);
        if (r < 0)
                return fail(reterr, r, "This host's own addresses cannot be read: %s", strerror(-r));
        if (r > 0)
                return fail(reterr, -EINVAL,
                            "%s is this host's own address; run this on a host that is in the cluster already and name "
                            "the new one",
                            node);
        return 0;
}

static int read_nodes(sd_bus_message *message, char ***nodes, char **reterr) {
        const char *node;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read_basic(message, 's', &node)) > 0) {
                if (strv_length(*nodes) >= JOB_NODES_MAX)
                        return fail(reterr, -EINVAL, "More than %u nodes in one job; name fewer", JOB_NODES_MAX);
                r = check_node(node, *nodes, reterr);
                if (r >= 0)
                        r = strv_append(nodes, node);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        if (!*nodes)
                return fail(reterr, -EINVAL, "No node is named; name 1 to %u addresses", JOB_NODES_MAX);
        return sd_bus_message_exit_container(message);
}

static const RequestOption known_options[] = {
        { "wait", 'b' },
        { "restart", 's', { "needed", "always" } },
        { "move-data-aside", 'b' },
        { "policy", 's', { "all", "keep" } },
        { "require-odd", 'b' },
        { "wait-timeout", 't' },
        { "until", 's' },
        { "window", 't' },
        { "gather", 'b' },
        { "grow", 's' }, /* of root's alone: the installation that waits for this job */
};

static const RequestOption *find_option(const RequestOption *known, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (streq(known[i].name, name))
                        return known + i;
        return NULL;
}

static int read_value(sd_bus_message *message, const RequestOption *o, json_t **ret, char **reterr) {
        const char *text;
        uint64_t usec;
        int r, b;

        switch (o->type) {
        case 'b':
                r = sd_bus_message_read_basic(message, 'b', &b);
                if (r >= 0)
                        *ret = json_boolean(b);
                return r;
        case 't':
                r = sd_bus_message_read_basic(message, 't', &usec);
                if (r >= 0 && (usec == 0 || usec > WAIT_TIMEOUT_MAX))
                        return fail(reterr, -EINVAL, "Option '%s' must be between 1 us and 366 days", o->name);
                if (r >= 0)
                        *ret = json_integer((json_int_t) usec);
                return r;
        default:
                r = sd_bus_message_read_basic(message, 's', &text);
                if (r < 0)
                        return r;
                if (strlen(text) > TEXT_SIZE_MAX)
                        return fail(reterr, -EINVAL, "Option '%s' is too long", o->name);
                if (!o->values[0]) {
                        *ret = json_string(text);
                        return 0;
                }
                for (size_t i = 0; o->values[i]; i++)
                        if (streq(text, o->values[i])) {
                                *ret = json_string(text);
                                return 0;
                        }
                return fail(reterr, -EINVAL, "Option '%s' is '%.64s', but must be '%s' or '%s'", o->name, text,
                            o->values[0], o->values[1]);
        }
}

/* One {sv}. */
static int read_option(sd_bus_message *message, const RequestOption *known, size_t n_known, json_t *options,
                       char **reterr) {
        json_t *value = NULL;
        const char *name, *type;
        const RequestOption *o;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        o = find_option(known, n_known, name);
        if (!o)
                return fail(reterr, -EINVAL, "Option '%.64s' is not known to dhetcd " DHETCD_VERSION, name);
        r = sd_bus_message_peek_type(message, NULL, &type);
        if (r < 0)
                return r;
        if (type[0] != o->type || type[1] != '\0')
                return fail(reterr, -EINVAL, "Option '%s' is of type '%.64s', but must be '%c'", name, type, o->type);

        r = sd_bus_message_enter_container(message, 'v', type);
        if (r >= 0)
                r = read_value(message, o, &value, reterr);
        if (r < 0)
                return r;
        if (!value || json_object_set_new(options, name, value) < 0)
                return -ENOMEM;
        return sd_bus_message_exit_container(message);
}

int request_read_options(sd_bus_message *message, const RequestOption *known, size_t n_known, json_t *options,
                         char **reterr) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_option(message, known, n_known, options, reterr);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static json_t *default_options(const Config *c) {
        return json_pack("{s:b, s:s, s:b, s:s, s:b, s:I}", "wait", 1, "restart", c->restart, "move-data-aside",
                         (int) c->move_data_aside, "policy", "all", "require-odd", (int) c->require_odd, "wait-timeout",
                         (json_int_t) c->wait_timeout_usec);
}

int add_request_window(json_t *options, char **reterr) {
        const char *until = json_get_string(options, "until");
        uint64_t now = now_real(), window = (uint64_t) json_get_integer(options, "window", 0), deadline = 0;
        uint64_t wait = (uint64_t) json_get_integer(options, "wait-timeout", 0);

        if (until && window > 0)
                return fail(reterr, -EINVAL, "Options 'until' and 'window' exclude each other");
        if (until && time_of_day_after(until, now, &deadline) < 0)
                return fail(reterr, -EINVAL, "'%.16s' is no time of day, like '05:00'", until);
        if (window > 0)
                deadline = now + window;
        if (deadline == 0)
                return 0;
        if (wait == 0 || wait > deadline - now)
                wait = deadline - now;
        return json_object_set_new(options, "deadline", json_integer((json_int_t) deadline)) < 0 ||
                               json_object_set_new(options, "wait-timeout", json_integer((json_int_t) wait)) < 0
                       ? -ENOMEM
                       : 0;
}

static int check_root(sd_bus_message *message, char **reterr) {
        uid_t uid;
        int r = polkit_caller_uid(message, &uid);

        if (r < 0 || uid == 0)
                return r;
        return fail(reterr, -EINVAL, "Option 'grow' is only for the worker of \"grow\"");
}

int add_request_read(sd_bus_message *message, const Config *config, AddRequest *a, char **reterr) {
        uint64_t flags;
        int r;

        a->options = default_options(config);
        if (!a->options)
                return -ENOMEM;
        r = read_nodes(message, &a->nodes, reterr);
        if (r >= 0)
                r = request_read_options(message, known_options, ELEMENTSOF(known_options), a->options, reterr);
        if (r >= 0 && json_object_get(a->options, "grow"))
                r = check_root(message, reterr);
        if (r >= 0)
                r = sd_bus_message_read_basic(message, 't', &flags);
        if (r < 0)
                return r;
        if (flags != 0)
                return fail(reterr, -EINVAL, "Flags must be 0");

        a->wait = json_is_true(json_object_get(a->options, "wait"));
        a->gather = json_is_true(json_object_get(a->options, "gather"));
        (void) json_object_del(a->options, "gather");
        return 0;
}
