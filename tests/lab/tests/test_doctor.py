# SPDX-License-Identifier: LGPL-2.1-or-later
"""The doctor: each finding made for real on real hosts and found; a healthy cluster has none."""

import contextlib
import json
import re
import unittest

from support import COMMITTED, REJECTED, USAGE, LabCase, address, members, states

from dhlab.client import Client
from dhlab.grpc import field

FOUND = 3
CONFIG = "/etc/etcd/dh/latest/config.yaml"
CLIENT = "/etc/sysconfig/deephaven/etcd/client"
LOCK = "/var/lib/dhetcd/host/lock.json"
USERS = "/usr/illumon/latest/bin/dh_users"
CERTIFICATE = """set -e
cd /etc/etcd/dh
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout x.key -days 5 -out soon.pem
openssl req -x509 -key x.key -subj /CN=x -not_before 20200101000000Z -not_after 20210101000000Z -out past.pem
"""


class Doctor(LabCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        cls.lab.exec("dh1", ["useradd", "watcher"])

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)

    # -- doing ------------------------------------------------------------------------------
    def examine(self, expect=FOUND):
        """What is wrong, by id: the notes are left out, but for job-open."""
        done = self.dhetcd("--json=short", "doctor")
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        found = json.loads(done.stdout)
        for f in found:
            for key in ("id", "severity", "cause", "evidence", "command"):
                self.assertTrue(f[key], f)
        return {f["id"]: f for f in found if f["severity"] != "note" or f["id"] == "job-open"}

    def wrong(self, *ids, host=address(2)):
        """Exactly these are found, on that host."""
        found = self.examine()
        self.assertEqual(set(found), set(ids), json.dumps(found, indent=1))
        for f in found.values():
            self.assertIn(f["host"], (host, None), f)
        return found

    @contextlib.contextmanager
    def file(self, host, path, change):
        """A file is another one for a while: change(text) or, without change, gone. Owner and mode stay."""
        self.lab.exec(host, ["cp", "-a", path, "/root/kept"])
        try:
            if change:
                self.lab.host(host).path(path, follow=True).write_text(change(self.lab.read(host, path)))
            else:
                self.lab.exec(host, ["rm", path])
            yield
        finally:
            self.lab.exec(host, ["cp", "-a", "--remove-destination", "/root/kept", path])

    def config(self, change):
        return self.file("dh2", CONFIG, change)

    # -- nothing wrong, nobody allowed ------------------------------------------------------
    def test_a_healthy(self):
        self.assertEqual(self.examine(expect=COMMITTED), {})
        done = self.dhetcd("doctor")
        self.assertIn("Nothing is wrong.", done.stdout)
        self.assert_unchanged(self.before, self.list_before)

    def test_a_bad_input(self):
        for argv in (["doctor", "dh2"], ["doctor", "--json=yaml"], ["doctor", "--unknown"]):
            self.assertEqual(self.dhetcd(*argv).returncode, USAGE, argv)

    def test_a_not_everybody(self):
        done = self.lab.exec("dh1", ["runuser", "-u", "watcher", "--", "dhetcd", "--no-ask-password", "doctor"],
                             check=False)
        self.assertEqual(done.returncode, REJECTED, done.stdout)
        self.assertIn("authentication", done.stderr)

    # -- config.yaml ------------------------------------------------------------------------
    def test_b_config(self):
        extra = "etcd-9=https://10.128.1.90:2380,"

        def change(text):
            return text.replace("initial-cluster: ", f"initial-cluster: {extra}") \
                .replace("initial-cluster-state: new", "initial-cluster-state: existing") \
                .replace("strict-reconfig-check: true", "strict-reconfig-check: false") + "force-new-cluster: true\n"
        with self.config(change):
            found = self.wrong("config-list", "config-state", "config-strict", "config-force")
        self.assertIn("names etcd-9", found["config-list"]["evidence"])
        self.assertTrue(found["config-list"]["fixable"])
        with self.config(lambda text: re.sub(r"(?m)^name:.*", "name: etcd-7", text)):
            self.assertIn("etcd-7", self.wrong("config-own")["config-own"]["evidence"])
        with self.config(lambda text: "a: [\n"):
            self.assertIn("line", self.wrong("config-unusable")["config-unusable"]["evidence"])

    def test_b_certificates(self):
        self.lab.exec("dh2", ["sh", "-c", CERTIFICATE])
        try:
            for name, finding in (("soon", "certificate-ends"), ("past", "certificate-ended")):
                with self.config(lambda text, name=name: text.replace(
                        self.certificate(text), f"/etc/etcd/dh/{name}.pem")):
                    self.assertIn(f"{name}.pem", self.wrong(finding)[finding]["evidence"])
        finally:
            self.lab.exec("dh2", ["sh", "-c", "cd /etc/etcd/dh && rm x.key soon.pem past.pem"])

    @staticmethod
    def certificate(text):
        return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("cert-file:"))

    # -- accounts ---------------------------------------------------------------------------
    def test_c_admin_user(self):
        with self.file("dh2", USERS, lambda text: "unset DH_ADMIN_USER\n"):
            self.wrong("admin-user-unset")
        with self.file("dh2", USERS, lambda text: "export DH_ADMIN_USER=daemon\n"):
            found = self.examine()
        self.assertIn("daemon", found["admin-user-differs"]["evidence"])

    def test_c_root_client(self):
        for host, ids in (("dh2", {"root-client-missing"}), ("dh1", {"root-client-missing"})):
            self.lab.exec(host, ["mv", f"{CLIENT}/root", "/root/client"])
            try:
                found = self.examine()
            finally:
                self.lab.exec(host, ["mv", "/root/client", f"{CLIENT}/root"])
            self.assertEqual(set(found), ids)
            self.assertIn("unpackage-client", found["root-client-missing"]["command"])

    def test_c_host_silent(self):
        with self.file("dh2", "/root/.ssh/authorized_keys", None):
            self.wrong("host-silent")

    # -- members ----------------------------------------------------------------------------
    def test_d_voter_silent(self):
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            found = self.wrong("voter-silent", "cluster-silent")
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assertEqual(found["voter-silent"]["command"], "systemctl start dh-etcd.service")

    def test_d_alarm(self):
        client = Client(self.lab)
        one = int(self.lab.members()["members"][0]["ID"])
        client.call("Maintenance/Alarm", field(1, 1) + field(2, one) + field(3, 1))
        try:
            self.assertIn("NOSPACE", self.wrong("alarm")["alarm"]["evidence"])
        finally:
            self.lab.etcdctl("dh1", "alarm", "disarm")
            client.close()


if __name__ == "__main__":
    unittest.main()
