# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an operator sees: the cluster, the plan, and a job while it runs and afterwards. In this order, on one lab."""

import json
import unittest

from support import COMMITTED, REJECTED, LabCase, address, members, states

RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.dhetcd1.inspect" && subject.user == "watcher") { return polkit.Result.YES; }
});
"""


class See(LabCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        cls.lab.exec("dh1", ["useradd", "-G", "systemd-journal", "watcher"])

    def look(self, *argv, expect=COMMITTED, user="root"):
        done = self.lab.exec("dh1", ["runuser", "-u", user, "--", "dhetcd", "--no-ask-password", *argv], check=False,
                             timeout=180)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def look_json(self, *argv, **kwargs):
        return json.loads(self.look("--json=short", *argv, **kwargs)[0])

    # -- cluster ----------------------------------------------------------------------------
    def test_a_cluster(self):
        table, _ = self.look("cluster")
        found = self.look_json("cluster")
        self.assertEqual({int(m["id"], 16) for m in found["members"]}, {int(m[0]) for m in members(self.lab)})
        for m in found["members"]:
            self.assertIn(m["id"], table)
            self.assertEqual(m["health"], "healthy")
            self.assertLessEqual(m["raft_lag"], 10)
        self.assertEqual(sorted(m["role"] for m in found["members"]), ["follower", "leader"])
        self.assertEqual((found["voters"], found["quorum"], found["list"]), (2, 2, "quorum"))

    def test_b_cluster_without_quorum(self):
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            table, _ = self.look("cluster", expect=REJECTED)
            rows = {m["name"]: m for m in self.look_json("cluster", expect=REJECTED)["members"]}
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assertEqual({n: m["health"] for n, m in rows.items()}, {"etcd-1": "no leader", "etcd-2": "no answer"})
        self.assertEqual(len([line for line in table.splitlines() if "etcd-2 " in line and "no answer" in line]), 1)
        self.assertIn("it is LOST", table)

    def test_c_not_everybody_may_look(self):
        _, said = self.look("cluster", user="watcher", expect=REJECTED)
        self.assertIn("authentication", said)
        self.lab.write("dh1", "/etc/polkit-1/rules.d/50-watcher.rules", RULE)
        for _ in range(20):  # polkit reads its rules anew when it notices
            if self.dhetcd_as("watcher", "cluster").returncode == COMMITTED:
                break
        self.look("cluster", user="watcher")
        self.look("plan", address(3), user="watcher")

    def dhetcd_as(self, user, *argv):
        return self.lab.exec("dh1", ["runuser", "-u", user, "--", "dhetcd", "--no-ask-password", *argv], check=False)

    # -- plan -------------------------------------------------------------------------------
    def everything(self):
        """What a plan might have changed: fingerprints, and all that dhetcd keeps."""
        kept = {h.name: sorted(str(p) for p in h.path("/var/lib/dhetcd").rglob("*")) for h in self.lab.hosts}
        return states(self.lab), members(self.lab), kept

    def test_d_plan_changes_nothing(self):
        before = self.everything()
        text, _ = self.look("plan", address(3))
        plan = self.look_json("check", address(3))
        self.assertEqual(self.everything(), before)
        self.assert_nothing_left()
        steps = [s["step"] for s in plan["steps"]]
        self.assertEqual((steps[0], steps[-1]), ("preflight", "unlock"))
        for step in plan["steps"]:
            self.assertIn(f"({step['step']})", text)
        self.assertEqual(plan["members_after"], 3)
        self.assertEqual([s["step"] for s in plan["steps"] if s["restarts"] and not s["perhaps"]], [])
        self.assertEqual(plan["outage_seconds"], 0)
        self.assertTrue(all(s["rollback"] for s in plan["steps"] if s["changes"] and s["step"] != "unlock"))
        always = self.look_json("--restart=always", "plan", address(3))
        self.assertGreater(always["outage_seconds"], 0)

    def test_e_plan_says_what_would_be_refused(self):
        before = self.everything()
        for nodes, cause in (([address(2)], "is a member of the cluster already"), (["10.128.1.99"], "10.128.1.99")):
            with self.subTest(nodes=nodes):
                _, said = self.look("plan", *nodes, expect=REJECTED)
                self.assertIn(cause, said)
                plan = self.look_json("plan", *nodes, expect=REJECTED)
                self.assertTrue(plan["rejected"])
                self.assertIn(cause, plan["cause"])
        self.look("plan", "dh3", expect=REJECTED)  # refused before anybody is asked
        self.look("--require-odd", "plan", address(3))
        self.assertEqual(self.everything(), before)


if __name__ == "__main__":
    unittest.main()
