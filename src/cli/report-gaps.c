/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When the cluster took no writes, as far as a job's record and lines tell: while one of at most two voters
 * restarted. */

#include "basic/string-util.h"
#include "report.h"

#define VOTERS_MAX 2U /* with more, the quorum holds while one restarts */

static const json_t *find_by(const json_t *array, const char *key, const char *value) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *) array, i, entry)
                if (streq(json_get_string(entry, key), value))
                        return entry;
        return NULL;
}

/* The members and the new node are what "narrow" has touched; the new one votes once it is promoted. 0: not known. */
static size_t voters_at(const json_t *transaction, json_int_t usec) {
        const json_t *steps = json_object_get(transaction, "steps");
        const json_t *promote = find_by(steps, "step", "promote");
        size_t nodes = json_object_size(json_object_get(find_by(steps, "step", "narrow"), "hosts"));
        json_int_t promoted =
                streq(json_get_string(promote, "state"), "done") ? json_get_integer(promote, "ended_usec", 0) : 0;

        return nodes == 0 ? 0 : promoted > 0 && usec >= promoted ? nodes : nodes - 1;
}

static json_int_t restarted_at(const json_t *lines, size_t from, const char *host) {
        for (size_t i = from; i < json_array_size(lines); i++) {
                const json_t *line = json_array_get(lines, i);

                if (streq(json_get_string(line, "host"), host) && streq(json_get_string(line, "phase"), "restarted"))
                        return json_get_integer(line, "usec", 0);
        }
        return 0;
}

json_t *report_gaps(const json_t *data) {
        const json_t *transactions = json_object_get(json_object_get(data, "job"), "transactions");
        const json_t *lines = json_object_get(data, "lines");
        json_t *gaps = json_array(), *line;
        size_t i;

        json_array_foreach ((json_t *) lines, i, line) {
                const json_t *transaction = find_by(transactions, "txn", json_get_string(line, "txn") ?: "");
                const char *host = json_get_string(line, "host") ?: "";
                json_int_t from = json_get_integer(line, "usec", 0), until = restarted_at(lines, i, host);
                size_t voters = transaction ? voters_at(transaction, from) : 0;

                if (streq(json_get_string(line, "phase"), "restarting") && voters > 0 && voters <= VOTERS_MAX &&
                    until > from)
                        (void) json_array_append_new(
                                gaps, json_pack("{ss sI sI}", "host", host, "from_usec", from, "until_usec", until));
        }
        return gaps;
}
