# SPDX-License-Identifier: LGPL-2.1-or-later
"""An operator who is not root, by the group of dhetcd, over an ssh user who is not root either; and everybody else."""

import contextlib
import json
import re
import time
import unittest

import test_reject
from support import COMMITTED, REJECTED, LabCase, address, members, prepare_operators, states

RULE = "/usr/share/polkit-1/rules.d/60-dhetcd.rules"
OTHER_RULE = "/etc/polkit-1/rules.d/50-test.rules"
TXN, FOREIGN, NEVER = "12345678-1", "0badcafe", "2199-01-01 02:00:00"
PUBLIC = {"ListJobs", "GetJob", "ListSchedules"}
# What a method must be called with to come as far as the question; JOB is one that is there. Else: TXN, "start", 0.
ARGUMENTS = {
    **dict.fromkeys(("AddNodes", "Plan"), ["1", address(2), "0", "0"]), "Schedule": ["1", address(2), "0", "0", NEVER, ""],
    "Install": ["/opt", "0", "0"], "Grow": ["/opt", "1", address(2), "0", "0"], "GetInstall": [FOREIGN],
    **dict.fromkeys(("Unschedule", "AddScheduled"), [address(4)]), "RollbackJob": ["JOB", "false"],
    **dict.fromkeys(("CancelJob", "SettleJob", "TakeOver", "GetJob"), ["JOB"]),
    "Lock": [TXN, address(1)], "TakeLock": [TXN, address(1), address(2)], "Close": [f"{TXN}@{address(2)}", "committed"],
    "KeepPlan": [TXN, json.dumps({"format": 1, "txn": TXN, "holder": address(1), "job": {}, "plan": {}})],
    "Deliver": [TXN, "start", "1", "120", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"],
    "RunScript": [TXN, "start", "enable", "0", "1000000"], "EditConfig": [TXN, "start", "1", "initial-cluster-state", "new"],
    "ManageUnit": [TXN, "start", "start", "1000000"], "TryConnect": ["1", f"https://{address(2)}:2380"],
}


class Rights(LabCase):
    slow = 2
    lab_options = {"hosts": 4, "members": 1, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        prepare_operators(cls.lab)

    def denials(self, host="dh1"):
        lines = self.lab.exec(host, ["journalctl", "-q", "-o", "json",
                                     "MESSAGE_ID=b1c40ed2fd7a4b0d9a2c6dbb3f3f0a1d"], check=False).stdout
        return [json.loads(line) for line in lines.splitlines()]

    def uid(self, user, host="dh1"):
        return self.lab.exec(host, ["id", "-u", user]).stdout.strip()

    def refused(self, user, *argv, says, action=None, host="dh1"):
        """Denied, with nothing changed, and the journal says to whom what was denied."""
        before, list_before, told = states(self.lab), members(self.lab), len(self.denials(host))
        done = self.as_user(user, *argv, host=host)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(says, done.stdout + done.stderr)
        if action:
            line = self.denials(host)[-1]
            self.assertGreater(len(self.denials(host)), told)
            self.assertEqual((line["DHETCD_CALLER_UID"], line["DHETCD_ACTION"], line["DHETCD_CALLER_COMM"]),
                             (self.uid(user, host), action, argv[0]))
        self.assertEqual(self.job_files("dh1"), self.jobs)
        self.assert_unchanged(before, list_before)

    def setUp(self):
        self.jobs = self.job_files("dh1")

    def test_1_stranger(self):
        """Refused everywhere, nothing changed."""
        self.refused("stranger", "dhetcd", "add", address(2), says="dhetcd: ", action="org.dhetcd1.add-node")
        self.refused("stranger", "systemctl", "--no-ask-password", "start", f"dhetcd-add@{address(2)}",
                     says="uthentication")
        for method, *signature in (("Describe",), ("AdminUser",), ("Lock", "ss", "12345678-1", "10.0.0.1"),
                                   ("ManageUnit", "ssst", "12345678-1", "start", "stop", "1000000")):
            with self.subTest(method=method):
                action = "org.dhetcd1." + ("inspect" if method == "Describe" else "host-manage")
                self.refused("stranger", "busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Host", method,
                             *signature, says=action, action=action, host="dh2")

    def busctl(self, *argv, user="root"):
        return self.as_user(user, "busctl", *argv)

    def call(self, interface, method, *signature_and_arguments, user="stranger"):
        return self.busctl("--", "call", "org.dhetcd1", "/org/dhetcd1", f"org.dhetcd1.{interface}", method,
                           *signature_and_arguments, user=user)

    def rejected_job(self, node):
        """A job that ends at once, and is known from then on."""
        self.add(node, expect=REJECTED, options=["--require-odd"])
        return self.newest_job()["job"]

    def arguments(self, method, signature, job):
        if method == "TrustAuthorities":
            return [TXN, "start", self.lab.read("dh1", "/etc/etcd/dh/latest/ssl/ca.crt")]
        default = {"sss": [TXN, "start", "enable"], "ss": [TXN, "start"], "s": [TXN], "ssb": [TXN, "start", "0"], "t": ["0"], "a{sv}t": ["0", "0"]}
        return [a.replace("JOB", job) for a in ARGUMENTS.get(method) or default[signature]]

    def test_1_stranger_at_every_method(self):
        """Each method that is not public asks polkit, and each denial is told with who called it."""
        job = self.rejected_job(address(2))
        self.assertEqual(self.dhetcd("schedule", address(4), "--on", NEVER, "--no-check").returncode, 0)
        path = f"/var/lib/dhetcd/installs/{FOREIGN}/install.json"
        record = {"install": FOREIGN, "dir": "/opt", "state": "failed", "text": "", "uid": 0}
        self.lab.write("dh1", path, json.dumps(record))
        before, list_before, jobs, told = states(self.lab), members(self.lab), self.job_files("dh1"), len(self.denials())
        found, denied = list(test_reject.Reject.methods(self)), []
        for interface, method, signature in found:
            with self.subTest(method=method):
                done = self.call(interface.split(".")[-1], method, signature, *self.arguments(method, signature, job)) \
                    if signature else self.call(interface.split(".")[-1], method)
                if method in PUBLIC:
                    self.assertEqual(done.returncode, 0, done.stderr)
                else:
                    self.assertRegex(done.stderr, "(?i)polkit refuses|interactive authentication required|needs a password")
                    denied.append(method)
        self.assertGreaterEqual(len(denied), 40)
        self.assertEqual({m for _, m, _ in found} - set(denied), PUBLIC)
        self.wait("all denials are told", lambda: len(self.denials()) >= told + len(denied), 10)
        lines = self.denials()[told:]
        self.assertEqual([re.search(r"may not call (\w+):", line["MESSAGE"])[1] for line in lines], denied)
        self.assertEqual({(line["DHETCD_CALLER_UID"], line["DHETCD_CALLER_COMM"]) for line in lines},
                         {(self.uid("stranger"), "busctl")})
        self.assertEqual(self.job_files("dh1"), jobs)
        self.assertEqual(len(json.loads(self.dhetcd("schedule", "--json=short").stdout)), 1)
        self.assertEqual(self.dhetcd("unschedule", address(4)).returncode, 0)
        self.lab.exec("dh1", ["rm", "-r", path.rsplit("/", 1)[0]])
        self.assert_unchanged(before, list_before)

    @contextlib.contextmanager
    def strangers_rule(self, condition):
        self.lab.write("dh1", OTHER_RULE, 'polkit.addRule(function(action, subject) { if (subject.user == "stranger" && '
                       f'/^org.dhetcd1/.test(action.id) && ({condition})) return polkit.Result.YES; }});\n')
        self.restart_polkit()
        try:
            yield
        finally:
            self.lab.exec("dh1", ["rm", OTHER_RULE])
            self.restart_polkit()

    def restart_polkit(self):
        """As often as it takes: systemd counts the starts."""
        self.lab.exec("dh1", ["systemctl", "reset-failed", "polkit"], check=False)  # it may not run yet
        self.lab.exec("dh1", ["systemctl", "restart", "polkit"])

    def asked(self, denied, *call):
        """Whether polkit allowed it; what becomes of it then does not matter."""
        done = self.call("Manager", *call)
        self.assertEqual("org.dhetcd1." in done.stderr or "nteractive" in done.stderr, denied, done.stderr + done.stdout)

    def test_1_rule_that_names_a_node(self):
        """polkit is told of which nodes it is, also where the caller did not name them."""
        ours, theirs = self.rejected_job(address(2)), self.rejected_job(address(3))
        plan = f"/var/lib/dhetcd/host/{FOREIGN}-1/plan.json"
        before, list_before = states(self.lab), members(self.lab)

        def foreign(node):
            self.lab.write("dh1", plan, json.dumps({"format": 1, "txn": f"{FOREIGN}-1", "job": {"nodes": [node]},
                                                    "plan": {}, "authorities": ""}))
            return "TakeOver", "s", FOREIGN
        with self.strangers_rule(f'action.lookup("nodes") == "{address(2)}"'):
            for denied, node, job in ((False, address(2), ours), (True, address(3), theirs)):
                with self.subTest(node=node):
                    self.asked(denied, "AddNodes", "asa{sv}t", "1", node, "1", "require-odd", "b", "true", "0")
                    self.asked(denied, "Schedule", "asa{sv}tss", "1", node, "0", "0", "1999-01-01", "")
                    self.asked(denied, "SettleJob", "s", job)
                    self.asked(denied, "RollbackJob", "sb", job, "false")
                    self.asked(denied, "TakeOver", "s", job)
                    self.asked(denied, *foreign(node))
            self.asked(True, "AddNodes", "asa{sv}t", "2", address(2), address(3), "0", "0")
            for other in (("Rescue", "a{sv}t", "0", "0"), ("Repair", "t", "0"), ("SettleAll",)):
                self.asked(True, *other)
        with self.strangers_rule(f'action.lookup("nodes") == "{address(1)}"'):
            for other in (("Rescue", "a{sv}t", "0", "0"), ("Repair", "t", "0")):
                self.wait("no job is open", lambda: not self.open_jobs())
                self.asked(False, *other)
            self.asked(True, "SettleAll")
        with self.strangers_rule('/all jobs that are stuck/.test(action.lookup("polkit.message"))'):
            self.asked(False, "SettleAll")
        self.wait("no job is open", lambda: not self.open_jobs())
        kinds = {j["kind"]: j["job"] for j in map(json.loads, self.job_files("dh1"))}
        for method, job, action, words in (("CancelJob", ours, "rollback", "cancel job .*, which adds"),
                                           ("CancelJob", kinds["rescue"], "rescue", "cancel job .*, which rescues"),
                                           ("CancelJob", kinds["repair"], "repair", "cancel job .*, which repairs"),
                                           ("SettleJob", ours, "rollback", "settle job .*, which adds")):
            with self.subTest(method=method, action=action), self.strangers_rule(
                    f'action.id == "org.dhetcd1.{action}" && /{words}/.test(action.lookup("polkit.message"))'):
                self.asked(False, method, "s", job)
        self.lab.exec("dh1", ["rm", "-r", plan.rsplit("/", 1)[0]])
        self.assert_unchanged(before, list_before)

    def open_jobs(self):
        return [j for j in map(json.loads, self.job_files("dh1")) if j["state"] in ("queued", "running")]

    def new_job(self):
        """The only one that was asked for in this test."""
        new = set(self.job_files("dh1")) - set(self.jobs)
        self.assertEqual(len(new), 1, new)
        return json.loads(new.pop())

    def systemctl(self, *argv, user="alice"):
        return self.as_user(user, "systemctl", "--no-ask-password", *argv)

    def test_2_units_of_one_command(self):
        """One job, in the order of the command; its end, the step and the stop are those of each unit."""
        before, list_before = states(self.lab), members(self.lab)
        units = [f"dhetcd-add@{address(n)}.service" for n in (4, 3)]
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "fail")
        try:
            self.assertNotEqual(self.systemctl("start", *units).returncode, 0)
        finally:
            self.lab.mend("dh3")
        job = self.new_job()
        self.assertEqual((job["nodes"], job["state"]), ([address(4), address(3)], "rolled-back"))
        told = [line["MESSAGE"] for line in self.journal(job["job"])]
        self.assertTrue([t for t in told if f"removing the voter {address(4)}" in t], told)
        for unit in units:
            self.assertEqual(self.lab.exec("dh1", ["systemctl", "show", "-P", "ExecMainStatus", unit]).stdout.strip(), "10")
        self.assert_unchanged(before, list_before)

        self.setUp()
        self.lab.break_script("dh1", "config_generator", "hang")
        try:
            self.assertEqual(self.systemctl("start", "--no-block", *units).returncode, 0)
            for unit in units:
                self.wait("the unit shows the step", lambda u=unit: "generate" in self.lab.exec(
                    "dh1", ["systemctl", "show", "-P", "StatusText", u]).stdout, 60)
            self.assertEqual(self.systemctl("stop", units[0]).returncode, 0)
        finally:
            self.lab.mend("dh1")
        self.assertEqual((self.new_job()["nodes"], self.new_job()["state"]), ([address(4), address(3)], "rolled-back"))
        self.wait("the other unit has ended", lambda: self.lab.exec(
            "dh1", ["systemctl", "is-active", units[1]], check=False).stdout.strip() == "failed", 10)
        self.assertEqual(self.systemctl("reset-failed", *units).returncode, 0)
        self.assert_unchanged(before, list_before)

    def test_2_operator_of_other_units(self):
        """The rule is for dhetcd-add@ADDRESS.service and start, stop; not for the work on hosts."""
        for argv in (["stop", "dh-etcd"], ["start", "dhetcd-add@x-y"], ["start", "dhetcd-recover"],
                     ["restart", f"dhetcd-add@{address(2)}"]):
            with self.subTest(argv=argv):
                self.refused("alice", "systemctl", "--no-ask-password", *argv, says="uthentication")
        self.refused("alice", "busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Host", "Forget", "s",
                     "12345678-1", says="org.dhetcd1.host-manage", action="org.dhetcd1.host-manage")

    def test_3_ssh_user_without_the_right(self):
        """A host where polkit does not allow the ssh user: rejected before anything is changed on any host."""
        self.lab.exec("dh2", ["mv", RULE, RULE + ".away"])
        self.lab.exec("dh2", ["systemctl", "restart", "polkit"])
        before, list_before = states(self.lab), members(self.lab)
        try:
            done = self.as_user("alice", "dhetcd", "add", address(2))
            self.assertEqual(done.returncode, REJECTED, done.stdout + done.stderr)
            self.assertIn(f"{address(2)}: ", done.stdout + done.stderr)
            self.assertIn("org.dhetcd1.inspect", done.stdout + done.stderr)
            line = self.denials("dh2")[-1]
            self.assertEqual((line["DHETCD_CALLER_UID"], line["DHETCD_CALLER_COMM"]),
                             (self.uid("dhetcd-ssh", "dh2"), "systemd-stdio-b"))
            self.assertTrue(line["DHETCD_CALLER_UNIT"], line)
            # Only a part of the rights is not enough either, and is noticed as early.
            self.lab.write("dh2", RULE, 'polkit.addRule(function(action, subject) { if (action.id == '
                           '"org.dhetcd1.inspect") return polkit.Result.YES; });\n')
            self.lab.exec("dh2", ["systemctl", "restart", "polkit"])
            done = self.as_user("alice", "dhetcd", "add", address(2))
            self.assertEqual(done.returncode, REJECTED, done.stdout + done.stderr)
            self.assertIn("org.dhetcd1.host-manage", done.stdout + done.stderr)
            self.assert_unchanged(before, list_before)
        finally:
            self.lab.exec("dh2", ["mv", RULE + ".away", RULE])
            self.lab.exec("dh2", ["systemctl", "restart", "polkit"])

    def test_4_operator_adds_and_cancels(self):
        before, list_before = states(self.lab), members(self.lab)
        job = self.as_user("alice", "dhetcd", "add", "--no-block", address(2)).stdout.strip()
        self.refuse_cancel(job)
        done = self.as_user("alice", "dhetcd", "cancel", job)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait("the job has ended", lambda: self.job(job)["state"] not in ("queued", "running"))
        self.assertIn(self.job(job)["state"], ("rejected", "rolled-back", "canceled"))

        done = self.as_user("alice", "dhetcd", "add", address(2))
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_voters(2)
        self.assertEqual(str(self.newest_job()["uid"]), self.uid("alice"))
        done = self.as_user("alice", "dhetcd", "rollback", self.newest_job()["job"])
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_unchanged(before, list_before)
        done = self.systemctl("start", f"dhetcd-add@{address(2)}", f"dhetcd-add@{address(3)}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assert_voters(3)
        generated = [e["DHETCD_PHASE"] for e in self.journal(self.newest_job()["job"]) if e.get("DHETCD_STEP") == "generate"
                     and e.get("DHETCD_PHASE") in ("done", "skipped")]
        self.assertEqual(generated, ["done", "skipped"])

        soon = time.strftime("%H:%M:%S", time.gmtime(time.time() + 20))  # the hosts' clocks are UTC
        done = self.as_user("alice", "dhetcd", "schedule", address(4), "--on", f"*-*-* {soon}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.wait("the scheduled job has ended", lambda: address(4) in self.newest_job()["nodes"]
                  and self.newest_job()["state"] not in ("queued", "running"))
        self.assertEqual((self.newest_job()["state"], str(self.newest_job()["uid"])), ("committed", self.uid("alice")))
        self.assert_voters(4)
        self.wait("the schedule has ended", lambda: self.as_user(
            "alice", "dhetcd", "schedule", "--json=short").stdout.strip() == "[]", 10)
        self.assert_nothing_left()

    def test_3_operator_schedules(self):
        node = address(2)
        on = ("--on", "2199-01-01 02:00:00")
        self.refused("stranger", "dhetcd", "schedule", "--no-check", node, *on, says="dhetcd: ",
                     action="org.dhetcd1.schedule")
        done = self.as_user("alice", "busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Manager", "Schedule",
                            "asa{sv}tss", "1", node, "1", "grow", "s", "12345678", "0", on[1], "")
        self.assertIn("only for the worker", done.stderr)
        done = self.as_user("alice", "dhetcd", "schedule", node, *on)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for argv in (["dhetcd", "unschedule", node],
                     ["systemctl", "--no-ask-password", "start", f"dhetcd-scheduled@{node}"]):
            with self.subTest(argv=argv):
                self.assertNotEqual(self.as_user("stranger", *argv).returncode, 0)
        self.assertEqual((self.denials()[-1]["DHETCD_CALLER_UID"], self.denials()[-1]["DHETCD_ACTION"]),
                         (self.uid("stranger"), "org.dhetcd1.schedule"))
        scheduled = json.loads(self.as_user("alice", "dhetcd", "schedule", "--json=short").stdout)
        self.assertEqual([str(s["uid"]) for s in scheduled], [self.uid("alice")])
        self.assertEqual(self.as_user("alice", "dhetcd", "unschedule", node).returncode, 0)
        self.assertEqual(self.as_user("alice", "dhetcd", "schedule", "--json=short").stdout.strip(), "[]")

    def refuse_cancel(self, job):
        done = self.as_user("stranger", "dhetcd", "cancel", job)
        self.assertEqual(done.returncode, REJECTED)
        self.assertEqual(self.denials()[-1]["DHETCD_CALLER_UID"], self.uid("stranger"))
        self.assertEqual((self.job(job)["state"] in ("queued", "running"), self.job(job)["cancel"]), (True, False))


if __name__ == "__main__":
    unittest.main()
