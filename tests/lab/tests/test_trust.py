# SPDX-License-Identifier: LGPL-2.1-or-later
"""dhetcd trust: no key is accepted that nobody has looked at, and none in another one's place."""

import json
import re
import unittest

from support import REJECTED, USAGE, LabCase, address, run

OWN, GLOBAL = "/etc/dhetcd/known_hosts", "/etc/ssh/ssh_known_hosts"


class Trust(LabCase):
    lab_options = {"hosts": 2, "members": 1, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        """sshd lets nobody in for a while who comes often and leaves again; here that is us."""
        super().new_lab()
        cls.lab.write("dh2", "/etc/ssh/sshd_config.d/20-test.conf", "PerSourcePenalties no\n")
        cls.lab.exec("dh2", ["systemctl", "restart", "ssh"])

    def setUp(self):
        self.lab.exec("dh1", ["rm", "-f", OWN])
        self.known = self.lab.read("dh1", GLOBAL)
        self.lab.write("dh1", GLOBAL, "".join(x for x in self.known.splitlines(True) if not x.startswith("dh2,")))
        self.addCleanup(self.lab.write, "dh1", GLOBAL, self.known)
        self.fingerprint = self.lab.exec("dh2", ["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]) \
            .stdout.split()[1]

    def trust(self, *argv, expect=0):
        done = self.dhetcd("trust", *argv)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def pinned(self):
        return self.lab.exec("dh1", ["cat", OWN], check=False).stdout

    def other_key(self):
        """A key that is not dh2's, as known_hosts has it."""
        self.lab.exec("dh1", ["sh", "-c", "rm -f /tmp/other*; ssh-keygen -q -t ed25519 -N '' -f /tmp/other"])
        return " ".join(self.lab.read("dh1", "/tmp/other.pub").split()[:2])

    def told(self, fingerprint):
        """What the journal has of it."""
        return self.lab.exec("dh1", ["journalctl", "-q", "-o", "cat", "-t", "dhetcd", "--grep", re.escape(fingerprint)],
                             check=False).stdout

    def test_nobody_to_ask(self):
        said = self.trust(address(2), expect=REJECTED)
        self.assertIn(self.fingerprint, said)
        self.assertIn(f"dhetcd trust {address(2)} --fingerprint=", said)
        self.assertEqual(self.pinned(), "")

    def test_asked(self):
        def answer(text):
            return run.run(self.lab.host("dh1").enter(
                ["script", "-qec", f"dhetcd trust {address(2)}", "/dev/null"], 30), timeout=40, input=text, check=False)
        done = answer("no\n")
        self.assertIn(self.fingerprint, done.stdout)
        self.assertEqual((done.returncode, self.pinned()), (REJECTED, ""))
        self.assertEqual(answer("yes\n").returncode, 0)
        self.assertIn(f"{address(2)} ssh-ed25519 ", self.pinned())

    def test_fingerprint_then_job_reaches_it(self):
        refused = self.add(address(2), expect=REJECTED)
        self.assertIn(f"dhetcd trust {address(2)}", refused)
        self.trust(address(2), "--fingerprint=SHA256:AAAA", expect=REJECTED)
        self.assertEqual(self.pinned(), "")
        self.trust(address(2), f"--fingerprint={self.fingerprint}")
        self.assertEqual(len(self.pinned().splitlines()), 1)
        self.assertIn(address(2), self.told(self.fingerprint))
        self.assertIn("already", self.trust(address(2), "--yes"))
        self.assertEqual(len(self.pinned().splitlines()), 1)
        found = json.loads(self.trust("--list", "--json=short"))
        self.assertEqual([(k["host"], k["fingerprint"]) for k in found if k["file"] == OWN],
                         [(address(2), self.fingerprint)])

        # ssh itself takes it: the job comes past its connection, to a cause of another kind.
        self.lab.exec("dh2", ["systemctl", "mask", "--runtime", "dhetcdd"])
        try:
            self.assertNotIn("host key", self.add(address(2), expect=REJECTED))
        finally:
            self.lab.exec("dh2", ["systemctl", "unmask", "--runtime", "dhetcdd"])
        self.trust("--remove", address(2))
        self.assertEqual(self.pinned(), "")
        self.trust("--remove", address(2), expect=REJECTED)

    def test_changed_key(self):
        for path in (OWN, GLOBAL):
            with self.subTest(path=path):
                before = self.lab.exec("dh1", ["cat", path], check=False).stdout
                self.lab.write("dh1", path, before + f"{address(2)} {self.other_key()}\n")
                now = self.lab.read("dh1", path)
                for options in ((), ("--yes",), (f"--fingerprint={self.fingerprint}",)):
                    said = self.trust(address(2), *options, expect=REJECTED)
                    self.assertIn("IS NOT THE ONE THAT IS KNOWN", said)
                    self.assertIn(self.fingerprint, said)
                self.assertEqual(self.lab.read("dh1", path), now)
                self.lab.write("dh1", path, before)
        self.assertIn("is not the one that is known", self.told("is not the one"))

    def test_known_globally_and_hashed(self):
        self.lab.write("dh1", GLOBAL, self.known)
        self.lab.exec("dh1", ["ssh-keygen", "-q", "-H", "-f", GLOBAL])
        self.assertNotIn(address(2), self.lab.read("dh1", GLOBAL))
        self.assertIn("already", self.trust(address(2)))
        self.assertEqual(self.pinned(), "")

    def test_revoked(self):
        key = self.lab.read("dh2", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
        self.lab.write("dh1", GLOBAL, f"@revoked {address(2)} {' '.join(key)}\n")
        self.assertIn("revoked", self.trust(address(2), "--yes", expect=REJECTED))
        self.assertEqual(self.pinned(), "")

    def test_bad_input(self):
        for argv, code in ((["dh2"], REJECTED), (["-oProxyCommand=x"], USAGE), ([], USAGE), (["--list", "x"], USAGE),
                           ([address(2), "--fingerprint=MD5:12"], USAGE), (["10.128.1.99", "--yes"], REJECTED),
                           ([address(2), address(1)], USAGE)):
            with self.subTest(argv=argv):
                self.trust(*argv, expect=code)
        done = self.lab.exec("dh1", ["runuser", "-u", "irisadmin", "--", "dhetcd", "trust", address(2), "--yes"],
                             check=False)
        self.assertEqual(done.returncode, REJECTED)
        self.assertIn("Only root", done.stderr)
        self.assertEqual(self.pinned(), "")


if __name__ == "__main__":
    unittest.main()
