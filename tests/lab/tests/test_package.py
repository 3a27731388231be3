# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packages: the Debian one is installed, upgraded while a job is open, not removed then, removed and purged afterwards;
the RPM has the same files."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from support import BOOT_UNITS, COMMITTED, LabCase, address

TREE = pathlib.Path(__file__).resolve().parents[3]
BUILD = TREE / "contrib" / "packaging" / "build-deb"
BUILD_RPM = TREE / "contrib" / "packaging" / "build-rpm"
INSTALLER = "/opt/deephaven/installer"
TEXTFILES = "/var/lib/prometheus/node-exporter"
# Where a purge must leave nothing that was not there before: all but what is a cache, temporary, somebody's data, or etcd's.
SWEPT = ("/etc", "/opt", "/srv", "/usr", "/var/lib")
NOT_SWEPT = ("/etc/dhetcd/", "/etc/etcd", "/etc/sysconfig", "/var/lib/etcd", "/var/lib/dpkg", "/var/lib/systemd",
             "/var/lib/apt", INSTALLER)
SSH_KEYS = "/var/lib/dhetcd-ssh"


PLAY = """
- hosts: all
  roles:
    - role: dhetcd
      vars:
        dhetcd_package: "{package}"
        dhetcd_ssh_user: dhetcd-ssh
        dhetcd_operators: irisadmin
        dhetcd_settings: {{job: {{KeepDays: 365}}}}
"""


def run(*argv, **options):
    done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, check=False, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{argv}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


@unittest.skipUnless(shutil.which("dh"), "debhelper is not here")
class Package(LabCase):
    """On hosts of both Debians: what is built on Debian 12 is a package for Debian 13 too."""

    sample = 0.25
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

    def everything(self, host):
        """The files of the host that belong to nobody else."""
        done = self.lab.exec(host, ["find", *SWEPT, "-xdev", "-name", "__pycache__", "-prune", "-o", "-print"])
        return {path for path in done.stdout.splitlines() if not path.startswith(NOT_SWEPT)}

    def enabled(self, host):
        return self.lab.exec(host, ["systemctl", "is-enabled", *BOOT_UNITS], check=False).stdout.split()

    def timer(self, host):
        return self.lab.exec(host, ["systemctl", "is-active", "dhetcd-recover.timer"], check=False).stdout.strip()

    def assert_enabled_as_preset(self, host):
        """What a package enables is what the preset would."""
        self.assertEqual(self.enabled(host), ["enabled"] * len(BOOT_UNITS))
        self.assertEqual(self.timer(host), "active")
        links = ["find", "/etc/systemd", "-name", "dhetcd*"]
        before = self.lab.exec(host, links).stdout
        self.lab.exec(host, ["systemctl", "disable", *BOOT_UNITS])
        self.assertEqual(self.lab.exec(host, links).stdout, "")
        self.lab.exec(host, ["systemctl", "preset", *BOOT_UNITS, "dhetcd-add@.timer", "dhetcdd.service"])
        self.assertEqual(sorted(self.lab.exec(host, links).stdout.split()), sorted(before.split()))

    def assert_users(self, host):
        """The group is empty; nobody can log in as the user, and without a password never."""
        self.assertRegex(self.lab.exec(host, ["getent", "group", "dhetcd"]).stdout, r"^dhetcd:[^:]*:\d+:\n$")
        self.assertRegex(self.lab.exec(host, ["getent", "shadow", "dhetcd-ssh"]).stdout, r"^dhetcd-ssh:!\*?:")
        home = self.lab.exec(host, ["stat", "-c", "%A %U %G", SSH_KEYS, SSH_KEYS + "/.ssh"]).stdout
        self.assertEqual(home, "drwxr-xr-x root root\ndrwx------ dhetcd-ssh dhetcd-ssh\n")
        self.assertEqual(list(self.lab.host(host).path(SSH_KEYS + "/.ssh").iterdir()), [])

    def assert_no_failpoints(self, host):
        for program in ("/usr/bin/dhetcd", "/usr/libexec/dhetcd/dhetcdd", "/usr/libexec/dhetcd/dhetcd-worker"):
            self.assertNotIn(b"failpoints\0", self.lab.host(host).path(program).read_bytes(), program)

    def assert_not_removed(self, host, why):
        refused = self.dpkg(host, "-r", "dhetcd", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(why, refused.stderr)
        self.assertTrue(self.installed(host).startswith("installed "))

    def assert_not_removed_while_the_installer_runs(self):
        self.lab.break_script("dh1", "master_install", "hang")
        run_id = self.dhetcd("install", "--no-block", f"--installer-dir={INSTALLER}").stdout.strip()
        self.wait("it holds its lock", self.lab.host("dh1").path("/var/lib/dhetcd/installs/lock").exists)
        self.assert_not_removed("dh1", "the installer runs")
        self.assertEqual(self.dhetcd("cancel", run_id).returncode, 0)
        self.wait("it has ended", lambda: '"canceled"' in self.dhetcd("--json=short", "install", "--list").stdout)
        self.lab.mend("dh1", "master_install")

    def test_rpm(self):
        """What an RPM is made of, on this Debian: the files of the Debian package, with the same modes and links."""
        run(BUILD_RPM, self.work, "--nodeps")
        rpm = next(self.work.glob("dhetcd-*.rpm"))
        files = {}
        for line in run("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES} %{FILELINKTOS}\\n]", rpm).splitlines():
            mode, name, *link = line.split()
            files[name] = (mode, *link)
        theirs = {}
        for line in run("dpkg-deb", "-c", self.deb).splitlines():
            mode, owner, _, _, _, name, *link = line.split()
            self.assertEqual(owner, "root/root", line)
            theirs[name[1:].removesuffix(".gz")] = (mode, *[x.removesuffix(".gz") for x in link[1:]])
        own = ("/usr/share/doc", "/usr/share/licenses", "/usr/lib/.build-id")  # each has its own there
        files, theirs = ({n: e for n, e in found.items() if not n.startswith(own) and e[0][0] != "d"}
                         for found in (files, theirs))
        self.maxDiff = None
        self.assertGreater(len(files), 30)
        self.assertEqual(files, theirs)
        self.life_of(rpm)

    def life_of(self, rpm):
        """Installed, upgraded, not removed, removed: by this machine's rpm, in a host that has none."""
        type(self).lab_options = {**self.lab_options, "suite": "bookworm"}
        self.new_lab()
        host = self.lab.host("dh1")

        database = self.work / "rpmdb"  # SQLite takes /proc/PID/root for a symbolic link: it is here, not there
        database.mkdir()

        def by_rpm(*argv):
            pid = str(host.init_pid())
            return subprocess.run(["nsenter", "-t", pid, "-u", "-i", "-n", "-p", "rpm", "--root", f"/proc/{pid}/root",
                                   "--dbpath", database, "--nodeps", *argv], text=True, capture_output=True,
                                  check=False, timeout=120)
        before = self.everything("dh1")
        done = by_rpm("-i", str(rpm))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotRegex(done.stderr, "(?i)warning|error|fail")
        self.assertIn("0 jobs", self.dhetcd("list").stdout)
        self.assert_enabled_as_preset("dh1")
        self.assert_users("dh1")

        job = self.dhetcd("add", "--no-block", address(2)).stdout.strip()
        self.wait("it is refused", lambda: self.job(job)["state"] == "rejected")  # dh2 has no dhetcd
        self.lab.exec("dh1", ["systemctl", "disable", "--now", "dhetcd-recover.timer"])
        opened = f"/var/lib/dhetcd/jobs/{job}/open"
        self.lab.write("dh1", opened, "")
        done = by_rpm("-e", "dhetcd")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"a job is open, or holds this host ({opened})", done.stderr)
        done = by_rpm("-U", "--replacepkgs", str(rpm))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotRegex(done.stderr, "(?i)warning|error|fail")
        self.assertEqual((self.enabled("dh1")[2], self.timer("dh1")), ("disabled", "inactive"))
        self.lab.exec("dh1", ["rm", opened])
        done = by_rpm("-e", "dhetcd")
        self.assertEqual(done.returncode, 0, done.stderr)
        left = {p for p in self.everything("dh1") - before if not p.startswith("/var/lib/dhetcd")}
        self.assertEqual(left, {"/usr/share/licenses"})  # on Red Hat's hosts it is there

    def life(self, suite):
        type(self).lab_options = {**self.lab_options, "suite": suite}
        self.new_lab()
        for host in ("dh1", "dh2"):
            self.lab.exec(host, ["mkdir", "-p", TEXTFILES])
        before = self.everything("dh1")
        for host in ("dh1", "dh2"):
            self.install(host, self.deb)
        self.assertIn("0 jobs", self.dhetcd("list").stdout)
        failed = self.lab.exec("dh1", ["systemctl", "--no-legend", "--plain", "list-units", "--failed", "dhetcd*"]).stdout
        self.assertEqual(failed, "")
        self.assert_enabled_as_preset("dh1")
        self.assert_users("dh1")
        self.assert_no_failpoints("dh1")
        self.lab.exec("dh2", ["systemctl", "disable", "--now", "dhetcd-recover.timer"])

        self.lab.break_script("dh1", "config_generator", "hang")
        job = self.dhetcd("add", "--no-block", address(2)).stdout.strip()
        self.wait("the job holds both hosts", lambda: self.holds_generate(job))
        for host in ("dh1", "dh2"):
            self.assert_not_removed(host, "a job is open, or holds this host")

        # A new version, an operator's change of a conffile kept, and the job ends well.
        self.lab.write("dh1", "/etc/dhetcd/dhetcd.conf", "# mine\n[job]\nKeepJobs=7\n")
        for host in ("dh1", "dh2"):
            self.install(host, self.newer)
        self.assertIn("1:", self.installed("dh1"))
        self.assertEqual(self.enabled("dh2"), ["enabled", "enabled", "disabled"])
        self.assertEqual(self.timer("dh2"), "inactive")
        self.assertIn("# mine", self.lab.read("dh1", "/etc/dhetcd/dhetcd.conf"))
        self.assertEqual(self.dhetcd("cancel", job).returncode, 0)
        self.lab.mend("dh1", "config_generator")
        self.wait("it is undone", lambda: self.job(job)["state"] == "rolled-back")
        explained = self.lab.exec("dh1", ["journalctl", "-x", "--no-pager", f"DHETCD_JOB={job}"]).stdout
        self.assertIn(f"Subject: Job {job} was rolled back", explained)
        self.assertIn(f"journalctl -p warning DHETCD_JOB={job}", explained)
        self.add(address(2))
        self.assert_voters(2)

        self.assert_not_removed_while_the_installer_runs()
        scheduled = self.dhetcd("schedule", "--no-check", address(9), "--on=2098-01-01")
        self.assertEqual(scheduled.returncode, 0, scheduled.stderr)
        self.lab.write("dh1", "/etc/dhetcd/dhetcd.conf.d/50-mine.conf", "[job]\nKeepJobs=8\n")
        self.assertTrue(self.lab.host("dh1").path(TEXTFILES + "/dhetcd.prom").exists())
        for host in ("dh1", "dh2"):
            said = self.dpkg(host, "-r", "dhetcd").stderr
            self.assertEqual(f"dhetcd-add@{address(9)}.timer is no longer scheduled" in said, host == "dh1", said)
            for path in ("/usr/bin/dhetcd", "/usr/libexec/dhetcd", "/usr/lib/systemd/system/dhetcdd.service",
                         TEXTFILES + "/dhetcd.prom"):
                self.assertFalse(self.lab.host(host).path(path).exists(), path)
        self.assert_voters(2)  # etcd does not need it
        timers = self.lab.exec("dh1", ["systemctl", "list-units", "--plain", "--no-legend", "dhetcd*.timer"])
        self.assertEqual(timers.stdout, "")
        self.assertTrue(self.lab.host("dh1").path("/var/lib/dhetcd/jobs").exists())
        self.assertTrue(self.lab.host("dh1").path("/etc/dhetcd/dhetcd.conf.d/50-mine.conf").exists())
        self.dpkg("dh1", "--purge", "dhetcd")
        for path in ("/etc/dhetcd", SSH_KEYS):
            self.assertFalse(self.lab.host("dh1").path(path).exists(), path)
        self.assertEqual(self.everything("dh1") - before, set())

    def play(self):
        """What changed on each host, as Ansible counts it."""
        hosts = "".join(f"{h.name} ansible_host={h.address} dhetcd_address={h.address}\n" for h in self.lab.hosts)
        (self.work / "hosts").write_text(hosts)
        (self.work / "play.yml").write_text(PLAY.format(package=self.deb))
        ssh = f"-o UserKnownHostsFile={self.lab.dir}/known_hosts -o ControlMaster=no"
        done = self.lab.net.exec(
            ["ansible-playbook", "-i", self.work / "hosts", "-u", "root", "--private-key",
             self.lab.dir / "keys/id_ed25519", "--ssh-common-args", ssh, self.work / "play.yml"],
            timeout=300, check=False, env={
                "PATH": os.environ["PATH"], "HOME": str(self.work), "LC_ALL": "C.UTF-8",
                "ANSIBLE_ROLES_PATH": str(TREE / "contrib/ansible/roles"), "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3", "ANSIBLE_PIPELINING": "1"})
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        return {host: int(n) for host, n in re.findall(r"(?m)^(\w+) +: ok=.* changed=(\d+)", done.stdout)}

    @unittest.skipUnless(shutil.which("ansible-playbook"), "ansible is not here")
    def test_by_ansible(self):
        """The role of contrib/ansible brings it to hosts that know nothing of each other; a second run changes nothing."""
        type(self).lab_options = {**self.lab_options, "suite": "bookworm"}  # both Debians' Ansible knows its Python
        self.new_lab()
        for host in ("dh1", "dh2"):  # what the lab has prepared is the role's to do
            self.lab.exec(host, ["rm", "-r", "/etc/dhetcd", "/etc/ssh/ssh_known_hosts"])
        self.assertTrue(all(n >= 5 for n in self.play().values()))
        self.assertEqual(self.play(), {"dh1": 0, "dh2": 0})

        settings = json.loads(self.dhetcd("--json=short", "config").stdout)
        self.assertEqual({k["key"]: k["value"] for k in settings if "50-ansible" in (k["source"] or "")},
                         {"User": "dhetcd-ssh", "KeepDays": "365"})
        known = self.dhetcd("trust", "--list").stdout
        for n in (1, 2):
            self.assertIn(f"{address(n)} ", known)
        # The key is for the bus: no shell.
        shell = self.lab.exec("dh1", ["ssh", "-i", "/etc/dhetcd/ssh/id_ed25519", "-oBatchMode=yes",
                                      "-oUserKnownHostsFile=/etc/dhetcd/known_hosts", f"dhetcd-ssh@{address(2)}", "id"],
                              check=False, stdin=subprocess.DEVNULL)
        self.assertNotIn("uid=", shell.stdout)

        done = self.lab.exec("dh1", ["runuser", "-u", "irisadmin", "--", "dhetcd", "--no-ask-password", "add",
                                     address(2)], check=False, timeout=180)
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        self.assert_voters(2)


if __name__ == "__main__":
    unittest.main()
