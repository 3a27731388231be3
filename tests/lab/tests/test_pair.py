# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two nodes as one job, whose second fails at each of its steps: the first, a voter by then, is undone too."""

import unittest

from support import COMMITTED, ROLLED_BACK, LabCase, address, members, states

FAILPOINTS = "/var/lib/dhetcd/failpoints"
# Up to the promotion; from there on what fails is tried again, not undone. (The package is generated, and its CA
# trusted, once for all.)
UNDONE = ("preflight", "lock", "backup", "merge", "deploy", "narrow", "restart", "add-learner", "start", "sync")
FORWARD = ("finish", "verify", "unlock")


def options(ca):
    return {"hosts": 3, "members": 1, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": ca}}


class Pair:
    """The job's host cannot write its log any more when the second node is at the step."""

    def fail_second(self, point, expect):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.write("dh1", FAILPOINTS, f"{point} 2 eio\n", 0o600)
        try:
            with self.lab.writer() as writer:
                output = self.add(address(2), address(3), expect=expect, options=["--restart=always"], timeout=300)
            hits = self.lab.read("dh1", FAILPOINTS + ".hit").splitlines().count(point)
        finally:
            for suffix in ("", ".hit"):
                (self.lab.host("dh1").path(FAILPOINTS + suffix)).unlink(missing_ok=True)
        self.assert_struck(point, hits, expect)
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

    def assert_struck(self, point, hits, expect):
        """The fault was there: at the second node, and after a commit the step was tried again."""
        job, step = self.newest_job()["job"], point.split(".")[1]
        told = [e for e in self.journal(job) if e.get("DHETCD_TXN") == f"{job}-2"]
        phases = [e["DHETCD_PHASE"] for e in told if e.get("DHETCD_STEP") == step and "DHETCD_PHASE" in e]
        if expect == COMMITTED:
            self.assertGreater(hits, 2)
            self.assertIn("retry", phases)
        else:  # its own failure cannot be logged either: the worker gives up, and the settling knows the rest
            self.assertEqual(hits, 2)
            self.assertIn("intent", phases)
            self.assertNotIn("done", phases)
            self.assertTrue([e for e in told if e["MESSAGE"].startswith(f'"dhetcd-worker run {job}-2" ended: ')])


def case(point, expect):
    return lambda self: self.fail_second(point, expect)


for each in UNDONE:
    setattr(Pair, f"test_{each.replace('-', '_')}", case(f"run.{each}.before-done", ROLLED_BACK))
for each in FORWARD:
    setattr(Pair, f"test_{each}", case(f"forward.{each}.before-done", COMMITTED))
# It would have happened after it; here it may not even be asked for.
Pair.test_promote = case("run.promote.before-intent", ROLLED_BACK)


class PairAtEachStep(Pair, LabCase):
    slow, sample = 1, 0.07
    lab_options = options("same")


class PairNewCA(Pair, LabCase):
    slow, sample = 1, 0.07
    lab_options = options("new")


if __name__ == "__main__":
    unittest.main()
