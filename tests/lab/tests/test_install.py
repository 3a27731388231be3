# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vendor's page, steps 1, 2 and 8: cluster.cnf, the installer and its outcomes."""

import json
import unittest

from support import BUSY, CONF, REJECTED, USAGE, LabCase, address, members, prepare_operators, states

DIR, INSTALLED = "/opt/deephaven/installer", "/etc/sysconfig/deephaven/cluster.cnf"
CNF = f"{DIR}/cluster.cnf"
ODD = "# kept: \u00fc\r\nJAVA_OPTS=\"-Da='b' ${HOME}\"\t# too\n"
SLOW_TO_END = """#!/bin/sh
trap 'trap "" TERM; sleep 3; echo the last line; exit 0' TERM
echo line 1
echo line 2
while :; do sleep 1; done
"""


def cnf(nodes, generated=True):
    text = ODD + "".join(f"\n#Node{n}\nDH_NODE_{n}_ADDRESS={address(n)}\nDH_NODE_{n}_ROLE_ETCD=true\n"
                         for n in range(1, nodes + 1))
    return text + (f'\nDH_NODE_COUNT={nodes}\nDH_NODE_1_FQDN="dh1"\n' if generated else "")


class InstallerCase(LabCase):
    def records(self):
        """Of all runs of the installer, the newest first."""
        found = [json.loads(p.read_text()) for p in self.lab.host("dh1").path("/var/lib/dhetcd/installs").glob("*/install.json")]
        return sorted(found, key=lambda r: -r["asked_usec"])

    def record(self):
        return self.records()[0]

    def units(self, pattern):
        return self.lab.exec("dh1", ["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]).stdout

    def wait_program(self, install):
        """The installer runs; nothing but its lines is shown of that before."""
        self.wait("the installer runs", lambda: "activating" in self.units(f"dhetcd-installer-{install}-*"))

    def cancel(self, install, says="what the installer has done so far stays"):
        done = self.dhetcd("cancel", install)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(says, done.stdout)
        self.wait("it has ended", lambda: self.record()["state"] != "running", 240)
        self.assertNotIn("activating", self.units(f"dhetcd-installer-{install}-*"))


class Install(InstallerCase):
    slow = 1
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


    # -- the installer ----------------------------------------------------------------------
    def install(self, *argv, expect=0, user="root"):
        done = self.as_user(user, "dhetcd", "--no-ask-password", "install", f"--installer-dir={DIR}", *argv)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def output(self):
        return self.lab.read("dh1", f"/var/lib/dhetcd/installs/{self.record()['install']}/output.log")

    def watch(self, install, *argv, expect=0, user="root"):
        done = self.as_user(user, "dhetcd", "--no-ask-password", "watch", install, *argv)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def nothing_runs(self):
        self.wait("the units are gone", lambda: not self.units("dhetcd-install*"), 30)
        self.assertNotEqual(self.lab.exec("dh1", ["pgrep", "-x", "sleep"], check=False).returncode, 0)

    def test_2_install(self):
        """Success; the failure that the page expects; any other; one that does not end."""
        before, list_before = states(self.lab), members(self.lab)
        self.lab.write("dh1", CNF, cnf(1, generated=False))
        self.assertIn("ran to its end", self.install())
        self.assertEqual(self.record()["state"], "succeeded")
        self.assertIn("ran to its end", self.watch(self.record()["install"]))
        said = self.watch(self.record()["install"], expect=REJECTED, user="irisadmin")
        self.assertIn("dhetcd: ", said)
        self.assertNotIn("Installation complete", said)
        for line in ("The jar runs as root\n", "Wrote cluster.cnf and master_install.sh\n", "Installation complete\n"):
            self.assertIn(line, self.output())
        self.assertIn("DH_NODE_COUNT=1", self.lab.read("dh1", CNF))

        self.cnf("add", f"--installer-dir={DIR}", address(2), address(3))
        said = self.install("--expect=etcd-setup-check")
        self.assertIn("dhetcd add NODE", said)
        self.assertEqual(self.record()["state"], "expected-failure")
        self.assertIn("dhetcd add NODE", self.watch(self.record()["install"]))
        said = self.install(expect=REJECTED)  # the same, but not asked for
        self.assertIn("FAILED: etcd_configure.sh.setup_check", said)
        self.assertIn("no members yet", said)
        self.assertIn("no members yet", self.watch(self.record()["install"], expect=REJECTED))

        self.lab.break_script("dh1", "master_install", "fail")
        said = self.install("--expect=etcd-setup-check", expect=REJECTED)
        self.assertIn("The lines that matter:\n  ERROR: master_install.sh: master_install is broken for a test", said)
        self.assertEqual(self.record()["state"], "failed")
        self.lab.break_script("dh1", "master_install", "hang")
        self.lab.write("dh1", CONF, "[install]\nTimeoutSec=2\n")
        self.assertIn("had not ended after 2 s", self.install("--expect=etcd-setup-check", expect=REJECTED))
        self.assertEqual(self.record()["state"], "timed-out")
        self.lab.mend("dh1", "master_install")
        listed = json.loads(self.dhetcd("install", "--list", "--json=short").stdout)
        self.assertEqual([r["state"] for r in listed],
                         ["timed-out", "failed", "expected-failure", "expected-failure", "succeeded"])
        self.assertIn("had not ended after 2 s", self.dhetcd("install", "--list").stdout)
        self.lab.exec("dh1", ["rm", CONF])
        self.lab.exec("dh1", ["cp", "-a", INSTALLED, CNF])
        self.nothing_runs()
        self.assert_unchanged(before, list_before)

    def test_2_install_as_the_owner(self):
        """The folder is the administrator's, who is not root: so is what runs, and what is written."""
        self.lab.write("dh1", CNF, cnf(1, generated=False))
        self.lab.exec("dh1", ["chown", "-R", "irisadmin", DIR])
        try:
            # Its sudo wants a password: no failure that the page expects.
            self.assertIn("sudo: a password is required", self.install("--expect=etcd-setup-check", expect=REJECTED))
            self.assertEqual(self.record()["state"], "failed")
            self.lab.write("dh1", "/etc/sudoers.d/irisadmin", "irisadmin ALL=(ALL) NOPASSWD: ALL\n", 0o440)
            self.cnf("add", f"--installer-dir={DIR}", address(2))
            self.assertEqual(self.lab.exec("dh1", ["stat", "-c", "%U", CNF]).stdout, "irisadmin\n")
            self.lab.write("dh1", CNF, cnf(1, generated=False))
            self.lab.exec("dh1", ["chown", "irisadmin", CNF])
            self.assertIn("ran to its end", self.install())
            for line in ("The jar runs as irisadmin\n", "master_install.sh runs as irisadmin\n"):
                self.assertIn(line, self.output())
            self.assertEqual(self.record()["user"], "irisadmin")
        finally:
            self.lab.exec("dh1", ["sh", "-c", f"chown -R root {DIR}; rm -f /etc/sudoers.d/irisadmin"])

    def test_2_install_jar(self):
        """It fails, does not end, or does not make what it should."""
        self.lab.write("dh1", CONF, "[install]\nTimeoutSec=2\n")
        script = f"{DIR}/master_install.sh"
        try:
            for mode, state, says in (("fail", "failed", "the installer's jar failed (exit status 3)"),
                                      ("hang", "timed-out", "the installer's jar had not ended after 2 s"),
                                      ("stderr", "failed", "cluster.cnf has no DH_NODE_COUNT")):
                with self.subTest(mode=mode):
                    self.lab.write("dh1", CNF, cnf(1, generated=False))
                    self.lab.break_script("dh1", "installer_jar", mode)
                    self.assertIn(says, self.install("--expect=etcd-setup-check", expect=REJECTED))
                    self.assertEqual(self.record()["state"], state)
                    if mode != "stderr":
                        self.assertNotIn("master_install.sh runs", self.output())
            self.lab.exec("dh1", ["mv", script, script + ".away"])
            self.assertIn(f"the jar did not make {script}", self.install(expect=REJECTED))
            self.lab.mend("dh1")
            self.assertIn(f"{script} is not there", self.install(expect=REJECTED))
        finally:
            self.lab.mend("dh1")
            self.lab.exec("dh1", ["sh", "-c", f"rm {CONF}; [ ! -e {script}.away ] || mv {script}.away {script}"])
        self.nothing_runs()

    def left(self, *argv):
        """A command that shows the lines from the first on, and is left by ^C."""
        done = self.lab.exec("dh1", ["timeout", "--preserve-status", "-s", "INT", "5", "dhetcd", *argv], check=False)
        self.assertEqual(done.returncode, 130, done.stderr)
        self.assertIn("line 1\nline 2\n", done.stdout)
        self.assertIn("goes on without us", done.stderr)

    def test_2_install_live(self):
        """Its lines are shown while it runs; who looks may go, and may end it."""
        script = f"{DIR}/master_install.sh"
        self.lab.write("dh1", CNF, cnf(1))
        self.lab.exec("dh1", ["mv", script, script + ".away"])
        self.lab.write("dh1", script, SLOW_TO_END, 0o755)
        try:
            self.left("install", f"--installer-dir={DIR}")
            install = self.record()["install"]
            self.left("watch", install)
            self.wait_program(install)
            self.assertIn(install, self.install(expect=BUSY))
            self.cancel(install)  # until it has ended, it runs, though it was told to end
        finally:
            self.lab.exec("dh1", ["mv", script + ".away", script])
        self.assertEqual(self.record()["state"], "canceled")
        said = self.watch(install, expect=REJECTED)
        for text in ("line 1\n", "line 2\n", "the last line\n", "dhetcd: ", "canceled", f"dhetcd install --installer-dir='{DIR}'\n"):
            self.assertIn(text, said)
        self.assertEqual(json.loads(self.watch(install, "--json=short", expect=REJECTED)), self.record())
        self.assertIn("the last line\n", self.output())
        self.nothing_runs()

    def test_2_install_worker_dies(self):
        """The installer does not outlive who was to watch it, even where nobody is left to end it."""
        self.lab.write("dh1", CNF, cnf(1))
        self.lab.break_script("dh1", "master_install", "hang")
        try:
            for whom, says in (("main", "its worker died (signal)"), ("all", "the worker or the host died")):
                with self.subTest(whom=whom):
                    install = self.install("--no-block").strip()
                    self.wait_program(install)
                    self.lab.exec("dh1", ["systemctl", "kill", "--signal=KILL", f"--kill-whom={whom}",
                                          f"dhetcd-install-{install}"])
                    self.nothing_runs()
                    listed = json.loads(self.dhetcd("install", "--list", "--json=short").stdout)[0]
                    self.assertEqual((listed["install"], listed["state"]), (install, "lost"))
                    self.assertIn(says, listed["text"])
                    if whom == "main":
                        self.assertIn(says, " ".join(e["MESSAGE"] for e in self.journal(install)))
        finally:
            self.lab.mend("dh1")
        self.assertIn("ran to its end", self.install())

    def test_2_install_refused(self):
        """Nothing is run from a folder that others can change, nor for who may not."""
        for command, says in ((["chmod", "go+w", DIR], "chmod go-w"), (["chown", "irisadmin", CNF], "chown 0"),
                              (["mv", CNF, CNF + ".away"], "not there")):
            with self.subTest(command=command):
                self.lab.exec("dh1", command)
                try:
                    self.assertIn(says, self.install(expect=REJECTED))
                finally:
                    self.lab.exec("dh1", ["sh", "-c", f"[ -e {CNF} ] || mv {CNF}.away {CNF}; chown root {CNF}; chmod go-w {DIR}"])
        self.assertIn("uthenti", self.install(expect=REJECTED, user="nobody"))
        runs, at = len(self.records()), f"--installer-dir={DIR}"
        for argv, code, says in ((["install"], USAGE, "--installer-dir="),
                                 (["install", "--installer-dir=/no"], REJECTED, "/no: No such file"),
                                 (["install", "--installer-dir=/tmp", "--expect=x"], USAGE, "etcd-setup-check"),
                                 (["install", at, "x"], USAGE, "Too many arguments"),
                                 (["grow", at], USAGE, "Too few arguments"),
                                 (["grow", address(2)], USAGE, "--installer-dir="),
                                 (["grow", at, "dh2"], REJECTED, "'dh2' is no IPv4 or IPv6 address"),
                                 (["grow", at, address(2), address(2)], REJECTED, "named twice"),
                                 (["grow", at, address(1)], REJECTED, "this host's own address")):
            with self.subTest(argv=argv):
                done = self.dhetcd(*argv)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn(says, done.stderr)
        self.assertEqual(len(self.records()), runs)


class GrowWhole(InstallerCase):
    """The vendor's page from its first to its last step: an operator who is not root, over ssh users who are not."""

    slow, sample = 2, 0.5
    lab_options = {"hosts": 5, "members": 1, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        prepare_operators(cls.lab)

    def grow(self, *nodes, expect=0, user="alice"):
        done = self.as_user(user, "dhetcd", "--no-ask-password", "grow", f"--installer-dir={DIR}", *nodes)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def begin_grow(self, *nodes):
        return self.grow("--no-block", *nodes).strip()

    def test_an_installer_that_fails(self):
        """Before the job: none is begun. What was canceled is put back, but for cluster.cnf."""
        before, list_before = states(self.lab), members(self.lab)
        self.lab.write("dh1", CNF, cnf(1))
        self.lab.break_script("dh1", "master_install", "fail")
        self.assertIn("master_install is broken for a test", self.grow(address(2), expect=REJECTED))
        self.assertEqual(self.record()["state"], "failed")

        self.lab.break_script("dh1", "master_install", "hang")
        install = self.begin_grow(address(2))
        self.wait_program(install)
        self.cancel(install)
        self.assertEqual(self.record()["state"], "canceled")
        self.assertEqual(self.job_files("dh1"), [])
        self.lab.mend("dh1")

        self.lab.break_script("dh2", "enable_dh_etcd_systemd", "hang")
        install = self.begin_grow(address(2))
        self.wait("the learner is added", self.has_learner)
        self.cancel(install)
        self.lab.mend("dh2")
        self.assertEqual(self.record()["state"], "canceled")
        self.assertEqual(self.newest_job()["state"], "rolled-back")
        self.assert_unchanged(before, list_before)

    def test_grow(self):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.write("dh1", CNF, cnf(1))
        self.grow(address(2), expect=REJECTED, user="stranger")
        self.assertEqual(self.lab.host("dh1").path(CNF).read_bytes().decode(), cnf(1))

        # The second node fails: both are undone; the same command goes on from there.
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "fail")
        said = self.grow(address(2), address(3), expect=REJECTED)
        self.assertIn("+DH_NODE_3_ADDRESS", said)
        self.assertIn("rolled-back", said)
        self.assertIn(f"dhetcd grow --installer-dir='{DIR}' {address(2)} {address(3)}\n", said)
        done = self.as_user("alice", "dhetcd", "--no-ask-password", "watch", self.record()["install"])
        self.assertEqual(done.returncode, REJECTED, done.stdout + done.stderr)
        self.assertIn(f"dhetcd grow --installer-dir='{DIR}' {address(2)} {address(3)}\n", done.stderr)
        self.assert_unchanged(before, list_before)
        self.lab.mend("dh3", "enable_dh_etcd_systemd")
        # The last part fails: they vote all the same, and the same command goes on from there.
        self.lab.break_script("dh1", "master_install", "fail")
        said = self.grow(address(2), address(3), expect=REJECTED)
        self.assertIn("it names the nodes already", said)
        self.assertIn("it has come that far already", said)
        self.assertIn("master_install is broken for a test", said)
        self.assertEqual(str(self.newest_job()["uid"]), self.lab.exec("dh1", ["id", "-u", "alice"]).stdout.strip())
        self.assert_voters(3)
        jobs = len(self.job_files("dh1"))
        self.lab.mend("dh1")
        said = self.grow(address(2), address(3))
        self.assertIn("the nodes are members already", said)
        self.assertIn("ran to its end", said)
        self.assertEqual(len(self.job_files("dh1")), jobs)
        self.assertEqual(self.lab.read("dh1", CNF), self.lab.read("dh1", INSTALLED))
        self.assertIn("all of it was done already", self.grow(address(2), address(3)))

        # Its worker dies while the job runs; the job goes on.
        self.lab.break_script("dh5", "enable_dh_etcd_systemd", "slow")
        install = self.begin_grow(address(4), address(5))
        self.wait("the job has begun", lambda: self.newest_job()["nodes"] == [address(4), address(5)])
        self.lab.exec("dh1", ["systemctl", "kill", "--signal=KILL", f"dhetcd-install-{install}"])
        self.wait("the job has ended", lambda: self.newest_job()["state"] == "committed", 240)
        said = self.grow(address(4), address(5))
        self.assertIn("the nodes are members already", said)
        self.assert_voters(5)
        self.assertIn("DH_NODE_COUNT=5", self.lab.read("dh1", INSTALLED))
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
