# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: each with a clear error, and nothing changed."""

import unittest

from support import REJECTED, LabCase, address, members, states


class Reject(LabCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)

    def refused(self, *nodes, says, options=(), host="dh1"):
        output = self.add(*nodes, expect=REJECTED, options=options, host=host)
        for word in says:
            self.assertIn(word, output)
        self.assert_unchanged(self.before, self.list_before)

    def test_not_an_address(self):
        for text in ("dh3", "10.128.1.300", "010.128.1.151", "10.128.1.151 ", "-rf", "10.128.1.151;reboot", "127.0.0.1",
                     "0.0.0.0", "fe80::1%eth0"):
            with self.subTest(text=text):
                self.refused("--", text, says=[text])

    def test_member_already(self):
        self.refused(address(2), says=[address(2), "is a member of the cluster already"])

    def test_own_address(self):
        self.refused(address(1), says=[address(1), "own"])

    def test_twice(self):
        self.refused(address(3), address(3), says=[address(3), "twice"])

    def test_unreachable(self):
        self.refused("10.128.1.99", says=["10.128.1.99"])

    def test_no_dhetcd_there(self):
        files = ["/usr/share/dbus-1/system-services/org.dhetcd1.service", "/usr/lib/systemd/system/dhetcdd.service"]
        for f in files:
            self.lab.exec("dh3", ["mv", f, f + ".away"])
        self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"], check=False)
        self.reload("dh3")
        try:
            self.refused(address(3), says=[address(3), "dhetcd"])
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
            output = self.add(*nodes, expect=REJECTED)
        finally:
            self.lab.exec(host, ["mv", "/root/moved", path])
        for word in says:
            self.assertIn(word, output)

    def test_root_client_missing(self):
        self.moved("dh1", "/etc/sysconfig/deephaven/etcd/client/root", address(3), says=["root client"])

    def test_vendor_scripts_missing(self):
        self.moved("dh3", "/usr/illumon/latest/install/config_packager.sh", address(3),
                   says=[address(3), "config_packager.sh"])

    def edited(self, host, path, edit, *nodes, says):
        text = self.lab.exec(host, ["cat", path], text=False).stdout
        self.lab.exec(host, ["cp", "-a", path, "/root/edited"])
        self.lab.exec(host, ["tee", path], input=edit(text), text=False)
        try:
            output = self.add(*nodes, expect=REJECTED)
        finally:
            self.lab.exec(host, ["cp", "-a", "/root/edited", path])
        for word in says:
            self.assertIn(word, output)

    def test_package_damaged(self):
        self.edited("dh1", "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz", lambda b: b[:len(b) // 2], address(3),
                    says=["dh_etcd_config.tgz"])

    def test_config_without_the_keys(self):
        self.edited("dh2", "/etc/etcd/dh/latest/config.yaml",
                    lambda b: b"".join(line for line in b.splitlines(True)
                                       if not line.startswith(b"initial-cluster:")),
                    address(3), says=[address(2), "has no initial-cluster"])

    def test_wrong_password(self):
        self.edited("dh1", "/etc/sysconfig/deephaven/etcd/client/root/password", lambda b: b"not-the-password\n",
                    address(3), says=["password"])

    def test_other_version(self):
        """The new host's dhetcdd is of another version: the same program with another version's text."""
        program = "/usr/libexec/dhetcd/dhetcdd"
        text = self.lab.exec("dh3", ["cat", program], text=False).stdout
        version = self.dhetcd("--version").stdout.split()[1].encode()
        other = version[:-1] + (b"9" if version[-1:] != b"9" else b"8")
        self.assertIn(version, text)
        self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"])
        self.lab.exec("dh3", ["mv", program, "/root/dhetcdd"])
        self.lab.exec("dh3", ["tee", program], input=text.replace(version + b"\0", other + b"\0"), text=False)
        self.lab.exec("dh3", ["chmod", "755", program])
        try:
            self.refused(address(3), says=[address(3), version.decode(), other.decode()])
        finally:
            self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"])
            self.lab.exec("dh3", ["mv", "/root/dhetcdd", program])

    def test_port_behind_a_firewall(self):
        drop = "table inet firewall { chain in { type filter hook input priority 0; tcp dport 2380 drop;\n}\n}\n"
        self.lab.exec("dh3", ["nft", "-f", "-"], input=drop)
        try:
            self.refused(address(3), says=[address(3), "2380", "firewall"])
        finally:
            self.lab.exec("dh3", ["nft", "delete", "table", "inet", "firewall"])

    def test_data_directory_in_use(self):
        cluster = self.lab.exec("dh1", ["readlink", "/etc/etcd/dh/latest"]).stdout.strip().split("/")[-1]
        path = f"/var/lib/etcd/dh/{cluster}/member"
        self.lab.exec("dh3", ["mkdir", "-p", path])
        try:
            output = self.add(address(3), expect=REJECTED)
            self.assertIn("--move-data-aside", output)
        finally:
            self.lab.exec("dh3", ["rm", "-r", f"/var/lib/etcd/dh/{cluster}"])

    def test_require_odd(self):
        self.refused(address(3), "10.128.1.152", says=["10.128.1.152"], options=["--require-odd"])


if __name__ == "__main__":
    unittest.main()
