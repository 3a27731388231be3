# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two nodes as one job, whose second fails at each of its steps: the first, a voter by then, is undone too."""

import unittest

from support import COMMITTED, ROLLED_BACK, LabCase, address, members, states

FAILPOINTS = "/var/lib/dhetcd/failpoints"
# Up to the promotion; from there on what fails is tried again, not undone. (The package is generated once for all.)
UNDONE = ("preflight", "lock", "backup", "merge", "deploy", "narrow", "restart", "add-learner", "start", "sync")
FORWARD = ("finish", "verify", "unlock")


class PairAtEachStep(LabCase):
    """The job's host cannot write its log any more when the second node is at the step."""

    slow, sample = 2, 0.15
    lab_options = {"hosts": 3, "members": 1, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def fail_second(self, point, expect):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.write("dh1", FAILPOINTS, f"{point} 2 eio\n", 0o600)
        try:
            with self.lab.writer() as writer:
                output = self.add(address(2), address(3), expect=expect, options=["--restart=always"])
        finally:
            for suffix in ("", ".hit"):
                (self.lab.host("dh1").path(FAILPOINTS + suffix)).unlink(missing_ok=True)
        self.assertIn(f"Node {address(2)} is a healthy voting member", output)
        writer.check(expect_writes=20)
        if expect == ROLLED_BACK:
            self.assertIn(f"removing the voter {address(2)}", output)
            self.assert_unchanged(before, list_before)
        else:
            self.assert_voters(3)
            self.assert_nothing_left()
            done = self.dhetcd("rollback", self.newest_job()["job"])
            self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
            self.assert_unchanged(before, list_before)


def case(point, expect):
    return lambda self: self.fail_second(point, expect)


for each in UNDONE:
    setattr(PairAtEachStep, f"test_{each.replace('-', '_')}", case(f"run.{each}.before-done", ROLLED_BACK))
for each in FORWARD:
    setattr(PairAtEachStep, f"test_{each}", case(f"forward.{each}.before-done", COMMITTED))


if __name__ == "__main__":
    unittest.main()
