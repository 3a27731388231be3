/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "job-kind.h"

#include "string-util.h"

static const JobWords words[_JOB_KIND_MAX] = {
        [JOB_ADD] = { "add", "adds", "adding", "Adding", "addition", "added", "is a healthy voting member",
                      "added to the etcd cluster" },
        [JOB_RESCUE] = { "rescue", "rescues", "rescuing", "Rescuing", "rescue", "rescued",
                         "is a healthy cluster of one voting member", "rescued: a cluster of one voting member" },
        [JOB_REPAIR] = { "repair", "repairs from", "repairing", "Repairing from", "repair", "mended",
                         "and what was found are mended", "mended what the doctor found" },
};

const JobWords *job_words(JobKind kind) {
        return words + (kind > JOB_ADD && kind < _JOB_KIND_MAX ? kind : JOB_ADD);
}

JobKind job_kind_from_string(const char *name) {
        if (!name)
                return JOB_ADD;
        for (JobKind i = 0; i < _JOB_KIND_MAX; i++)
                if (streq(words[i].name, name))
                        return i;
        return _JOB_KIND_INVALID;
}
