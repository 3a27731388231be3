# SPDX-License-Identifier: LGPL-2.1-or-later
"""dhetcd rescue: the quorum is lost for good, and the survivor goes on alone."""

import unittest

from support import COMMITTED, CONF, REJECTED, ROLLED_BACK, STUCK, LabCase, When, address

CONFIG = "/etc/etcd/dh/latest/config.yaml"
YES = "--yes-i-lose-quorum"
UNLOCK = ["busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Host", "Unlock", "s"]


class RescueCase(LabCase):
    """dh1 survives, dh2 is lost."""

    def files(self):
        """Of dh1: what must be as it was. etcd without a quorum is now active, now starting."""
        found = self.lab.fingerprint("dh1")
        return found["files"], {n: e for n, e in found["data"].items() if ".dhetcd-" not in n}

    def rescue(self, *options, expect=COMMITTED):
        done = self.dhetcd("rescue", *options)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def rescued_by(self, output):
        """It is one healthy voter, its configuration says so, and nothing is left."""
        self.assert_voters(1)
        self.assertIn(f"{address(2)} must not come back with its old data", output)
        text = self.lab.read("dh1", CONFIG)
        self.assertIn(f"initial-cluster: etcd-1=https://{address(1)}:2380\n", text)
        self.assertNotIn("force-new-cluster", text)
        self.assertFalse((self.lab.host("dh1").path("/var/lib/dhetcd/host") / "lock.json").exists())
        job = self.newest_job()
        self.assertEqual((job["kind"], job["state"]), ("rescue", "committed"))
        kept = [p.name for p in self.lab.host("dh1").path("/var/lib/etcd/dh").iterdir()]
        self.assertTrue([n for n in kept if f"dhetcd-{job['job']}" in n], kept)

    def lose_dh2(self):
        """The cluster has two voters; then the second is gone."""
        self.bring_dh2_back()
        self.lab.cut_power("dh2")

    def bring_dh2_back(self, job=None):
        """What the rescue says to do with the lost host."""
        if len(self.lab.members()["members"]) == 2:
            return
        self.boot_without_etcd("dh2")
        if job:
            self.lab.exec("dh2", [*UNLOCK, f"{job}-1"])
        self.add(address(2), options=["--move-data-aside"])
        self.assert_voters(2)

    def boot_without_etcd(self, name):
        """Its boot does not end by itself while its etcd waits for a quorum."""
        host = self.lab.host(name)
        if not host.init_pid():
            self.lab.boot(name, wait=False)
        self.wait(f"{name} answers", lambda: host.init_pid() and host.reachable())
        self.lab.exec(name, ["systemctl", "disable", "--now", "dh-etcd"])

    def key(self, name, value=None):
        if value:
            self.lab.etcdctl("dh1", "put", name, value)
        return self.lab.etcdctl("dh1", "get", "--print-value-only", name).stdout.strip()


class Rescue(RescueCase):
    slow, sample = 3, 0.2
    lab_options = {"hosts": 2, "members": 2, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def test_1_refused_while_there_is_a_quorum(self):
        before = self.files()
        output = self.rescue(YES, expect=REJECTED)
        self.assertIn("2 of 2 members answer", output)
        self.assertEqual(self.files(), before)
        self.assertIn("neither a job", self.rescue("--from-snapshot=x", expect=REJECTED))
        self.assertIn("not known here", self.rescue("0badcafe", expect=REJECTED))
        self.lab.exec("dh1", ["rm", "-f", "/tmp/none"])
        self.assertIn("No such file", self.rescue("--from-snapshot=/tmp/none", expect=REJECTED))

    def test_2_own_data(self):
        """The plan changes nothing; killed before the start it goes back, after it forward; nothing acknowledged is lost."""
        with self.lab.writer() as writer:
            self.wait("some writes", lambda: writer.stats()["writes"] > 50)
            self.lose_dh2()
            before = self.files()
            output = self.rescue(expect=REJECTED)
            for word in (f"member {address(2)} does not answer", "1 of 2 members answer", "Lost: nothing that was",
                         "this was only the plan", f"dhetcd rescue {YES}"):
                self.assertIn(word, output)
            self.assertEqual(self.files(), before)

            killed = self.kill_at("rescue-config", "intent")
            self.assertEqual(self.rescue_result(killed), ROLLED_BACK)
            self.assertEqual(self.files(), before)
            self.assert_running()

            killed = self.kill_at("rescue-release", "intent")
            self.assertEqual(self.rescue_result(killed), COMMITTED)
            self.rescued_by("\n".join(str(e["MESSAGE"]) for e in self.journal(self.newest_job()["job"])))
        print(f"\nrescued from its own data: {writer.check(expect_writes=50)}")
        self.bring_dh2_back()
        self.assert_nothing_left()

    def kill_at(self, step, phase):
        return When(self.lab, step, phase, lambda: self.lab.exec("dh1", ["pkill", "-KILL", "-x", "dhetcd-worker"]))

    def rescue_result(self, killed):
        code = self.dhetcd("rescue", YES, timeout=300).returncode
        killed.done()
        return code

    def assert_running(self):
        """Without a quorum it is never ready; but it is not stopped, either."""
        state = self.lab.exec("dh1", ["systemctl", "is-active", "dh-etcd"], check=False).stdout.strip()
        self.assertIn(state, ("active", "activating"))

    def test_3_from_snapshot(self):
        """A damaged one is refused; a good one brings back what it has, and no more."""
        self.bring_dh2_back()
        if not self.snapshots():
            self.lose_dh2()
            self.rescue(YES)
            self.bring_dh2_back()  # an addition saves one
        snapshot = self.snapshots()[-1]
        self.key("/after", "the snapshot")
        self.lose_dh2()
        bad = "/var/lib/dhetcd/bad.snapshot"
        self.lab.exec("dh1", ["cp", snapshot, bad])
        self.lab.exec("dh1", ["dd", "if=/dev/zero", f"of={bad}", "bs=1", "count=8", "seek=9000", "conv=notrunc"])
        before = self.files()
        self.assertIn("is damaged", self.rescue(YES, f"--from-snapshot={bad}", expect=REJECTED))
        self.assertEqual(self.files(), before)

        job = snapshot.split("/")[5]
        output = self.rescue(YES, f"--from-snapshot={job}")
        self.assertIn("Lost: everything that was written after", output)
        self.rescued_by(output)
        self.assertEqual(self.key("/after"), "")
        self.assertTrue(self.key("/schema/key-000000").startswith("value 0"))

        self.lab.exec("dh1", ["cp", snapshot, bad])  # whole again, and named as a file
        self.bring_dh2_back()
        self.lose_dh2()
        self.rescued_by(self.rescue(YES, f"--from-snapshot={bad}"))
        self.bring_dh2_back()

    def snapshots(self):
        """Of this host's jobs, oldest first."""
        found = self.lab.exec("dh1", ["sh", "-c", "ls -tr /var/lib/dhetcd/jobs/*/*/etcd.snapshot"], check=False).stdout
        return [s for s in found.split() if s.startswith("/")]

    def test_4_stuck_addition(self):
        """An addition that lost its quorum names the rescue, which then takes its place."""
        self.lose_dh2()
        self.rescue(YES)
        self.boot_without_etcd("dh2")
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=20\n")
        self.addCleanup(self.lab.exec, "dh1", ["rm", CONF])
        event = When(self.lab, "promote", "done", lambda: self.lab.cut_power("dh2"), timeout=300)
        output = self.add(address(2), expect=STUCK, options=["--move-data-aside"], timeout=900)
        event.done()
        stuck = self.newest_job()
        for text in (output, stuck["text"]):
            self.assertIn("The quorum is lost: 1 of 2 members answer", text)
            self.assertIn(f"Bring {address(2)} back (boot it; there: systemctl start dh-etcd.service)", text)
            self.assertIn(f"run on {address(1)}: dhetcd rescue {stuck['job']}", text)

        self.assertIn(f'run "dhetcd rescue {stuck["job"]}"', self.rescue(YES, expect=REJECTED))
        self.rescued_by(self.rescue(YES, stuck["job"]))
        self.assertEqual(self.job(stuck["job"])["state"], "rescued")
        self.assertIn("nothing to settle", self.dhetcd("settle", stuck["job"]).stderr)
        self.bring_dh2_back(stuck["job"])
        self.assert_nothing_left()


    def test_5_power_cut_of_the_survivor(self):
        """Before the start it goes back at boot, after it forward; in between no boot starts etcd on half of it."""
        self.lose_dh2()
        before = self.files()
        for step, phase, state in (("rescue-data", "intent", "rolled-back"), ("rescue-release", "intent", "committed")):
            event = When(self.lab, step, phase, lambda: self.lab.cut_power("dh1"))
            self.dhetcd("rescue", YES)
            event.done()
            self.lab.boot("dh1", wait=False)
            self.wait("the rescue is settled", lambda: self.newest_job()["state"] not in ("queued", "running"), 300)
            self.assertEqual(self.newest_job()["state"], state)
            if state == "rolled-back":
                self.assertEqual(self.files(), before)
                self.assert_running()
        self.assert_voters(1)
        self.assertNotIn("force-new-cluster", self.lab.read("dh1", CONFIG))
        self.bring_dh2_back()
        self.assert_nothing_left()

    def test_6_power_cut_in_the_start(self):
        """Whether etcd was ready before the power cut nobody knows after it: what it acknowledged is not taken back."""
        self.lose_dh2()
        self.lab.exec("dh1", ["mv", "/usr/bin/etcd", "/usr/bin/etcd.away"])
        self.lab.write("dh1", "/usr/bin/etcd", "#!/bin/sh\n[ -e /run/slow ] && exec sleep 60\nexit 1\n", 0o755)
        self.lab.write("dh1", "/run/slow", "")  # gone with this boot
        try:
            self.assertEqual(self.dhetcd("--no-block", "rescue", YES).returncode, 0)
            job = self.newest_job()["job"]
            log = f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl"
            self.wait("etcd is to be started", lambda: '"boot"' in self.lab.read("dh1", log) and self.lab.exec(
                "dh1", ["systemctl", "is-active", "dh-etcd"], check=False).stdout == "activating\n")
            self.lab.cut_power("dh1")
            self.lab.boot("dh1", wait=False)
            self.wait("it is tried again", lambda: any("tried again" in str(e["MESSAGE"]) for e in self.journal(job)),
                      120)
        finally:
            self.lab.exec("dh1", ["mv", "/usr/bin/etcd.away", "/usr/bin/etcd"])
        self.wait("the rescue is settled", lambda: self.job(job)["state"] not in ("queued", "running"), 300)
        if self.job(job)["state"] == "stuck":
            self.assertEqual(self.dhetcd("settle", job).returncode, COMMITTED)
        self.assertEqual(self.job(job)["state"], "committed")
        self.assert_voters(1)
        self.bring_dh2_back()
        self.assert_nothing_left()

    def test_7_ready_and_then_stopped(self):
        """dhetcd's own password is wrong, others write, etcd is stopped: what they wrote is not taken back."""
        self.lose_dh2()
        password = "/etc/sysconfig/deephaven/etcd/client/root/password"
        right = self.lab.read("dh1", password)
        self.lab.write("dh1", CONF, "[job]\nStepTimeoutSec=15\n[settle]\nBudgetSec=5\nRetryBudgetSec=5\n")
        self.addCleanup(self.lab.exec, "dh1", ["rm", CONF])
        self.lab.write("dh1", password, "wrong\n", 0o600)
        try:
            self.assertIn("from here it only goes forward", self.rescue(YES, expect=STUCK))
            job = self.newest_job()["job"]
            self.lab.etcdctl("dh1", "put", "/while", "it was stuck", password=right.strip())
            record = self.lab.host("dh1").path(f"/var/lib/dhetcd/host/{job}-1/log.jsonl")
            size = record.stat().st_size
            self.assertEqual(self.dhetcd("settle", job).returncode, STUCK)
            self.assertEqual(record.stat().st_size, size)  # it runs: to start it once more is nothing
            self.lab.exec("dh1", ["systemctl", "stop", "dh-etcd"])
            self.assertEqual(self.dhetcd("settle", job).returncode, STUCK)
        finally:
            self.lab.write("dh1", password, right, 0o600)
        self.lab.exec("dh1", ["systemctl", "stop", "dh-etcd"])
        done = self.dhetcd("settle", job)
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assertEqual(self.key("/while"), "it was stuck")
        self.bring_dh2_back()
        self.assert_nothing_left()

    def test_8_not_enabled(self):
        """No boot starts dh-etcd, which is left so; the rescue that goes on in it does."""
        self.lose_dh2()
        self.lab.exec("dh1", ["systemctl", "disable", "dh-etcd"])
        self.addCleanup(self.lab.exec, "dh1", ["systemctl", "enable", "dh-etcd"])
        self.wait_at("forward.rescue-verify.after-intent")
        self.assertEqual(self.dhetcd("--no-block", "rescue", YES).returncode, 0)
        self.wait("the point is reached", self.is_reached, 60)
        self.lab.cut_power("dh1")
        self.disarm()
        self.lab.boot("dh1")
        self.wait("the rescue is settled", lambda: self.newest_job()["state"] not in ("queued", "running"), 300)
        self.assertEqual(self.newest_job()["state"], "committed")
        self.assertEqual(self.lab.exec("dh1", ["systemctl", "is-enabled", "dh-etcd"], check=False).stdout, "disabled\n")
        self.assert_voters(1)
        self.bring_dh2_back()
        self.assert_nothing_left()


class RescueSecond(RescueCase):
    """The first node is lost: the second goes on under its own number, and a new first one gets the free number."""

    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "new"}}

    def test_rescue(self):
        self.key("/before", "the rescue")
        self.lab.cut_power("dh1")
        self.assertIn("this host is no member", self.rescue_on("dh3", REJECTED))
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])  # then config.yaml says who the members are
        data = next(p for p in self.lab.host("dh2").path("/var/lib/etcd/dh").iterdir())
        data.rename(data.with_suffix(".away"))
        self.assertIn("What is left is a snapshot", self.rescue_on("dh2", REJECTED))
        data.with_suffix(".away").rename(data)
        self.rescue_on("dh2", COMMITTED)
        self.assert_voters(1)
        self.assertEqual(self.lab.etcdctl("dh2", "get", "--print-value-only", "/before").stdout.strip(), "the rescue")

        self.lab.exec("dh2", ["systemctl", "is-enabled", "dh-etcd"])
        self.add(address(3), host="dh2")
        self.assert_voters(2)
        expected = f"initial-cluster: etcd-1=https://{address(3)}:2380,etcd-2=https://{address(2)}:2380\n"
        for host in ("dh2", "dh3"):
            self.assertIn(expected, self.lab.read(host, CONFIG))

    def rescue_on(self, host, expect):
        done = self.dhetcd("rescue", YES, host=host)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr


class RescueOldest(RescueCase):
    """The same with etcd 3.4.23, which has no etcdutl."""

    lab_options = {"hosts": 2, "members": 2, "suite": "bookworm", "switches": {"ca": "same"}}

    def test_rescue(self):
        self.assertIn("2 of 2 members answer", self.rescue(YES, expect=REJECTED))
        self.key("/before", "the rescue")
        self.lose_dh2()
        self.rescued_by(self.rescue(YES))
        self.assertEqual(self.key("/before"), "the rescue")
        self.bring_dh2_back()

        job = self.newest_job()["job"]
        self.key("/after", "the snapshot")
        self.lose_dh2()
        self.rescued_by(self.rescue(YES, f"--from-snapshot={job}"))
        self.assertEqual((self.key("/before"), self.key("/after")), ("the rescue", ""))


if __name__ == "__main__":
    unittest.main()
