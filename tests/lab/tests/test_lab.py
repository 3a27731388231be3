#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Proves the lab itself. Run as root: python3 tests/lab/tests/test_lab.py [TEST…]"""

import copy
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent),
                str(pathlib.Path(__file__).resolve().parent)]

# pylint: disable=wrong-import-position
import vendor_steps as vendor  # noqa: E402
from dhlab import CannotRun, Lab, LabError, cgroup, check, fingerprint, paths, provision, rootfs  # noqa: E402
from dhlab import compile as compile_tree  # noqa: E402

COMMAND = str(paths.LAB / "lab")
PACKAGER = "/usr/illumon/latest/install/config_packager.sh"
GENERATOR = "/usr/illumon/latest/install/etcd/config_generator.sh"
ENABLE = "/usr/illumon/latest/install/etcd/enable_dh_etcd_systemd.sh"


def setUpModule():
    try:
        check()
    except CannotRun as e:
        raise unittest.SkipTest(str(e)) from e
    rootfs.base()


def name(suffix):
    return f"test-{os.getpid()}-{suffix}"


def command(*args, **kwargs):
    return subprocess.run([COMMAND, *args], capture_output=True, text=True, timeout=120,
                          check=False, **kwargs)


class OneLab(unittest.TestCase):
    """Tests that leave the lab as it was share one."""

    @classmethod
    def setUpClass(cls):
        compile_tree.build()  # once; what is timed looks whether anything has changed since, and installs it
        began = time.monotonic()
        cls.lab = Lab(name("one"), hosts=3, members=1)
        cls.lab.up()
        cls.seconds = time.monotonic() - began
        cls.addClassCleanup(cls.lab.down)

    def test_up_in_15_seconds(self):
        self.assertLess(self.seconds, 15)
        self.assertEqual([h.address for h in self.lab.hosts],
                         ["10.128.1.149", "10.128.1.150", "10.128.1.151"])
        self.assertEqual(len(self.lab.members()["members"]), 1)
        for host in self.lab.hosts:
            state = host.exec(["systemctl", "is-system-running"]).stdout.strip()
            self.assertEqual(state, "running", host.name)
            self.assertIn("dhetcd ", host.exec(["dhetcd", "--version"]).stdout)

    def test_exec(self):
        one = ["exec", "--name", self.lab.name, "dh1", "--"]
        self.assertEqual(command(*one, "hostname").stdout, "dh1\n")
        self.assertEqual(command(*one, "bash", "-c", "exit 7").returncode, 7)
        self.assertEqual(command(*one, "cat", input="through stdin").stdout, "through stdin")
        with self.assertRaisesRegex(LabError, "dh2"):
            self.lab.exec("dh2", ["false"])
        with self.assertRaisesRegex(LabError, "dh2"):
            self.lab.exec("dh2", ["sleep", "30"], timeout=1)

    def test_ssh_between_all_hosts(self):
        for a in self.lab.hosts:
            for b in self.lab.hosts:
                for to in (b.name, b.address):
                    done = a.exec(["ssh", "-o", "BatchMode=yes", "-i",
                                   "/etc/dhetcd/ssh/id_ed25519", to, "hostname"], timeout=10)
                    self.assertEqual(done.stdout.strip(), b.name)

    def test_accounts_are_the_same_everywhere(self):
        for who in ("etcd", "irisadmin"):
            ids = {h.exec(["id", who]).stdout for h in self.lab.hosts}
            self.assertEqual(len(ids), 1)

    def test_passwords_of_the_client_folders_log_in(self):
        for user in ("root", "schema", "schema-ro", "acl-rw"):
            done = self.lab.exec("dh1", ["/usr/illumon/latest/bin/etcdctl.sh", "get", "--limit=1",
                                         "--prefix", "--keys-only", "/schema/"],
                                 check=False, env={"ETCD_CLIENT": user})
            self.assertEqual(done.returncode == 0, user != "acl-rw", f"{user}: {done.stderr}")
        anonymous = self.lab.exec(
            "dh1", ["etcdctl", "--cacert=/etc/sysconfig/deephaven/etcd/client/root/cacert.pem",
                    "--endpoints=https://10.128.1.149:2379", "get", "/schema/x"], check=False)
        self.assertNotEqual(anonymous.returncode, 0)

    def test_new_hosts_are_as_after_the_failed_installer(self):
        new = self.lab.host("dh2")
        self.assertTrue(new.path(PACKAGER).exists())
        self.assertFalse(new.path("/etc/etcd/dh").exists())
        self.assertFalse(new.path("/etc/sysconfig/deephaven/etcd/client/root").exists())
        done = self.lab.exec("dh1", ["bash", "-c", "cd /opt/deephaven/installer && java -jar "
                             "./Installer-*.jar && ./master_install.sh"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("etcd_configure.sh.setup_check", done.stderr)

    def test_nothing_leads_out_of_the_lab(self):
        self.assertEqual(self.lab.exec("dh1", ["ip", "route", "show", "default"]).stdout, "")

    def test_break_connections(self):
        ssh = self.lab.host("dh1").enter(["ssh", "-o", "BatchMode=yes", "-i", "/etc/dhetcd/ssh/id_ed25519", "dh2",
                                          "echo up; sleep 60"])
        with subprocess.Popen(ssh, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as one:
            self.assertEqual(one.stdout.readline(), "up\n")
            self.assertTrue(self.lab.break_connections("dh2"))
            self.assertEqual(one.wait(5), 255)

    def test_cut_link_and_mend_link(self):
        lab, dh1, dh2, dh3 = self.lab, *self.lab.hosts

        def hears(a, b):
            return a.exec(["timeout", "1", "bash", "-c", f"</dev/tcp/{b.address}/22"],
                          check=False).returncode == 0
        self.assertTrue(hears(dh1, dh2))
        lab.cut_link("dh2")
        self.assertFalse(hears(dh1, dh2))
        self.assertFalse(dh2.reachable())
        lab.mend_link("dh2")
        self.assertTrue(hears(dh1, dh2))
        lab.cut_link("dh2", "dh1")
        self.assertFalse(hears(dh1, dh2))
        self.assertFalse(hears(dh2, dh1))
        self.assertTrue(hears(dh3, dh2))
        self.assertTrue(dh2.reachable())
        lab.mend_link("dh2", "dh1")
        self.assertTrue(hears(dh1, dh2))

    def test_fingerprint(self):
        lab, ca = self.lab, "/etc/etcd/dh/latest/ssl/ca.crt"
        first = lab.fingerprint("dh1")
        self.assertEqual(first, lab.fingerprint("dh1"))
        self.assertEqual(fingerprint.diff(first, first), [])
        self.assertIn("/etc/systemd/system/multi-user.target.wants/dh-etcd.service",
                      first["files"])

        def changes(*argv):
            before = lab.fingerprint("dh1")
            lab.exec("dh1", argv)
            after = lab.fingerprint("dh1")
            self.assertNotEqual(before["sha256"], after["sha256"], argv)
            return fingerprint.diff(before, after)
        self.assertEqual(len(changes("touch", "-d", "2001-01-01", ca)), 1)
        self.assertEqual(len(changes("chmod", "0600", ca)), 1)
        self.assertEqual(len(changes("chown", "root", ca)), 1)
        self.assertIn("xattrs", changes("setfacl", "-m", "u:irisadmin:r", ca)[-1])
        self.assertTrue(changes("mkdir", "/var/lib/etcd/dh/leftover"))
        self.assertTrue(changes("touch", "/var/lib/etcd/dh/leftover/file"))
        self.assertTrue(changes("rm", "-r", "/var/lib/etcd/dh/leftover"))
        self.assertTrue(changes("chmod", "0755", "/var/lib/etcd/dh"))
        self.assertTrue(changes("chmod", "0750", "/var/lib/etcd/dh"))
        self.assertTrue(changes("ln", "-sfn", "elsewhere", "/etc/etcd/dh/other"))
        self.assertTrue(changes("rm", "/etc/etcd/dh/other"))
        self.assertTrue(changes("systemctl", "disable", "dh-etcd"))
        self.assertTrue(changes("systemctl", "enable", "dh-etcd"))
        lab.exec("dh1", ["setfacl", "-b", ca])
        lab.exec("dh1", ["chown", "etcd", ca])
        lab.exec("dh1", ["chmod", "0640", ca])

    def test_fingerprint_after_an_undo(self):
        """What was moved aside may be there, in a directory that was not; nothing else may."""
        aside, parent = "/var/lib/etcd/dh/c1.dhetcd-x", "/var/lib/etcd/dh"
        self.assertEqual(self.undone("dh3", "mkdir", "-p", aside), [])
        self.assertEqual(self.undone("dh3", "mkdir", f"{aside}-failed"), [])
        self.assertTrue(self.undone("dh3", "rmdir", aside))
        self.assertTrue(self.undone("dh3", "mkdir", f"{parent}/c1"))
        self.assertTrue(self.undone("dh3", "rm", "-r", parent))
        self.assertTrue(self.undone("dh3", "mkdir", parent))
        self.assertTrue(self.undone("dh3", "rmdir", parent))
        self.assertTrue(self.undone("dh3", "mkdir", "-p", aside, f"{parent}/c1"))
        self.lab.exec("dh3", ["rm", "-r", parent])

    def undone(self, host, *argv):
        before = self.lab.fingerprint(host)
        self.lab.exec(host, argv)
        return fingerprint.undone(before, self.lab.fingerprint(host))

    def test_writer_counts_and_sees_a_loss(self):
        with self.lab.writer(name="counting") as writer:
            time.sleep(2)
        seen = writer.check(expect_writes=200)
        self.assertEqual(seen["lost"], 0)
        self.assertGreaterEqual(seen["rate"], 100)
        number = writer.lines()[seen["writes"] // 2].split()[0]
        run = (writer.dir / "run").read_text()
        self.lab.etcdctl("dh1", "del", f"/lab-writer/counting/{run}/{number}")
        with self.assertRaisesRegex(LabError, f"the first is {number}"):
            writer.check()

    def test_break_modes(self):
        lab = self.lab
        made = self.lab.exec("dh1", ["cat", "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"],
                             text=False).stdout
        lab.exec("dh3", ["mkdir", "-p", "/root/b"])
        lab.host("dh3").path("/root/b/dh_etcd_config.tgz").write_bytes(made)
        unpack = ["env", "-C", "/root/b", PACKAGER, "etcd", "unpackage-server", "1"]
        config = lab.host("dh3").path("/etc/etcd/dh/latest/config.yaml")
        for mode, code in (("fail", 3), ("stderr", 0), ("half", 0), ("half-fail", 3)):
            lab.break_script("dh3", "config_packager.unpackage-server", mode)
            done = lab.exec("dh3", unpack, check=False)
            self.assertEqual(done.returncode, code, mode)
            self.assertEqual(bool(done.stderr), mode != "half", mode)
            self.assertFalse(config.exists(), mode)
            half = list(lab.host("dh3").path("/etc/etcd/dh").glob("*/config.yaml"))
            self.assertEqual(bool(half), mode.startswith("half"), mode)
        lab.break_script("dh3", "config_packager.unpackage-server", "hang")
        with self.assertRaises(LabError):
            lab.exec("dh3", unpack, timeout=2)
        lab.mend("dh3")
        lab.exec("dh3", unpack)
        self.assertTrue(config.exists())
        lab.break_script("dh3", "enable_dh_etcd_systemd", "half")
        lab.exec("dh3", [ENABLE])
        self.assertEqual(lab.exec("dh3", ["systemctl", "is-enabled", "dh-etcd"]).stdout,
                         "enabled\n")
        self.assertNotEqual(lab.exec("dh3", ["systemctl", "is-active", "dh-etcd"],
                                     check=False).returncode, 0)
        lab.mend("dh3")
        lab.exec("dh3", ["systemctl", "disable", "dh-etcd"])
        lab.exec("dh3", ["rm", "-rf", "/root/b", "/etc/etcd", "/var/lib/etcd/dh",
                         "/etc/systemd/system/dh-etcd.service"])

    def test_break_modes_of_the_other_scripts(self):
        lab, generate = self.lab, [GENERATOR, "--self-signed", "--servers", "10.0.0.1", "10.0.0.2"]
        installer = ["/opt/deephaven/installer/master_install.sh"]
        jar = ["java", "-jar", f"/opt/deephaven/installer/Installer-{provision.VERSION}.jar"]
        for script, argv in (("config_generator", generate), ("enable_dh_etcd_systemd", [ENABLE]),
                             ("etcdctl", ["/usr/illumon/latest/bin/etcdctl.sh", "version"]),
                             ("master_install", installer), ("installer_jar", jar)):
            for mode, code in (("fail", 3), ("stderr", 0)):
                lab.break_script("dh2", script, mode)
                done = lab.exec("dh2", argv, check=False)
                self.assertEqual((done.returncode, bool(done.stderr)), (code, True), script)
            lab.mend("dh2", script)
        lab.break_script("dh2", "config_generator", "half")
        lab.exec("dh2", generate)
        package = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
        listing = lab.exec("dh2", ["tar", "-tzf", package]).stdout
        self.assertIn("server/1/config.yaml", listing)
        self.assertNotIn("server/2/", listing)
        lab.break_script("dh2", "config_packager.unpackage-client", "half-fail")
        at = ["env", "-C", "/etc/sysconfig/deephaven/etcd", PACKAGER, "etcd", "unpackage-client"]
        self.assertEqual(lab.exec("dh2", at, check=False).returncode, 3)
        passwords = list(lab.host("dh2").path("/etc/sysconfig/deephaven/etcd/client")
                         .glob("*/password"))
        self.assertEqual(sorted(p.stat().st_size for p in passwords), [0, 33])
        lab.mend("dh2")
        lab.exec("dh2", ["rm", "-rf", "/etc/sysconfig"])

    def test_wrong_names_are_refused(self):
        for call in (lambda: self.lab.host("dh9"), lambda: Lab("Bad_Name"),
                     lambda: self.lab.break_script("dh1", "nothing", "fail"),
                     lambda: self.lab.break_script("dh1", "etcdctl", "softly"),
                     lambda: self.lab.break_script("dh1", "etcdctl", "slow-x"),
                     lambda: Lab(switches={"colour": "red"}), lambda: Lab(hosts=1, members=2)):
            self.assertRaises(LabError, call)

    def test_a_second_up_is_refused(self):
        done = command("up", "--without-dhetcd", "--name", self.lab.name)
        self.assertEqual(done.returncode, 1)
        self.assertIn("lab down", done.stderr)


class Power(unittest.TestCase):
    def test_members_survive_a_power_cut(self):
        with Lab(name("power"), hosts=3, members=3, dhetcd=False,
                 switches={"client_auth": "cert"}) as lab:
            with lab.writer() as writer:
                lab.cut_power("dh1")
                self.assertIsNone(lab.host("dh1").init_pid())
                time.sleep(2)
                lab.boot("dh1")
                lab.wait_healthy(3)
            self.assertGreater(writer.check()["writes"], 100)
            self.assertIn("dh-etcd", lab.journal("dh1", "-b", "-1", "-u", "dh-etcd"))


class Growing(unittest.TestCase):
    sample = 0.34

    """The vendor's page to the letter over the stand-ins."""

    def grow(self, suffix, members=1, hosts=2, **switches):
        with Lab(name(suffix), hosts=hosts, members=members, keys=500, switches=switches,
                 dhetcd=False) as lab:
            ca = lab.read("dh1", "/etc/etcd/dh/latest/ssl/ca.crt")
            old = [h.name for h in lab.hosts[:members]]
            with lab.writer() as writer:
                vendor.grow(lab, old, [h.name for h in lab.hosts[members:]])
                now = lab.wait_healthy(hosts)
            self.assertEqual(sorted(m["name"] for m in now["members"]),
                             [f"etcd-{h.number}" for h in lab.hosts])
            renewed = lab.read("dh1", "/etc/etcd/dh/latest/ssl/ca.crt") != ca
            self.assertEqual(renewed, switches.get("ca", "new") == "new")
            seen = writer.check()
            print(f"{suffix}: {seen}", file=sys.stderr)

    def test_1_to_2_with_a_new_ca(self):
        self.grow("new", ca="new")

    def test_1_to_2_with_the_same_ca(self):
        self.grow("same", ca="same", latest="absolute", id_length="8")

    def test_1_to_3_with_client_certificates(self):
        self.grow("cert", hosts=3, ca="same", client_auth="cert", data_dir="full")


class Life(unittest.TestCase):
    sample = 0.5

    def test_two_labs_at_once_and_nothing_left(self):
        a, b = Lab(name("a"), hosts=1, dhetcd=False), Lab(name("b"), hosts=1, dhetcd=False)
        with a, b:
            self.assertNotEqual(a.members()["members"][0]["ID"], b.members()["members"][0]["ID"])
        for lab in (a, b):
            self.assert_gone(lab)
            lab.down()  # once more is harmless

    def test_kill_of_the_tool_leaves_what_down_ends(self):
        which = name("killed")
        for after in (0.3, 0.8, 1.5, 2.5):
            with subprocess.Popen([COMMAND, "up", "--without-dhetcd", "--hosts", "2", "--name",
                                   which], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as tool:
                time.sleep(after)
                tool.kill()
            self.assertEqual(command("down", "--name", which).returncode, 0)
            self.assert_gone(Lab(which))

    def test_a_failed_up_leaves_nothing_but_logs(self):
        lab = Lab(name("failed"), hosts=1, dhetcd=False)
        lab.create = lambda *_: (_ for _ in ()).throw(LabError("made to fail"))
        with self.assertRaisesRegex(LabError, "made to fail"):
            lab.up()
        self.assert_gone(lab)
        lab.down()
        shutil.rmtree(paths.state() / f"{lab.name}.failed")

    def test_a_tree_is_built_and_installed(self):
        with tempfile.TemporaryDirectory() as tree:
            pathlib.Path(tree, "meson.build").write_text(
                "project('toy', 'c')\nexecutable('toy', 'toy.c', install: true, "
                "dependencies: dependency('libsystemd'))\n")
            pathlib.Path(tree, "toy.c").write_text(
                '#include <systemd/sd-daemon.h>\n#include <stdio.h>\n'
                'int main(void) { return sd_booted() > 0 ? puts("booted") < 0 : 1; }\n')
            with mock.patch.object(paths, "TREE", pathlib.Path(tree)):
                built = compile_tree.staging("trixie")[0].parent
                self.addCleanup(shutil.rmtree, built, ignore_errors=True)
                with Lab(name("toy"), hosts=1, meson_options=["-Dbuildtype=release"]) as lab:
                    self.assertEqual(lab.exec("dh1", ["/usr/bin/toy"]).stdout, "booted\n")
                pathlib.Path(tree, "toy.c").write_text("int main(void) { return x; }\n")
                with self.assertRaisesRegex(LabError, "undeclared"):
                    compile_tree.build("trixie", ["-Dbuildtype=release"])

    def test_bookworm(self):
        with Lab(name("old"), hosts=1, suite="bookworm", dhetcd=False) as lab:
            self.assertEqual(lab.members()["status"][0]["Status"]["version"], "3.4.23")
            with lab.writer() as writer:
                time.sleep(1)
            self.assertGreater(writer.check()["rate"], 100)

    def test_root_client_switch(self):
        with Lab(name("none"), hosts=1, switches={"root_client": "none"}, dhetcd=False) as lab:
            self.assertFalse(lab.host("dh1").path("/etc/sysconfig/deephaven/etcd/client/root")
                             .exists())
            self.assertEqual(len(lab.members()["status"]), 1)

    def assert_gone(self, lab):
        self.assertFalse(lab.dir.exists())
        self.assertFalse(lab.net.path.exists())
        self.assertFalse((cgroup.mount() / cgroup.of(lab.name)).exists())
        with open("/proc/self/mounts", encoding="utf-8") as f:
            self.assertNotIn(str(lab.dir), f.read())


class Switches(unittest.TestCase):
    def test_edit_leaves_the_other_lines(self):
        from dhlab import switches  # pylint: disable=import-outside-toplevel
        text = "ca=new\n# a word\nbreak_etcdctl=fail\n"
        self.assertEqual(switches.edit(text, {"break_etcdctl": None, "ca": "same"}),
                         "# a word\nca=same\n")
        given = {"ca": "same"}
        self.assertEqual(switches.checked(copy.copy(given))["ca"], "same")


if __name__ == "__main__":
    unittest.main(verbosity=2)
