/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "doctor.h"

#include <stdarg.h>

/* ---- for the checks ---- */

/* What was cut in the midst of a character is no UTF-8 any more, and no JSON. */
static void make_text(char *text) {
        _cleanup_json_ json_t *as_json = text ? json_string(text) : NULL;

        for (char *p = text; p && *p && !as_json; p++)
                if ((unsigned char) *p >= 0x80)
                        *p = '?';
}

json_t *doctor_found(Doctor *d, const char *host, const char *evidence, ...) {
        _cleanup_free_ char *text = NULL;
        json_t *finding;
        va_list ap;

        va_start(ap, evidence);
        if (vasprintf(&text, evidence, ap) < 0)
                text = NULL;
        va_end(ap);
        make_text(text);
        finding =
                json_pack("{ss ss ss? ss ss? sn sn sb sn}", "id", d->check->id, "severity", d->check->severity, "host",
                          host, "cause", d->check->cause, "evidence", text, "command", "where", "fixable", 0, "fix");
        return json_array_append_new(d->findings, finding) < 0 ? NULL : finding;
}

void doctor_command(json_t *finding, const char *where, const char *command, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, command);
        if (vasprintf(&text, command, ap) < 0)
                text = NULL;
        va_end(ap);
        (void) json_object_set_new(finding, "command", text ? json_string(text) : json_null());
        (void) json_object_set_new(finding, "where", where ? json_string(where) : json_null());
}

const char *doctor_plain(const char *s, const char *otherwise) {
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/:-=,+@[]";

        return s && *s && *s != '-' && s[strspn(s, plain)] == '\0' ? s : otherwise;
}

void doctor_fix(json_t *finding, json_t *fix) {
        if (json_object_set_new(finding, "fix", fix) >= 0)
                (void) json_object_set_new(finding, "fixable", json_true());
}

static const json_t *find_address(const json_t *list, const char *address) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *) list, i, entry)
                if (address && streq(json_get_string(entry, "address"), address))
                        return entry;
        return NULL;
}

const json_t *doctor_host(const Doctor *d, const char *address) {
        return find_address(d->hosts, address);
}

const json_t *doctor_host_facts(const Doctor *d, const char *address) {
        const json_t *facts = json_object_get(doctor_host(d, address), "facts");

        return json_is_object(facts) ? facts : NULL;
}

const json_t *doctor_member(const Doctor *d, const char *address) {
        return find_address(d->members, address);
}

bool doctor_never_started(const json_t *member) {
        const char *name = json_get_string(member, "name");

        return member && (!name || *name == '\0');
}

bool doctor_is_healthy(const json_t *member) {
        const char *health = json_get_string(member, "health");

        return streq(health, "healthy") || streq(health, "lagging") || streq(health, "alarm");
}

/* ---- running them ---- */

static void run_for_hosts(Doctor *d) {
        json_t *host;
        size_t i;

        json_array_foreach ((json_t *) d->hosts, i, host) {
                const char *address = json_get_string(host, "address");
                const json_t *facts = doctor_host_facts(d, address);

                if (facts)
                        d->check->host(d, address, facts);
        }
}

static void run_for_members(Doctor *d) {
        json_t *member;
        size_t i;

        json_array_foreach ((json_t *) d->members, i, member) {
                const char *address = json_get_string(member, "address");

                if (address)
                        d->check->member(d, member, address, doctor_host_facts(d, address));
        }
}

static void run_table(Doctor *d, const DoctorTable *table) {
        for (size_t i = 0; i < table->n; i++) {
                d->check = table->checks + i;
                if (d->check->run)
                        d->check->run(d);
                if (d->check->host)
                        run_for_hosts(d);
                if (d->check->member)
                        run_for_members(d);
        }
}

json_t *doctor_examine(const json_t *facts) {
        const json_t *cluster = json_object_get(facts, "cluster");
        _cleanup_json_ json_t *findings = json_array();
        Doctor d = {
                .facts = facts,
                .cluster = cluster,
                .members = json_object_get(cluster, "members"),
                .hosts = json_object_get(facts, "hosts"),
                .now = (uint64_t) json_get_integer(facts, "now_usec", 0),
                .findings = findings,
        };

        if (!findings)
                return NULL;
        run_table(&d, &doctor_cluster_checks);
        run_table(&d, &doctor_host_checks);
        return TAKE_PTR(findings);
}
