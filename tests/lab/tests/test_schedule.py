# SPDX-License-Identifier: LGPL-2.1-or-later
"""Off-hours: a date, a window, and everything that can be wrong with either. The hosts' clocks are real."""

import json
import time
import unittest

from support import REJECTED, ROLLED_BACK, USAGE, LabCase, address, members, states

NEVER = "2199-01-01 02:00:00"


def clock(seconds):
    """The time of day that many seconds from now, as the hosts' clocks show it."""
    return time.strftime("%H:%M:%S", time.gmtime(time.time() + seconds))


class Schedule(LabCase):
    slow, sample = 2, 0.4
    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.jobs = {j["job"] for j in map(json.loads, self.job_files("dh1"))}

    def schedule(self, *argv, expect=0):
        done = self.dhetcd("schedule", *argv)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def unschedule(self, node):
        done = self.dhetcd("unschedule", node)
        self.assertEqual(done.returncode, 0, done.stderr)

    def scheduled(self):
        return json.loads(self.dhetcd("schedule", "--json=short").stdout)

    def assert_no_schedule(self):
        host = self.lab.host("dh1")
        self.assertEqual(self.scheduled(), [])
        self.assertEqual(list(host.path("/etc/systemd/system").rglob("*dhetcd-add@*")), [])
        self.assertEqual(list(host.path("/var/lib/dhetcd/schedules").glob("*")), [])
        self.assertNotIn("dhetcd-add@", self.timers())

    def timers(self):
        return self.lab.exec("dh1", ["systemctl", "list-timers", "--no-legend", "--plain"]).stdout

    def new_jobs(self, kind="add"):
        jobs = map(json.loads, self.job_files("dh1"))
        return [j for j in jobs if j["job"] not in self.jobs and j["kind"] == kind]

    def wait_job(self, *states_wanted, timeout=120):
        self.wait("the scheduled job has ended",
                  lambda: any(j["state"] not in ("queued", "running") for j in self.new_jobs()), timeout)
        job = self.new_jobs()[0]
        self.assertIn(job["state"], states_wanted, job["text"])
        return job

    def seconds_needed(self, first, *later):
        """To the last promotion, as the plan foresees it."""
        steps = json.loads(self.dhetcd("--json=short", "plan", first, *later).stdout)["steps"]
        promote = next(n for n, s in enumerate(steps, 1) if s["point_of_no_return"])
        return sum(s["seconds"] for s in steps[:promote]) + len(later) * sum(s["seconds"] for s in steps)

    def log_of(self, job, node):
        log = self.lab.read("dh1", f"/var/lib/dhetcd/jobs/{job['job']}/{node}/log.jsonl")
        return [json.loads(line) for line in log.splitlines()]

    def test_1_bad_input(self):
        for argv, code, says in (
                ([address(2)], USAGE, "--on"), (["--on", "Sat 02:00"], USAGE, "--on"),
                ([address(2), "--on", "whenever"], REJECTED, "no calendar event"),
                ([address(2), "--on", "1999-01-01"], REJECTED, "no date that is still to come"),
                ([address(2), "--on", NEVER, "--until", "teatime"], USAGE, "time of day"),
                ([address(2), "--on", NEVER, "--until", "25:00", "--no-check"], USAGE, "time of day"),
                (["dh2", "--on", NEVER, "--no-check"], REJECTED, "dh2"),
                ([address(1), "--on", NEVER, "--no-check"], REJECTED, "own"),
                ([address(1), "--on", NEVER], REJECTED, "own")):
            with self.subTest(argv=argv):
                self.assertIn(says, self.schedule(*argv, expect=code))
        # What no command line of ours would send: systemd finds no date, and all of it is taken back.
        for on in ("whenever", "1999-01-01", "Sat\nPersistent=true", "%H"):
            with self.subTest(on=on):
                done = self.lab.exec("dh1", ["busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Manager",
                                             "Schedule", "asa{sv}tss", "1", address(2), "0", "0", on, ""], check=False)
                self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.dhetcd("unschedule", address(2)).returncode, REJECTED)
        self.assert_no_schedule()
        self.assert_unchanged(self.before, self.list_before)

    def test_2_checked_when_asked_for(self):
        said = self.schedule(address(2), address(3), "--on", "Sat 02:00", "--until", "05:00")
        self.assertEqual(said.count(" 02:00:00 UTC"), 3, said)
        listed = self.dhetcd("list").stdout
        self.assertIn(f"{address(2)},{address(3)}", listed.splitlines()[-1])
        self.assertIn(f"dhetcd-add@{address(2)}.timer", self.timers())
        self.assertIn("scheduled already", self.schedule(address(3), "--on", NEVER, "--no-check", expect=REJECTED))
        self.assertEqual([s["nodes"] for s in self.scheduled()], [[address(2), address(3)]])
        late = self.lab.exec("dh1", ["systemctl", "start", f"dhetcd-scheduled@{address(2)}"], check=False)
        self.assertNotEqual(late.returncode, 0)
        self.assertEqual(self.new_jobs(), [])
        self.lab.exec("dh1", ["systemctl", "reset-failed"])
        self.unschedule(address(3))
        self.assert_no_schedule()
        self.assert_unchanged(self.before, self.list_before)

    def test_3_window_too_short(self):
        said = self.schedule(address(2), "--on", "Sat 02:00:00", "--until", "02:00:05", expect=REJECTED)
        self.assertIn("the window is too short", said)
        said = self.dhetcd("add", address(2), "--until", clock(6))
        self.assertEqual(said.returncode, REJECTED, said.stdout + said.stderr)
        self.assertIn("the window is ", said.stdout)
        self.assert_no_schedule()
        self.assert_unchanged(self.before, self.list_before)

    def test_3_window_too_short_for_both(self):
        """One fits; the second would have the first, promoted by then, undone outside of the window."""
        window = ("--on", "Sat 02:00:00", "--until", "02:00:50")
        said = self.schedule(address(2), address(3), *window, expect=REJECTED)
        self.assertIn("to the last promotion takes about", said)
        self.schedule(address(2), address(3), *window, "--policy=keep")
        self.unschedule(address(2))
        # The host's clocks count, not the caller's.
        done = self.lab.exec("dh1", ["env", "TZ=America/New_York", "dhetcd", "schedule", address(2), *window[:3],
                                     "02:00:05"], check=False)
        self.assertEqual(done.returncode, REJECTED, done.stdout + done.stderr)
        self.assertIn("the window is too short", done.stdout + done.stderr)
        self.assert_no_schedule()
        self.assert_unchanged(self.before, self.list_before)

    def test_3_damaged_record(self):
        self.schedule(address(2), "--on", NEVER, "--no-check")
        self.lab.write("dh1", f"/var/lib/dhetcd/schedules/{address(2)}.json", "{")
        self.assertIn("scheduled already", self.schedule(address(2), "--on", NEVER, "--no-check", expect=REJECTED))
        self.unschedule(address(2))
        self.assert_no_schedule()

    def test_4_window_ends(self):
        self.lab.break_script("dh2", "enable_dh_etcd_systemd", "hang")
        try:
            done = self.dhetcd("add", address(2), "--until", clock(30))
        finally:
            self.lab.mend("dh2")
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        self.assertIn("the window ended before the node was promoted", done.stdout)
        self.assert_unchanged(self.before, self.list_before)

    def test_4_window_eaten_up(self):
        """The generator takes so long that what is left does not fit any more: the next step is not begun."""
        self.lab.break_script("dh1", "config_generator", "slow-20")
        try:
            done = self.dhetcd("add", address(2), "--until", clock(self.seconds_needed(address(2)) + 8))
        finally:
            self.lab.mend("dh1")
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        self.assertIn('the window is too short: from "merge" to the promotion takes about', done.stdout)
        log = self.log_of(self.new_jobs()[0], 1)
        self.assertEqual([r["step"] for r in log if r["type"] == "intent"][-1], "generate")
        self.assertEqual([r["step"] for r in log if r["type"] == "failed"], ["merge"])
        self.assert_unchanged(self.before, self.list_before)

    def test_5_unhealthy_in_between(self):
        self.schedule(address(2), "--on", f"*-*-* {clock(15)}")
        self.lab.exec("dh1", ["systemctl", "stop", "dh-etcd"])
        try:
            self.wait_job("rejected")
        finally:
            self.lab.exec("dh1", ["systemctl", "start", "dh-etcd"])
        self.lab.wait_healthy(1)
        self.assertEqual(len(self.scheduled()), 1)  # at its next date again
        self.unschedule(address(2))
        self.lab.exec("dh1", ["systemctl", "reset-failed"])
        self.assert_unchanged(self.before, self.list_before)

    def test_6_missed(self):
        self.schedule(address(2), "--on", f"*-*-* {clock(8)}", "--no-check")
        due = time.time() + 8
        self.lab.cut_power("dh1")
        self.wait("the date is over", lambda: time.time() > due + 1)
        self.lab.boot("dh1")
        self.lab.wait_healthy(1)
        self.assertIn(f"dhetcd-add@{address(2)}.timer", self.timers())
        self.assertEqual(self.new_jobs(), [])
        self.assertGreater(self.scheduled()[0]["next_usec"], (time.time() + 80000) * 1e6)
        self.unschedule(address(2))
        self.assert_unchanged(self.before, self.list_before)

    def test_6_window_ends_in_second(self):
        """Both are undone, though the first was promoted in time."""
        begin = 8
        until = clock(begin + self.seconds_needed(address(2), address(3)) + 6)
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "hang")
        try:
            self.schedule(address(2), address(3), "--on", f"*-*-* {clock(begin)}", "--until", until, "--no-check")
            job = self.wait_job("rolled-back", timeout=240)
        finally:
            self.lab.mend("dh3")
        self.assertIn("the window ended before the node was promoted", job["text"])
        said = [e["MESSAGE"] for e in self.journal(job["job"])]
        self.assertIn(f"Node {address(2)} is a healthy voting member.", said)
        self.assertIn("start", {r["step"] for r in self.log_of(job, 2) if r["type"] == "intent"})
        self.assertEqual([s["nodes"] for s in self.scheduled()], [[address(2), address(3)]])
        self.unschedule(address(2))
        self.lab.exec("dh1", ["systemctl", "reset-failed"])
        self.assert_unchanged(self.before, self.list_before)

    def test_7_reboot_then_job(self):
        self.schedule(address(2), address(3), "--on", f"*-*-* {clock(30)}", "--until", clock(300))
        self.lab.cut_power("dh1")
        self.lab.boot("dh1")
        job = self.wait_job("committed", timeout=180)
        self.assertEqual(job["nodes"], [address(2), address(3)])
        self.assert_voters(3)
        self.wait("the schedule has ended", lambda: not self.scheduled())
        self.assert_no_schedule()
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
