/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A schedule: a job to be asked for at a date. It is named by its first node, lives in SCHEDULES-DIR/NODE.json, and
 * its date is a drop-in of dhetcd-add@NODE.timer. It is promised once it is armed; one that is not is taken away
 * again, by a later daemon too. Nothing here knows the bus. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/cleanup.h"
#include "basic/json-util.h"

#define SCHEDULES_MAX 64U

typedef struct Schedule {
        char **nodes;
        json_t *options;  /* as of AddNodes, complete */
        char *on, *until; /* until: "" for no end */
        uint32_t uid;
        uint64_t asked_usec;
        bool armed;
} Schedule;

Schedule *schedule_free(Schedule *s);
DEFINE_CLEANUP(Schedule *, schedule_free)

/* Copies all but the options, of which it takes a reference. */
int schedule_new(char *const *nodes, json_t *options, const char *on, const char *until, uint32_t uid,
                 Schedule **ret) _must_check_;

/* What may stand behind OnCalendar=, as far as it can be told without systemd: nothing that ends the line or
 * expands. */
bool schedule_on_is_valid(const char *on);

json_t *schedule_to_json(const Schedule *s); /* NULL on OOM */
int schedule_save(const Schedule *s, const char *dir, char **reterr) _must_check_;
int schedule_load(const char *dir, const char *node, Schedule **ret, char **reterr) _must_check_;
int schedule_remove(const char *dir, const char *node) _must_check_;

/* The first nodes of all schedules, unsorted; NULL where there are none. */
int schedule_list(const char *dir, char ***ret) _must_check_;

/* UNITS-DIR/dhetcd-add@NODE.timer.d/50-schedule.conf. */
int schedule_write_timer(const Schedule *s, const char *units_dir, char **reterr) _must_check_;
int schedule_remove_timer(const char *units_dir, const char *node) _must_check_;

char *schedule_timer(const char *node); /* the name of its unit */
