/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can be wrong with the cluster, its members, and dhetcd's own jobs. */

#include <inttypes.h>

#include "doctor.h"
#include "forecast.h"

#define ETCDCTL "/usr/illumon/latest/bin/etcdctl.sh"

/* ---- the cluster as a whole ---- */

static void root_client(Doctor *d, const char *address, const json_t *facts) {
        const json_t *lacks = json_object_get(facts, "root_client_lacks");
        bool own = json_is_true(json_object_get(doctor_host(d, address), "this_host"));
        const char *file = json_string_value(json_array_get(lacks, 0));
        json_t *f;

        if (!file || !(own || (doctor_member(d, address) && !doctor_never_started(doctor_member(d, address)))))
                return; /* the vendor does not put it on every host */
        f = doctor_found(d, address, "%s/%s is not there", DH_ROOT_CLIENT_DIR, file);
        if (json_get_string(facts, "package_digest"))
                doctor_command(f, address, "cd %s && %s etcd unpackage-client", DH_SYSCONFIG_DIR, DH_CONFIG_PACKAGER);
        else
                doctor_command(f, address, "scp -rp root@MEMBER:%s %s/", DH_ROOT_CLIENT_DIR, DH_CLIENT_DIR);
}

static bool this_host_lacks_client(const Doctor *d) {
        const json_t *own = doctor_host_facts(d, json_get_string(d->facts, "own"));

        return json_array_size(json_object_get(own, "root_client_lacks")) > 0;
}

static void cluster_silent(Doctor *d) {
        const char *error = json_get_string(d->facts, "cluster_error") ?: json_get_string(d->cluster, "list_error");

        if (this_host_lacks_client(d) || streq(json_get_string(d->cluster, "list"), "quorum"))
                return;
        doctor_command(doctor_found(d, NULL, "%s", error ?: "no member gives the member list"), NULL,
                       "systemctl start %s (on every member); where members are lost for good: dhetcd rescue",
                       DH_ETCD_UNIT);
}

static void alarms(Doctor *d) {
        const char *text = json_get_string(d->cluster, "alarms");

        if (text)
                doctor_command(doctor_found(d, NULL, "%s", text), NULL, "%s alarm list", ETCDCTL);
}

/* ---- versions ---- */

static size_t members_with(const Doctor *d, const char *version) {
        size_t i, n = 0;
        json_t *row;

        json_array_foreach ((json_t *) d->members, i, row)
                n += streq(json_get_string(row, "version"), version);
        return n;
}

/* The odd one out, not the one that etcd happens to list first. */
static void mixed_versions(Doctor *d) {
        const char *usual = NULL, *of = NULL;
        size_t i, most = 0;
        json_t *row;

        json_array_foreach ((json_t *) d->members, i, row) {
                const char *version = json_get_string(row, "version");

                if (!version || members_with(d, version) <= most)
                        continue;
                most = members_with(d, version);
                usual = version;
                of = json_get_string(row, "address");
        }
        json_array_foreach ((json_t *) d->members, i, row) {
                const char *version = json_get_string(row, "version"), *address = json_get_string(row, "address");

                if (!version || streq(version, usual))
                        continue;
                doctor_command(doctor_found(d, address, "etcd %s; %s has %s", version, of ?: "another", usual), address,
                               "etcd --version; then install the same version on every member");
                return;
        }
}

static void hazards(Doctor *d) {
        _cleanup_json_ json_t *texts = json_array();
        json_t *row, *text;
        size_t i;

        json_array_foreach ((json_t *) d->members, i, row)
                if (json_get_string(row, "version")) {
                        forecast_hazards(json_get_string(row, "version"), texts);
                        break;
                }
        json_array_foreach (texts, i, text)
                doctor_command(doctor_found(d, NULL, "%s", json_string_value(text)), NULL,
                               "dhetcd cluster; then upgrade etcd when that is possible");
}

/* ---- members ---- */

static const json_t *lock_of(const json_t *facts) {
        const json_t *lock = json_object_get(facts, "lock");

        return json_is_object(lock) ? lock : NULL;
}

/* A job of any host that has not ended, or a lock whose job nobody here knows. */
static bool a_job_may_own_it(const Doctor *d) {
        json_t *host;
        size_t i;

        json_array_foreach ((json_t *) d->hosts, i, host) {
                const json_t *facts = json_object_get(host, "facts"), *lock = lock_of(facts);

                if (json_array_size(json_object_get(facts, "open_jobs")) > 0)
                        return true;
                if (lock && !doctor_host_facts(d, json_get_string(lock, "holder")))
                        return true;
        }
        return false;
}

static bool has_data(const json_t *facts) {
        const char *state = json_get_string(json_object_get(facts, "data_directory"), "state");

        return streq(state, "in-use");
}

static bool unit_runs(const json_t *facts) {
        const char *state = json_get_string(json_object_get(facts, "unit"), "active_state");

        return streq(state, "active") || streq(state, "activating");
}

static void dead_learner(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *id = json_get_string(m, "id") ?: "?";
        bool never = doctor_never_started(m);
        json_t *f;

        if (!streq(json_get_string(m, "role"), "learner") || json_is_true(json_object_get(m, "answers")))
                return;
        f = doctor_found(d, address, "member %s is a learner that %s%s", id,
                         never ? "has never started" : "does not answer",
                         has_data(facts) ? "; its data directory is in use" : "");
        doctor_command(f, NULL, "%s member remove %s", ETCDCTL, id);
        if (never && !has_data(facts) && !unit_runs(facts) && !a_job_may_own_it(d))
                doctor_fix(f, json_pack("{ss}", "member", id));
}

static void learner_left(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *id = json_get_string(m, "id") ?: "?";

        if (!streq(json_get_string(m, "role"), "learner") || !json_is_true(json_object_get(m, "answers")) ||
            a_job_may_own_it(d))
                return;
        doctor_command(doctor_found(d, address, "member %s answers, and no job of dhetcd is at work", id), NULL,
                       "%s member promote %s (it has caught up), or member remove %s", ETCDCTL, id, id);
}

static void phantom_voter(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *id = json_get_string(m, "id") ?: "?";
        bool other = streq(json_get_string(m, "health"), "other member");
        json_t *f;

        if (streq(json_get_string(m, "role"), "learner") || json_is_true(json_object_get(m, "answers")) != other)
                return;
        if (!other && !doctor_never_started(m) && (!facts || has_data(facts) || unit_runs(facts)))
                return; /* voter-silent tells of it */
        if (!json_get_string(m, "id"))
                return;
        f = doctor_found(d, address, "member %s %s", id,
                         other                     ? "is answered for by another member"
                         : doctor_never_started(m) ? "has never started, but votes"
                                                   : "votes, but its host has neither its data nor etcd running");
        doctor_command(f, NULL, "%s member remove %s", ETCDCTL, id);
}

static void voter_silent(Doctor *d, const json_t *m, const char *address, const json_t *facts) {
        const char *error = json_get_string(m, "error");
        json_t *f;

        if (streq(json_get_string(m, "role"), "learner") || json_is_true(json_object_get(m, "answers")) ||
            doctor_never_started(m) || (facts && !has_data(facts) && !unit_runs(facts)))
                return;
        f = doctor_found(d, address, "%s; %s is %s there", error ?: "no answer", DH_ETCD_UNIT,
                         json_get_string(json_object_get(facts, "unit"), "active_state") ?: "not to be asked about");
        if (facts && !unit_runs(facts))
                doctor_command(f, address, "systemctl start %s", DH_ETCD_UNIT);
        else
                doctor_command(f, address, "journalctl -eu %s", DH_ETCD_UNIT);
}

/* ---- dhetcd itself ---- */

static void no_host(Doctor *d) {
        json_t *host;
        size_t i;

        json_array_foreach ((json_t *) d->hosts, i, host) {
                const char *error = json_get_string(host, "error"), *address = json_get_string(host, "address");

                if (error)
                        doctor_command(doctor_found(d, address, "%s", error), NULL,
                                       "dhetcd trust %s; then try: ssh root@%s systemctl status dhetcdd", address,
                                       address);
        }
}

static void other_dhetcd(Doctor *d, const char *address, const json_t *facts) {
        const char *version = json_get_string(facts, "version");

        if (!streq(version, DHETCD_VERSION))
                doctor_command(doctor_found(d, address, "dhetcd %s there, %s here", version ?: "?", DHETCD_VERSION),
                               address, "dhetcd --version; then install the same package on every host");
}

static const json_t *find_job(const json_t *facts, const char *id) {
        json_t *job;
        size_t i;

        json_array_foreach (json_object_get(facts, "open_jobs"), i, job)
                if (streq(json_get_string(job, "job"), id))
                        return job;
        return NULL;
}

static void lock_left(Doctor *d, const char *address, const json_t *facts) {
        const json_t *lock = lock_of(facts);
        const char *id = json_get_string(lock, "job"), *holder = json_get_string(lock, "holder");
        const char *txn = json_get_string(lock, "txn") ?: "";
        const json_t *there = doctor_host_facts(d, holder);
        json_t *f;

        if (!lock || find_job(there, id))
                return;
        f = doctor_found(d, address, "job %s of %s holds this host, %s (%s/lock.json)", id ?: "?", holder ?: "?",
                         there ? "and has ended there, or never was" : "which does not answer", DHETCD_HOST_DIR);
        if (there) {
                doctor_command(f, address, "busctl call org.dhetcd1 /org/dhetcd1 org.dhetcd1.Host Unlock s %s",
                               doctor_plain(txn, "JOB-N"));
                doctor_fix(f, json_pack("{ss ss}", "txn", txn, "holder", holder ?: ""));
        } else
                doctor_command(f, NULL, "dhetcd settle --takeover %s (where that host never comes back)",
                               doctor_plain(id, "JOB"));
}

static void tell_jobs(Doctor *d, const char *address, const json_t *facts, bool stuck) {
        json_t *job;
        size_t i;

        json_array_foreach (json_object_get(facts, "open_jobs"), i, job) {
                const char *id = json_get_string(job, "job"), *state = json_get_string(job, "state");
                bool ended = streq(state, "stuck") || streq(state, "unreadable");

                if (ended != stuck)
                        continue;
                doctor_command(doctor_found(d, address, "job %s is %s: %s", id ?: "?", state ?: "?",
                                            json_get_string(job, "text") ?: ""),
                               address, "dhetcd %s %s", stuck ? "settle" : "watch", doctor_plain(id, "JOB"));
        }
}

static void job_stuck(Doctor *d, const char *address, const json_t *facts) {
        tell_jobs(d, address, facts, /* stuck= */ true);
}

static void job_open(Doctor *d, const char *address, const json_t *facts) {
        tell_jobs(d, address, facts, /* stuck= */ false);
}

static const DoctorCheck checks[] = {
        { "host-silent", "error", "A host cannot be examined", .run = no_host },
        { "root-client-missing", "error", "The root client, which is needed to ask etcd anything, is not there",
          .host = root_client },
        { "cluster-silent", "error", "The cluster has no quorum, or cannot be reached", .run = cluster_silent },
        { "alarm", "error", "etcd has raised an alarm", .run = alarms },
        { "dead-learner", "error", "A learner was left behind: until it is gone no other can be added",
          .member = dead_learner },
        { "learner-left", "warning", "A learner was not promoted", .member = learner_left },
        { "phantom-voter", "error", "A member counts for the quorum, but is nowhere", .member = phantom_voter },
        { "voter-silent", "error", "A member does not answer", .member = voter_silent },
        { "version-mixed", "warning", "Members run different versions of etcd", .run = mixed_versions },
        { "version-hazard", "note", "Something is known to go wrong with this version of etcd", .run = hazards },
        { "dhetcd-version", "warning", "Hosts have different versions of dhetcd", .host = other_dhetcd },
        { "lock-left", "error", "A host is held by a job that is not open", .host = lock_left },
        { "job-stuck", "error", "A job is stuck", .host = job_stuck },
        { "job-open", "note", "A job is at work: what else is found may be its doing", .host = job_open },
};

const DoctorTable doctor_cluster_checks = { checks, ELEMENTSOF(checks) };
