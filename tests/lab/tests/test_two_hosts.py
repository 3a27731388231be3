# SPDX-License-Identifier: LGPL-2.1-or-later
"""Additions that two hosts are asked for at once: each job changes a cluster that the other one leaves alone."""

import unittest

from support import COMMITTED, FAILPOINTS, REJECTED, ROLLED_BACK, STUCK, LabCase, address

LOCK = "run.lock.before-intent"
AT_WORK = "run.generate.before-intent"
WITH_LEARNER = "run.sync.before-intent"


class TwoHostsCase(LabCase):
    """dh1 and dh2 are members, and both are asked for a node."""

    lab_options = {"hosts": 5, "members": 2, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def begin(self, host, node, point):
        """The job, which waits at the point."""
        self.wait_at(point, host)
        done = self.dhetcd("--no-block", "add", address(node), host=host)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait(f"{point} is reached", lambda: self.is_reached(host), 60)
        return self.newest_job(host)["job"]

    def told(self, job, host):
        return "\n".join(str(e["MESSAGE"]) for e in self.journal(job, host))

    def end(self, job, host, expect):
        done = self.dhetcd("watch", "--quiet", job, host=host)
        self.assertEqual(done.returncode, expect, self.told(job, host))


class TwoHosts(TwoHostsCase):
    slow, sample = 2, 0.3

    def voters(self):
        return [m["name"] for m in self.lab.members()["members"]]

    def test_1_changed_since_the_preflight(self):
        """The other job ends between this one's preflight and its lock: it looks again, and adds its node beside."""
        job = self.begin("dh2", 4, LOCK)
        self.add(address(3))
        self.disarm("dh2")
        self.end(job, "dh2", COMMITTED)
        self.assertIn("The cluster is looked at again", self.told(job, "dh2"))
        self.assert_voters(4)
        self.assert_nothing_left()

    def test_2_taken_out_since_the_preflight(self):
        """A member of the plan is none any more: the job is refused, and that host held by nobody."""
        if len(self.voters()) == 2:
            self.add(address(4), host="dh2")
        before = len(self.voters())
        job = self.begin("dh1", 5, LOCK)
        added = self.newest_job("dh2")["job"]
        done = self.dhetcd("rollback", added, host="dh2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.disarm()
        self.end(job, "dh1", REJECTED)
        self.assertIn(f"{address(4)} was taken out of the cluster meanwhile", self.job(job)["text"])
        self.assert_voters(before - 1)
        self.assert_nothing_left()

    def test_3_the_same_node(self):
        """While dh1's job is at work dh2's is refused or waits, as asked for; rolled back, it leaves the node to dh2's."""
        before = len(self.voters())
        first = self.begin("dh1", 5, WITH_LEARNER)
        held = f"is held by job {first} of {address(1)}; see there: dhetcd show {first}"
        refused = self.dhetcd("add", "--no-wait", address(5), host="dh2")
        self.assertEqual(refused.returncode, REJECTED, refused.stdout + refused.stderr)
        self.assertIn(f"this host {held}", refused.stdout + refused.stderr)
        planned = self.dhetcd("plan", address(5), host="dh2")
        self.assertEqual(planned.returncode, REJECTED, planned.stdout + planned.stderr)
        self.assertIn(held, planned.stdout + planned.stderr)
        self.assertNotIn("member remove", planned.stdout + planned.stderr)

        second = self.dhetcd("--no-block", "add", address(5), host="dh2").stdout.split()[-1]
        self.wait("it waits", lambda: f"waiting: this host {held}" in self.told(second, "dh2"), 60)
        self.assertEqual(self.dhetcd("cancel", first).returncode, 0)
        self.disarm()
        self.end(first, "dh1", ROLLED_BACK)
        self.end(second, "dh2", COMMITTED)
        self.assert_voters(before + 1)
        self.assert_nothing_left()


class TwoHostsSeveral(TwoHostsCase):
    """dh2's job has its turn between the two nodes of dh1's."""

    slow = 1

    def test_not_taken_back(self):
        """The second node fails, and the first cannot be taken out any more: it may stay, and nothing is held."""
        self.lab.break_script("dh5", "enable_dh_etcd_systemd", "fail")
        self.addCleanup(self.lab.mend, "dh5", "enable_dh_etcd_systemd")
        self.lab.write("dh1", FAILPOINTS, "run.preflight.after-intent 2 wait\n", 0o600)
        first = self.dhetcd("--no-block", "add", address(3), address(5)).stdout.split()[-1]
        self.wait("it is at work", lambda: "backup" in self.told(first, "dh1"), 60)
        second = self.begin("dh2", 4, AT_WORK)
        self.wait("the first node is added", self.is_reached, 120)
        self.disarm()
        self.wait("it waits", lambda: f"waiting: this host is held by job {second}" in self.told(first, "dh1"), 60)
        self.disarm("dh2")
        self.end(second, "dh2", COMMITTED)
        self.end(first, "dh1", STUCK)
        job = self.job(first)
        self.assertIn("the member list has 4 members instead of 3", job["text"])
        self.assertIn(f'to let it stay, "dhetcd cancel {first}"', job["text"])

        done = self.dhetcd("cancel", first)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"members of the cluster now: {address(3)}", self.job(first)["text"])
        self.end(first, "dh1", ROLLED_BACK)
        self.assertIn("nothing to settle", self.dhetcd("settle", first).stderr)
        self.assert_voters(4)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
