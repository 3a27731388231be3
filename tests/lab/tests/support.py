# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the integration tests of dhetcd share."""

import contextlib
import json
import pathlib
import re
import sys
import threading
import time
import unittest

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))

from dhlab import Lab, LabError, fingerprint, run  # noqa: E402  pylint: disable=wrong-import-position

CONF = "/etc/dhetcd/dhetcd.conf.d/50-test.conf"
FAILPOINTS = "/var/lib/dhetcd/failpoints"
EVENTS = LAB.parents[1] / "src" / "basic" / "event.h"
BOOT_UNITS = ("dhetcd-repair.service", "dhetcd-recover.service", "dhetcd-recover.timer")
ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7
LEVELS = {
    **dict.fromkeys(("JOB_QUEUED", "JOB_WAITING", "STEP_STARTED", "STEP_DONE", "STEP_SKIPPED", "STEP_PROGRESS",
                     "SNAPSHOT_TAKEN", "SCRIPT_OUTPUT", "UNIT_CHANGED", "HOST_CHANGED"), (NOTICE, INFO, DEBUG)),
    **dict.fromkeys(("JOB_COMMITTED", "TXN_STARTED", "TXN_COMMITTED", "JOB_CANCELED"), (NOTICE,)),
    **dict.fromkeys(("JOB_ROLLED_BACK", "TXN_ROLLED_BACK", "TXN_REVERTING", "JOB_REVERTING"), (WARNING,)),
    **dict.fromkeys(("JOB_REJECTED", "TXN_REJECTED", "STEP_FAILED"), (ERROR,)),
    "UNDO_FAILED": (ERROR, INFO, DEBUG),  # the same again is quiet
    **dict.fromkeys(("JOB_STUCK", "TXN_STUCK"), (2, INFO)),
}
COMMITTED, REJECTED, USAGE, FOUND, ROLLED_BACK, STUCK, BUSY = 0, 1, 2, 3, 10, 11, 75


def address(number):
    return f"10.128.1.{148 + number}"


def states(lab):
    """Every host's fingerprint."""
    found = {h.name: lab.fingerprint(h.name) for h in lab.hosts}
    for one in found.values():
        one.pop("sha256")
    return found


PREPARE = """
set -e
useradd --create-home --groups dhetcd,systemd-journal alice
useradd --create-home stranger
install -m 0600 -o dhetcd-ssh /etc/dhetcd/ssh/id_ed25519.pub /var/lib/dhetcd-ssh/.ssh/authorized_keys
mv /root/.ssh/authorized_keys /root/.ssh/authorized_keys.away
"""


def prepare_operators(lab):
    """alice may add nodes, a stranger may not; hosts are reached as a user who is not root."""
    for host in lab.hosts:
        lab.exec(host.name, ["sh", "-c", PREPARE])
    lab.write("dh1", CONF, "[ssh]\nUser=dhetcd-ssh\n")


def members(lab):
    """The member list as a set of comparable entries."""
    return {(m["ID"], m.get("name", ""), tuple(m["peerURLs"]), m.get("isLearner", False))
            for m in lab.members()["members"]}


class When(threading.Thread):
    """Does something as soon as the journal of dh1 tells of a step's phase; join() raises what it raised."""

    def __init__(self, lab, step, phase, action, timeout=120):
        super().__init__(daemon=True)
        self.lab, self.matches, self.action = lab, [f"DHETCD_STEP={step}", f"DHETCD_PHASE={phase}"], action
        self.deadline, self.error = time.monotonic() + timeout, None
        self.since = f"@{time.time():.6f}"
        self.start()

    def told(self):
        return self.lab.exec("dh1", ["journalctl", "--no-pager", "-q", "-n", "1", "--since", self.since, "-o", "cat",
                                     *self.matches]).stdout

    def run(self):
        try:
            while not self.told():
                if time.monotonic() > self.deadline:
                    raise TimeoutError(f"the journal never told of {self.matches}")
                time.sleep(0.05)
            self.action()
        except Exception as e:  # pylint: disable=broad-exception-caught
            self.error = e

    def done(self):
        self.join(30)
        if self.is_alive():
            raise TimeoutError(f"the journal has not told of {self.matches}")
        if self.error:
            raise self.error


class LabCase(unittest.TestCase):
    """One lab for all tests of a class: `lab_options` says which."""

    lab_options = {}

    @classmethod
    def setUpClass(cls):
        cls.new_lab()

    @classmethod
    def new_lab(cls):
        cls.lab = Lab(name=cls.__name__.lower(), replace=True, **cls.lab_options)
        cls.lab.up()

    @classmethod
    def tearDownClass(cls):
        cls.lab.down()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            self.show_journal()
            self.new_lab()  # the next test must not suffer from what this one left
        return result

    def show_journal(self):
        for host in self.lab.hosts:
            if host.init_pid():
                print(f"---- {host.name}: the last lines of dhetcd", file=sys.stderr)
                print(self.lab.exec(host.name, ["journalctl", "--no-pager", "-n", "40", "-o", "short",
                                                "_COMM=dhetcd-worker", "+", "_COMM=dhetcdd", "+", "_COMM=dhetcd"],
                                    check=False).stdout, file=sys.stderr)

    # -- doing ------------------------------------------------------------------------------
    def dhetcd(self, *argv, host="dh1", timeout=180):
        return self.lab.exec(host, ["dhetcd", *argv], check=False, timeout=timeout)

    def as_user(self, user, *argv, host="dh1", timeout=180):
        return self.lab.exec(host, ["runuser", "-u", user, "--", *argv], check=False, timeout=timeout)

    def add(self, *nodes, expect=COMMITTED, options=(), host="dh1", timeout=180):
        """dhetcd add; its output must end with the expected exit status."""
        done = self.dhetcd("add", *options, *nodes, host=host, timeout=timeout)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        if self.job_files(host):
            self.assert_levels(self.newest_job(host)["job"], host)
        return done.stdout + done.stderr

    def assert_levels(self, job, host):
        """Every event of the job has a level that fits: a success is no more than a notice, a rollback a warning, stuck
        critical, and again with nothing new quiet."""
        kinds = {id: kind for kind, id in re.findall(r'X\((\w+), "(\w{32})"\)', EVENTS.read_text())}
        for line in self.journal(job, host):
            kind = kinds.get(line.get("MESSAGE_ID"))
            if kind:
                self.assertIn(int(line["PRIORITY"]), LEVELS.get(kind, range(8)), f"{kind}: {line['MESSAGE']}")

    def newest_job(self, host="dh1"):
        jobs = sorted((json.loads(line) for line in self.job_files(host)), key=lambda j: j["queued_usec"])
        self.assertTrue(jobs, "no job is on disk")
        return jobs[-1]

    def job_files(self, host):
        root = self.lab.host(host).path("/var/lib/dhetcd/jobs")
        return [p.read_text() for p in root.glob("*/job.json")]

    def job(self, name, host="dh1"):
        return next(j for j in map(json.loads, self.job_files(host)) if j["job"] == name)

    def wait(self, what, condition, timeout=120):
        return run.wait_until(what, condition, timeout)

    # -- failpoints, where the lab is built with them ----------------------------------------
    def failpoints(self, suffix="", host="dh1"):
        return self.lab.host(host).path(FAILPOINTS + suffix)

    def wait_at(self, point, host="dh1"):
        """Who comes to the point there waits, until disarm()."""
        self.disarm(host)  # it is for the first visit, and an earlier test may have come by
        self.lab.write(host, FAILPOINTS, f"{point} wait\n", 0o600)

    def is_reached(self, host="dh1"):
        return self.failpoints(".reached", host).exists()

    def disarm(self, *hosts):
        for host in hosts or ("dh1",):
            for suffix in ("", ".hit", ".reached"):
                self.failpoints(suffix, host).unlink(missing_ok=True)

    def has_learner(self):
        return any(m.get("isLearner") for m in self.lab.members()["members"])

    def add_foreign_learner(self):
        """As somebody else would; etcd refuses it until every voter has been connected for 5 s."""
        def added():
            done = self.lab.etcdctl("dh1", "member", "add", "etcd-9", "--learner",
                                    "--peer-urls=https://10.128.1.90:2380", check=False)
            self.assertIn("unhealthy cluster" if done.returncode else "etcd-9", done.stdout + done.stderr)
            return done.returncode == 0
        self.wait("another learner is added", added, timeout=15)

    def remove_learner(self):
        learner = next(m for m in self.lab.members()["members"] if m.get("isLearner"))
        self.lab.etcdctl("dh1", "member", "remove", f"{int(learner['ID']):x}")

    @contextlib.contextmanager
    def other_version(self, host):
        """The host's dhetcdd is of another version for a while, which is given: the same program with that text."""
        program = "/usr/libexec/dhetcd/dhetcdd"
        text = self.lab.exec(host, ["cat", program], text=False).stdout
        version = self.dhetcd("--version").stdout.split()[1].encode()
        other = version[:-1] + (b"9" if version[-1:] != b"9" else b"8")
        self.assertIn(version, text)
        self.lab.exec(host, ["systemctl", "stop", "dhetcdd"])
        self.lab.exec(host, ["mv", program, "/root/dhetcdd"])
        self.lab.exec(host, ["tee", program], input=text.replace(version + b"\0", other + b"\0"), text=False)
        self.lab.exec(host, ["chmod", "755", program])
        try:
            yield other.decode()
        finally:
            self.lab.exec(host, ["systemctl", "stop", "dhetcdd"])
            self.lab.exec(host, ["mv", "/root/dhetcdd", program])

    def journal(self, job, host="dh1"):
        lines = self.lab.exec(host, ["journalctl", "--no-pager", "-o", "json", f"DHETCD_JOB={job}"]).stdout
        return [json.loads(line) for line in lines.splitlines()]

    # -- proving ----------------------------------------------------------------------------
    def assert_voters(self, count):
        found = self.lab.members()["members"]
        self.assertEqual(len(found), count, found)
        for m in found:
            self.assertFalse(m.get("isLearner", False), m)
            self.assertTrue(m.get("name"), m)
        self.lab.wait_healthy(count)

    def assert_configs(self, count):
        """Every member's config.yaml lists all members, state new."""
        expected = ",".join(f"etcd-{n}=https://{address(n)}:2380" for n in range(1, count + 1))
        for n in range(1, count + 1):
            text = self.lab.read(f"dh{n}", "/etc/etcd/dh/latest/config.yaml")
            self.assertIn(f"initial-cluster: {expected}\n", text)
            self.assertIn("initial-cluster-state: new\n", text)

    def assert_nothing_left(self):
        """No lock, unit, ssh process or temporary file."""
        for host in self.lab.hosts:
            units = self.lab.exec(host.name, ["systemctl", "list-units", "--plain", "--no-legend", "--all",
                                              "dhetcd-txn-*", "dhetcd-exec-*"]).stdout
            self.assertEqual(units.strip(), "", host.name)
            failed = self.lab.exec(host.name, ["systemctl", "--failed", "--plain", "--no-legend"]).stdout
            self.assertEqual([f for f in failed.splitlines() if "dhetcd-add@" not in f], [], host.name)
            self.assertFalse((host.path("/var/lib/dhetcd/host") / "lock.json").exists(), host.name)
            ssh = self.lab.exec(host.name, ["pgrep", "-x", "ssh"], check=False).stdout
            self.assertEqual(ssh, "", host.name)
            for tree in ("/etc/etcd", "/etc/sysconfig/deephaven", "/etc/systemd/system"):
                left = [str(p) for p in host.path(tree).rglob("*dhetcd-*")
                        if p.name not in BOOT_UNITS] if host.path(tree).exists() else []
                self.assertEqual(left, [], host.name)

    def assert_unchanged(self, before, list_before):
        self.assertEqual(members(self.lab), list_before)
        now = states(self.lab)
        for name, state in before.items():
            self.assertEqual(fingerprint.undone(state, now[name]), [], name)
        self.assert_nothing_left()
