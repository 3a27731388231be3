# SPDX-License-Identifier: LGPL-2.1-or-later
"""etcd does what it was asked, and its answer is lost: the member list tells, nothing is done twice or forgotten."""

import unittest

from support import COMMITTED, ROLLED_BACK, LabCase, address, members, states

FAILPOINTS = "/var/lib/dhetcd/failpoints"
NEW = "dh3"


class LostReplies(LabCase):
    sample = 0.34
    lab_options = {"hosts": 3, "members": 2, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def failpoints(self, suffix=""):
        return self.lab.host("dh1").path(FAILPOINTS + suffix)

    def losing(self, calls, what):
        """Does it; each call's answer is lost once, and each was really asked."""
        points = [f"reply.{c}" for c in calls]
        self.lab.write("dh1", FAILPOINTS, "".join(f"{p} lose\n" for p in points), 0o600)
        try:
            what()
            hit = self.failpoints(".hit").read_text().split()
        finally:
            for suffix in ("", ".hit"):
                self.failpoints(suffix).unlink(missing_ok=True)
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

    # A restart of the leader that was not moved for sure is not done.
    def test_move_leader(self):
        before, list_before = states(self.lab), members(self.lab)
        self.losing(["MoveLeader"], lambda: self.add(address(3), expect=ROLLED_BACK, options=["--restart=always"]))
        self.assert_unchanged(before, list_before)


if __name__ == "__main__":
    unittest.main()
