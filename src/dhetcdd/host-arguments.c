/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host-arguments.h"

#define STRING_SIZE_MAX (1024U * 1024U) /* the longest is PEM */
#define ENTRIES_MAX 256U
#define STEP_SIZE_MAX 32U
#define NAME_SIZE 32U

bool step_is_valid(const char *s) {
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz-");

        return n > 0 && n <= STEP_SIZE_MAX && s[n] == '\0';
}

/* ---- reading ---- */

static int read_string(sd_bus_message *m, json_t **ret) {
        const char *s;
        int r;

        r = sd_bus_message_read(m, "s", &s);
        if (r < 0)
                return r;
        if (strlen(s) > STRING_SIZE_MAX)
                return -E2BIG;
        *ret = json_string(s);
        return 0;
}

static int read_boolean(sd_bus_message *m, json_t **ret) {
        int r, b;

        r = sd_bus_message_read(m, "b", &b);
        if (r < 0)
                return r;
        *ret = json_boolean(b);
        return 0;
}

static int read_number(sd_bus_message *m, json_t **ret) {
        uint64_t n;
        int r;

        r = sd_bus_message_read(m, "t", &n);
        if (r < 0)
                return r;
        if (n > INT64_MAX)
                return -ERANGE;
        *ret = json_integer((json_int_t) n);
        return 0;
}

static int read_strings(sd_bus_message *m, json_t **ret) {
        _cleanup_json_ json_t *list = json_array();
        const char *s;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "s", &s)) > 0) {
                if (strlen(s) > STRING_SIZE_MAX || json_array_size(list) >= ENTRIES_MAX)
                        return -E2BIG;
                if (json_array_append_new(list, json_string(s)) < 0)
                        return -ENOMEM;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(list);
        return sd_bus_message_exit_container(m);
}

static int read_pairs(sd_bus_message *m, json_t **ret) {
        _cleanup_json_ json_t *pairs = json_object();
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{ss}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "{ss}", &key, &value)) > 0) {
                if (strlen(value) > STRING_SIZE_MAX || json_object_size(pairs) >= ENTRIES_MAX ||
                    json_object_get(pairs, key))
                        return -E2BIG;
                if (json_object_set_new(pairs, key, json_string(value)) < 0)
                        return -ENOMEM;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(pairs);
        return sd_bus_message_exit_container(m);
}

static int read_bytes(HostOperation *op, sd_bus_message *m) {
        int r;

        r = sd_bus_message_read_array(m, 'y', &op->data, &op->size);
        if (r < 0)
                return r;
#if HAVE_SD_BUS_MESSAGE_SENSITIVE
        return sd_bus_message_sensitive(m);
#else
        return 0;
#endif
}

/* Bytes are in no JSON: *ret stays NULL. */
static int read_argument(HostOperation *op, sd_bus_message *m, char type, const char *contents, json_t **ret) {
        switch (type) {
        case 's':
                return read_string(m, ret);
        case 'b':
                return read_boolean(m, ret);
        case 't':
                return read_number(m, ret);
        case 'a':
                if (streq(contents, "s"))
                        return read_strings(m, ret);
                if (streq(contents, "{ss}"))
                        return read_pairs(m, ret);
                if (streq(contents, "y"))
                        return read_bytes(op, m);
        }
        return -EINVAL;
}

static int read_all(HostOperation *op, sd_bus_message *m) {
        const char *name = op->method->arguments;

        while (*name) {
                size_t n = strcspn(name, " ");
                const char *contents;
                json_t *value = NULL;
                char key[NAME_SIZE], type;
                int r;

                if (n >= sizeof(key))
                        return -EINVAL;
                memcpy(key, name, n);
                key[n] = '\0';
                name += n + (name[n] == ' ');

                r = sd_bus_message_peek_type(m, &type, &contents);
                if (r <= 0)
                        return r < 0 ? r : -EINVAL;
                r = read_argument(op, m, type, contents, &value);
                if (r < 0)
                        return r;
                if (value && json_object_set_new(op->arguments, key, value) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* How long to wait is no part of what is asked for. */
static int make_digest(HostOperation *op) {
        _cleanup_json_ json_t *rest = json_copy(op->arguments);
        _cleanup_free_ char *text = NULL;

        if (!rest)
                return -ENOMEM;
        (void) json_object_del(rest, "timeout");
        text = json_to_text(rest, JSON_COMPACT | JSON_SORT_KEYS);
        if (!text)
                return -ENOMEM;
        return digest_bytes(text, strlen(text), op->digest);
}

/* "TXN@ADDRESS": the transaction, and who works on it. */
static int split_holder(HostOperation *op, char **reterr) {
        const char *given = host_operation_string(op, "txn"), *at = given ? strchr(given, '@') : NULL;

        if (!at)
                return 0;
        if (address_check(at + 1) < 0 || strlen(at + 1) >= sizeof(op->holder))
                return fail(reterr, -EINVAL, "'%.64s' does not name the host that works on a transaction", given);
        strcpy(op->holder, at + 1);
        return json_object_set_new(op->arguments, "txn", json_stringn(given, (size_t) (at - given))) < 0 ? -ENOMEM : 0;
}

int host_arguments_read(HostOperation *op, sd_bus_message *m, char **reterr) {
        int r;

        op->arguments = json_object();
        if (!op->arguments)
                return -ENOMEM;
        r = read_all(op, m);
        if (r < 0)
                return fail(reterr, r, "the arguments of %s cannot be read: %s", op->method->name, strerror(-r));
        r = split_holder(op, reterr);
        if (r < 0)
                return r;

        op->txn = host_operation_string(op, "txn");
        op->step = host_operation_string(op, "step");
        if (op->txn && !txn_is_valid(op->txn))
                return fail(reterr, -EINVAL, "'%.64s' is not the name of a transaction", op->txn);
        if (op->step && !step_is_valid(op->step))
                return fail(reterr, -EINVAL, "'%.64s' is not the name of a step", op->step);
        if (op->txn)
                memcpy(op->job, op->txn, JOB_SIZE - 1);
        return make_digest(op);
}

/* ---- answering ---- */

static int append_strings(sd_bus_message *m, const json_t *list) {
        const json_t *s;
        size_t i;
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        if (r < 0)
                return r;
        json_array_foreach (list, i, s) {
                r = sd_bus_message_append(m, "s", json_string_value(s) ?: "");
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

int host_answer_append(sd_bus_message *m, const char *signature, const json_t *answer) {
        size_t i = 0;
        int r = 0;

        for (const char *type = signature; *type && r >= 0; type++) {
                const json_t *v = json_array_get(answer, i++);

                switch (*type) {
                case 's':
                        r = sd_bus_message_append(m, "s", json_string_value(v) ?: "");
                        break;
                case 'b':
                        r = sd_bus_message_append(m, "b", (int) json_is_true(v));
                        break;
                case 'u':
                        r = sd_bus_message_append(m, "u", (uint32_t) json_integer_value(v));
                        break;
                case 'i':
                        r = sd_bus_message_append(m, "i", (int32_t) json_integer_value(v));
                        break;
                case 'a':
                        type++; /* strings alone */
                        r = append_strings(m, v);
                        break;
                default:
                        r = -EINVAL;
                }
        }
        return r;
}
