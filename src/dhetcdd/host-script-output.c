/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a script printed, read back from this host's journal; and ScriptOutput, for whoever did not get RunScript's
 * answer, which would have told it. */

#include "basic/fs.h"
#include "host-journal.h"
#include "host-operation.h"
#include "host-script-unit.h"

#define LINES_MAX 499U /* and one line for what is left out */
#define LATE_LINES_PAUSE (50 * USEC_PER_MSEC)
#define LATE_LINES_ROUNDS 40U /* at most */
#define LATE_LINES_QUIET 3U   /* so many rounds without a new line: that was all */
#define LATE_LINES_NONE 30U   /* so many without any: it wrote nothing, or journald is far behind */

void script_lines_done(ScriptLines *l) {
        strv_free(l->lines);
}

int script_lines_read(ScriptLines *l, const char *unit) {
        _cleanup_strv_ char **lines = NULL;
        size_t earlier;
        int r;

        r = journal_read_output(unit, LINES_MAX, &lines, &earlier);
        if (r < 0)
                return r;
        l->quiet = strv_length(lines) + earlier == strv_length(l->lines) + l->earlier ? l->quiet + 1 : 0;
        strv_free(l->lines);
        l->lines = TAKE_PTR(lines);
        l->earlier = earlier;
        return l->quiet >= (l->lines ? LATE_LINES_QUIET : LATE_LINES_NONE) || ++l->rounds >= LATE_LINES_ROUNDS;
}

int script_lines_wait(HostOperation *op, HostNext then) {
        return host_operation_sleep(op, LATE_LINES_PAUSE, then);
}

static json_t *earlier_line(const ScriptLines *l, const char *unit) {
        char address[256];

        return json_sprintf("%s%zu earlier line%s only in the journal of %s; see there: journalctl -u %s",
                            l->earlier >= JOURNAL_EARLIER_MAX ? "at least " : "", l->earlier,
                            l->earlier == 1 ? " is" : "s are", host_own_address(address), unit);
}

json_t *script_lines_to_json(const ScriptLines *l, const char *unit) {
        _cleanup_json_ json_t *list = json_array();

        if (!list || (l->earlier > 0 && json_array_append_new(list, earlier_line(l, unit)) < 0))
                return NULL;
        STRV_FOREACH (line, l->lines)
                if (json_array_append_new(list, json_string(*line)) < 0)
                        return NULL;
        return TAKE_PTR(list);
}

/* ---- ScriptOutput ---- */

typedef struct Output {
        char *unit;
        ScriptLines lines;
} Output;

static void output_free(void *p) {
        Output *o = p;

        free(o->unit);
        script_lines_done(&o->lines);
        free(o);
}

static int answer(HostOperation *op) {
        Output *o = op->own;
        json_t *list = script_lines_to_json(&o->lines, o->unit);

        return list ? host_operation_answer(op, json_pack("[o]", list)) : -ENOMEM;
}

static int read_lines(HostOperation *op) {
        Output *o = op->own;
        int r = script_lines_read(&o->lines, o->unit);

        if (r < 0)
                return fail(&op->why, r, "the journal cannot be read: %s", strerror(-r));
        return r > 0 ? answer(op) : script_lines_wait(op, read_lines);
}

int check_script_output(HostOperation *op) {
        op->verb = host_operation_string(op, "script");
        return script_name_check(op);
}

int begin_script_output(HostOperation *op) {
        Output *o = calloc(1, sizeof(Output));
        int r;

        if (!o)
                return -ENOMEM;
        op->own = o;
        op->free_own = output_free;
        o->unit = script_unit_name(op->txn, op->step, op->verb);
        if (!o->unit)
                return -ENOMEM;
        r = host_operation_open_record(op);
        if (r < 0)
                return r;
        return host_record_was_begun(op->record, op->step, "RunScript", op->verb) ? read_lines(op) : answer(op);
}
