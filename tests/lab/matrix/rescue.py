# SPDX-License-Identifier: LGPL-2.1-or-later
"""dhetcd rescue: a cluster of two that lost one for good. Either the other one is a cluster of its own then, or all is as
it was, without a quorum, and the lost member would bring it back."""

import json

from dhlab import fingerprint
from dhlab.run import wait_until
from dhlab.writer import Writer

from . import daemon, faults, jobs, oracle, points
from .bench import Site
from .oracle import need

STEPS = points.Steps("rescue-look", "rescue-lock", "rescue-stop", "rescue-start")
ROLES = faults.Roles("dh1", "dh2", "dh2")
CONF = "/etc/dhetcd/dhetcd.conf.d/50-matrix.conf"
CONFIG = "/etc/etcd/dh/latest/config.yaml"
DATA = "/var/lib/etcd/dh"
AFTER = "/schema/after-the-snapshot"
STUCK_AT = "run.promote.after-commit"
# Of dhetcdd: the data directory is moved aside, filled, and put back.
MOVES = ("host.PrepareDataDirectory.", "host.RunScript.", "host.RestoreDataDirectory.")
RESCUED = "manager.rescued."  # the stuck addition ends


class Lost(Site):
    """dh1 has added dh2, which has a vote and is off. With `stuck` the job that added it is, and holds dh1."""

    def __init__(self, name, stuck):
        super().__init__(name, ROLES, 2)
        self.stuck, self.job = stuck, None

    def up(self):
        super().up()
        self.exec("dh1", ["install", "-d", "/etc/dhetcd/dhetcd.conf.d"])
        if self.stuck:
            self.write("dh1", CONF, "[settle]\nBudgetSec=5\n")
        jobs.arm(self, [f"{STUCK_AT} wait"])
        self.job = jobs.start(self)
        jobs.wait_reached(self, STUCK_AT, self.job)
        self.etcdctl("dh1", "put", AFTER, "written when both voted")
        if not self.stuck:
            self.let_on()
        self.had = oracle.members(self), oracle.keys(self)
        self.cut_power("dh2")
        self.let_on()
        need(self.state() == ("stuck" if self.stuck else "committed"), f"the addition is {self.state()}")
        self.write("dh1", CONF, "[settle]\nRetryBudgetSec=1\n")
        return self

    def let_on(self):
        jobs.arm(self, [])
        jobs.wait_end(self, self.job)

    def state(self):
        return oracle.job_of(self, self.job)["state"]

    def boot(self, host, wait=True):
        """Its boot has no end as long as its etcd waits for a quorum."""
        super().boot(host, wait=False)
        at = self.host(host)
        wait_until(f"{host} answers", lambda: at.init_pid() and at.reachable(), 60, every=0.2)

    def boot_all(self):
        self.boot("dh1")
        wait_until("dhetcd answers", lambda: self.exec("dh1", ["dhetcd", "list"], check=False).returncode == 0, 60)
        self.wait_idle()

    def wait_idle(self):
        """After a boot what is stuck is tried again."""
        wait_until("the addition rests", lambda: self.state() != "running", 120, every=0.5)

    def picture(self):
        return state_of(self), self.had


def state_of(lab):
    """Of dh1: all that an undo brings back. Without a quorum etcd is now starting, now waits to start again."""
    found = lab.fingerprint("dh1")
    active = found["unit"].pop("ActiveState")
    found["unit"].pop("SubState")
    lock = lab.host("dh1").path("/var/lib/dhetcd/host/lock.json")
    found |= {"runs": active in ("active", "activating"), "stuck": lab.state(),
              "lock": json.loads(lock.read_text())["job"] if lock.exists() else None}
    found.pop("sha256")
    return found


class Patient(Writer):
    """Begins while there is no quorum, so it waits for no write."""

    def wait_first(self):
        (self.dir / "acked").touch()


class Rescue(daemon.AtWork):
    """With the member's own data."""

    faults = ("kill-worker", "enospc", "eio", "kill-daemon", "power-job", "reboot-job")
    uses_up = True  # whether it is as before is proved by bringing the lost member back
    shapes = {"lost": lambda name: Lost(name, stuck=False)}
    plan, steps, own, undoing, struck = "rescue", STEPS, MOVES, MOVES[2], "job"
    here = {"power-job": "power-here", "reboot-job": "reboot-here"}

    def shape(self, point, new_ca=False):
        return next(iter(self.shapes))

    def ends(self, point, fault):
        if point.startswith(MOVES[:2]):
            return {"committed", "rolled-back"}
        return {"committed"} if point.startswith(RESCUED) else points.ends(point, fault, STEPS)

    def writer(self, lab):
        return Patient(lab, rate=10)

    def begin(self, lab, point, fault):
        """While what is stuck is tried again, as after a boot, it is refused."""
        self.arm(lab, point, fault)
        asked = ["dhetcd", "--no-block", "rescue", "--yes-i-lose-quorum", *self.arguments(lab)]
        done = wait_until("the rescue may begin", lambda: self.ask(lab, asked), 90, every=1)
        job = done.stdout.split()[-1]
        if point.startswith("undo."):
            jobs.stop_at(lab, f"run.{STEPS.commit}.after-intent", job)
        return job

    @staticmethod
    def ask(lab, asked):
        done = lab.exec("dh1", asked, check=False)
        return done if done.returncode == 0 else None

    def arguments(self, lab):
        return []

    def check(self, bench, job, writer, point, fault, untold):
        lab = bench.lab
        state = oracle.check_end(lab, job, untold, revert=False, may_be_retold=point.startswith(RESCUED))
        oracle.check_told(lab, job, state)
        oracle.check_host_records(lab, job, state, lab.hosts[:1], but=STEPS.commit)
        if state == "committed":
            self.check_alone(bench, job, writer)
        else:
            self.check_as_before(bench, job, writer, state)
        return state

    # -- done ---------------------------------------------------------------------------------
    def check_alone(self, bench, job, writer):
        lab, (before, (members, keys)) = bench.lab, bench.before
        lab.wait_healthy(1)
        oracle.check_ended(lab, job, "committed")
        now = state_of(lab)
        check_config(lab, before, now)
        need(now["runs"] and now["unit"] == before["unit"], f"dh-etcd was {before['unit']} and is {now['unit']}")
        need(now["lock"] is None and now["stuck"] == ("rescued" if lab.stuck else "committed"),
             f"the addition is {now['stuck']}, dh1 is locked by {now['lock']}")
        found = oracle.members(lab)
        need(len(found) == 1 and {m[1:] for m in found} < {m[1:] for m in members}, f"the members are {found}")
        check_kept(lab, job)
        writer.stop()
        writer.check(expect_writes=0)
        self.check_keys(oracle.keys(lab), keys)
        check_restart(lab)
        oracle.check_nothing_left(lab, lab.hosts[:1])

    def check_keys(self, found, keys):
        need(found == keys, "acknowledged writes from before the rescue are lost or changed")

    # -- undone -------------------------------------------------------------------------------
    def check_as_before(self, bench, job, writer, state):
        lab, before = bench.lab, bench.before[0]
        lab.wait_idle()
        wait_until("etcd runs as before", lambda: state_of(lab)["runs"], 20, "dh1")
        unchanged(lab, before)
        oracle.check_ended(lab, job, state)
        check_goes_on(bench, writer)


class FromSnapshot(Rescue):
    """From the snapshot that a stuck addition saved, which ends with the rescue."""

    shapes = {"stuck": lambda name: Lost(name, stuck=True)}
    own = (*MOVES, RESCUED)

    def declared(self, lab):
        """A restored snapshot needs no force-new-cluster, which rescue-release takes away."""
        return [p for p in super().declared(lab) if points.step_of(p) != "rescue-release"]

    def arguments(self, lab):
        return [f"--from-snapshot={lab.job}", lab.job]

    def check_keys(self, found, keys):
        need(found == {k: v for k, v in keys.items() if k != AFTER}, "it has not what the snapshot has")


# -- parts of the oracle ------------------------------------------------------------------------
def check_goes_on(bench, writer):
    """All is as before, without a quorum; and the lost member brings it back."""
    lab, (before, (members, keys)) = bench.lab, bench.before
    unchanged(lab, before)
    need(lab.etcdctl("dh1", "get", AFTER, check=False).returncode != 0, "there is a quorum, and was none")
    lab.boot("dh2")
    lab.wait_healthy(2)
    if lab.stuck:
        for _ in range(2):  # the first may only have joined what was being tried while dh2 was off
            lab.exec("dh1", ["dhetcd", "settle", lab.job], check=False, timeout=180)
        need(lab.state() == "committed", f"with both voters back the addition is {lab.state()}")
    writer.stop()
    writer.check(expect_writes=0)
    need(oracle.members(lab) == members, f"the members were {members} and are {oracle.members(lab)}")
    need(oracle.keys(lab) == keys, "acknowledged writes from before are lost or changed")
    wait_until("both members have the same HashKV", lambda: len(oracle.hashes(lab, lab.hosts)) == 1, 20, every=0.3)
    oracle.check_nothing_left(lab)


def unchanged(lab, before):
    """What is stuck may just be tried again: then after that."""
    lab.wait_idle()
    changes = fingerprint.undone(before, state_of(lab))
    if changes:
        lab.wait_idle()
        changes = fingerprint.undone(before, state_of(lab))
    need(not changes, "dh1 is not what it was: " + "; ".join(changes))


def check_config(lab, before, now):
    """Of all files only config.yaml is another, and of it one line."""
    changed = fingerprint.changed(before, now)
    need(len(changed) == 1 and all(path.endswith("/config.yaml") for path in changed), f"changed are {changed}")
    text = lab.read("dh1", CONFIG)
    need(f"initial-cluster: etcd-1=https://{lab.host('dh1').address}:2380\n" in text and "force-new-cluster" not in text,
         "config.yaml does not list this member alone, or has force-new-cluster still")


def check_kept(lab, job):
    """The old data directory is there, once and whole; beside it may be what was filled in twice."""
    kept = [p for p in lab.host("dh1").path(DATA).iterdir()
            if f".dhetcd-{job}-" in p.name and "-failed" not in p.name]
    need(len(kept) == 1 and (kept[0] / "member/snap/db").stat().st_size > 0 and any(kept[0].glob("member/wal/*.wal")),
         f"of the old data is left {kept}")


def check_restart(lab):
    """Nothing makes it begin a new cluster once more, and what it has is on its disk."""
    found, listed = oracle.hashes(lab, lab.hosts[:1]), oracle.members(lab)
    lab.exec("dh1", ["systemctl", "restart", "dh-etcd"])
    lab.wait_healthy(1)
    need(oracle.hashes(lab, lab.hosts[:1]) == found and oracle.members(lab) == listed, "a restart changed its data")
