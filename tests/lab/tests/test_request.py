# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was asked for reaches the job by each way: by grow, after its installer, and by a schedule, at its date."""

import json
import time
import unittest

from support import BUSY, REJECTED, LabCase, address, members, states
from test_install import CNF, DIR, cnf
from test_schedule import clock


class Request(LabCase):
    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.jobs = set(self.job_files("dh1"))
        self.lab.write("dh1", CNF, cnf(1))

    def grow(self, *options, expect=0):
        done = self.dhetcd("grow", f"--installer-dir={DIR}", *options, address(2), address(3))
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def installs(self):
        return json.loads(self.dhetcd("install", "--list", "--json=short").stdout)

    def due(self, *options):
        """What the timer does at the date of a schedule, which was five seconds ago."""
        done = self.dhetcd("schedule", address(2), "--on", f"*-*-* {clock(-5)}", "--no-check", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        unit = f"dhetcd-scheduled@{address(2)}"
        self.lab.exec("dh1", ["systemctl", "start", unit], check=False)
        status = self.lab.exec("dh1", ["systemctl", "show", "-P", "ExecMainStatus", unit]).stdout.strip()
        self.assertEqual(self.dhetcd("unschedule", address(2)).returncode, 0)
        self.lab.exec("dh1", ["systemctl", "reset-failed"])
        return int(status)

    # The installer takes longer than the window.
    def test_1_window_ends_before_the_job(self):
        self.lab.break_script("dh1", "master_install", "slow")
        try:
            said = self.grow("--until", clock(3), expect=REJECTED)
        finally:
            self.lab.mend("dh1", "master_install")
        self.assertIn("the window ended before the nodes could be added", said)
        self.assertEqual(set(self.job_files("dh1")), self.jobs)
        self.assert_unchanged(self.before, self.list_before)

    # Another job is asked for while the installer runs.
    def test_2_grow_does_not_wait(self):
        self.lab.break_script("dh1", "master_install", "slow")
        try:
            install = self.dhetcd("grow", "--no-block", "--no-wait", f"--installer-dir={DIR}", address(2)).stdout.strip()
            self.assertEqual(self.dhetcd("add", "--no-wait", address(3)).returncode, BUSY)
            other = self.dhetcd("add", "--no-block", "10.128.1.99").stdout.strip()
            self.assertEqual(self.dhetcd("grow", "--no-wait", f"--installer-dir={DIR}", address(2)).returncode, BUSY)
            self.wait("grow has ended", lambda: self.installs()[0]["state"] != "running")
        finally:
            self.lab.mend("dh1", "master_install")
        found = self.installs()[0]
        self.assertEqual((found["install"], found["state"], found["busy"]), (install, "failed", True))
        self.assertIn(other, found["text"])
        self.wait("the other job has ended", lambda: self.job(other)["state"] == "rejected")
        self.assertEqual(len(set(self.job_files("dh1")) - self.jobs), 1)
        self.assert_unchanged(self.before, self.list_before)

    def test_3_scheduled_does_not_wait(self):
        self.lab.break_script("dh1", "config_generator", "hang")
        try:
            job = self.dhetcd("add", "--no-block", address(3)).stdout.strip()
            self.assertEqual(self.due("--no-wait"), BUSY)
            self.assertEqual([j["job"] for j in map(json.loads, set(self.job_files("dh1")) - self.jobs)], [job])
            self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
            self.wait("the job has ended", lambda: self.job(job)["state"] not in ("queued", "running"))
        finally:
            self.lab.mend("dh1", "config_generator")
        self.assert_unchanged(self.before, self.list_before)

    # The timer elapses a little late, and the end of the window is the next one.
    def test_3_scheduled_window_is_over(self):
        self.assertEqual(self.due("--until", clock(-2)), REJECTED)
        missed = self.lab.exec("dh1", ["journalctl", "-o", "cat", "MESSAGE_ID=b1c40ed2fd7a4b0d9a2c6dbb3f3f0a35"]).stdout
        self.assertIn("its window is over", missed)
        self.assertEqual(set(self.job_files("dh1")), self.jobs)
        self.assert_unchanged(self.before, self.list_before)

    def test_4_grow_in_its_window(self):
        begun = time.time()
        self.grow("--until", clock(240), "--no-wait", "--policy=keep")
        options = self.newest_job()["options"]
        self.assertEqual((options["wait"], options["policy"]), (False, "keep"))
        self.assertLess(abs(options["deadline"] / 1e6 - begun - 240), 3)
        self.assertLessEqual(options["wait-timeout"] / 1e6, 240)
        self.assert_voters(3)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
