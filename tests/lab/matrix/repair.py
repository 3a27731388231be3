# SPDX-License-Identifier: LGPL-2.1-or-later
"""dhetcd doctor --fix: dh2 has a wrong config.yaml, data that is root's, and a lock of no job; a learner was left behind.
Either the doctor finds nothing any more then, or exactly what it found before."""

import json

from dhlab import fingerprint
from dhlab.run import wait_until

from . import daemon, faults, jobs, oracle, points
from .bench import Site
from .oracle import need

STEPS = points.Steps("repair-look", "repair-lock", "repair-config", "repair-learner")
CONFIG = "/etc/etcd/dh/latest/config.yaml"
LOCK = "/var/lib/dhetcd/host/lock.json"
SPOIL = f"""set -e
sed -i --follow-symlinks -e 's|^initial-cluster: .*|initial-cluster: etcd-9=https://10.128.1.90:2380|' \
    -e 's|^initial-cluster-state: .*|initial-cluster-state: existing|' {CONFIG}
data=$(readlink -f /var/lib/etcd/dh/$(basename $(readlink /etc/etcd/dh/latest)))
chmod o=rwx $data $data/member/snap/db
chown root:root $data $data/member/snap/db
install -d -m 0700 /var/lib/dhetcd/host
"""
# Of dh2's dhetcdd, which nothing but a repair asks for.
OWNS = ("host.OwnDataDirectory.", "host.DisownDataDirectory.")
FINDINGS = {"config-list", "config-state", "data-owner", "lock-left", "dead-learner"}


class Spoilt(Site):
    def __init__(self, name):
        super().__init__(name, faults.ADDING, 3)

    def up(self):
        super().up()
        wait_until("a learner is added", self.add_learner, 20, every=1)
        self.exec("dh2", ["sh", "-c", SPOIL])
        self.write("dh2", LOCK, json.dumps({"job": "12345678", "holder": self.host("dh1").address, "since_usec": 1}),
                   0o600)
        return self

    def add_learner(self):
        """etcd refuses it until every voter has been connected for 5 s."""
        new = self.host("dh3")
        return self.etcdctl("dh1", "member", "add", "etcd-3", "--learner", f"--peer-urls=https://{new.address}:2380",
                            check=False).returncode == 0

    def wait_healthy(self, count, timeout=60):
        """The learner never starts."""
        if not any(m[3] for m in oracle.members(self)):
            return super().wait_healthy(count, timeout)
        return wait_until(f"{count} voters answer", lambda: len(self.members()["status"]) == count, timeout)

    def picture(self):
        return state_of(self)


def doctor(lab):
    """(what is wrong, on which host)"""
    done = lab.exec("dh1", ["dhetcd", "--json=short", "doctor"], check=False)
    return {(f["id"], f["host"]) for f in json.loads(done.stdout) if f["severity"] != "note"}


def state_of(lab):
    owners = lab.exec("dh2", ["find", "/var/lib/etcd/dh", "-maxdepth", "4", "!", "-name", "*.tmp", "-printf", "%p %U:%G\n"])
    lock = lab.host("dh2").path(LOCK)
    held = json.loads(lock.read_text()) if lock.exists() else None
    return {"hosts": oracle.states(lab), "members": oracle.members(lab), "owners": set(owners.stdout.splitlines()),
            "keys": oracle.keys(lab), "lock": held and (held["job"], held["holder"]), "doctor": doctor(lab)}


class Repair(daemon.AtWork):
    faults = ("kill-worker", "enospc", "eio", "kill-daemon", "power-job", "power-member", "cut-job", "reboot-job")
    uses_up = False
    shapes = {"spoilt": Spoilt}
    plan, steps, own, undoing, struck = "repair", STEPS, OWNS, OWNS[1], "other"
    here = {"power-member": "power-here", "reboot-job": "reboot-here", "cut-job": "cut-here"}

    def shape(self, point, new_ca=False):
        return "spoilt"

    def ends(self, point, fault):
        if point.startswith(OWNS[0]):
            return {"committed", "rolled-back"}
        return points.ends(point, fault, STEPS)

    def writer(self, lab):
        return lab.writer(rate=10)

    def begin(self, lab, point, fault):
        self.arm(lab, point, fault)
        job = lab.exec("dh1", ["dhetcd", "--no-block", "--json=short", "doctor", "--fix"]).stdout
        job = json.loads(job)["job"]
        if point.startswith("undo."):
            jobs.stop_at(lab, f"run.{STEPS.commit}.after-intent", job)
        return job

    def check(self, bench, job, writer, point, fault, untold):
        lab, before = bench.lab, bench.before
        need({f[0] for f in before["doctor"]} == FINDINGS, f"before, the doctor found {before['doctor']}")
        state = oracle.check_end(lab, job, untold, revert=False)
        lab.wait_healthy(2)
        now = state_of(lab)
        (check_mended if state == "committed" else check_unchanged)(before, now)
        oracle.check_told(lab, job, state)
        oracle.check_host_records(lab, job, state, lab.hosts[:2])
        oracle.check_settled(lab, job, state)
        writer.stop()
        writer.check()
        need(now["keys"] == before["keys"], "keys from before the job are lost or changed")
        wait_until("both voters have the same HashKV", lambda: len(oracle.hashes(lab, lab.hosts[:2])) == 1, 20, every=0.3)
        oracle.check_nothing_left(lab, but=[] if state == "committed" else ["dh2: a lock"])
        return state


def check_mended(before, now):
    need(not now["doctor"], f"the doctor still finds {now['doctor']}")
    need(now["members"] == {m for m in before["members"] if not m[3]}, f"the members are {now['members']}")
    need(now["lock"] is None, "dh2 is locked still")
    for name, was in before["hosts"].items():
        changed = fingerprint.changed(was, now["hosts"][name])
        need(all(p.endswith("/config.yaml") for p in changed) and (name == "dh2") == bool(changed),
             f"{name}: changed are {changed}")
        need(was["unit"] == now["hosts"][name]["unit"], f"{name}: dh-etcd is {now['hosts'][name]['unit']}")


def check_unchanged(before, now):
    for name, was in before["hosts"].items():
        changes = fingerprint.undone(was, now["hosts"][name])
        need(not changes, f"{name} is not what it was: " + "; ".join(changes))
    for what in ("members", "owners", "lock", "doctor"):
        need(now[what] == before[what], f"{what}: it was {before[what]} and is {now[what]}")
