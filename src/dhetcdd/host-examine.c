/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Examine: Describe's facts, and what only a doctor asks for: the newest lines of dh-etcd, the jobs of this host that
 * have not ended, whom the data directory belongs to, what the root client lacks. */

#include <pwd.h>
#include <sys/stat.h>

#include "basic/fs.h"
#include "basic/trusted-path.h"
#include "host-facts.h"
#include "host-journal.h"
#include "host-operation.h"
#include "host/authorities.h"
#include "host/config-yaml.h"
#include "host/data-owner.h"
#include "job.h"

#define JOURNAL_LINES 300U
#define JOURNAL_USEC (24 * 3600 * USEC_PER_SEC)
#define OWNERS_MAX 16U
#define JOBS_MAX 64U

static json_t *journal(void) {
        _cleanup_strv_ char **lines = NULL;

        if (journal_read_unit(DH_ETCD_UNIT, now_real() - JOURNAL_USEC, JOURNAL_LINES, &lines) < 0)
                return json_array();
        return json_from_strv(lines);
}

static json_t *job_facts(const char *id) {
        _cleanup_(job_freep) Job *j = NULL;

        if (job_load(DHETCD_JOBS_DIR, id, &j, NULL) < 0)
                return json_pack("{ss ss ss}", "job", id, "state", "unreadable", "text", "");
        return json_pack("{ss ss ss}", "job", j->id, "state", job_state_to_string(j->state), "text", j->text ?: "");
}

static json_t *open_jobs(void) {
        _cleanup_(closedirp) DIR *d = opendir(DHETCD_JOBS_DIR);
        json_t *list = json_array();
        struct dirent *e;

        while (d && (e = readdir(d)) && json_array_size(list) < JOBS_MAX) {
                _cleanup_free_ char *path = format("%s/%s/open", DHETCD_JOBS_DIR, e->d_name);

                if (job_id_is_valid(e->d_name) && path && path_exists(path) > 0)
                        (void) json_array_append_new(list, job_facts(e->d_name));
        }
        return list;
}

/* ---- the data directory ---- */

/* One entry of each owner is enough. */
static int add_owner(int fd, const char *path, const struct stat *st, void *userdata) {
        json_t *list = userdata, *owner;
        size_t i;

        json_array_foreach (list, i, owner)
                if (*path && json_get_integer(owner, "uid", -1) == (json_int_t) st->st_uid &&
                    json_get_integer(owner, "gid", -1) == (json_int_t) st->st_gid)
                        return 0;
        if (json_array_size(list) < OWNERS_MAX)
                (void) json_array_append_new(list, json_pack("{ss sI sI}", "path", path, "uid", (json_int_t) st->st_uid,
                                                             "gid", (json_int_t) st->st_gid));
        return 0;
}

static json_t *data_owners(const ConfigYaml *c) {
        _cleanup_free_ char *real = NULL;
        json_t *list = json_array();

        if (c && c->data_dir && trusted_path_resolve(c->data_dir, &real, NULL) >= 0)
                (void) (data_owner_each(real, add_owner, list, NULL) < 0); /* then what was found so far */
        return list;
}

static json_t *data_parent(void) {
        struct stat st;

        if (stat(DH_ETCD_DATA_PARENT, &st) < 0)
                return json_null();
        return json_pack("{sI sI}", "uid", (json_int_t) st.st_uid, "gid", (json_int_t) st.st_gid);
}

/* Of a user of this host alone: a name service may wait for a network, and we may not. */
static json_t *etcd_uid(void) {
        _cleanup_(fclosep) FILE *f = fopen("/etc/passwd", "re");
        const struct passwd *p;

        while (f && (p = fgetpwent(f)))
                if (streq(p->pw_name, "etcd"))
                        return json_integer((json_int_t) p->pw_uid);
        return json_null();
}

/* ---- the rest ---- */

static json_t *root_client_lacks(void) {
        static const char *const files[] = { "endpoints", "user", "password" };
        json_t *list = json_array();

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_free_ char *path = format("%s/%s", DH_ROOT_CLIENT_DIR, files[i]);

                if (path && path_exists(path) <= 0)
                        (void) json_array_append_new(list, json_string(files[i]));
        }
        return list;
}

static void add_authority(json_t *list, const char *path) {
        _cleanup_free_ char *text = NULL;
        uint64_t from, until;

        if (path && read_file(path, PEM_SIZE_MAX, true, &text, NULL) >= 0 &&
            certificate_validity(text, &from, &until, NULL) >= 0)
                (void) json_array_append_new(list, json_pack("{ss sI sI}", "file", path, "not_before_usec",
                                                             (json_int_t) from, "not_after_usec", (json_int_t) until));
}

static json_t *authorities(const ConfigYaml *c) {
        json_t *list = json_array();

        if (!c)
                return list;
        add_authority(list, c->peer.trusted_ca_file);
        if (!streq(c->peer.trusted_ca_file, c->client.trusted_ca_file))
                add_authority(list, c->client.trusted_ca_file);
        return list;
}

static int examine_with_unit(HostOperation *op) {
        _cleanup_(config_yaml_freep) ConfigYaml *c = NULL;
        _cleanup_json_ json_t *facts = host_facts(&op->unit);
        _cleanup_free_ char *text = NULL;

        if (config_yaml_read(DH_ETCD_CONFIG, &c, NULL) < 0)
                c = NULL;
        if (!facts ||
            json_object_update_new(facts, json_pack("{so so so so so so so}", "journal", journal(), "open_jobs",
                                                    open_jobs(), "data_owners", data_owners(c), "data_parent",
                                                    data_parent(), "etcd_uid", etcd_uid(), "root_client_lacks",
                                                    root_client_lacks(), "authority_files", authorities(c))) < 0)
                return -ENOMEM;
        text = json_to_text(facts, JSON_COMPACT);
        return text ? host_operation_answer(op, json_pack("[s]", text)) : -ENOMEM;
}

int begin_examine(HostOperation *op) {
        return host_operation_query(op, DH_ETCD_UNIT, examine_with_unit);
}
