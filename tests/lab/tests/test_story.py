# SPDX-License-Identifier: LGPL-2.1-or-later
"""The journal of the job's host is the whole story: what a script printed elsewhere is told there, however the job ends."""

import time
import unittest

from support import REJECTED, ROLLED_BACK, LabCase, address, members, states

SCRIPT = "/usr/illumon/latest/install/etcd/enable_dh_etcd_systemd.sh"
CANCELED = "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a07"
OUTPUT = "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a19"
NEW, NODE = "dh2", address(2)


class Story(LabCase):
    lab_options = {"hosts": 2, "members": 1, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.lab.exec(NEW, ["cp", "-a", SCRIPT, "/root/script"])
        self.addCleanup(self.lab.exec, NEW, ["cp", "-a", "/root/script", SCRIPT])

    def prints(self, count, then):
        """The vendor's script on the new host prints so many lines, half of them as errors, and then does that."""
        self.lab.exec(NEW, ["tee", SCRIPT], input="#!/bin/bash\n"
                      f"for ((i = 1; i <= {count}; i++)); do echo \"word $i\" >&$((1 + i % 2)); done\n{then}\n")

    def unit(self, job):
        return f"dhetcd-exec-{job}-1-start-enable.service"

    def printed(self, job):
        """All lines of the script, as its own host's journal has them; each with the job's fields."""
        lines = [e for e in self.journal(job, host=NEW) if e.get("_SYSTEMD_UNIT") == self.unit(job)]
        for e in lines:
            self.assertEqual([e.get(f"DHETCD_{f}") for f in ("TXN", "STEP", "HOST", "UNIT")],
                             [f"{job}-1", "start", NODE, self.unit(job)])
        return [e["MESSAGE"] for e in lines]

    def told(self, job):
        """The same as the job's host tells them."""
        return [e["MESSAGE"] for e in self.journal(job)
                if e.get("MESSAGE_ID") == OUTPUT and e.get("DHETCD_UNIT") == self.unit(job) and e["DHETCD_HOST"] == NODE]

    def begin(self, count):
        """A job whose script has printed all, and goes on for ever."""
        self.prints(count, "exec sleep infinity")
        job = self.dhetcd("add", "--no-block", NODE).stdout.strip()
        self.wait("the script has printed all", lambda: len(self.printed(job)) == count)
        self.assertEqual(self.told(job), [])
        return job

    def check(self, job, count, earlier=0):
        """Each line once, in order; those that are too many are counted."""
        words = [f"word {n}" for n in range(1, count + 1)]
        self.assertEqual(self.printed(job), words)
        expected = [f"{NODE}: {word}" for word in words[earlier:]]
        if earlier:
            expected.insert(0, f"{NODE}: {earlier} earlier lines are only in the journal of {NODE}; see there: "
                               f"journalctl -u {self.unit(job)}")
        self.assertEqual(self.told(job), expected)
        self.assert_unchanged(self.before, self.list_before)

    def test_script_fails(self):
        """systemctl says so, too: its exit code, the unit's state, and the cause in its status."""
        unit = f"dhetcd-add@{NODE}"
        self.prints(1200, "exit 3")
        done = self.lab.exec("dh1", ["systemctl", "start", unit], check=False, timeout=180)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.lab.exec("dh1", ["systemctl", "is-failed", unit], check=False).stdout, "failed\n")
        status = self.lab.exec("dh1", ["systemctl", "status", "--no-pager", "-l", unit], check=False).stdout
        job = self.newest_job()["job"]
        self.assertIn(f"{job}: rolled-back: ", status)
        self.assertIn(f"{NODE}: the vendor's script \"enable\" failed (exit-code, status 3); its last line: word 1200", status)
        self.check(job, 1200, earlier=701)
        self.lab.exec("dh1", ["systemctl", "reset-failed", unit])

    def test_canceled(self):
        job = self.begin(1200)
        self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
        self.assertEqual(self.dhetcd("watch", job).returncode, ROLLED_BACK)
        self.check(job, 1200, earlier=701)

    def test_canceled_before_the_first_step(self):
        """Its worker had not even begun: the state, the journal and the exit code say that it was canceled."""
        program = "/usr/libexec/dhetcd/dhetcd-worker"
        self.lab.exec("dh1", ["cp", "-a", program, "/usr/libexec/dhetcd/worker"])
        self.addCleanup(self.lab.exec, "dh1", ["cp", "-a", "--remove-destination", "/usr/libexec/dhetcd/worker", program])
        self.lab.exec("dh1", ["rm", program])
        self.lab.write("dh1", program, "#!/bin/sh\n[ $1 != run ] || exec sleep infinity\n"
                       "exec /usr/libexec/dhetcd/worker \"$@\"\n", 0o755)
        job = self.dhetcd("add", "--no-block", NODE).stdout.strip()
        self.wait("its worker is there", lambda: self.lab.exec("dh1", ["pgrep", "-x", "sleep"], check=False).stdout)
        self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
        self.assertEqual(self.dhetcd("watch", job).returncode, REJECTED)
        self.assertEqual(self.job(job)["state"], "canceled")
        self.assertIn("canceled before anything of it was changed", self.job(job)["text"])
        ends = [e["MESSAGE"] for e in self.journal(job) if e.get("MESSAGE_ID") == CANCELED]
        self.assertEqual(ends, [f"Job {job} was canceled: {self.job(job)['text']}"])
        self.assert_unchanged(self.before, self.list_before)

    def test_worker_killed(self):
        job = self.begin(20)
        self.lab.exec("dh1", ["pkill", "-KILL", "-x", "dhetcd-worker"])
        self.wait("the job has ended", lambda: self.job(job)["state"] == "rolled-back")
        self.check(job, 20)

    def test_connection_lost(self):
        job = self.begin(20)
        self.lab.exec("dh1", ["pkill", "-KILL", "-x", "ssh"])
        self.lab.cut_link(NEW)
        self.wait("the step has failed", lambda: any(e.get("DHETCD_PHASE") == "undo" for e in self.journal(job)))
        self.lab.mend_link(NEW)
        self.wait("the job has ended", lambda: self.job(job)["state"] == "rolled-back")
        self.check(job, 20)

    def test_connection_lost_for_a_moment(self):
        """The step does not fail for it, only for how its script ends."""
        self.prints(20, "sleep 20; exit 3")
        job = self.dhetcd("add", "--no-block", NODE).stdout.strip()
        self.wait("the script has printed all", lambda: len(self.printed(job)) == 20)
        self.lab.cut_link(NEW)
        self.lab.exec("dh1", ["pkill", "-KILL", "-x", "ssh"])  # the next one finds no way to it
        time.sleep(11)
        self.lab.mend_link(NEW)
        self.wait("the job has ended", lambda: self.job(job)["state"] == "rolled-back")
        self.assertIn("failed (exit-code, status 3)", self.job(job)["text"])
        self.check(job, 20)


if __name__ == "__main__":
    unittest.main()
