/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three questions, one after the other: LoadUnit (so that a unit that is not loaded is looked for on disk), all its
 * properties, and the state of its unit file, which systemd keeps from before in the property of that name. */

#include "unit-state.h"

#include "basic/digest.h"
#include "basic/string-util.h"
#include "unit-job.h"

#define QUERY_TIMEOUT (20 * USEC_PER_SEC)

struct UnitQuery {
        sd_bus *bus;
        char *unit;
        UnitQueryCallback callback;
        void *userdata;
        UnitState state;
        sd_bus_slot *slot;
};

void unit_state_done(UnitState *s) {
        free(s->load_state);
        free(s->active_state);
        free(s->sub_state);
        free(s->unit_file_state);
        free(s->result);
        *s = (UnitState){};
}

UnitQuery *unit_query_free(UnitQuery *q) {
        if (!q)
                return NULL;
        sd_bus_slot_unref(q->slot);
        sd_bus_unref(q->bus);
        unit_state_done(&q->state);
        free(q->unit);
        free(q);
        return NULL;
}

static void finish(UnitQuery *q, int r, const char *why) {
        UnitState state = q->state;

        q->state = (UnitState){};
        q->slot = sd_bus_slot_unref(q->slot);
        if (r < 0) {
                unit_state_done(&state);
                q->callback(q->userdata, r, NULL, why);
        } else
                q->callback(q->userdata, 0, &state, NULL);
}

static int finish_with_error(UnitQuery *q, const sd_bus_error *e) {
        _cleanup_free_ char *why = format("systemd does not tell about %s: %s", q->unit, e->message ?: e->name);
        int error = sd_bus_error_get_errno(e);

        finish(q, error > 0 ? -error : -EIO, why);
        return 0;
}

static int read_string(sd_bus_message *m, char **ret) {
        const char *s;
        char *copy;
        int r;

        r = sd_bus_message_read(m, "v", "s", &s);
        if (r < 0)
                return r;
        copy = strdup(s);
        if (!copy)
                return -ENOMEM;
        free(*ret);
        *ret = copy;
        return 0;
}

static int read_invocation(sd_bus_message *m, UnitState *s) {
        const void *bytes;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &bytes, &size);
        if (r < 0)
                return r;
        if (size == 16)
                hex_encode(bytes, size, s->invocation_id);
        return sd_bus_message_exit_container(m);
}

static int read_property(sd_bus_message *m, const char *name, UnitState *s) {
        const char *path;

        if (streq(name, "LoadState"))
                return read_string(m, &s->load_state);
        if (streq(name, "ActiveState"))
                return read_string(m, &s->active_state);
        if (streq(name, "SubState"))
                return read_string(m, &s->sub_state);
        if (streq(name, "Result"))
                return read_string(m, &s->result);
        if (streq(name, "InvocationID"))
                return read_invocation(m, s);
        if (streq(name, "NRestarts"))
                return sd_bus_message_read(m, "v", "u", &s->n_restarts);
        if (streq(name, "MainPID"))
                return sd_bus_message_read(m, "v", "u", &s->main_pid);
        if (streq(name, "ExecMainCode"))
                return sd_bus_message_read(m, "v", "i", &s->exec_main_code);
        if (streq(name, "ExecMainStatus"))
                return sd_bus_message_read(m, "v", "i", &s->exec_main_status);
        if (streq(name, "Job"))
                return sd_bus_message_read(m, "v", "(uo)", &s->job, &path);
        return sd_bus_message_skip(m, "v");
}

static int read_properties(sd_bus_message *m, UnitState *s) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0) {
                const char *name;

                r = sd_bus_message_enter_container(m, 'e', "sv");
                if (r <= 0)
                        break;
                r = sd_bus_message_read(m, "s", &name);
                if (r >= 0)
                        r = read_property(m, name, s);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r < 0)
                return r;
        return s->load_state && s->active_state && s->sub_state ? 0 : -EBADMSG;
}

static int on_file_state(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const char *state = "";
        UnitQuery *q = userdata;

        /* An error: no such file, which is no failure here. */
        if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "s", &state) < 0)
                state = "";
        q->state.unit_file_state = strdup(state);
        if (q->state.unit_file_state && !q->state.result)
                q->state.result = strdup("");
        finish(q, q->state.unit_file_state && q->state.result ? 0 : -ENOMEM, "out of memory");
        return 0;
}

static int ask(UnitQuery *q, const char *path, const char *interface, const char *method,
               sd_bus_message_handler_t handler, const char *argument) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        r = sd_bus_message_new_method_call(q->bus, &m, SYSTEMD_SERVICE, path, interface, method);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", argument);
        return r < 0 ? r : sd_bus_call_async(q->bus, &q->slot, m, handler, q, QUERY_TIMEOUT);
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        UnitQuery *q = userdata;
        int r;

        if (e)
                return finish_with_error(q, e);
        r = read_properties(m, &q->state);
        if (r >= 0)
                r = ask(q, SYSTEMD_PATH, SYSTEMD_MANAGER, "GetUnitFileState", on_file_state, q->unit);
        if (r < 0)
                finish(q, r, "systemd's answer cannot be read");
        return 0;
}

static int on_loaded(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        UnitQuery *q = userdata;
        const char *path;
        int r;

        if (e)
                return finish_with_error(q, e);
        r = sd_bus_message_read(m, "o", &path);
        if (r >= 0)
                r = ask(q, path, "org.freedesktop.DBus.Properties", "GetAll", on_properties, "");
        if (r < 0)
                finish(q, r, "systemd's answer cannot be read");
        return 0;
}

int unit_query_new(sd_bus *bus, const char *unit, UnitQueryCallback callback, void *userdata, UnitQuery **ret) {
        _cleanup_(unit_query_freep) UnitQuery *q = calloc(1, sizeof(UnitQuery));
        int r;

        if (!q)
                return -ENOMEM;
        q->bus = sd_bus_ref(bus);
        q->callback = callback;
        q->userdata = userdata;
        q->unit = strdup(unit);
        if (!q->unit)
                return -ENOMEM;
        r = ask(q, SYSTEMD_PATH, SYSTEMD_MANAGER, "LoadUnit", on_loaded, unit);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(q);
        return 0;
}
