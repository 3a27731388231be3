/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* TryConnect: whether anything between this host and others drops what etcd will send. The daemon has no internet
 * socket: "dhetcd-worker connect" tries. */

#include "host-operation.h"

#define CONNECT_TIMEOUT (20 * USEC_PER_SEC) /* the worker's own is 5 s */
#define URLS_MAX 64U
#define OUTPUT_SIZE_MAX 8192U /* a line for each */

static int tried(HostOperation *op) {
        _cleanup_json_ json_t *results = json_array();
        char text[OUTPUT_SIZE_MAX], *rest = NULL;
        int r;

        if (op->job_error < 0)
                return fail(&op->why, op->job_error, "no connection can be tried from here: %s",
                            error_text(op->job_why, op->job_error));
        r = host_operation_output(op, text, sizeof(text));
        if (r < 0)
                return r;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                if (json_array_append_new(results, json_string(line)) < 0)
                        return -ENOMEM;
        return host_operation_answer(op, json_pack("[O]", results));
}

int check_try_connect(HostOperation *op) {
        const json_t *urls = json_object_get(op->arguments, "urls");
        char address[ADDRESS_MAX];
        uint16_t port;
        json_t *url;
        size_t i;

        if (json_array_size(urls) > URLS_MAX)
                return fail(&op->why, -E2BIG, "more than %u URLs", URLS_MAX);
        json_array_foreach (urls, i, url)
                if (address_from_url(json_string_value(url), address, &port) < 0)
                        return fail(&op->why, -EINVAL, "'%s' is not https://ADDRESS:PORT", json_string_value(url));
        return 0;
}

int begin_try_connect(HostOperation *op) {
        const char *argv[2 + URLS_MAX + 1] = { DHETCD_LIBEXEC_DIR "/dhetcd-worker", "connect" };
        const HostCommand c = { "connect", "Which hosts can be reached", argv, CONNECT_TIMEOUT };
        json_t *url;
        size_t i;
        int r;

        json_array_foreach (json_object_get(op->arguments, "urls"), i, url)
                argv[2 + i] = json_string_value(url);
        r = host_operation_command(op, &c, tried);
        return r < 0 ? fail(&op->why, r, "systemd cannot be asked to try connections: %s", strerror(-r)) : 0;
}
