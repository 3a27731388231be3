# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was committed is taken back: by "dhetcd rollback", or because a later node of the same job failed."""

import unittest

from support import COMMITTED, CONF, REJECTED, ROLLED_BACK, STUCK, LabCase, address, members, states

LOCK = "/var/lib/dhetcd/host/lock.json"


class Revert:
    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)

    def assert_as_before(self):
        self.assert_unchanged(self.before, self.list_before)

    # The second node of a job fails: the first, a voter already, is taken out again.
    def test_pair(self):
        for script, mode in (("config_packager.unpackage-server", "half-fail"), ("enable_dh_etcd_systemd", "fail")):
            with self.subTest(script=script), self.lab.writer() as writer:
                self.lab.break_script("dh3", script, mode)
                try:
                    output = self.add(address(2), address(3), expect=ROLLED_BACK)
                finally:
                    self.lab.mend("dh3", script)
                self.assertIn(f"Node {address(2)} is a healthy voting member", output)
                self.assertIn(f"removing the voter {address(2)}", output)
                self.assert_as_before()
                writer.check(expect_writes=20)

    # Canceled while the second is added: all of the job is put back.
    def test_pair_canceled(self):
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "hang")
        try:
            job = self.dhetcd("add", "--no-block", address(2), address(3)).stdout.strip()
            self.wait("the second learner is added", lambda: len(self.lab.members()["members"]) == 3)
            self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
            self.assertEqual(self.dhetcd("watch", job).returncode, ROLLED_BACK)
        finally:
            self.lab.mend("dh3")
        self.assert_as_before()

    # Policy "keep" stops, and says what the cluster now bears; then the job is taken back by hand.
    def test_pair_kept(self):
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "fail")
        try:
            output = self.add(address(2), address(3), expect=ROLLED_BACK, options=["--policy=keep"])
        finally:
            self.lab.mend("dh3")
        self.assertIn("The cluster has 2 members and bears the loss of 0", output)
        self.assert_voters(2)
        job = self.newest_job()["job"]
        self.assertEqual(self.dhetcd("rollback", job).returncode, COMMITTED)
        self.assert_as_before()

    # A finished job of two nodes; a client writes all the time.
    def test_finished(self):
        with self.lab.writer() as writer:
            self.add(address(2), address(3))
            self.assert_voters(3)
            job = self.newest_job()["job"]

            # What was changed since is not thrown away unasked.
            path = "/etc/etcd/dh/latest/config.yaml"
            self.lab.exec("dh2", ["cp", "-a", path, "/root/config.yaml"])
            self.lab.exec("dh2", ["sh", "-c", f"echo '# by hand' >>{path}"])
            refused = self.dhetcd("rollback", job)
            self.assertEqual(refused.returncode, REJECTED, refused.stdout)
            self.assertIn("--force", refused.stdout)
            self.assert_voters(3)
            self.assertEqual(self.job(job)["state"], "committed")
            self.assert_nothing_left()

            self.lab.exec("dh2", ["cp", "-a", "/root/config.yaml", path])
            done = self.dhetcd("rollback", job)
            self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assertEqual(self.job(job)["state"], "rolled-back")
        self.assert_as_before()
        print(f"\n3 → 1, taken back: {writer.check(expect_writes=20)}")
        again = self.dhetcd("rollback", job)
        self.assertEqual(again.returncode, REJECTED)
        self.assertIn("nothing of it is left", again.stderr)

    # The worker dies while it takes back.
    def test_killed(self):
        self.add(address(2))
        job = self.newest_job()["job"]
        self.assertEqual(self.dhetcd("rollback", "--no-block", job).returncode, 0)
        self.wait("the voter is removed", lambda: len(self.lab.members()["members"]) == 1)
        self.lab.exec("dh1", ["pkill", "-KILL", "-x", "dhetcd-worker"], check=False)
        self.assertEqual(self.dhetcd("watch", job).returncode, ROLLED_BACK)
        self.assert_as_before()

    # With the new node dead, a cluster of two has no quorum to remove it with: refused, nothing is changed.
    def test_no_quorum(self):
        self.add(address(2))
        job = self.newest_job()["job"]
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            refused = self.dhetcd("rollback", job)
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
        self.assertEqual(refused.returncode, REJECTED, refused.stdout)
        self.assertNotEqual(self.job(job)["state"], STUCK)
        self.lab.wait_healthy(2)
        self.assertEqual(self.dhetcd("rollback", job).returncode, COMMITTED)
        self.assert_as_before()


class RevertSameCA(Revert, LabCase):
    slow, sample = 2, 0.5
    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "same"}}


class RevertNewCA(Revert, LabCase):
    slow, sample = 1, 0.17
    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "new"}}


class RevertFaults(LabCase):
    """Faults in the middle of a rollback of two voters to one."""

    lab_options = {"hosts": 2, "members": 1, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def take_back_until(self, point):
        """The job of a node that is taken out again, and waits there."""
        self.addCleanup(self.disarm)
        self.add(address(2))
        job = self.newest_job()["job"]
        self.disarm()
        self.wait_at(point)
        self.assertEqual(self.dhetcd("rollback", "--no-block", job).returncode, 0)
        self.wait(f"{point} is reached", self.is_reached)
        return job

    def test_1_the_worker_dies_while_it_looks(self):
        self.add(address(2))
        job, hosts = self.newest_job()["job"], states(self.lab)
        lock = self.lab.host("dh1").path(LOCK)
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            self.assertEqual(self.dhetcd("rollback", "--no-block", job).returncode, 0)
            self.wait("the host is locked", lock.exists)
            self.lab.exec("dh1", ["pkill", "-KILL", "-x", "dhetcd-worker"])
            self.wait("the job has ended", lambda: self.job(job)["state"] != "running")
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
        self.assertEqual(self.job(job)["state"], "committed")
        self.lab.wait_healthy(2)
        self.assertEqual({n: h["files"] for n, h in states(self.lab).items()}, {n: h["files"] for n, h in hosts.items()})
        self.assert_nothing_left()
        self.assertEqual(self.dhetcd("rollback", job).returncode, COMMITTED)

    # A voter that cannot be removed keeps its files: etcd on it must come back, or the quorum is lost for good.
    def test_2_the_voter_is_away_just_then(self):
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=5\n")
        before, list_before = states(self.lab), members(self.lab)
        job = self.take_back_until("undo.promote.before-intent")
        files = states(self.lab)["dh2"]["files"]
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        self.disarm()
        self.wait("the job is stuck", lambda: self.job(job)["state"] == "stuck")
        self.assertEqual(states(self.lab)["dh2"]["files"], files)
        # No other job is begun meanwhile: it would wait for the hosts that this one holds.
        refused = self.dhetcd("add", "10.128.1.77")
        self.assertEqual(refused.returncode, REJECTED)
        self.assertIn(f"end it first: dhetcd settle {job}", refused.stdout + refused.stderr)

        self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
        self.dhetcd("settle", job)
        self.assertEqual(self.job(job)["state"], "rolled-back")
        self.lab.exec("dh1", ["rm", CONF])
        self.assert_unchanged(before, list_before)

    # What it locked to look is released, however long a host is away.
    def test_3_a_host_is_away_while_it_looks(self):
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=5\n")
        before, list_before = states(self.lab), members(self.lab)
        job = self.take_back_until("revert.look.locked")
        self.lab.cut_power("dh2")
        self.disarm()
        self.wait("the job is stuck", lambda: self.job(job)["state"] == "stuck", 120)
        self.assertIn(f"a lock is left: {address(2)}", self.job(job)["text"])
        self.lab.boot("dh2")
        lock = self.lab.host("dh2").path(LOCK)
        self.assertTrue(lock.exists())

        self.lab.wait_healthy(2)
        done = self.dhetcd("settle", job)
        self.assertEqual(self.job(job)["state"], "committed", done.stdout + done.stderr)
        self.assertFalse(lock.exists())
        self.assert_nothing_left()
        self.assertEqual(self.dhetcd("rollback", job).returncode, COMMITTED)
        self.lab.exec("dh1", ["rm", CONF])
        self.assert_unchanged(before, list_before)


if __name__ == "__main__":
    unittest.main()
