/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "journal-follow.h"

#include <systemd/sd-journal.h>

#include "basic/string-util.h"

struct JournalFollow {
        sd_journal *journal;
        sd_event_source *io, *timer;
        JournalCallback callback;
        void *userdata;
};

JournalFollow *journal_follow_free(JournalFollow *f) {
        if (!f)
                return NULL;
        sd_event_source_unref(f->io);
        sd_event_source_unref(f->timer);
        if (f->journal)
                sd_journal_close(f->journal);
        free(f);
        return NULL;
}

/* A copy of a field's value, NULL where the entry has none. */
static char *get_field(sd_journal *j, const char *name) {
        size_t prefix = strlen(name) + 1, size;
        const void *data;

        if (sd_journal_get_data(j, name, &data, &size) < 0 || size < prefix)
                return NULL;
        return strndup((const char *) data + prefix, size - prefix);
}

static uint64_t get_number(sd_journal *j, const char *name, uint64_t otherwise) {
        _cleanup_free_ char *text = get_field(j, name);

        return text ? strtoull(text, NULL, 10) : otherwise;
}

enum { MESSAGE, MESSAGE_ID, HOST, TXN, STEP, PHASE, NODE, WHAT, UNIT, _FIELD_MAX };

static const char *const fields[_FIELD_MAX] = {
        [MESSAGE] = "MESSAGE",  [MESSAGE_ID] = "MESSAGE_ID", [HOST] = "DHETCD_HOST",
        [TXN] = "DHETCD_TXN",   [STEP] = "DHETCD_STEP",      [PHASE] = "DHETCD_PHASE",
        [NODE] = "DHETCD_NODE", [WHAT] = "DHETCD_WHAT",      [UNIT] = "DHETCD_UNIT",
};

static void hand_over(JournalFollow *f) {
        char *found[_FIELD_MAX] = {};
        JournalLine line;

        for (size_t i = 0; i < _FIELD_MAX; i++)
                found[i] = get_field(f->journal, fields[i]);
        line = (JournalLine){
                .priority = (int) get_number(f->journal, "PRIORITY", 6),
                .of_systemd = get_number(f->journal, "_PID", 0) == 1,
                .step_index = (unsigned) get_number(f->journal, "DHETCD_STEP_INDEX", 0),
                .step_count = (unsigned) get_number(f->journal, "DHETCD_STEP_COUNT", 0),
                .done = get_number(f->journal, "DHETCD_DONE", 0),
                .total = get_number(f->journal, "DHETCD_TOTAL", 0),
                .rate = get_number(f->journal, "DHETCD_RATE", 0),
                .message = found[MESSAGE],
                .message_id = found[MESSAGE_ID],
                .host = found[HOST],
                .txn = found[TXN],
                .step = found[STEP],
                .phase = found[PHASE],
                .node = found[NODE],
                .what = found[WHAT],
                .unit = found[UNIT],
        };
        if (line.message && sd_journal_get_realtime_usec(f->journal, &line.usec) >= 0)
                f->callback(f->userdata, &line);
        for (size_t i = 0; i < _FIELD_MAX; i++)
                free(found[i]);
}

void journal_follow_drain(JournalFollow *f) {
        while (sd_journal_next(f->journal) > 0)
                hand_over(f);
}

static int on_journal(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        JournalFollow *f = userdata;

        if (sd_journal_process(f->journal) >= 0)
                journal_follow_drain(f);
        return 0;
}

/* The file system does not always wake us (nor did the first drain run inside of the loop). */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        JournalFollow *f = userdata;

        (void) sd_event_source_set_time(source, now_boot() + USEC_PER_SEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return on_journal(NULL, -1, 0, f);
}

/* Anybody may write to the journal, and call it a job's: only root's lines count, and those of our own units. */
static int add_matches(sd_journal *j, const char *job) {
        static const char *const trusted[] = { "_UID=0", "_SYSTEMD_SLICE=dhetcd.slice" };
        _cleanup_free_ char *match = format("DHETCD_JOB=%s", job);
        int r = match ? 0 : -ENOMEM;

        for (size_t i = 0; i < ELEMENTSOF(trusted) && r >= 0; i++) {
                r = sd_journal_add_match(j, match, 0);
                if (r >= 0)
                        r = sd_journal_add_match(j, trusted[i], 0);
                if (r >= 0)
                        r = sd_journal_add_disjunction(j);
        }
        return r;
}

static int open_journal(const char *job, JournalCallback callback, void *userdata, JournalFollow **ret) {
        _cleanup_(journal_follow_freep) JournalFollow *f = calloc(1, sizeof(JournalFollow));
        int r;

        if (!f)
                return -ENOMEM;
        *f = (JournalFollow){ .callback = callback, .userdata = userdata };
        r = sd_journal_open(&f->journal, SD_JOURNAL_LOCAL_ONLY);
        if (r >= 0)
                r = add_matches(f->journal, job);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

int journal_read(const char *job, JournalCallback callback, void *userdata) {
        _cleanup_(journal_follow_freep) JournalFollow *f = NULL;
        int r = open_journal(job, callback, userdata, &f);

        if (r >= 0)
                r = sd_journal_seek_head(f->journal);
        if (r >= 0)
                journal_follow_drain(f);
        return r;
}

int journal_follow_new(sd_event *event, const char *job, uint64_t since, JournalCallback callback, void *userdata,
                       JournalFollow **ret) {
        _cleanup_(journal_follow_freep) JournalFollow *f = NULL;
        int r, fd;

        r = open_journal(job, callback, userdata, &f);
        if (r < 0)
                return r;
        fd = sd_journal_get_fd(f->journal); /* before the seek: what is written after it wakes us */
        if (fd < 0)
                return fd;
        r = sd_journal_seek_realtime_usec(f->journal, since);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &f->io, fd, (uint32_t) sd_journal_get_events(f->journal), on_journal, f);
        if (r < 0)
                return r;
        r = sd_event_add_time(event, &f->timer, CLOCK_BOOTTIME, now_boot(), USEC_PER_SEC / 10, on_timer, f);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}
