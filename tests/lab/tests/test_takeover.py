# SPDX-License-Identifier: LGPL-2.1-or-later
"""The job's host is gone for good: another host ends the job, and the old one follows when it is back all the same."""

import unittest

from support import COMMITTED, REJECTED, ROLLED_BACK, LabCase, When, address, fingerprint, members, states

NEW, LOCK = "dh4", "/var/lib/dhetcd/host/lock.json"


class TakeoverCase(LabCase):
    def boot(self):
        """dh1, not waiting for its etcd, which may need what runs at boot."""
        self.lab.boot("dh1", wait=False)
        self.wait("dh1 is up", lambda: self.lab.host("dh1").init_pid() and self.lab.host("dh1").reachable(), 60)
        self.wait("its recovery is begun", lambda: self.lab.exec("dh1", [
            "systemctl", "start", "--no-block", "dhetcd-recover.service"], check=False).returncode == 0, 60)

    def begin(self):
        """A job that hangs on the new host, whose learner is in the member list."""
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "hang")
        self.lab.exec("dh1", ["dhetcd", "add", "--no-block", address(4)])
        return self.newest_job()["job"]


class Takeover(TakeoverCase):
    slow, sample = 3, 0.4
    lab_options = {"hosts": 4, "members": 3, "switches": {"ca": "same"}}

    def take_over(self, job, expect, host="dh2"):
        done = self.dhetcd("settle", "--takeover", job, host=host)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def is_back(self, job, state):
        """dh1 is there again, and has ended the job as the other host did, by itself."""
        if self.lab.host("dh1").init_pid():
            self.lab.mend_link("dh1")
        else:
            self.boot()
        self.wait("dh1 has ended the job", lambda: self.job(job)["state"] != "running", 90)
        self.assertEqual(self.job(job)["state"], state, self.job(job))
        self.lab.wait_healthy(4 if state == "committed" else 3)
        told = [e for e in self.journal(job) if "took job" in e["MESSAGE"]]
        self.assertEqual(len(told), 1, told)
        self.assertIn(address(2), told[0]["MESSAGE"])

    # While the job's host is alive, and where nobody knows the job, nothing is done.
    def test_1_refused(self):
        before, list_before = states(self.lab), members(self.lab)
        self.assertIn("no record of a job", self.take_over("0badcafe", REJECTED))
        job = self.begin()
        try:
            self.wait("the learner is added", self.has_learner)
            self.assertIn("own", self.take_over(job, REJECTED, host="dh1"))
            self.lab.exec(NEW, ["mv", "/etc/sysconfig/deephaven/etcd/client/root", "/root/kept-client"])
            self.assertIn("root client", self.take_over(job, REJECTED, host=NEW))
            self.lab.exec(NEW, ["mv", "/root/kept-client", "/etc/sysconfig/deephaven/etcd/client/root"])
            said = self.take_over(job, REJECTED)
            self.assertIn(f"{address(1)} answers and knows the job", said)
            self.lab.exec("dh1", ["mv", "/root/.ssh/authorized_keys", "/root/kept-keys"])
            self.assertIn(f"{address(1)} answers, though not as it should", self.take_over(job, REJECTED))
            self.lab.exec("dh1", ["mv", "/root/kept-keys", "/root/.ssh/authorized_keys"])
            self.assertEqual(self.lab.exec("dh1", ["dhetcd", "cancel", job]).returncode, 0)
            self.wait("the job has ended", lambda: self.newest_job()["state"] != "running")
        finally:
            self.lab.mend(NEW)
        self.assertEqual(self.newest_job()["state"], "rolled-back")
        self.assertIn("has ended here", self.take_over(job, REJECTED, host="dh3"))
        self.assert_unchanged(before, list_before)

    def back(self, gone):
        """Before the promotion: back, on all others at once, and on the old host when it is there again."""
        before, list_before = states(self.lab), members(self.lab)
        with self.lab.writer() as writer:
            job = self.begin()
            self.wait("the learner is added", self.has_learner)
            gone()
            self.lab.mend(NEW)
            self.assertIn(address(1), self.take_over(job, ROLLED_BACK))
            now = states(self.lab)
            for name in ("dh2", "dh3", "dh4"):
                self.assertEqual(fingerprint.undone(before[name], now[name]), [], name)
                self.assertFalse(self.lab.host(name).path(LOCK).exists(), name)
            self.assertIn("has ended", self.take_over(job, REJECTED, host="dh3"))
            self.is_back(job, "rolled-back")
            writer.check(expect_writes=20)
        self.assert_unchanged(before, list_before)

    def test_2_before_the_promotion(self):
        self.back(lambda: self.lab.cut_power("dh1"))

    # With a new CA every member was restarted once already: so it is again, the old host too.
    def test_3_before_the_promotion_with_a_new_ca(self):
        self.lab.set_switch("dh1", ca="new")
        try:
            self.back(lambda: self.lab.cut_power("dh1"))
        finally:
            self.lab.set_switch("dh1", ca="same")

    # The old host was never down, only cut off: its worker is still at it, and is not heeded any more.
    def test_4_cut_off(self):
        self.back(lambda: self.lab.cut_link("dh1"))
        refused = [self.lab.exec(name, ["journalctl", "--no-pager", "-o", "cat", "-b", "-u", "dhetcdd"]).stdout
                   for name in ("dh2", "dh3", NEW)]
        self.assertIn(f"was taken over by {address(2)}", "".join(refused))

    # After it: forward. The new host is kept from its next step, so that the point in time is sure.
    def test_5_after_the_promotion(self):
        held = '{"job":"0badcafe","holder":"10.128.1.77","since_usec":1}'
        own = []

        def hold():
            own.append(self.lab.read(NEW, LOCK))
            self.lab.write(NEW, LOCK, held)
        with self.lab.writer() as writer:
            holding = When(self.lab, "promote", "intent", hold)
            failing = When(self.lab, "finish", "retry", lambda: self.lab.cut_power("dh1"))
            self.lab.exec("dh1", ["dhetcd", "add", "--no-block", address(4)])
            job = self.newest_job()["job"]
            failing.join(90)
            holding.done()
            failing.done()
            self.lab.write(NEW, LOCK, own[0])
            self.take_over(job, COMMITTED)
            self.is_back(job, "committed")
            writer.check(expect_writes=20)
        self.assert_voters(4)
        self.assert_configs(4)
        self.assert_nothing_left()


class TakeoverLearner(TakeoverCase):
    """etcd heeds the old host all the same."""

    lab_options = {"hosts": 4, "members": 3, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def test_added_after_the_end(self):
        """What the old host's worker adds when all is over already is not left."""
        before, list_before = states(self.lab), members(self.lab)
        self.wait_at("run.add-learner.after-intent")
        try:
            self.lab.exec("dh1", ["dhetcd", "add", "--no-block", address(4)])
            job = self.newest_job()["job"]
            self.wait("the learner is to be added", self.is_reached, 120)
            self.lab.cut_link("dh1")
            done = self.dhetcd("settle", "--takeover", job, host="dh2")
            self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
            self.lab.mend_link("dh1")
            self.lab.wait_healthy(3)
        finally:
            self.disarm()
        self.wait("dh1 has ended the job", lambda: self.job(job)["state"] != "running", 120)
        self.assertEqual(self.job(job)["state"], "rolled-back", self.job(job))
        log = self.lab.read("dh1", f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl")
        self.assertIn('"member-id"', log)  # it was added
        self.assert_unchanged(before, list_before)

    def promote_learner(self, *hosts):
        """Only the leader does, where passwords are in use."""
        learner = next(m for m in self.lab.members()["members"] if m.get("isLearner"))
        said = [self.lab.etcdctl(host, "member", "promote", f"{int(learner['ID']):x}", check=False) for host in hosts]
        self.assertIn(0, [done.returncode for done in said], said)

    def test_promoted_after_the_decision(self):
        """The promotion comes when it is decided already to go back: one vote more, which must not be stopped."""
        before, list_before = states(self.lab), members(self.lab)
        self.wait_at("run.promote.after-intent")
        self.wait_at("takeover.assume.after-done", "dh2")
        try:
            self.lab.exec("dh1", ["dhetcd", "add", "--no-block", address(4)])
            job = self.newest_job()["job"]
            self.wait("the learner is to be promoted", self.is_reached, 120)
            self.lab.cut_power("dh1")
            self.disarm()
            with self.lab.writer() as writer:
                self.assertEqual(self.dhetcd("settle", "--no-block", "--takeover", job, host="dh2").returncode, 0)
                self.wait("it is decided", lambda: self.is_reached("dh2"), 120)
                self.promote_learner("dh2", "dh3")
                self.disarm("dh2")
                self.wait("dh2 has ended the job", lambda: self.job(job, "dh2")["state"] != "running", 120)
                writer.check(expect_writes=20)
        finally:
            self.disarm("dh1", "dh2")
        self.assertEqual(self.job(job, "dh2")["state"], "rolled-back", self.job(job, "dh2"))
        self.boot()
        self.wait("dh1 has ended the job", lambda: self.job(job)["state"] == "rolled-back", 120)
        self.lab.wait_healthy(3)
        self.assert_unchanged(before, list_before)


class TakeoverRace(TakeoverCase):
    """Not one host alone is at the job."""

    slow, sample = 2, 0.3
    lab_options = TakeoverLearner.lab_options

    def begin(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.addCleanup(self.lab.mend, NEW)
        self.addCleanup(self.disarm, "dh1", "dh2", "dh3")
        job = super().begin()
        self.wait("the learner is added", self.has_learner)
        return job

    def take_over_to(self, point, job, *hosts):
        for host in hosts:
            self.wait_at(point, host)
        for host in hosts:
            self.assertEqual(self.dhetcd("settle", "--no-block", "--takeover", job, host=host).returncode, 0)
        for host in hosts:
            self.wait(f"{host} is at {point}", lambda host=host: self.is_reached(host), 60)

    def end(self, job, host):
        self.wait(f"{host} has ended the job", lambda: self.job(job, host)["state"] != "running", 180)
        return self.job(job, host)["state"]

    def test_back_in_the_middle(self):
        """One host is fenced, and the old one can be reached again, its worker at work: it stops by itself."""
        job = self.begin()
        self.lab.cut_link("dh1")
        self.take_over_to("takeover.fence.first", job, "dh2")
        self.lab.mend_link("dh1")
        self.lab.exec(NEW, ["pkill", "-x", "sleep"])  # the script fails, and dh1 would undo
        self.wait("dh1 has seen it", lambda: any(f"worked on by {address(2)} now" in str(e["MESSAGE"])
                                                 for e in self.journal(job)), 50)
        self.assertNotIn("takeover.fence.done", self.lab.read("dh2", "/var/lib/dhetcd/failpoints.hit"))
        self.disarm("dh2")
        self.assertEqual((self.end(job, "dh2"), self.end(job, "dh1")), ("rolled-back", "rolled-back"))
        self.lab.wait_healthy(3)
        self.assert_unchanged(self.before, self.list_before)

    def test_two_at_once(self):
        """Both have seen that the old host is gone; one gets it."""
        job = self.begin()
        self.lab.cut_power("dh1")
        self.take_over_to("takeover.fence.after-intent", job, "dh2", "dh3")
        self.lab.mend(NEW)
        self.disarm("dh2", "dh3")
        ends = {host: self.end(job, host) for host in ("dh2", "dh3")}
        self.assertEqual(sorted(ends.values()), ["rejected", "rolled-back"], ends)
        loser = next(host for host, state in ends.items() if state == "rejected")
        self.assertIn("another host has taken it over before", self.job(job, loser)["text"])
        self.boot()
        self.assertEqual(self.end(job, "dh1"), "rolled-back")
        self.lab.wait_healthy(3)
        self.assert_unchanged(self.before, self.list_before)


class TakeoverOfRevert(TakeoverCase):
    """A job that was being taken back when its host was lost: the node votes still, and is taken out all the same."""

    lab_options = {"hosts": 5, "members": 3, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)
        self.wait_at("undo.promote.before-intent")

    def end_elsewhere(self, job):
        self.wait("the voter is to be removed", self.is_reached, 120)
        self.lab.cut_power("dh1")
        self.disarm()
        done = self.dhetcd("settle", "--takeover", job, host="dh2")
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        self.assertEqual(len(members(self.lab)), 3)
        self.boot()
        self.wait("dh1 has ended the job", lambda: self.job(job)["state"] == "rolled-back", 120)
        self.lab.wait_healthy(3)
        self.assert_unchanged(self.before, self.list_before)

    def test_asked_for(self):
        self.add(address(4))
        job = self.newest_job()["job"]
        self.assertEqual(self.dhetcd("rollback", "--no-block", job).returncode, 0)
        self.end_elsewhere(job)

    def test_second_node_failed(self):
        """Its newest transaction is over already."""
        self.lab.break_script("dh5", "enable_dh_etcd_systemd", "fail")
        try:
            self.assertEqual(self.dhetcd("add", "--no-block", address(4), address(5)).returncode, 0)
            self.end_elsewhere(self.newest_job()["job"])
        finally:
            self.lab.mend("dh5", "enable_dh_etcd_systemd")


class TakeoverOfMany(TakeoverCase):
    """A job of two nodes: what was added before stays, what was not begun stays out."""

    lab_options = {"hosts": 4, "members": 2, "switches": {"ca": "same"}}

    def test_1_later_node_is_checked_first(self):
        """What is wrong with the second node is found before anything is done for the first."""
        before, list_before = states(self.lab), members(self.lab)
        script = "/usr/illumon/latest/install/config_packager.sh"
        self.assertIn("later node 10.128.1.99: ", self.add(address(3), "10.128.1.99", expect=REJECTED))
        self.lab.exec(NEW, ["mv", script, "/root/moved"])
        try:
            output = self.add(address(3), address(4), expect=REJECTED)
        finally:
            self.lab.exec(NEW, ["mv", "/root/moved", script])
        self.assertIn(f"later node {address(4)}: ", output)
        self.assertIn("config_packager.sh is not there", output)
        self.assert_unchanged(before, list_before)

    def test_second_node(self):
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "hang")
        self.lab.exec("dh1", ["dhetcd", "add", "--no-block", address(3), address(4)])
        job = self.newest_job()["job"]
        self.wait("the second node is a learner",
                  lambda: len(self.lab.members()["members"]) == 4 and self.has_learner())
        self.lab.cut_power("dh1")
        self.lab.mend(NEW)
        done = self.dhetcd("settle", "--takeover", job, host="dh3")
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        self.assertIn(f"Added before it, and members of the cluster now: {address(3)}", self.job(job, "dh3")["text"])
        self.boot()
        self.wait("dh1 has ended the job", lambda: self.job(job)["state"] != "running", 90)
        self.assertEqual(self.job(job)["state"], "rolled-back", self.job(job))
        self.assert_voters(3)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
