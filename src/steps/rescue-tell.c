/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a rescue says to people: the plan before, and what to do with the lost members after. */

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "rescue.h"

static void line(Addition *a, const char *fmt, ...) _printf_(2, 3);

static void line(Addition *a, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&text, fmt, ap) < 0)
                text = NULL;
        va_end(ap);
        addition_event(a, EVENT_RESCUE_PLAN, LOG_NOTICE, NULL, "%s", text ?: fmt);
}

static const char *when(uint64_t usec, char ret[static 64]) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        struct tm tm;

        if (!localtime_r(&seconds, &tm) || strftime(ret, 64, "%F %T %Z", &tm) == 0)
                return "an unknown time";
        return ret;
}

static void tell_found(Addition *a, const RescueView *v) {
        const json_t *data = json_object_get(v->facts, "data_directory"), *unit = json_object_get(v->facts, "unit");
        char text[64];

        line(a, "Found: this member is %s (%s), its data directory %s has %" PRIu64 " MiB, %s is %s.", v->own->name,
             v->own->address, json_get_string(data, "path") ?: "unknown",
             (uint64_t) json_get_integer(data, "used_bytes", 0) >> 20, DH_ETCD_UNIT,
             json_get_string(unit, "active_state") ?: "unknown");
        for (size_t i = 0; i < v->quorum.n; i++)
                line(a, "Found: member %s %s.", v->quorum.voters[i].address, quorum_words(v->quorum.voters + i));
        line(a, "Found: the quorum is lost, %zu of %zu members answer and %zu are needed.", v->quorum.alive,
             v->quorum.n, v->quorum.n / 2 + 1);
        if (v->has_newest)
                line(a,
                     "Found: the newest snapshot that a job of this host saved is that of job %s, of %s, %" PRIu64
                     " KiB, SHA-256 verified.",
                     v->newest.job, when(v->newest.usec, text), v->newest.bytes >> 10);
        else
                line(a, "Found: no job of this host has a snapshot that is whole.");
}

static void tell_work(Addition *a, const RescueView *v) {
        const char *path = json_get_string(json_object_get(v->facts, "data_directory"), "path") ?: "the data directory";

        line(a, "It would stop %s and keep %s as %s.dhetcd-%s.rescue-data.", DH_ETCD_UNIT, path, path, a->txn);
        if (v->chosen.path)
                line(a,
                     "It would restore %s to a new data directory, and start etcd on it as a cluster of this member "
                     "alone.",
                     v->chosen.path);
        else
                line(a,
                     "It would start etcd on a copy of it with force-new-cluster, as a cluster of this member alone, "
                     "and once more without.");
}

static void tell_loss(Addition *a, const RescueView *v) {
        char text[64];

        if (v->chosen.path)
                line(a, "Lost: everything that was written after %s, passwords of etcd's users included.",
                     when(v->chosen.usec, text));
        else if (v->quorum.n == 2)
                line(a, "Lost: nothing that was acknowledged, as both members had it.");
        else
                line(a, "Lost: what a majority without this member acknowledged last. Take the surviving member with "
                        "the highest RAFT APPLIED INDEX in: etcdctl.sh endpoint status --cluster");
        for (size_t i = 0; i < v->quorum.n; i++)
                if (v->quorum.voters[i].address && !streq(v->quorum.voters[i].address, v->own->address))
                        line(a,
                             "Lost: member %s, whatever it has. Be sure that it is off, and try to bring it back "
                             "first: members that only this host cannot see would go on as another cluster.",
                             v->quorum.voters[i].address);
}

void rescue_tell_plan(Addition *a, const RescueView *v) {
        tell_found(a, v);
        tell_work(a, v);
        tell_loss(a, v);
}

char *rescue_command(const Addition *a) {
        return format("dhetcd rescue --yes-i-lose-quorum%s%s%s%s", a->rescue.snapshot ? " --from-snapshot=" : "",
                      a->rescue.snapshot ?: "", a->rescue.job ? " " : "", a->rescue.job ?: "");
}

void rescue_tell_next(Addition *a) {
        _cleanup_free_ char *unlock = NULL;
        json_t *lost;
        size_t i;

        if (a->rescue.job)
                unlock = format("; busctl call %s %s %s Unlock s %s-1", DHETCD_SERVICE, DHETCD_PATH, DHETCD_HOST,
                                a->rescue.job);
        json_array_foreach (txn_recall(a->transaction, "lost"), i, lost)
                addition_event(a, EVENT_RESCUE_NEXT, LOG_WARNING, NULL,
                               "%s must not come back with its old data. As soon as it runs again, there: systemctl "
                               "disable --now %s%s; then here: dhetcd add --move-data-aside %s",
                               json_string_value(lost), DH_ETCD_UNIT, unlock ?: "", json_string_value(lost));
}
