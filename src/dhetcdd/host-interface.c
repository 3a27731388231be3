/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The interface org.dhetcd1.Host. A handler reads and checks its arguments, asks polkit, and only then begins. */

#include "bus/vtable.h"
#include "host-operation.h"

static const HostMethod methods[] = {
        { "Describe", "", "s", POLKIT_INSPECT, .begin = begin_describe },
        { "Examine", "", "s", POLKIT_INSPECT, .begin = begin_examine },
        /* Asked of every host by the preflight, so that who may not manage one is refused before anything is
         * changed. */
        { "AdminUser", "", "suu", POLKIT_HOST_MANAGE, .begin = begin_admin_user },
        { "TryConnect", "urls", "as", POLKIT_HOST_MANAGE, .check = check_try_connect, .begin = begin_try_connect },
        { "Lock", "txn holder", "", POLKIT_HOST_MANAGE, .check = check_lock, .begin = begin_lock },
        { "Unlock", "txn", "", POLKIT_HOST_MANAGE, .begin = begin_unlock },
        { "KeepPlan", "txn plan", "", POLKIT_HOST_MANAGE, .locked = true, .check = check_keep_plan,
          .begin = begin_keep_plan },
        { "Recall", "txn", "s", POLKIT_INSPECT, .begin = begin_recall },
        { "TakeLock", "txn from holder", "", POLKIT_HOST_MANAGE, .check = check_take_lock, .begin = begin_take_lock },
        { "Close", "txn outcome", "", POLKIT_HOST_MANAGE, .check = check_close, .begin = begin_close },
        { "Snapshot", "txn step", "s", POLKIT_HOST_MANAGE, .locked = true, .begin = begin_snapshot },
        { "Restore", "txn step", "b", POLKIT_HOST_MANAGE, .recorded = true, .locked = true, .begin = begin_restore },
        { "Compare", "txn step", "as", POLKIT_INSPECT, .begin = begin_compare },
        { "Deliver", "txn step package digest", "", POLKIT_HOST_MANAGE, true, true, .forward = true, .locked = true,
          .check = check_deliver, .begin = begin_deliver },
        { "RunScript", "txn step script arguments timeout", "sias", POLKIT_HOST_MANAGE, true, true, .forward = true,
          .locked = true, .check = check_run_script, .begin = begin_run_script },
        { "CheckUnpacked", "txn", "as", POLKIT_HOST_MANAGE, .locked = true, .begin = begin_check_unpacked },
        { "ScriptOutput", "txn step script", "as", POLKIT_HOST_MANAGE, .check = check_script_output,
          .begin = begin_script_output },
        { "EditConfig", "txn step values", "b", POLKIT_HOST_MANAGE, true, true, .forward = true, .locked = true,
          .check = check_edit_config, .begin = begin_edit_config },
        { "TrustAuthorities", "txn step pem", "b", POLKIT_HOST_MANAGE, true, true, .forward = true, .locked = true,
          .check = check_trust_authorities, .begin = begin_trust_authorities },
        { "PrepareDataDirectory", "txn step move_aside", "b", POLKIT_HOST_MANAGE, true, true, .forward = true,
          .locked = true, .begin = begin_prepare_data_directory },
        { "RestoreDataDirectory", "txn step", "", POLKIT_HOST_MANAGE, true, .locked = true,
          .begin = begin_restore_data_directory },
        { "OwnDataDirectory", "txn step", "", POLKIT_HOST_MANAGE, true, true, .forward = true, .locked = true,
          .begin = begin_own_data_directory },
        { "DisownDataDirectory", "txn step", "", POLKIT_HOST_MANAGE, true, .locked = true,
          .begin = begin_disown_data_directory },
        { "ManageUnit", "txn step verb timeout", "s", POLKIT_HOST_MANAGE, true, true, .locked = true,
          .check = check_manage_unit, .begin = begin_manage_unit },
        { "Forget", "txn", "", POLKIT_HOST_MANAGE, .begin = begin_forget },
};

static const HostMethod *find_method(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (streq(methods[i].name, name))
                        return methods + i;
        return NULL;
}

#if DHETCD_FAILPOINTS
/* Between the writes of those that have several, or while systemd is at work. */
static const char *const within[][2] = {
        { "Lock", "opened" },
        { "Unlock", "released" },
        { "Close", "outcome" },
        { "Restore", "restored" },
        { "RunScript", "sent" },
        { "TrustAuthorities", "first" },
        { "PrepareDataDirectory", "moved" },
        { "RestoreDataDirectory", "moved" },
        { "OwnDataDirectory", "given" },
        { "DisownDataDirectory", "given" },
        { "ManageUnit", "sent" },
};

void host_failpoints(FILE *out) {
        static const char *const recorded[] = { "before-intent", "after-intent", "before-done", "after-done", NULL };
        static const char *const other[] = { "begin", "after-done", NULL };

        for (size_t i = 0; i < ELEMENTSOF(methods); i++) {
                for (const char *const *p = methods[i].recorded ? recorded : other; *p; p++)
                        fprintf(out, "host.%s.%s\n", methods[i].name, *p);
                for (size_t k = 0; k < ELEMENTSOF(within); k++)
                        if (streq(within[k][0], methods[i].name))
                                fprintf(out, "host.%s.%s\n", within[k][0], within[k][1]);
        }
        fputs("boot.repair.begin\nboot.repair.marked\nboot.repair.restored\n", out);
}
#endif

/* Runs again after polkit's answer: nothing before polkit_check() may have an effect. */
static int on_method(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        _cleanup_(host_operation_freep) HostOperation *op = NULL;
        _cleanup_free_ char *why = NULL;
        const HostMethod *method;
        const char *details[9];
        Host *h = userdata;
        size_t n = 0;
        int r;

        method = find_method(sd_bus_message_get_member(m));
        if (!method)
                return 0;
        r = host_operation_new(h, method, m, &op, &why);
        if (r < 0)
                return sd_bus_error_setf(reterr, DHETCD_ERROR_REJECTED, "%s", error_text(why, r));

        details[n++] = "method";
        details[n++] = method->name;
        for (size_t i = 0; i < 3; i++) {
                static const char *const names[] = { "txn", "step", "verb" };
                const char *value = i == 2 ? op->verb : host_operation_string(op, names[i]);

                if (!value)
                        continue;
                details[n++] = names[i];
                details[n++] = value;
        }
        details[n] = NULL;
        r = polkit_check(h->polkit, m, method->action, details, on_method, h, reterr);
        if (r <= 0)
                return r < 0 ? r : 1;

        return host_operation_start(TAKE_PTR(op), m, reterr);
}

/* ---- life ---- */

extern const sd_bus_vtable host_vtable[];

int host_new(sd_event *event, sd_bus *bus, Host **ret) {
        _cleanup_(host_freep) Host *h = calloc(1, sizeof(Host));
        int r;

        if (!h)
                return -ENOMEM;
        h->event = event;
        h->bus = bus;
        r = polkit_new(bus, &h->polkit);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, &h->vtable, DHETCD_PATH, DHETCD_HOST, host_vtable, h);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(h);
        return 0;
}

/* Operations that are under way are dropped: what they wait for goes on, and a repeated call finds it. */
Host *host_free(Host *h) {
        if (!h)
                return NULL;
        sd_bus_slot_unref(h->vtable);
        polkit_free(h->polkit);
        while (h->operations) {
                HostOperation *op = h->operations;

                h->operations = op->next;
                host_operation_free(op);
        }
        (void) host_forget_record(h, NULL);
        free(h);
        return NULL;
}

bool host_is_idle(const Host *h) {
        return !h->operations && polkit_is_idle(h->polkit);
}

const sd_bus_vtable host_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("Describe", "", "", "s", ARG(facts), on_method),
        METHOD("Examine", "", "", "s", ARG(facts), on_method),
        METHOD("AdminUser", "", "", "suu", ARG(user) ARG(uid) ARG(gid), on_method),
        METHOD("TryConnect", "as", ARG(urls), "as", ARG(results), on_method),
        METHOD("Lock", "ss", ARG(txn) ARG(holder), "", "", on_method),
        METHOD("Unlock", "s", ARG(txn), "", "", on_method),
        METHOD("KeepPlan", "ss", ARG(txn) ARG(plan), "", "", on_method),
        METHOD("Recall", "s", ARG(txn), "s", ARG(records), on_method),
        METHOD("TakeLock", "sss", ARG(txn) ARG(from) ARG(holder), "", "", on_method),
        METHOD("Close", "ss", ARG(txn) ARG(outcome), "", "", on_method),
        METHOD("Snapshot", "ss", ARG(txn) ARG(step), "s", ARG(digest), on_method),
        METHOD("Restore", "ss", ARG(txn) ARG(step), "b", ARG(changed), on_method),
        METHOD("Compare", "ss", ARG(txn) ARG(step), "as", ARG(differences), on_method),
        METHOD("Deliver", "ssays", ARG(txn) ARG(step) ARG(package) ARG(digest), "", "", on_method),
        METHOD("RunScript", "sssast", ARG(txn) ARG(step) ARG(script) ARG(arguments) ARG(timeout), "sias",
               ARG(result) ARG(status) ARG(output), on_method),
        METHOD("CheckUnpacked", "s", ARG(txn), "as", ARG(differences), on_method),
        METHOD("ScriptOutput", "sss", ARG(txn) ARG(step) ARG(script), "as", ARG(output), on_method),
        METHOD("EditConfig", "ssa{ss}", ARG(txn) ARG(step) ARG(values), "b", ARG(changed), on_method),
        METHOD("TrustAuthorities", "sss", ARG(txn) ARG(step) ARG(pem), "b", ARG(changed), on_method),
        METHOD("PrepareDataDirectory", "ssb", ARG(txn) ARG(step) ARG(move_aside), "b", ARG(moved), on_method),
        METHOD("RestoreDataDirectory", "ss", ARG(txn) ARG(step), "", "", on_method),
        METHOD("OwnDataDirectory", "ss", ARG(txn) ARG(step), "", "", on_method),
        METHOD("DisownDataDirectory", "ss", ARG(txn) ARG(step), "", "", on_method),
        METHOD("ManageUnit", "ssst", ARG(txn) ARG(step) ARG(verb) ARG(timeout), "s", ARG(result), on_method),
        METHOD("Forget", "s", ARG(txn), "", "", on_method),
        SD_BUS_VTABLE_END,
};
