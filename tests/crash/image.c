/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A power cut is what the file behind a loop device holds at an instant: what the file system has not sent to its disk
 * is not in it. After every call of the engine that can change a file, the file is copied, and later each copy is
 * mounted at the same place, held against what was promised by then, settled and checked. */

#include "sweep.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "basic/error.h"
#include "basic/fs.h"
#include "basic/string-util.h"
#include "hooks.h"
#include "promise.h"
#include "world.h"

#define SKIPPED 77
#define ENDED 100
#define PROMISES_SIZE 16384U
#define CHUNK 4096U
#define WORKERS 2U

typedef struct FileSystem {
        const char *type;
        size_t size;
        const char *options; /* nothing may reach the disk but by fsync */
        const char *const mkfs[12];
} FileSystem;

static const FileSystem file_systems[] = {
        { "ext4",
          (size_t) 24 << 20,
          "commit=600,noauto_da_alloc",
          { "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-m", "0", NULL } },
        { "xfs", (size_t) 64 << 20, "nouuid", { "mkfs.xfs", "-q", "-f", "-d", "agcount=2", "-l", "size=8m", NULL } },
};

static struct {
        const FileSystem *fs;
        char folder[PATH_MAX / 4];
        char live[PATH_MAX / 2];  /* the file behind the mounted file system */
        char place[PATH_MAX / 2]; /* where it is mounted */
        int live_fd;
        char statistics[64]; /* /sys path of what its device did */
        char *last;          /* its newest picture */
        unsigned long n, distinct;
} job;

static const char *of(const char *suffix, unsigned long i) {
        static char paths[4][PATH_MAX];
        static unsigned next;
        char *path = paths[next++ % ELEMENTSOF(paths)];

        (void) snprintf(path, PATH_MAX, "%s/%05lu.%s", job.folder, i, suffix);
        return path;
}

/* ---- mounting ---- */

static int run_program(const char *const *program, const char *argument) {
        const char *argv[16] = { 0 };
        int status;
        pid_t pid;

        for (size_t i = 0; program[i]; i++)
                argv[i] = program[i];
        for (size_t i = 0; i < ELEMENTSOF(argv) - 1; i++)
                if (!argv[i]) {
                        argv[i] = argument;
                        break;
                }
        pid = fork();
        if (pid == 0) {
                /* mkfs.xfs makes small file systems for tests only, and takes these for the sign of one. */
                (void) (setenv("TEST_DIR", job.folder, 1) | setenv("TEST_DEV", argument, 1) |
                        setenv("QA_CHECK_FS", "1", 1));
                execvp(argv[0], (char *const *) argv);
                _exit(127);
        }
        return pid > 0 && waitpid(pid, &status, 0) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOEXEC;
}

/* A free loop device over the file, gone when it is not mounted any more. */
static int attach(const char *file, char ret_device[static 32]) {
        _cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -EBADF;
        struct loop_config config = { .block_size = 512, .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };

        fd = open(file, O_RDWR | O_CLOEXEC);
        if (control < 0 || fd < 0)
                return -errno;
        config.fd = (unsigned) fd;
        for (unsigned tries = 0; tries < 50; tries++) {
                int n = ioctl(control, LOOP_CTL_GET_FREE), device;

                if (n < 0)
                        return -errno;
                (void) snprintf(ret_device, 32, "/dev/loop%d", n);
                if (access(ret_device, F_OK) < 0)
                        (void) !mknod(ret_device, S_IFBLK | 0600, makedev(7, (unsigned) n));
                device = open(ret_device, O_RDWR | O_CLOEXEC);
                if (device < 0)
                        return -errno;
                if (ioctl(device, LOOP_CONFIGURE, &config) >= 0)
                        return device; /* open until it is mounted */
                close(device);
                if (errno != EBUSY)
                        return -errno;
        }
        return -EBUSY;
}

static int mount_file(const char *file) {
        char device[32];
        _cleanup_close_ int fd = attach(file, device);

        if (fd < 0)
                return fd;
        (void) snprintf(job.statistics, sizeof(job.statistics), "/sys/block/%s/stat", device + strlen("/dev/"));
        return mount(device, job.place, job.fs->type, MS_NOATIME, job.fs->options) < 0 ? -errno : 0;
}

/* ---- pictures ---- */

/* Whether the device was asked for anything since this was called last. */
static bool device_worked(void) {
        static char before[256], now[256];
        _cleanup_close_ int fd = open(job.statistics, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, now, sizeof(now));
        bool same = n > 0 && memcmp(now, before, sizeof(now)) == 0;

        (void) memcpy(before, now, sizeof(now));
        return !same;
}

/* Brings `last` up to date. > 0 when anything was different. */
static int look_at_live(void) {
        static char chunk[CHUNK];
        off_t size = (off_t) job.fs->size, at = 0;
        int changed = 0;

        if (!device_worked())
                return 0;

        while (at < size && (at = lseek(job.live_fd, at, SEEK_DATA)) >= 0) {
                off_t end = lseek(job.live_fd, at, SEEK_HOLE);

                for (; at < end; at += CHUNK) {
                        if (pread(job.live_fd, chunk, CHUNK, at) != CHUNK)
                                return -EIO;
                        if (memcmp(chunk, job.last + at, CHUNK) == 0)
                                continue;
                        (void) memcpy(job.last + at, chunk, CHUNK);
                        changed = 1;
                }
        }
        return changed;
}

static int copy_data(int from, int to) {
        static char chunk[16 * CHUNK];
        off_t at = 0;

        while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
                off_t end = lseek(from, at, SEEK_HOLE);

                while (at < end) {
                        size_t want = (size_t) (end - at) < sizeof(chunk) ? (size_t) (end - at) : sizeof(chunk);
                        ssize_t n = pread(from, chunk, want, at);

                        if (n <= 0 || pwrite(to, chunk, (size_t) n, at) != n)
                                return -EIO;
                        at += n;
                }
        }
        return 0;
}

static int copy_file(int from, const char *path) {
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (fd < 0 || ftruncate(fd, (off_t) job.fs->size) < 0)
                return -errno;
        return copy_data(from, fd);
}

static void write_text(const char *path, const char *text, size_t size) {
        _cleanup_(fclosep) FILE *f = fopen(path, "we");

        if (f)
                (void) fwrite(text, 1, size, f);
}

static void picture(const char *name) {
        static char promises[PROMISES_SIZE];
        int r = look_at_live();

        job.n++;
        if (r == 0 && job.n > 1)
                r = link(of("img", job.n - 1), of("img", job.n)) < 0 ? -errno : 0;
        else if (r >= 0) {
                r = copy_file(job.live_fd, of("img", job.n));
                job.distinct++;
        }
        if (r < 0) {
                (void) complain("no picture can be taken: %s", strerror(-r));
                _exit(1);
        }
        write_text(of("promises", job.n), promises, promises_format(promises, sizeof(promises)));
        write_text(of("call", job.n), name, strlen(name));
        hooks_count()->n = job.n;
        hooks_count()->hits = job.distinct;
}

typedef struct Pictured {
        Scenario scenario;
        bool settling;
} Pictured;

static int run_with_pictures(void *userdata) {
        const Pictured *p = userdata;

        hooks_arm(&(Hook){ .mode = HOOK_PICTURE, .picture = picture });
        hooks_suspend();
        picture("the beginning");
        hooks_resume();
        (void) ((p->settling ? plan_settle(0, NULL) : scenario_run(p->scenario, 0)) < 0);
        return 0;
}

/* ---- what is left after the power cut ---- */

static int recover(unsigned long i) {
        _cleanup_free_ char *promises = NULL;
        _cleanup_close_ int fd = open(of("img", i), O_RDONLY | O_CLOEXEC);
        int r;

        if (unshare(CLONE_NEWNS) < 0 || fd < 0)
                return 1;
        r = copy_file(fd, of("slot", i));
        if (r >= 0)
                r = mount_file(of("slot", i));
        if (r < 0 || read_file(of("promises", i), PROMISES_SIZE, false, &promises, NULL) < 0) {
                (void) complain("the image cannot be mounted: %s", strerror(-r));
                return 1;
        }

        if (!promises_hold(promises))
                return 1;
        r = plan_settle_and_check();
        return r < 0 ? 1 : ENDED + r;
}

static int recover_and_clean(unsigned long i) {
        int r = recover(i);

        (void) umount2(job.place, MNT_DETACH);
        (void) unlink(of("slot", i));
        return r;
}

static bool count_image(unsigned long i, int status, Scenario s, Tally *t) {
        int outcome = WIFEXITED(status) ? WEXITSTATUS(status) - ENDED : -1;
        _cleanup_free_ char *call = NULL;

        t->points++;
        t->new += outcome == TXN_COMMITTED;
        t->old += outcome == TXN_ROLLED_BACK;
        if (outcome == TXN_COMMITTED || outcome == TXN_ROLLED_BACK)
                return true;
        t->other++;
        (void) !read_file(of("call", i), 4096, false, &call, NULL);
        return complain("FAILED: %s, %s, power cut after call %lu, %s", job.fs->type, scenario_to_string(s), i,
                        call ?: "?");
}

static void forget_image(unsigned long i) {
        (void) unlink(of("img", i));
        (void) unlink(of("promises", i));
        (void) unlink(of("call", i));
}

static void recover_all(Scenario s, const Choice *c, unsigned long n, Tally *t) {
        struct {
                pid_t pid;
                unsigned long image;
        } workers[WORKERS] = { 0 };
        unsigned running = 0;
        bool stopped = false;

        for (unsigned long i = 1; i <= n || running > 0;) {
                int status;
                pid_t pid;

                while (i <= n && (stopped || !chosen(c, i)))
                        forget_image(i++);
                if (i <= n && running < WORKERS) {
                        size_t w = 0;

                        while (workers[w].pid != 0)
                                w++;
                        workers[w].image = i++;
                        workers[w].pid = fork();
                        if (workers[w].pid == 0)
                                _exit(recover_and_clean(workers[w].image));
                        running++;
                        continue;
                }
                if (running == 0)
                        break;
                pid = wait(&status);
                for (size_t w = 0; w < WORKERS; w++)
                        if (workers[w].pid == pid) {
                                if (!count_image(workers[w].image, status, s, t) && c->stop)
                                        stopped = true;
                                forget_image(workers[w].image);
                                workers[w].pid = 0;
                                running--;
                        }
        }
}

/* ---- the whole of it ---- */

static int make_live(void) {
        _cleanup_close_ int fd = -EBADF;

        (void) unlink(job.live);
        fd = open(job.live, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t) job.fs->size) < 0)
                return -errno;
        if (run_program(job.fs->mkfs, job.live) < 0)
                return -ENOEXEC;
        job.live_fd = TAKE_FD(fd);
        return mount_file(job.live);
}

static int skip(int r, const char *what) {
        (void) fprintf(stderr, "skipped: %s: %s\n", what, strerror(-r));
        return SKIPPED;
}

int sweep_images(const char *fstype, Scenario s, const char *folder, const Choice *c, Tally *t) {
        char base[PATH_MAX];
        Choice among;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(file_systems); i++)
                if (streq(file_systems[i].type, fstype))
                        job.fs = &file_systems[i];
        if (!job.fs)
                return -EINVAL;
        (void) snprintf(job.folder, sizeof(job.folder), "%s", folder);
        (void) snprintf(job.live, sizeof(job.live), "%s/live", folder);
        (void) snprintf(job.place, sizeof(job.place), "%s/place", folder);

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return skip(-errno, "no mount namespace can be made");
        r = mkdir_durable(job.place, 0700);
        if (r >= 0)
                r = make_live();
        if (r < 0)
                return skip(r, "no file system in a file can be mounted");

        (void) snprintf(base, sizeof(base), "%s/base", job.place);
        world_set_base(base);
        r = scenario_prepare(s);
        job.last = mmap(NULL, job.fs->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (r < 0 || job.last == MAP_FAILED)
                return r < 0 ? r : -errno;
        sync();
        if (c->killed > 0 && !run_killed(s, c->killed))
                return -ERANGE;
        if (in_child(run_with_pictures, &(Pictured){ s, c->killed > 0 }) != 0)
                return -ECHILD;
        if (umount2(job.place, 0) < 0)
                return -errno;
        among = choice_among(c, hooks_count()->n);
        recover_all(s, &among, hooks_count()->n, t);
        t->refused = hooks_count()->hits; /* how many differ from the one before */
        closep(&job.live_fd);
        (void) unlink(job.live);
        return 0;
}
