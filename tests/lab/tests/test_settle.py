# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job comes to its end by itself, whatever goes down in the middle of it."""

import contextlib
import json
import pathlib
import threading
import time
import unittest

from support import COMMITTED, CONF, REJECTED, ROLLED_BACK, STUCK, LabCase, When, address, members, states

from dhlab import cgroup

NEW = "dh3"
ENDED = ("committed", "rolled-back", "rejected", "canceled", "stuck")
TIMER = "/run/systemd/system/dhetcd-recover.timer.d/50-test.conf"
CONFIG = "/etc/etcd/dh/latest/config.yaml"


def comm(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return None


class Job(threading.Thread):
    """dhetcd add in the background."""

    def __init__(self, case, *options):
        super().__init__(daemon=True)
        self.case, self.options, self.code, self.output = case, options, None, ""
        self.start()

    def run(self):
        done = self.case.dhetcd("add", *self.options, address(3), timeout=240)
        self.code, self.output = done.returncode, done.stdout + done.stderr

    def end(self, timeout=240):
        self.join(timeout)
        return self.code


class SettleCase(LabCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.writer = self.lab.writer()
        self.writer.start()
        self.addCleanup(self.writer.stop)

    def tearDown(self):
        """Whatever went down: no acknowledged write is lost."""
        self.writer.stop()
        self.writer.check(expect_writes=20)

    def ended(self):
        return self.newest_job()["state"] in ENDED

    def wait_end(self, state, timeout=120):
        self.wait("the job ends by itself", self.ended, timeout)
        self.assertEqual(self.newest_job()["state"], state, self.newest_job())

    def worker(self, signal):
        self.lab.exec("dh1", ["systemctl", "kill", "--kill-who=main", "-s", signal, "dhetcd-txn-*.service"])

    def wait_members(self):
        def same():
            try:
                return members(self.lab) == self.list_before
            except Exception:  # pylint: disable=broad-exception-caught
                return False
        self.wait("the cluster answers again", same, 60)

    def off_and_on(self, step, phase, fault=None, meanwhile=None):
        """The job's host loses its power at a step's phase, and comes back; `meanwhile` is called while it is off."""
        if fault:
            self.lab.break_script(*fault)
        try:
            cut = When(self.lab, step, phase, lambda: self.lab.cut_power("dh1"))
            job = Job(self)
            cut.done()
            job.end()
            self.assertIn(self.newest_job()["state"], ("queued", "running"))
            if meanwhile:
                meanwhile()
            self.lab.boot("dh1")
        finally:
            if fault:
                self.lab.mend(*fault[:2])

    def check_rolled_back(self):
        self.wait_end("rolled-back")
        self.wait_members()
        self.assert_unchanged(self.before, self.list_before)


class Settle(SettleCase):
    slow, sample = 2, 0.4
    # The job's host is off in the middle of a step, and of the undo.
    def test_1_job_host_off_in_deploy(self):
        """The boot settles it, not the timer."""
        self.lab.exec("dh1", ["systemctl", "mask", "--now", "dhetcd-recover.timer"])
        try:
            self.off_and_on("deploy", "intent", meanwhile=self.leave_unfinished)
            self.wait_end("rolled-back")
        finally:
            self.lab.exec("dh1", ["systemctl", "unmask", "dhetcd-recover.timer"])
            self.lab.exec("dh1", ["systemctl", "start", "dhetcd-recover.timer"])
        self.check_rolled_back()
        self.assertEqual([p for p in self.unfinished() if p.exists()], [])

    # What was just being written when the power went; without a digest in its name no object is in the store.
    def leave_unfinished(self):
        for path in self.unfinished():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("half")

    def unfinished(self):
        job, top = self.newest_job()["job"], self.lab.host("dh1").path("/var/lib/dhetcd")
        return [top / name for name in (
            f"jobs/{job}/1/etcd.snapshot.dhetcd-a1B2c3", f"host/{job}-1/plan.json.dhetcd-a1B2c3",
            f"host/{job}-1/package/dh_etcd_config.tgz.dhetcd-a1B2c3", "store/objects/00/.new",
            f"store/snapshots/{job}-1.deploy.json.dhetcd-a1B2c3")]

    def test_1_job_host_off_in_start(self):
        self.off_and_on("start", "intent")
        self.check_rolled_back()

    def test_1_job_host_off_in_undo(self):
        self.off_and_on("deploy", "undo", fault=(NEW, "enable_dh_etcd_systemd", "fail"))
        self.check_rolled_back()

    # The host is shut down in the middle of "systemctl start dhetcd-add@…", which must not hold that up.
    def test_1_job_host_shuts_down(self):
        self.lab.exec("dh1", ["systemctl", "start", "--no-block", f"dhetcd-add@{address(3)}"])
        down = When(self.lab, "start", "intent", lambda: self.lab.exec("dh1", [
            "systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "poweroff.target"]))
        down.done()
        self.wait("the host has shut down", lambda: not self.lab.host("dh1").init_pid(), 30)
        self.lab.boot("dh1")
        self.check_rolled_back()
        job, says = self.newest_job()["job"], self.lab.exec("dh1", [
            "journalctl", "--no-pager", "-b-1", "-o", "cat", "-u", "dhetcd-add@*"]).stdout
        self.assertIn(f"This host is shutting down; its next boot goes on with job {job}.", says)

    # A member is off while its files are being written: etcd starts there with the old ones before anybody undoes.
    def test_2_member_off_half_written(self):
        old = self.lab.read("dh2", CONFIG)
        self.lab.break_script("dh2", "config_packager.unpackage-server", "half-hang")
        job = Job(self)
        self.wait("the file is half-written", lambda: self.lab.read("dh2", CONFIG) != old, 60)
        self.worker("STOP")
        self.lab.cut_power("dh2")
        self.lab.mend("dh2", "config_packager.unpackage-server")
        self.assertNotEqual(self.lab.host("dh2").read(CONFIG), old)
        self.lab.boot("dh2")
        self.wait("etcd runs again by itself", lambda: self.lab.exec(
            "dh2", ["systemctl", "is-active", "dh-etcd"], check=False).stdout == "active\n", 60)
        self.assertEqual(self.lab.read("dh2", CONFIG), old)
        repaired, begun = self.when("dhetcd-repair", "ExecMainExit"), self.when("dh-etcd", "InactiveExit")
        self.assertTrue(0 < repaired <= begun, (repaired, begun))
        told = self.lab.exec("dh2", ["journalctl", "--no-pager", "-b", "-o", "cat", "-u", "dhetcd-repair"]).stdout
        self.assertIn('in the middle of step "deploy"', told)
        self.assertEqual(self.newest_job()["state"], "running")
        self.worker("CONT")
        self.assertEqual(job.end(), ROLLED_BACK, job.output)
        self.assertIn("taken back", job.output)
        self.assert_unchanged(self.before, self.list_before)

    def when(self, unit, what):
        """In microseconds since the boot of dh2."""
        return int(self.lab.exec("dh2", ["systemctl", "show", "--value", "-p", f"{what}TimestampMonotonic", unit]).stdout)

    def test_3_worker_segfault(self):
        """PID 1 settles it, in the same run of the unit: dhetcdd need not be there for that."""
        kill = When(self.lab, "narrow", "intent", lambda: self.worker("SEGV"))
        self.add(address(3), expect=ROLLED_BACK)
        kill.done()
        told = [e for e in self.journal(self.newest_job()["job"]) if e.get("_COMM") == "dhetcd-worker"]
        self.assertEqual(len({e["_PID"] for e in told}), 2)
        self.assertEqual(len({e["_SYSTEMD_INVOCATION_ID"] for e in told}), 1)
        self.assert_unchanged(self.before, self.list_before)

    def test_3_out_of_memory(self):
        """The kernel kills the worker, and then a connection of one: the one is settled, the other made anew."""
        if not (cgroup.MEMORY / "memory.limit_in_bytes").exists():
            self.skipTest("no memory controller of cgroup 1 here")
        shown = []

        def starve(name):
            pid = next(p for p in cgroup.processes(self.lab.host("dh1").cgroup) if comm(p) == name)
            shown.append(self.lab.exec("dh1", ["systemctl", "show", "-p", "OOMPolicy,ExecStopPost",
                                               "dhetcd-txn-*.service"]).stdout)
            with cgroup.out_of_memory(pid) as killed:
                self.wait(f"the kernel has killed {name}", killed)

        for name, end in (("dhetcd-worker", ROLLED_BACK), ("ssh", COMMITTED)):
            kill = When(self.lab, "narrow", "intent", lambda name=name: starve(name))
            self.add(address(3), expect=end)
            kill.done()
            if end == ROLLED_BACK:
                self.assert_unchanged(self.before, self.list_before)
        for each in shown:  # dhetcdd would settle it too, but not where it is dead itself
            self.assertIn("OOMPolicy=continue\n", each)
            self.assertRegex(each, r"ExecStopPost=.*/dhetcd-worker settle ")
        done = self.dhetcd("rollback", self.newest_job()["job"])
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_unchanged(self.before, self.list_before)

    # Every dhetcdd, again and again, with calls in flight.
    def test_3_daemons_killed(self):
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "fail")
        job = Job(self)
        self.wait("the job is known", lambda: any(
            json.loads(text)["state"] == "running" for text in self.job_files("dh1")))
        kills, until = 0, time.monotonic() + 12
        while job.is_alive() and time.monotonic() < until:
            for host in ("dh1", "dh2", NEW):
                done = self.lab.exec(host, ["pkill", "-KILL", "-x", "dhetcdd"], check=False)
                kills += done.returncode == 0
                time.sleep(0.4)
        code = job.end()
        self.lab.mend(NEW, "enable_dh_etcd_systemd")
        self.assertGreater(kills, 2)
        self.assertEqual(code, ROLLED_BACK, job.output)
        self.assert_unchanged(self.before, self.list_before)

    # The new host is off during the undo, and comes back in time.
    def test_4_new_host_back_in_time(self):
        def off():
            self.lab.cut_power(NEW)
            time.sleep(6)
            self.lab.boot(NEW)
        self.lab.break_script("dh2", "config_packager.unpackage-client", "fail")
        cut = When(self.lab, "deploy", "undo", off)
        self.add(address(3), expect=ROLLED_BACK)
        cut.done()
        self.lab.mend("dh2", "config_packager.unpackage-client")
        self.assert_unchanged(self.before, self.list_before)

    # … or not: the job is stuck, is tried again without a noise, and ends when the host is back.
    def test_5_new_host_back_much_later(self):
        own = self.lab.exec("dh1", ["systemctl", "show", "-p", "TimersCalendar,ActiveState",
                                    "dhetcd-recover.timer"]).stdout
        self.assertIn("OnCalendar=*-*-* *:00/5:00", own)
        self.assertIn("ActiveState=active", own)
        self.back_much_later(NEW, "narrow", "intent", "rolled-back", address(3))
        self.assert_unchanged(self.before, self.list_before)

    def test_5_member_back_much_later(self):
        """It goes in the undo, and the quorum with it."""
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "fail")
        try:
            self.back_much_later("dh2", "start", "undo", "rolled-back", "The quorum is lost: 1 of 2 members answer",
                                 f"Bring {address(2)} back")
        finally:
            self.lab.mend(NEW, "enable_dh_etcd_systemd")
        self.assert_unchanged(self.before, self.list_before)

    def test_5_new_host_back_much_later_after_the_promotion(self):
        """The way is forward then, by the timer too."""
        self.back_much_later(NEW, "promote", "done", "committed", "from here it only goes forward", address(3))
        self.assert_voters(3)
        self.assert_configs(3)
        done = self.dhetcd("rollback", self.newest_job()["job"])
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_unchanged(self.before, self.list_before)

    def back_much_later(self, host, step, phase, end, *advice):
        """The job gives up waiting for the host; the timer tries it, every 3 s instead of 5 minutes."""
        # Not less than ARP's 3 s: else ssh says now that, now this.
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=8\nRetryBudgetSec=2\n[ssh]\nConnectTimeoutSec=5\n")
        self.set_timer("[Timer]\nOnCalendar=\nOnCalendar=*:*:0/3\nAccuracySec=100ms\n")
        time.sleep(7)  # the timer passes while nothing is open, and must not stop at that
        cut = When(self.lab, step, phase, lambda: self.lab.cut_power(host))
        output = self.add(address(3), expect=STUCK)
        cut.done()
        job = self.newest_job()["job"]
        for words in ("every 5 minutes by dhetcd-recover.timer", f"dhetcd settle {job}", *advice):
            self.assertIn(words, output)
        self.check_quiet(job)
        self.lab.boot(host)
        self.wait("the timer ends the job", lambda: self.job(job)["state"] == end, 120)
        self.lab.exec("dh1", ["rm", CONF])
        self.set_timer("")

    def set_timer(self, text):
        self.lab.write("dh1", TIMER, text)
        self.lab.exec("dh1", ["systemctl", "daemon-reload"])
        self.lab.exec("dh1", ["systemctl", "restart", "dhetcd-recover.timer"])

    # Somebody changes etcd's password in the middle: nothing more can be asked of it until it is the old one again.
    def check_password_changed(self, step, meanwhile=lambda job: None):
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=4\n[job]\nKeepJobs=1\n")
        old = self.lab.read("dh1", "/etc/sysconfig/deephaven/etcd/client/root/password").strip()

        def change(new, **kwargs):
            self.lab.etcdctl("dh1", "user", "passwd", "root", "--interactive=false", input=f"{new}\n", **kwargs)
        changed = When(self.lab, step, "intent", lambda: change("another"))
        output = self.add(address(3), expect=STUCK)
        changed.done()
        job = self.newest_job()["job"]
        meanwhile(job)
        self.lab.exec("dh1", ["rm", CONF])
        for words in ("user or password is wrong", f"dhetcd settle {job}"):
            self.assertIn(words, output)
        change(old, password="another")
        done = self.dhetcd("settle", job)
        self.assertEqual(done.returncode, ROLLED_BACK, done.stderr)
        self.assert_unchanged(self.before, self.list_before)

    def test_5_password_changed_in_narrow(self):
        self.check_password_changed("narrow")

    def test_5_password_changed_in_sync(self):
        """In the meantime its log is damaged, and other jobs end: it is kept, and nothing is done from a damaged log."""
        self.check_password_changed("sync", self.check_kept)

    def check_kept(self, job):
        self.lab.exec("dh1", ["systemctl", "stop", "dhetcd-recover.timer"])
        self.addCleanup(self.lab.exec, "dh1", ["systemctl", "start", "dhetcd-recover.timer"])
        for _ in range(3):
            self.assertIn(job, self.add(address(3), expect=REJECTED))
        self.assertEqual(self.job(job)["state"], "stuck")
        log = self.lab.host("dh1").path(f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl")
        whole, hosts = log.read_bytes(), states(self.lab)
        at = whole.index(b'"done"') + 1
        log.write_bytes(whole[:at] + b"D" + whole[at + 1:])
        done = self.dhetcd("settle", job)
        self.assertEqual(done.returncode, STUCK, done.stdout + done.stderr)
        told = done.stdout + done.stderr + self.dhetcd("show", job).stdout
        for words in (f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl", "is damaged", "/var/lib/dhetcd/store"):
            self.assertIn(words, told)
        self.assertEqual((self.job(job)["state"], states(self.lab)), ("stuck", hosts))
        log.write_bytes(whole)

    def retries(self, job):
        return [e for e in self.journal(job) if e.get("DHETCD_PHASE") == "stuck"]

    def host_record_size(self, job):
        return sum(p.stat().st_size for p in self.lab.host("dh2").path("/var/lib/dhetcd/host").glob(f"{job}-*/log.jsonl"))

    def check_quiet(self, job):
        """Further tries neither cry nor write, unless ssh finds a new word for what is wrong."""
        self.wait("the timer tries again", lambda: len(self.retries(job)) >= 3, 90)
        size = self.host_record_size(job)
        self.wait("the timer tries twice more", lambda: len(self.retries(job)) >= 5, 90)
        self.assertEqual(self.host_record_size(job), size)
        cries = [e["MESSAGE"] for e in self.journal(job) if int(e["PRIORITY"]) <= 3]
        self.assertEqual(sorted(set(cries)), sorted(cries))
        log = self.lab.host("dh1").path(f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl").read_text().splitlines()
        told = [(r["type"], r.get("step"), r.get("why")) for r in map(json.loads, log) if r["type"] != "note"]
        again = [r for r in told if r[0] != "end"]
        self.assertEqual(sorted(set(again), key=str), sorted(again, key=str))
        self.assertLessEqual(len(told) - len(again), 3)  # ssh has so many words for a host that is off

    # What old jobs left goes, on every host; what the last one left stays.
    def test_6_old_records_are_pruned(self):
        for host in ("dh1", "dh2", NEW):
            self.lab.write(host, CONF, "[job]\nKeepJobs=1\n")
        try:
            self.lab.break_script(NEW, "config_packager.unpackage-server", "fail")
            self.add(address(3), expect=ROLLED_BACK)
            self.add(address(3), expect=ROLLED_BACK)
        finally:
            self.lab.mend(NEW, "config_packager.unpackage-server")
            for host in ("dh1", "dh2", NEW):
                self.lab.exec(host, ["rm", CONF])
        job = self.newest_job()["job"]
        self.assertEqual([j["job"] for j in self.jobs()], [job])
        for host in ("dh1", "dh2", NEW):
            top = self.lab.host(host).path("/var/lib/dhetcd")
            records = {p.name.split("-")[0] for p in (top / "host").iterdir()}
            snapshots = {p.name.split("-")[0] for p in (top / "store/snapshots").iterdir()}
            self.assertEqual((records, snapshots), ({job}, {job}), host)
            text = "".join(p.read_text() for p in (top / "store/snapshots").iterdir())
            objects = [p.parent.name + p.name for p in (top / "store/objects").glob("*/*")]
            self.assertEqual([o for o in objects if o not in text], [], host)
        self.assert_unchanged(self.before, self.list_before)

    def jobs(self):
        return [json.loads(text) for text in self.job_files("dh1")]

    # After the promotion the way is forward. The last test: the lab has a member more.
    def test_9_job_host_off_after_promotion(self):
        self.off_and_on("promote", "done")
        self.wait_end("committed")
        self.assert_voters(3)
        self.assert_configs(3)
        self.assert_nothing_left()
        self.assertEqual(self.dhetcd("settle", "--all").returncode, COMMITTED)


class ReleaseCutShort(SettleCase):
    """The undo was proved, and the worker dies between two releases."""

    lab_options = {**SettleCase.lab_options, "meson_options": ["-Dfailpoints=true"]}

    def test_next_job_has_changed_a_host(self):
        """What was released is not proved once more: others may have changed it since."""
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "fail")
        try:
            self.wait_at("settle.begin")
            self.wait_at("host.Unlock.released", "dh2")
            self.assertEqual(self.dhetcd("add", "--no-block", address(3)).returncode, 0)
            self.wait("dh2 is released", lambda: self.is_reached("dh2"), 120)
            self.worker("KILL")
            self.wait("it is about to be settled", self.is_reached)
            self.assertTrue(self.lab.host(NEW).path("/var/lib/dhetcd/host/lock.json").exists())
            self.lab.exec("dh2", ["cp", "-a", CONFIG, "/root/config.yaml"])
            self.lab.exec("dh2", ["sh", "-c", f"echo '# of the next job' >>{CONFIG}"])
        finally:
            self.lab.mend(NEW, "enable_dh_etcd_systemd")
            self.disarm("dh1", "dh2")
        self.wait_end("rolled-back", 60)
        self.assertIn("# of the next job", self.lab.read("dh2", CONFIG))
        self.lab.exec("dh2", ["cp", "-a", "/root/config.yaml", CONFIG])
        self.assert_unchanged(self.before, self.list_before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
