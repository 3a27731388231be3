# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: each with a clear error, and nothing changed."""

import json
import unittest
from xml.etree import ElementTree

from support import REJECTED, USAGE, LabCase, address, members, states

VERBS = ("list", "add", "cluster", "plan", "check", "doctor", "schedule", "unschedule", "show", "report", "watch", "cancel",
         "rollback", "settle", "config", "rescue", "trust", "cnf", "install", "grow")
MISUSED = {  # arguments that are too few, too many, of another verb, or no value of theirs
    "list": ["x", "--fix", "--json=yaml", "--json"],
    "add": ["", f"{address(3)} --dry-run", f"{address(3)} --on=02:00", f"{address(3)} --restart=never", f"{address(3)} --policy=some"],
    "cluster": ["x", "--force"], "plan": ["", f"{address(3)} --no-block"], "check": ["", f"{address(3)} --takeover"],
    "doctor": ["x", "--dry-run", "--all"], "schedule": [address(3), "--on=02:00", f"{address(3)} --on=02:00 --until=teatime"],
    "unschedule": ["", "a b", "--all"], "show": ["", "a b", "x --force"], "report": ["", "a b", "x --on=y"],
    "watch": ["a b", "x --all"], "cancel": ["", "a b", "x --no-block"], "rollback": ["", "a b", "x --all"],
    "settle": ["", "a b", "x --all", "--all --takeover", "x --force"], "config": ["x", "--file=x"], "rescue": ["a b", "--force"],
    "trust": ["", "a b", "--list x", "x --fingerprint=MD5:12"],
    "cnf": ["", "other", "show --file=x --installer-dir=y", "check x", "add --fix"], "install": ["", "x", "--installer-dir=/ --expect=y"],
    "grow": ["", address(3)],
}
NO_JOBS = ("ffffffff", "", "../../../etc", "x" * 300, "a\nb", "%s%n")


class Reject(LabCase):
    slow, sample = 2, 0.7
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)

    def refused(self, *nodes, says, options=(), host="dh1"):
        output = self.add(*nodes, expect=REJECTED, options=options, host=host)
        for word in says:
            self.assertIn(word, output)
        self.assert_unchanged(self.before, self.list_before)

    def refused_with(self, *nodes, says):
        """The same where something is damaged just now: it stays as it is, too."""
        self.before = states(self.lab)
        self.refused(*nodes, says=says)

    # -- every verb, every method -----------------------------------------------------------
    def test_a_every_verb(self):
        self.assertEqual(set(MISUSED), set(VERBS))
        said = self.dhetcd("--help").stdout
        self.assertEqual([v for v in VERBS if f"\n  {v}" not in said], [])
        for verb in VERBS:
            for text in (*MISUSED[verb], "--no-such-option"):
                with self.subTest(verb=verb, text=text):
                    done = self.dhetcd(verb, *text.split())
                    self.assertEqual((done.returncode, done.stdout), (USAGE, ""), done.stderr)
                    self.assertIn("dhetcd: ", done.stderr)
        self.assert_unchanged(self.before, self.list_before)

    def test_a_no_such_job(self):
        for verb in ("show", "report", "watch", "cancel", "rollback", "settle"):
            for job in NO_JOBS:
                with self.subTest(verb=verb, job=job):
                    done = self.dhetcd(verb, "--", job)
                    self.assertIn(done.returncode, (REJECTED, USAGE))
                    self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))
                    self.assertTrue(done.stderr.startswith("dhetcd: "))
        self.assert_unchanged(self.before, self.list_before)

    def busctl(self, *argv):
        return self.lab.exec("dh1", ["busctl", *argv], check=False)

    def methods(self):
        """(interface, method, signature) of all that dhetcdd has."""
        xml = self.busctl("introspect", "--xml-interface", "org.dhetcd1", "/org/dhetcd1").stdout
        for interface in ElementTree.fromstring(xml).iter("interface"):
            if interface.get("name").startswith("org.dhetcd1."):
                for method in interface.iter("method"):
                    yield interface.get("name"), method.get("name"), "".join(
                        a.get("type") for a in method.iter("arg") if a.get("direction") == "in")

    @staticmethod
    def arguments(signature, text):
        """As busctl takes them: this text, or 0, for each; one element of each array, none of a dictionary."""
        signature = signature.replace("a{sv}", "0")
        return [x for c in signature for x in {"s": [text], "a": ["1"]}.get(c, ["0"])]

    def test_b_every_method(self):
        """What no program of ours would send: an error, or an answer that is JSON, and the daemon lives."""
        found = list(self.methods())
        self.assertGreater(len(found), 40)
        for interface, method, signature in found:
            if "h" in signature or "ay" in signature:  # busctl has no file to give
                continue
            for text in ("", "../../../etc/passwd", "x" * 5000, "a\nb"):
                with self.subTest(method=method, text=text[:20]):
                    done = self.busctl("--json=short", "call", "org.dhetcd1", "/org/dhetcd1", interface, method,
                                       *([signature, *self.arguments(signature, text)] if signature else []))
                    if "s" in signature.replace("a{sv}", "") and method != "Plan":
                        self.assertNotEqual(done.returncode, 0, done.stdout)
                    elif done.stdout:
                        json.loads(done.stdout)
        self.wait("no job is open", lambda: all(j["state"] == "rejected" for j in map(json.loads, self.job_files("dh1"))))
        told = self.lab.exec("dh1", ["journalctl", "-u", "dhetcdd", "-o", "cat"]).stdout
        for word in ("code=dumped", "code=killed", "Sanitizer"):
            self.assertNotIn(word, told)
        self.assert_unchanged(self.before, self.list_before)

    # -- dhetcd add -------------------------------------------------------------------------
    def test_not_an_address(self):
        for text in ("dh3", "10.128.1.300", "010.128.1.151", "10.128.1.151 ", "-rf", "10.128.1.151;reboot", "127.0.0.1",
                     "0.0.0.0", "fe80::1%eth0"):
            with self.subTest(text=text):
                self.refused("--", text, says=[text])

    def test_member_already(self):
        self.refused(address(2), says=[address(2), "is a member of the cluster already"])

    def test_own_address(self):
        self.refused(address(1), says=[
            f"{address(1)} is this host's own address; run this on a host that is in the cluster already and name the new one"])

    def test_twice(self):
        self.refused(address(3), address(3), says=[f"{address(3)} is named twice"])

    def test_unreachable(self):
        self.refused("10.128.1.99", says=["10.128.1.99: ssh: connect to host 10.128.1.99 port 22: No route to host",
                                          "try: ssh 10.128.1.99)"])

    def test_no_dhetcd_there(self):
        files = ["/usr/share/dbus-1/system-services/org.dhetcd1.service", "/usr/lib/systemd/system/dhetcdd.service"]
        for f in files:
            self.lab.exec("dh3", ["mv", f, f + ".away"])
        self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"], check=False)
        self.reload("dh3")
        try:
            self.refused(address(3), says=[f"{address(3)}: there is no dhetcdd; install dhetcd there"])
        finally:
            for f in files:
                self.lab.exec("dh3", ["mv", f + ".away", f])
            self.reload("dh3")

    def reload(self, host):
        self.lab.exec(host, ["systemctl", "daemon-reload"])
        self.lab.exec(host, ["busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus", "ReloadConfig"])

    def test_cluster_unhealthy(self):
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            output = self.add(address(3), expect=REJECTED)
            self.assertTrue("does not answer" in output or "no member" in output, output)
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assert_unchanged(self.before, self.list_before)

    def test_learner_already_there(self):
        self.add_foreign_learner()
        try:
            output = self.add(address(3), expect=REJECTED)
            self.assertIn("learner already", output)
        finally:
            self.remove_learner()
        self.assert_unchanged(self.before, self.list_before)

    def moved(self, host, path, *nodes, says):
        self.lab.exec(host, ["mv", path, "/root/moved"])
        try:
            self.refused_with(*nodes, says=says)
        finally:
            self.lab.exec(host, ["mv", "/root/moved", path])

    def test_root_client_missing(self):
        self.moved("dh1", "/etc/sysconfig/deephaven/etcd/client/root", address(3), says=[
            "this host has no etcd root client: /etc/sysconfig/deephaven/etcd/client/root is not there. Start the job on a host"])

    def test_vendor_scripts_missing(self):
        self.moved("dh3", "/usr/illumon/latest/install/config_packager.sh", address(3),
                   says=[f"{address(3)}: the vendor's config_packager.sh is not there. Run the installer first"])

    def edited(self, host, path, edit, *nodes, says):
        text = self.lab.exec(host, ["cat", path], text=False).stdout
        self.lab.exec(host, ["cp", "-a", path, "/root/edited"])
        self.lab.exec(host, ["tee", path], input=edit(text), text=False)
        try:
            self.refused_with(*nodes, says=says)
        finally:
            self.lab.exec(host, ["cp", "-a", "/root/edited", path])

    def test_package_damaged(self):
        self.edited("dh1", "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz", lambda b: b[:len(b) // 2], address(3),
                    says=["the present package is damaged: ", "dh_etcd_config.tgz"])

    def test_config_without_the_keys(self):
        for key in ("initial-cluster", "initial-cluster-state", "initial-cluster-token"):
            with self.subTest(key=key):
                self.edited("dh2", "/etc/etcd/dh/latest/config.yaml",
                            lambda b, begin=f"{key}:".encode(): b"".join(
                                line for line in b.splitlines(True) if not line.startswith(begin)),
                            address(3), says=[f"{address(2)}: /etc/etcd/dh/latest/config.yaml has no {key}. Compare it with"])

    def test_wrong_password(self):
        self.edited("dh1", "/etc/sysconfig/deephaven/etcd/client/root/password", lambda b: b"not-the-password\n",
                    address(3), says=["user or password is wrong"])

    def test_other_version(self):
        version = self.dhetcd("--version").stdout.split()[1]
        with self.other_version("dh3") as other:
            self.refused(address(3), says=[address(3), version, other])

    def test_port_behind_a_firewall(self):
        """In each direction, not only as the job's host sees it; and where the firewall answers as if nobody listened."""
        for host, chain, rule, port, to, where, why in (
                ("dh3", "input", "tcp dport 2380 drop", 2380, 3, 1, "Connection timed out"),
                ("dh3", "input", "tcp dport 2379 drop", 2379, 3, 1, "Connection timed out"),
                ("dh2", "output", f"ip daddr {address(3)} tcp dport 2380 drop", 2380, 3, 2, "Connection timed out"),
                ("dh2", "input", f"ip saddr {address(3)} tcp dport 2380 reject with tcp reset", 2380, 2, 3, "refused")):
            with self.subTest(host=host, rule=rule):
                table = f"table inet firewall {{ chain one {{ type filter hook {chain} priority 0;\n{rule}\n}}\n}}\n"
                self.lab.exec(host, ["nft", "-f", "-"], input=table)
                try:
                    self.refused(address(3), says=[f"{address(to)}: port {port} cannot be reached from {address(where)} ({why}), "
                                                   "so etcd could not either. Open it in the firewalls between the two"])
                finally:
                    self.lab.exec(host, ["nft", "delete", "table", "inet", "firewall"])

    def test_data_directory_in_use(self):
        cluster = self.lab.exec("dh1", ["readlink", "/etc/etcd/dh/latest"]).stdout.strip().split("/")[-1]
        path = f"/var/lib/etcd/dh/{cluster}/member"
        self.lab.exec("dh3", ["mkdir", "-p", path])
        try:
            self.refused_with(address(3), says=[f"{address(3)}: the data directory", "is not empty", "--move-data-aside"])
        finally:
            self.lab.exec("dh3", ["rm", "-r", f"/var/lib/etcd/dh/{cluster}"])

    def short_of_space(self, host, path, options, says):
        """A small file system of its own is there for a while."""
        self.lab.exec(host, ["systemctl", "stop", "dhetcdd"])
        self.lab.exec(host, ["mkdir", "-p", "-m", "0700", path])
        self.lab.exec(host, ["mount", "-t", "tmpfs", "-o", f"size=32m,{options}", "tmpfs", path])
        try:
            self.refused_with(address(3), says=says)
        finally:
            self.lab.exec(host, ["systemctl", "stop", "dhetcdd"])
            self.lab.exec(host, ["umount", "-l", path])

    def test_no_space_for_the_snapshot(self):
        state = "/var/lib/dhetcd"
        self.short_of_space("dh1", state, "mode=0700", [f"this host: {state} has 3", "MiB are needed for etcd's snapshot", f"df -h {state}"])

    def test_no_space_for_data_on_the_new_host(self):
        """/var/lib/etcd is there, and nothing in it."""
        self.short_of_space("dh3", "/var/lib/etcd", "uid=etcd", [f"{address(3)}: 3", "MiB are free for etcd's data"])

    def test_require_odd(self):
        self.refused(address(3), address(4), says=["the job would leave 4 members, and require-odd is set. Add one node more, "
                                                   "or one less, in one job"], options=["--require-odd"])


if __name__ == "__main__":
    unittest.main()
