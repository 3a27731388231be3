# SPDX-License-Identifier: LGPL-2.1-or-later
"""etcd does what it was asked, and its answer is lost: the member list tells, nothing is done twice or forgotten."""

import time
import unittest

from support import COMMITTED, FAILPOINTS, ROLLED_BACK, LabCase, address, members, states

NEW = "dh3"


class LostReplies(LabCase):
    sample = 0.34
    lab_options = {"hosts": 3, "members": 2, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def losing(self, calls, what):
        """Does it; each call's answer is lost once, and each was really asked."""
        points = [f"reply.{c}" for c in calls]
        self.lab.write("dh1", FAILPOINTS, "".join(f"{p} lose\n" for p in points), 0o600)
        try:
            what()
            hit = self.failpoints(".hit").read_text().split()
        finally:
            self.disarm()
        for point in points:
            self.assertIn(point, hit)

    def test_forward_and_back(self):
        before, list_before = states(self.lab), members(self.lab)
        with self.lab.writer() as writer:
            self.losing(["MemberAdd", "MemberPromote"], lambda: self.add(address(3)))
            self.assert_voters(3)
            job = self.newest_job()["job"]

            def roll_back():
                done = self.dhetcd("rollback", job)
                self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
            self.losing(["MemberRemove"], roll_back)
        self.assert_unchanged(before, list_before)
        writer.check(expect_writes=20)

    def test_undo(self):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "fail")
        try:
            self.losing(["MemberAdd", "MemberRemove"], lambda: self.add(address(3), expect=ROLLED_BACK))
        finally:
            self.lab.mend(NEW)
        self.assert_unchanged(before, list_before)

    def test_move_leader(self):
        """The members tell who leads now: another one, which is what was asked for."""
        before, list_before = states(self.lab), members(self.lab)
        self.losing(["MoveLeader"], lambda: self.add(address(3), options=["--restart=always"]))
        done = self.dhetcd("rollback", self.newest_job()["job"])
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_unchanged(before, list_before)

    def test_link_down_in_the_backup(self):
        """No quorum for longer than one question to etcd may take: the snapshot is taken when there is one again."""
        before, list_before = states(self.lab), members(self.lab)
        self.wait_at("run.lock.after-done")
        try:
            job = self.dhetcd("add", "--no-block", address(3)).stdout.strip()
            self.wait("the point is reached", self.is_reached)
            self.lab.cut_link("dh1")
            self.lab.break_connections("dh1")
        finally:
            self.disarm()
        time.sleep(14)
        self.lab.mend_link("dh1")
        self.wait("the job has ended", lambda: self.job(job)["state"] != "running", 120)
        self.assertEqual(self.job(job)["state"], "committed", self.job(job))
        self.assertTrue([e for e in self.journal(job) if "trying again for 15 s: " in e["MESSAGE"]])
        done = self.dhetcd("rollback", job)
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_unchanged(before, list_before)


if __name__ == "__main__":
    unittest.main()
