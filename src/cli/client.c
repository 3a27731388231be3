/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "basic/string-util.h"
#include "bus/names.h"
#include "cli.h"

#define CALL_TIMEOUT_USEC (180 * USEC_PER_SEC) /* a password may have to be typed */

int client_fail(int error) {
        fprintf(stderr, "dhetcd: %s\n", strerror(error < 0 ? -error : error));
        return EXIT_FAILED;
}

/* What the bus itself says where the daemon could say nothing, as what to do about it. */
static const struct {
        const char *name, *text;
} hints[] = {
        { SD_BUS_ERROR_SERVICE_UNKNOWN,
          "dhetcdd is not installed on this host, or the bus was not reloaded after its installation" },
        { SD_BUS_ERROR_NO_REPLY,
          "dhetcdd did not answer; what it was asked for may be under way: see \"dhetcd list\" and "
          "\"journalctl -u dhetcdd\"" },
        { "org.freedesktop.DBus.Error.TimedOut",
          "dhetcdd did not start; see \"systemctl status dhetcdd\" and \"journalctl -u dhetcdd\"" },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
          "This needs an administrator's authentication; run it as root, or on a terminal without --no-ask-password" },
};

int client_error(const sd_bus_error *error) {
        const char *text = error->message ?: error->name;

        for (size_t i = 0; i < ELEMENTSOF(hints); i++)
                if (sd_bus_error_has_name(error, hints[i].name))
                        text = hints[i].text;
        fputs("dhetcd: ", stderr);
        print_clean(stderr, text);
        fputc('\n', stderr);
        return sd_bus_error_has_name(error, DHETCD_ERROR_BUSY) ? EXIT_BUSY : EXIT_FAILED;
}

int client_check_host(void) {
        /* ssh has no destination that begins with '-', and takes nothing else for one. */
        if (!args.host || (*args.host && *args.host != '-' && !strpbrk(args.host, " \t\n")))
                return EXIT_DONE;
        fprintf(stderr, "dhetcd: -H takes a host as ssh does, USER@HOST, not \"%s\"\n", args.host);
        return EXIT_USAGE;
}

/* As systemctl -H does: ssh with the operator's own keys, settings and words; the keys that "dhetcd trust" pinned count
 * besides those that ssh knows. */
static int connect_remote(sd_bus **ret) {
        const char *program = getenv("SYSTEMD_SSH"), *ssh = program && *program ? program : "ssh";
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        bool asks = args.ask_password && isatty(STDIN_FILENO);
        char *const argv[] = {
                (char *) ssh,
                (char *) "-xT",
                (char *) "-oConnectTimeout=10",
                (char *) "-oServerAliveInterval=5",
                (char *) "-oGlobalKnownHostsFile=/etc/ssh/ssh_known_hosts /etc/dhetcd/known_hosts",
                (char *) (asks ? "-oBatchMode=no" : "-oBatchMode=yes"),
                (char *) "--",
                (char *) args.host,
                (char *) "systemd-stdio-bridge",
                NULL,
        };
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_exec(bus, ssh, argv);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                *ret = TAKE_PTR(bus);
        return r;
}

int client_connect(sd_bus **ret) {
        return args.host ? connect_remote(ret) : sd_bus_open_system(ret);
}

int client_open(sd_bus **ret) {
        int r = client_connect(ret);

        if (r < 0 && args.host) {
                fprintf(stderr, "dhetcd: ssh cannot be run: %s\n", strerror(-r));
                return EXIT_FAILED;
        }
        if (r < 0) {
                fprintf(stderr, "dhetcd: The system bus cannot be reached: %s\n", strerror(-r));
                return EXIT_FAILED;
        }
        return EXIT_DONE;
}

int client_new_call(sd_bus *bus, const char *method, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, DHETCD_SERVICE, DHETCD_PATH, DHETCD_MANAGER, method);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(call, args.ask_password);
        if (r < 0)
                return client_fail(r);
        *ret = TAKE_PTR(call);
        return EXIT_DONE;
}

int client_begin(const char *method, sd_bus **ret_bus, sd_bus_message **ret_call) {
        int k;

        password_agent_open();
        k = client_open(ret_bus);
        return k == EXIT_DONE ? client_new_call(*ret_bus, method, ret_call) : k;
}

int client_call(sd_bus *bus, sd_bus_message *call, sd_bus_message **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        int r = sd_bus_call(bus, call, CALL_TIMEOUT_USEC, &error, ret);

        if (r < 0 && args.host && sd_bus_is_open(bus) <= 0) {
                fprintf(stderr, "dhetcd: The bus of %s cannot be reached. Try: ssh %s systemd-stdio-bridge --version\n",
                        args.host, args.host);
                return EXIT_FAILED;
        }
        if (r < 0)
                return client_error(&error);
        return EXIT_DONE;
}

int client_call_string(sd_bus *bus, sd_bus_message *call, char **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *text;
        int k, r;

        k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_read_basic(reply, 's', &text);
        if (r < 0)
                return client_fail(r);
        *ret = strdup(text);
        return *ret ? EXIT_DONE : client_fail(-ENOMEM);
}

int client_call_json(sd_bus *bus, sd_bus_message *call, json_t **ret) {
        _cleanup_free_ char *text = NULL;
        int k = client_call_string(bus, call, &text);

        if (k != EXIT_DONE)
                return k;
        *ret = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        return *ret ? EXIT_DONE : client_fail(-EBADMSG);
}

static int append_bool(sd_bus_message *call, const char *name, int value) {
        return value < 0 ? 0 : sd_bus_message_append(call, "{sv}", name, "b", value);
}

int client_append_request(sd_bus_message *call, char **nodes, uint64_t window) {
        int r;

        r = sd_bus_message_append_strv(call, nodes);
        if (r >= 0)
                r = sd_bus_message_open_container(call, 'a', "{sv}");
        if (r >= 0 && args.restart)
                r = sd_bus_message_append(call, "{sv}", "restart", "s", args.restart);
        if (r >= 0 && args.policy)
                r = sd_bus_message_append(call, "{sv}", "policy", "s", args.policy);
        if (r >= 0)
                r = append_bool(call, "wait", args.wait);
        if (r >= 0)
                r = append_bool(call, "move-data-aside", args.move_data_aside);
        if (r >= 0)
                r = append_bool(call, "require-odd", args.require_odd);
        if (r >= 0 && args.unit)
                r = append_bool(call, "gather", true);
        if (r >= 0 && window > 0)
                r = sd_bus_message_append(call, "{sv}", "window", "t", window);
        /* Of a schedule it is an argument of its own. */
        if (r >= 0 && window == 0 && args.until && !args.on)
                r = sd_bus_message_append(call, "{sv}", "until", "s", args.until);
        if (r >= 0)
                r = sd_bus_message_close_container(call);
        return r < 0 ? r : sd_bus_message_append(call, "t", (uint64_t) 0);
}

int client_get_job(sd_bus *bus, const char *job, json_t **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int k, r;

        k = client_new_call(bus, "GetJob", &call);
        if (k != EXIT_DONE)
                return k;
        r = sd_bus_message_append_basic(call, 's', job);
        if (r < 0)
                return client_fail(r);
        return client_call_json(bus, call, ret);
}

/* ---- the jobs ---- */

typedef struct Row {
        const char *id, *state, *text; /* of the reply */
        char **nodes;
        uint64_t queued_usec, ended_usec;
        uint32_t position;
} Row;

static int read_row(sd_bus_message *reply, Row *ret) {
        int r;

        r = sd_bus_message_enter_container(reply, 'r', "sassttsu");
        if (r <= 0)
                return r;
        r = sd_bus_message_read_basic(reply, 's', &ret->id);
        if (r >= 0)
                r = sd_bus_message_read_strv(reply, &ret->nodes);
        if (r >= 0)
                r = sd_bus_message_read(reply, "sttsu", &ret->state, &ret->queued_usec, &ret->ended_usec, &ret->text,
                                        &ret->position);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(reply);
        return r < 0 ? r : 1;
}

static json_t *row_to_json(const Row *row) {
        json_t *nodes = json_array();

        STRV_FOREACH (node, row->nodes)
                (void) json_array_append_new(nodes, json_string(*node));
        return json_pack("{s:s, s:o, s:s, s:I, s:I, s:s, s:i}", "job", row->id, "nodes", nodes, "state", row->state,
                         "queued_usec", (json_int_t) row->queued_usec, "ended_usec", (json_int_t) row->ended_usec,
                         "text", row->text, "position", (int) row->position);
}

static int read_jobs(sd_bus_message *reply, json_t *jobs) {
        Row row;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "(sassttsu)");
        while (r >= 0 && (row = (Row){}, r = read_row(reply, &row)) > 0) {
                if (json_array_append_new(jobs, row_to_json(&row)) < 0)
                        r = -ENOMEM;
                strv_free(row.nodes);
        }
        return r;
}

int client_list_jobs(sd_bus *bus, json_t **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_json_ json_t *jobs = json_array();
        int k, r;

        k = client_new_call(bus, "ListJobs", &call);
        if (k == EXIT_DONE)
                k = client_call(bus, call, &reply);
        if (k != EXIT_DONE)
                return k;
        r = read_jobs(reply, jobs);
        if (r < 0)
                return client_fail(r);
        *ret = TAKE_PTR(jobs);
        return EXIT_DONE;
}
