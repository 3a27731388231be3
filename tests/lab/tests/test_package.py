# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian package: installed, upgraded while a job is open, not removed then, removed and purged afterwards."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from support import LabCase, address

TREE = pathlib.Path(__file__).resolve().parents[3]
BUILD = TREE / "contrib" / "packaging" / "build-deb"


def run(*argv, **options):
    done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, check=False, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{argv}: {done.stdout[-4000:]}{done.stderr[-4000:]}")


@unittest.skipUnless(shutil.which("dh"), "debhelper is not here")
class Package(LabCase):
    """On hosts of both Debians: what is built on Debian 12 is a package for Debian 13 too."""

    sample = 0.5
    lab_options = {"hosts": 2, "members": 1, "dhetcd": False, "switches": {"ca": "same"}}

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="dhetcd-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        run(BUILD, cls.work, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEB_BUILD_OPTIONS": "nocheck"})
        cls.deb = next(cls.work.glob("dhetcd_*.deb"))
        cls.newer = cls.work / "dhetcd_newer.deb"
        run("dpkg-deb", "-R", cls.deb, cls.work / "newer")
        control = cls.work / "newer" / "DEBIAN" / "control"
        control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:"))
        run("dpkg-deb", "--root-owner-group", "-b", cls.work / "newer", cls.newer)

        cls.lab = None

    @classmethod
    def tearDownClass(cls):
        if cls.lab:
            cls.lab.down()

    def test_debian_12(self):
        self.life("bookworm")

    def test_debian_13(self):
        self.life("trixie")

    def dpkg(self, host, *argv, check=True):
        return self.lab.exec(host, ["dpkg", *argv], check=check, timeout=120)

    def install(self, host, deb):
        shutil.copy(deb, self.lab.host(host).path("/root") / "dhetcd.deb")
        self.dpkg(host, "-i", "--force-confold", "/root/dhetcd.deb")

    def holds_generate(self, job):
        return any(e.get("DHETCD_STEP") == "generate" for e in self.journal(job))

    def installed(self, host):
        done = self.lab.exec(host, ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "dhetcd"], check=False)
        return done.stdout

    def life(self, suite):
        type(self).lab_options = {**self.lab_options, "suite": suite}
        self.new_lab()
        for host in ("dh1", "dh2"):
            self.install(host, self.deb)
        self.assertIn("0 jobs", self.dhetcd("list").stdout)
        failed = self.lab.exec("dh1", ["systemctl", "--no-legend", "--plain", "list-units", "--failed", "dhetcd*"]).stdout
        self.assertEqual(failed, "")
        timer = self.lab.exec("dh1", ["systemctl", "is-active", "dhetcd-recover.timer"]).stdout
        self.assertEqual(timer, "active\n")

        self.lab.break_script("dh1", "config_generator", "hang")
        job = self.dhetcd("add", "--no-block", address(2)).stdout.strip()
        self.wait("the job holds both hosts", lambda: self.holds_generate(job))
        for host in ("dh1", "dh2"):
            refused = self.dpkg(host, "-r", "dhetcd", check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("a job is open, or holds this host", refused.stderr)
            self.assertTrue(self.installed(host).startswith("installed "))

        # A new version, an operator's change of a conffile kept, and the job ends well.
        self.lab.write("dh1", "/etc/dhetcd/dhetcd.conf", "# mine\n[job]\nKeepJobs=7\n")
        for host in ("dh1", "dh2"):
            self.install(host, self.newer)
        self.assertIn("1:", self.installed("dh1"))
        self.assertIn("# mine", self.lab.read("dh1", "/etc/dhetcd/dhetcd.conf"))
        self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
        self.lab.mend("dh1", "config_generator")
        self.wait("it is undone", lambda: self.job(job)["state"] == "rolled-back")
        self.add(address(2))
        self.assert_voters(2)

        for host in ("dh1", "dh2"):
            self.dpkg(host, "-r", "dhetcd")
            for path in ("/usr/bin/dhetcd", "/usr/libexec/dhetcd", "/usr/lib/systemd/system/dhetcdd.service"):
                self.assertFalse(self.lab.host(host).path(path).exists(), path)
        self.assert_voters(2)  # etcd does not need it
        self.assertTrue(self.lab.host("dh1").path("/var/lib/dhetcd/jobs").exists())
        self.dpkg("dh1", "--purge", "dhetcd")
        self.assertFalse(self.lab.host("dh1").path("/var/lib/dhetcd").exists())
        self.assertFalse(self.lab.host("dh1").path("/etc/dhetcd/dhetcd.conf").exists())


if __name__ == "__main__":
    unittest.main()
