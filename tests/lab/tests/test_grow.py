# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job: a cluster grows, and a client that writes all the time loses nothing."""

import json
import unittest

from support import BUSY, LabCase, When, address

LONGEST_GAP = 5  # seconds, on a busy machine
METRICS = "/var/lib/prometheus/node-exporter"
SCRIPTS = {  # of a new host, and how its last line begins
    "deploy-unpackage-server": "Unpacked the etcd server configuration ",
    "deploy-unpackage-client": "Unpacked ",
    "start-enable": "dh-etcd is enabled and running",
}


class GrowOneByOne(LabCase):
    """1 → 2 → 3 by systemctl, with a new CA: the front door of the product."""

    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "new"}}

    def test_grow(self):
        with self.lab.writer() as writer:
            for n in (2, 3):
                with self.subTest(node=n):
                    self.lab.exec("dh1", ["systemctl", "start", f"dhetcd-add@{address(n)}"], timeout=180)
                    self.assert_voters(n)
                    self.assert_configs(n)
                    self.assert_nothing_left()
                    self.check_journal(n)
        stats = writer.check(expect_writes=100)
        print(f"\n1 → 3 node by node, new CA: {stats}")

    def check_journal(self, n):
        job = self.newest_job()
        self.assertEqual(job["state"], "committed")
        self.assertEqual(job["nodes"], [address(n)])
        entries = self.journal(job["job"])
        steps = [e["DHETCD_STEP"] for e in entries
                 if e.get("DHETCD_PHASE") in ("done", "skipped") and "MESSAGE_ID" in e
                 and "DHETCD_STEP_COUNT" in e]
        for step in ("preflight", "lock", "backup", "merge", "deploy", "narrow", "restart", "add-learner",
                     "start", "sync", "promote", "finish", "verify", "unlock"):
            self.assertIn(step, steps)
        for script, words in SCRIPTS.items():
            self.check_script(n, job["job"], entries, script, words)
        # And the new host's own journal has its part under the same job.
        self.assertTrue(self.journal(job["job"], host=f"dh{n}"))
        # No password is in any of it.
        secret = self.lab.read("dh1", "/etc/sysconfig/deephaven/etcd/client/root/password").strip()
        for host in ("dh1", f"dh{n}"):
            self.assertNotIn(secret, self.lab.journal(host, "-o", "export"))


    def check_script(self, n, job, entries, script, words):
        """Each line has the job's fields there, and is told here too, with that host's name."""
        unit = f"dhetcd-exec-{job}-1-{script}.service"
        printed = [json.loads(line) for line in self.lab.journal(
            f"dh{n}", "-q", "-o", "json", f"_SYSTEMD_UNIT={unit}").splitlines()]
        self.assertTrue(printed and printed[-1]["MESSAGE"].startswith(words), printed)
        for e in printed:
            self.assertEqual([e.get(f"DHETCD_{f}") for f in ("JOB", "TXN", "STEP", "HOST")],
                             [job, f"{job}-1", script.split("-")[0], address(n)])
        told = [e["MESSAGE"] for e in entries
                if (e.get("DHETCD_UNIT"), e.get("DHETCD_HOST"), e.get("_COMM")) == (unit, address(n), "dhetcd-worker")]
        self.assertEqual(told, [f"{address(n)}: {e['MESSAGE']}" for e in printed])


class GrowAsOneJob(LabCase):
    """1 → 3 as one job, same CA and passwords: no member is restarted; then 3 → 5 with a new CA."""

    lab_options = {"hosts": 5, "members": 1, "switches": {"ca": "same", "latest": "absolute", "id_length": 8}}

    def check_plan(self):
        """Of two nodes both are shown; the package is generated once, and each member of then is restarted."""
        asked = ("--restart=always", "plan", address(2), address(3))
        plan, text = json.loads(self.dhetcd("--json=short", *asked).stdout), self.dhetcd(*asked).stdout
        first, second = plan["additions"]
        self.assertEqual((first["node"], second["node"]), (address(2), address(3)))
        self.assertEqual((first["members_after"], second["members_after"], plan["members_after"]), (2, 3, 3))
        self.assertEqual(first["steps"], plan["steps"])
        self.assertEqual(plan["seconds"], first["seconds"] + second["seconds"])
        self.assertEqual([s["step"] for s in second["steps"] if s["skipped"]], ["generate", "trust"])
        restarts = [s["restarts"] for s in second["steps"] if s["step"] == "restart"]
        self.assertEqual(restarts, [[address(1), address(2)]])
        for n in (1, 2):
            self.assertIn(f"Node {address(n + 1)} ({n} of 2), then {n + 1} voting members\n", text)

    def invocation(self, host):
        return self.lab.exec(host, ["systemctl", "show", "-P", "InvocationID", "dh-etcd"]).stdout.strip()

    def test_grow(self):
        self.check_plan()
        before = self.invocation("dh1")
        with self.lab.writer() as writer:
            output = self.add(address(2), address(3))
            self.assertIn("[1/16] preflight", output)
            self.assert_voters(3)
            self.assert_configs(3)
            self.assertEqual(self.invocation("dh1"), before, "a member was restarted that needed none")
        print(f"\n1 → 3 as one job, same CA: {writer.check(expect_writes=100)}")

        self.lab.set_switch(None, ca="new")
        with self.lab.writer() as writer:
            self.add(address(4), address(5))
            self.assert_voters(5)
            self.assert_configs(5)
            self.assert_nothing_left()
        print(f"3 → 5 as one job, new CA: {writer.check(expect_writes=100)}")


class GrowToTheLetter(LabCase):
    """restart=always is the vendor's page to the letter: every member is restarted, the leader last. Client certificates."""

    lab_options = {"hosts": 4, "members": 3, "switches": {"ca": "new", "client_auth": "cert"}}

    def test_grow(self):
        before = {h: self.lab.exec(h, ["systemctl", "show", "-P", "InvocationID", "dh-etcd"]).stdout
                  for h in ("dh1", "dh2", "dh3")}
        self.lab.set_switch(None, data_dir="wrong-owner", generator_state="existing")
        owners = {h: self.owners(h) for h in before}
        with self.lab.writer() as writer:
            output = self.add(address(4), options=["--restart=always"])
            self.assertIn("even number", output)
            self.assert_voters(4)
            self.assert_configs(4)
        for h, invocation in before.items():
            self.assertNotEqual(self.lab.exec(h, ["systemctl", "show", "-P", "InvocationID", "dh-etcd"]).stdout,
                                invocation, h)
            self.assertEqual(self.owners(h), owners[h])
        self.assertRegex(self.owners("dh4"), r"^etcd:irisadmin \d+\netcd:irisadmin \d+$")
        stats = writer.check(expect_writes=100)
        print(f"\n3 → 4 to the letter, new CA, client certificates: {stats}")
        self.assertLess(stats["longest_gap"], LONGEST_GAP)
        job = self.newest_job()["job"]
        for step in ("trust", "restart"):
            self.check_rolling_restart([e for e in self.journal(job) if e.get("DHETCD_STEP") == step])
        self.check_backup(job)

    def owners(self, host):
        """Of the data directory and its parent."""
        cluster = self.lab.exec("dh1", ["readlink", "/etc/etcd/dh/latest"]).stdout.strip()
        places = ["/var/lib/etcd/dh", f"/var/lib/etcd/dh/{cluster}"]
        return self.lab.exec(host, ["stat", "-c", "%U:%G %a", *places]).stdout

    def check_rolling_restart(self, entries):
        """One member at a time, and the leader last, after it has handed over."""
        told = [(e.get("DHETCD_PHASE"), e.get("DHETCD_HOST")) for e in entries
                if e.get("DHETCD_PHASE") in ("restarting", "restarted")]
        order = [host for phase, host in told if phase == "restarting"]
        self.assertEqual(sorted(order), [address(n) for n in (1, 2, 3)])
        self.assertEqual(told, [(phase, host) for host in order for phase in ("restarting", "restarted")])
        moved = [i for i, e in enumerate(entries) if "moving the leader" in str(e["MESSAGE"])]
        self.assertEqual(len(moved), 1)
        self.assertIn(f"moving the leader from {order[-1]} to ", entries[moved[0]]["MESSAGE"])
        restarting = [i for i, e in enumerate(entries) if e.get("DHETCD_PHASE") == "restarting"]
        restarted = [i for i, e in enumerate(entries) if e.get("DHETCD_PHASE") == "restarted"]
        self.assertTrue(restarted[-2] < moved[0] < restarting[-1])

    def check_backup(self, job):
        """The revision that was written down is in the snapshot."""
        backup = json.loads(self.dhetcd("--json=short", "show", job).stdout)["transactions"][0]["backup"]
        saved = json.loads(self.lab.exec("dh1", ["etcdctl", "snapshot", "status", backup["path"], "-w", "json"]).stdout)
        self.assertTrue(saved["revision"] - 1000 < backup["revision"] <= saved["revision"], (backup, saved))


class GrowFromElsewhere(LabCase):
    """The job runs on a host that is no node, and has the root client all the same; other switches of the vendor's."""

    lab_options = {"hosts": 3, "members": 1,
                   "switches": {"ca": "same", "root_client": "all", "data_dir": "full"}}

    def test_grow(self):
        before = self.lab.fingerprint("dh3")
        with self.lab.writer() as writer:
            self.add(address(2), host="dh3")
            self.assert_voters(2)
            self.assert_configs(2)
            self.assert_nothing_left()
        writer.check(expect_writes=20)
        after = self.lab.fingerprint("dh3")
        changed = {path for path in before["files"].keys() | after["files"].keys()
                   if before["files"].get(path) != after["files"].get(path) and "/client/" in path}
        self.assertEqual(changed, set(), "a host that is no node keeps its clients")


class GrowEtcd34(LabCase):
    """Debian 12: systemd 252, and etcd 3.4.23, whose gateway is off."""

    lab_options = {"hosts": 3, "members": 1, "suite": "bookworm", "switches": {"ca": "new"}}

    def test_grow(self):
        self.assertIn("3.4.", self.lab.etcdctl("dh1", "version").stdout)
        with self.lab.writer() as writer:
            self.add(address(2), address(3))
            self.assert_voters(3)
            self.assert_configs(3)
            self.assert_nothing_left()
        print(f"\n1 → 3 as one job, etcd 3.4.23: {writer.check(expect_writes=100)}")


class GrowUnhealthyLeader(LabCase):
    """The leader has lost its connection to another member, and refuses to add any: a third one, which has not, is asked."""

    lab_options = {"hosts": 4, "members": 3, "switches": {"ca": "same"}}

    def test_grow(self):
        if self.leader() == "etcd-1":  # the job's host keeps its ssh connections
            other = next(m for m in self.lab.members()["members"] if m["name"] == "etcd-2")
            self.lab.etcdctl("dh1", "move-leader", f"{int(other['ID']):x}")
        leader = self.leader()
        self.assertIn(leader, ("etcd-2", "etcd-3"))
        self.lab.break_script("dh1", "config_generator", "slow")
        cut = When(self.lab, "generate", "intent", lambda: self.cut(*("dh2", "dh3")[::1 if leader == "etcd-2" else -1]))
        mended = When(self.lab, "add-learner", "done", lambda: self.lab.mend_link("dh2", "dh3"))
        output = self.add(address(4))
        cut.done()
        mended.done()
        self.assertIn("takes a member for lost that is not", output)
        self.assert_voters(4)
        self.assert_nothing_left()

    def cut(self, leader, other):
        """etcd would take its time to notice that packets are lost, so its connections are reset."""
        self.lab.cut_link(leader, other)
        self.lab.exec(leader, ["ss", "-K", "dst", self.lab.host(other).address])

    def leader(self):
        found = self.lab.members()
        leader = found["status"][0]["Status"]["leader"]
        return next(m["name"] for m in found["members"] if m["ID"] == leader)


class Queue(LabCase):
    """A second job waits its turn, or is refused; stop rolls back; status shows the step. Then 1 → 2 → 3, same CA."""

    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "same"}}

    def test_queue(self):
        self.lab.exec("dh1", ["mkdir", "-p", METRICS])
        self.lab.break_script("dh1", "config_generator", "hang")
        self.lab.exec("dh1", ["systemctl", "start", "--no-block", f"dhetcd-add@{address(3)}"])
        status = self.wait_status(address(3), "generate")
        self.assertIn("[4/16] generate", status)
        self.wait("a shutdown is inhibited", lambda: "dhetcd" in self.inhibitors())

        refused = self.dhetcd("add", "--no-wait", address(2))
        self.assertEqual(refused.returncode, BUSY, refused.stdout + refused.stderr)
        first = self.newest_job()
        self.assertIn(first["job"], refused.stderr)

        self.lab.exec("dh1", ["systemctl", "start", "--no-block", f"dhetcd-add@{address(2)}"])
        self.assertIn(first["job"], self.wait_status(address(2), "waiting"))

        # Stopping the first puts everything back, and then the second has its turn.
        self.lab.mend("dh1", "config_generator")
        with self.lab.writer() as writer:
            self.lab.exec("dh1", ["systemctl", "stop", f"dhetcd-add@{address(3)}"], timeout=120)
            self.assertEqual(self.job(first["job"])["state"], "rolled-back")
            self.wait_unit_gone(address(2))
            self.assert_voters(2)
            self.assertEqual(self.newest_job()["state"], "committed")
            self.check_metrics()
            self.add(address(3))
            self.assert_voters(3)
            self.assert_configs(3)
            self.assert_nothing_left()
        print(f"\n1 → 3 node by node, same CA: {writer.check(expect_writes=100)}")

    def check_metrics(self):
        self.wait("a shutdown is allowed", lambda: "dhetcd" not in self.inhibitors())
        metrics = self.lab.read("dh1", f"{METRICS}/dhetcd.prom")
        for line in ('dhetcd_jobs{state="rolled-back"} 1', "dhetcd_last_job_success 1",
                     f'dhetcd_last_job_steps{{node="{address(2)}",result="undone"}} 0'):
            self.assertIn(f"{line}\n", metrics)

    def inhibitors(self):
        return self.lab.exec("dh1", ["systemd-inhibit", "--list", "--no-legend", "--no-pager"]).stdout

    def wait_status(self, node, word):
        return self.wait(f"the status of {node} says '{word}'", lambda: self.status_with(node, word), 60)

    def status_with(self, node, word):
        text = self.lab.exec("dh1", ["systemctl", "status", "--no-pager", f"dhetcd-add@{node}"], check=False).stdout
        return text if f"{word}" in text.split("Status:", 1)[-1].split("\n")[0] else None

    def wait_unit_gone(self, node):
        self.wait("the second job has ended", lambda: self.lab.exec(
            "dh1", ["systemctl", "is-active", f"dhetcd-add@{node}"], check=False).stdout.strip()
            in ("inactive", "failed"))


if __name__ == "__main__":
    unittest.main()
