# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vendor's page, steps 1, 2 and 8: cluster.cnf, the installer and its outcomes."""

import json
import unittest

from support import REJECTED, USAGE, LabCase, address

DIR, INSTALLED = "/opt/deephaven/installer", "/etc/sysconfig/deephaven/cluster.cnf"
CNF = f"{DIR}/cluster.cnf"
ODD = "# kept: \u00fc\r\nJAVA_OPTS=\"-Da='b' ${HOME}\"\t# too\n"


def cnf(nodes, generated=True):
    text = ODD + "".join(f"\n#Node{n}\nDH_NODE_{n}_ADDRESS={address(n)}\nDH_NODE_{n}_ROLE_ETCD=true\n"
                         for n in range(1, nodes + 1))
    return text + (f'\nDH_NODE_COUNT={nodes}\nDH_NODE_1_FQDN="dh1"\n' if generated else "")


class Install(LabCase):
    lab_options = {"hosts": 3, "members": 1, "switches": {"ca": "same"}}

    def cnf(self, *argv, expect=0, user=None):
        argv = ["dhetcd", "cnf", *argv]
        done = self.lab.exec("dh1", ["runuser", "-u", user, "--", *argv] if user else argv, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def backups(self):
        return sorted(self.lab.host("dh1").path(DIR).glob("cluster.cnf.*"))

    def test_1_cnf(self):
        self.lab.write("dh1", CNF, cnf(1))
        inode = self.lab.host("dh1").path(CNF).stat().st_ino
        shown = self.cnf("add", f"--installer-dir={DIR}", "--role=QUERY,MERGE=false", address(2), address(3))
        for line in ("-DH_NODE_COUNT=1", f"+DH_NODE_2_ADDRESS={address(2)}", "+DH_NODE_3_ROLE_ETCD=true",
                     "+DH_NODE_3_ROLE_QUERY=true", "+DH_NODE_3_ROLE_MERGE=false"):
            self.assertIn(line + "\n", shown)
        now = self.lab.host("dh1").path(CNF).read_bytes().decode()
        self.assertTrue(now.startswith(cnf(1, generated=False)), now)
        self.assertNotIn("DH_NODE_COUNT", now)
        self.assertNotEqual(self.lab.host("dh1").path(CNF).stat().st_ino, inode, "replaced, not overwritten")
        self.assertEqual([b.read_bytes().decode() for b in self.backups()], [cnf(1)])
        self.assertIn(str(self.backups()[0].name), shown)

        found = json.loads(self.cnf("show", f"--file={CNF}", "--json=short"))
        self.assertEqual([(n["n"], n["host"], n["etcd"]) for n in found["nodes"]],
                         [(n, address(n), True) for n in (1, 2, 3)])
        self.assertFalse(found["generated"])
        self.assertIn("no error", self.cnf("check", f"--file={CNF}"))

    def test_1_cnf_bad_input(self):
        """A clear error, and not a byte is changed."""
        other = {"gap": cnf(1) .replace("DH_NODE_COUNT", f"DH_NODE_3_ADDRESS={address(3)}\nDH_NODE_COUNT"),
                 "twice": cnf(1, generated=False) + f"DH_NODE_1_ADDRESS={address(3)}\n",
                 "does not end": cnf(1, generated=False) + 'X="a\n', "no node": "# empty\n", "NUL": cnf(1) + "\0"}
        at = f"--file={CNF}"
        cases = [(cnf(1), ("add", at, address(1)), REJECTED, "already"),
                 (cnf(1), ("add", at, address(2), address(2)), REJECTED, "twice"),
                 (cnf(1), ("add", at, "a b"), REJECTED, "neither"),
                 (cnf(1), ("add", at, "--role=ETCD=false", address(2)), USAGE, "ETCD"),
                 (cnf(1), ("add", at, "--role=x y", address(2)), USAGE, "no role"),
                 (cnf(1), ("add", at, "--host-key=FQDN", address(2)), REJECTED, "DH_NODE_n_ADDRESS"),
                 (cnf(1), ("add", at, f"--installer-dir={DIR}", address(2)), USAGE, "exclude"),
                 (cnf(1), ("add", at + ".not", address(2)), REJECTED, "not there"),
                 (cnf(1), ("add", "--file=/etc", address(2)), REJECTED, "cannot be read"),
                 (cnf(1), ("frob",), USAGE, "form"), (cnf(1), (), USAGE, "few"),
                 (cnf(1), ("show", at, "x"), USAGE, "form")]
        cases += [(text, ("add", at, address(2)), REJECTED, says) for says, text in other.items()]
        for text, argv, code, says in cases:
            with self.subTest(argv=argv, says=says):
                self.lab.write("dh1", CNF, text)
                before = self.backups()
                self.assertIn(says, self.cnf(*argv, expect=code))
                self.assertEqual(self.lab.host("dh1").path(CNF).read_bytes().decode(), text)
                self.assertEqual(self.backups(), before)
        self.lab.write("dh1", CNF, cnf(1))
        self.assertIn("+DH_NODE_2", self.cnf("add", at, "--dry-run", address(2)))
        self.cnf("add", at, address(2), expect=REJECTED, user="irisadmin")
        self.assertEqual(self.lab.host("dh1").path(CNF).read_bytes().decode(), cnf(1))


if __name__ == "__main__":
    unittest.main()
