# SPDX-License-Identifier: LGPL-2.1-or-later
"""The last moment before the point of no return: etcd itself would promote a learner that is dead."""

import unittest

from support import ROLLED_BACK, LabCase, address, members, states

FAILPOINTS = "/var/lib/dhetcd/failpoints"


class DeadLearner(LabCase):
    """In sync a moment ago, it is down when it is to be promoted: a cluster of one would lose its quorum to it."""

    slow = 1
    lab_options = {"hosts": 2, "members": 1, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def test_not_promoted(self):
        before, list_before = states(self.lab), members(self.lab)
        reached = self.lab.host("dh1").path(f"{FAILPOINTS}.reached")
        self.lab.write("dh1", FAILPOINTS, "run.promote.before-intent wait\n", 0o600)
        job = self.dhetcd("add", "--no-block", address(2)).stdout.split()[-1]
        self.wait("the promotion is reached", reached.exists)
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        self.assertTrue(self.has_learner())
        reached.unlink()  # nothing is written meanwhile, so that etcd itself takes the learner for in sync
        done = self.dhetcd("watch", job)
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        failed = [e["DHETCD_STEP"] for e in self.journal(job) if e.get("DHETCD_PHASE") == "failed"]
        self.assertEqual(failed, ["promote"])
        for suffix in ("", ".hit"):
            self.lab.host("dh1").path(FAILPOINTS + suffix).unlink(missing_ok=True)
        self.assert_unchanged(before, list_before)


if __name__ == "__main__":
    unittest.main()
