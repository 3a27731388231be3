# SPDX-License-Identifier: LGPL-2.1-or-later
"""The doctor: each finding made for real on real hosts and found; a healthy cluster has none."""

import contextlib
import json
import re
import unittest

from support import COMMITTED, CONF, REJECTED, ROLLED_BACK, USAGE, LabCase, When, address, members, states

import vendor_steps
from dhlab import rootfs
from dhlab.client import Client
from dhlab.grpc import field

FOUND = 3
CONFIG = "/etc/etcd/dh/latest/config.yaml"
CLIENT = "/etc/sysconfig/deephaven/etcd/client"
FAILPOINTS = "/var/lib/dhetcd/failpoints"
LOCK = "/var/lib/dhetcd/host/lock.json"
USERS = "/usr/illumon/latest/bin/dh_users"
CERTIFICATE = """set -e
cd /etc/etcd/dh
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout x.key -days 5 -out soon.pem
openssl req -x509 -key x.key -subj /CN=x -not_before 20200101000000Z -not_after 20210101000000Z -out past.pem
openssl req -x509 -key x.key -subj /CN=x -not_before 20980101000000Z -not_after 20990101000000Z -out future.pem
"""


class DoctorCase(LabCase):
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


class Doctor(DoctorCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        cls.lab.exec("dh1", ["useradd", "watcher"])

    def setUp(self):
        self.before, self.list_before = states(self.lab), members(self.lab)

    # -- doing ------------------------------------------------------------------------------
    @contextlib.contextmanager
    def file(self, host, path, change):
        """A file is another one for a while: change(text) or, without change, gone. Owner and mode stay."""
        self.lab.exec(host, ["cp", "-a", path, "/root/kept"])
        try:
            if change == self.unchanged:
                pass
            elif change:
                self.lab.host(host).path(path, follow=True).write_text(change(self.lab.read(host, path)))
            else:
                self.lab.exec(host, ["rm", path])
            yield
        finally:
            self.lab.exec(host, ["cp", "-a", "--remove-destination", "/root/kept", path])

    def unchanged(self, text):
        """For file(): only put back what others change."""
        return text

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
            for key, name, finding, says in (("cert-file", "soon", "certificate-ends", "ends"),
                                             ("cert-file", "past", "certificate-ended", "ended"),
                                             ("cert-file", "future", "certificate-ended", "begins"),
                                             ("trusted-ca-file", "soon", "certificate-ends", "ends")):
                with self.subTest(key=key, name=name), self.config(lambda text, key=key, name=name: text.replace(
                        self.value(text, key), f"/etc/etcd/dh/{name}.pem")):
                    self.assertIn(f"{name}.pem {says} ", self.wrong(finding)[finding]["evidence"])
        finally:
            self.lab.exec("dh2", ["sh", "-c", "cd /etc/etcd/dh && rm x.key soon.pem past.pem future.pem"])

    @staticmethod
    def value(text, key):
        return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith(f"{key}:"))

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

    def test_c_other_version(self):
        with self.other_version("dh2") as other:
            found = self.wrong("dhetcd-version")
        self.assertIn(f"dhetcd {other} there", found["dhetcd-version"]["evidence"])

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

    # -- learners and phantoms --------------------------------------------------------------
    def add_member(self, number, *options):
        """A member that nobody starts; etcd refuses it until every voter has been connected for 5 s."""
        def added():
            return self.lab.etcdctl("dh1", "member", "add", f"etcd-{number}", *options,
                                    f"--peer-urls=https://{address(number)}:2380", check=False).returncode == 0
        self.wait("a member is added", added, timeout=15)
        return next(f"{int(m['ID']):x}" for m in self.lab.members()["members"] if not m.get("name"))

    def test_e_phantom_voter(self):
        member = self.add_member(3)
        try:
            found = self.examine()
        finally:
            self.lab.etcdctl("dh1", "member", "remove", member)
        self.assertIn("never started", found["phantom-voter"]["evidence"])
        self.assertIn(f"member remove {member}", found["phantom-voter"]["command"])
        self.assertFalse(found["phantom-voter"]["fixable"])

    def unpack(self):
        """Page, steps 3 and 4, for dh3 alone: etcd is not started."""
        package = vendor_steps.generate(self.lab, self.lab.hosts)
        new = self.lab.host("dh3")
        new.write(f"{vendor_steps.AT}/dh_etcd_config.tgz", package, 0o600)
        new.exec(["env", "-C", vendor_steps.AT, f"{vendor_steps.ILLUMON}/install/config_packager.sh", "etcd",
                  "unpackage-server", "3"])
        new.write("/etc/systemd/system/dh-etcd.service", self.lab.read("dh2", "/etc/systemd/system/dh-etcd.service"))

    def start_wrongly(self, **keys):
        for key, value in keys.items():
            vendor_steps.edit(self.lab.host("dh3"), key.replace("_", "-"), value)
        self.lab.exec("dh3", ["sh", "-c", "systemctl daemon-reload; systemctl start --no-block dh-etcd"])

    def journal_tells(self, text):
        return text in self.lab.exec("dh3", ["journalctl", "-q", "-u", "dh-etcd", "-o", "cat"]).stdout

    def clean_dh3(self):
        self.lab.exec("dh3", ["sh", "-c", "systemctl stop dh-etcd; systemctl reset-failed dh-etcd; rm -rf /etc/etcd/dh "
                              "/var/lib/etcd/dh /etc/systemd/system/dh-etcd.service; systemctl daemon-reload"])

    def test_f_learner_does_not_start(self):
        listed = ",".join(f"etcd-{n}=https://{address(n)}:2380" for n in (1, 2, 3))
        member = self.add_member(3, "--learner")
        try:
            self.lab.set_switch("dh3", data_dir="wrong-owner")
            with self.file("dh1", vendor_steps.PACKAGE, self.unchanged):
                self.unpack()
            self.start_wrongly()
            self.wait("etcd does not start", lambda: self.journal_tells("permission denied"), 30)
            found = self.examine()["data-owner"]
            self.assertEqual(found["host"], address(3))
            self.lab.exec("dh3", ["sh", "-c", f"systemctl stop dh-etcd; {found['command']}"])
            self.start_wrongly(initial_cluster_state="new")
            self.wait("etcd tells of the mismatch", lambda: self.journal_tells("cluster ID mismatch"), 30)
            found = self.examine()
            for finding in ("dead-learner", "learner-state-new", "learner-data-left", "cluster-id-mismatch"):
                self.assertEqual(found[finding]["host"], address(3), finding)
            self.assertFalse(found["dead-learner"]["fixable"])  # it has data
            self.lab.exec("dh3", ["sh", "-c", "systemctl stop dh-etcd; rm -rf /var/lib/etcd/dh/*"])
            self.start_wrongly(initial_cluster_state="existing",
                               initial_cluster=listed + ",etcd-4=https://10.128.1.90:2380")
            self.wait("etcd tells of the count", lambda: self.journal_tells("member count is unequal"), 30)
            self.assertIn("count is unequal", self.examine()["member-count-unequal"]["evidence"])
            self.lab.exec("dh3", ["sh", "-c", "systemctl stop dh-etcd; rm -rf /var/lib/etcd/dh/*; journalctl --rotate; "
                                  "journalctl --vacuum-size=1"])
            self.start_wrongly(initial_cluster=listed)  # rightly, and nobody promotes it
            self.wait("the learner answers", lambda: "learner-left" in self.examine(), 30)
            found = self.wrong("learner-left", "root-client-missing", host=address(3))  # nor did it get its client
            self.assertIn(f"member promote {member}", found["learner-left"]["command"])
        finally:
            self.lab.etcdctl("dh1", "member", "remove", member)
            self.lab.set_switch("dh3", data_dir="parent")
            self.clean_dh3()

    # -- jobs -------------------------------------------------------------------------------
    def test_i_jobs(self):
        self.lab.write("dh1", CONF, "[settle]\nBudgetSec=1\n[ssh]\nConnectTimeoutSec=2\n")
        self.lab.break_script("dh3", "enable_dh_etcd_systemd", "hang")
        started = When(self.lab, "start", "intent", lambda: None)
        job = self.dhetcd("--no-block", "add", address(3)).stdout.strip()
        try:
            started.done()
            found = self.examine(expect=FOUND)
            self.assertIn(f"watch {job}", found["job-open"]["command"])
            self.assertFalse(found["dead-learner"]["fixable"])  # it is the job's
            self.lab.cut_link("dh3")
            self.dhetcd("cancel", job)
            self.wait("the job is stuck", lambda: self.job(job)["state"] == "stuck")
            self.assertIn(f"settle {job}", self.examine()["job-stuck"]["command"])
        finally:
            self.lab.mend_link("dh3")
            self.lab.mend("dh3")
            self.lab.exec("dh1", ["rm", CONF])
            settled = self.dhetcd("settle", job)
        self.assertEqual(settled.returncode, ROLLED_BACK, settled.stdout + settled.stderr)
        self.assert_unchanged(self.before, self.list_before)

    # -- dhetcd's own, and mending ----------------------------------------------------------
    def data(self, host="dh2"):
        return self.lab.exec(host, ["sh", "-c", "readlink -f /var/lib/etcd/dh/$(basename $(readlink /etc/etcd/dh/latest))"]
                             ).stdout.strip()

    def owners(self):
        return self.lab.exec("dh2", ["find", "/var/lib/etcd/dh", "-printf", "%p %U:%G\n"]).stdout

    def spoil(self):
        """A wrong list on dh2, a data directory that is root's, a lock without a job; the files as they are then."""
        self.lab.exec("dh2", ["sed", "-i", "-e", "s/^initial-cluster: .*/initial-cluster: "
                              "etcd-9=https:\\/\\/10.128.1.90:2380/", "-e",
                              "s/^initial-cluster-state: .*/initial-cluster-state: existing/", "--follow-symlinks", CONFIG])
        spoilt = f"{self.data()} {self.data()}/member/snap/db"
        # etcd looks into it every 30 s, and gives up where it may not.
        self.lab.exec("dh2", ["sh", "-c", f"chmod o=rwx {spoilt} && chown root:root {spoilt}"])
        self.addCleanup(self.lab.exec, "dh2", ["sh", "-c", f"chmod o= {spoilt}"])
        self.lock(holder=address(1))

    def lock(self, holder):
        """dh2 is held by a job that nobody knows."""
        self.lab.exec("dh2", ["install", "-d", "-m", "0700", "/var/lib/dhetcd/host"])
        self.lab.write("dh2", LOCK, json.dumps({"job": "12345678", "holder": holder, "since_usec": 1}), 0o600)

    def test_g_lock_whose_holder_is_silent(self):
        """It may have to be taken over: this is not mended unasked."""
        self.lab.write("dh1", CONF, "[ssh]\nConnectTimeoutSec=2\n")
        self.lock(holder=address(9))
        try:
            found = self.examine()
            self.assertEqual({f: found[f]["host"] for f in found}, {"lock-left": address(2), "host-silent": address(9)})
            self.assertIn("--takeover 12345678", found["lock-left"]["command"])
            self.assertFalse(found["lock-left"]["fixable"])
            self.lock(holder=address(3))  # no member, and asked all the same
            self.assertTrue(self.wrong("lock-left")["lock-left"]["fixable"])
        finally:
            self.lab.exec("dh2", ["rm", LOCK])
            self.lab.exec("dh1", ["rm", CONF])

    def fix(self, expect):
        done = self.dhetcd("doctor", "--fix")
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_g_fix(self):
        owners = self.owners()
        self.add_member(3, "--learner")
        self.spoil()
        found = self.examine()
        self.assertEqual({"config-list", "config-state", "data-owner", "lock-left", "dead-learner"}, set(found))
        self.assertTrue(all(f["fixable"] for f in found.values()), found)
        self.assertIn("Nothing is wrong.", self.fix(COMMITTED))
        self.assertEqual(self.examine(expect=COMMITTED), {})
        self.assertEqual(self.newest_job()["kind"], "repair")
        self.assertEqual(self.owners(), owners)
        self.assert_configs(2)
        self.assert_voters(2)
        self.assert_nothing_left()
        self.assertEqual(self.newest_job()["state"], "committed")
        self.assertEqual(self.dhetcd("rollback", self.newest_job()["job"]).returncode, REJECTED)
        jobs = len(self.job_files("dh1"))
        self.fix(COMMITTED)  # nothing to do: no job
        self.assertEqual(len(self.job_files("dh1")), jobs)

    def test_h_a_fix_that_fails_is_put_back(self):
        owners = self.owners()
        self.add_member(3, "--learner")
        self.spoil()
        database = self.data() + "/member/snap/db"
        self.lab.exec("dh2", ["ln", database, "/var/lib/etcd/dh/second-name"])
        before, spoilt, listed = states(self.lab), self.owners(), members(self.lab)
        try:
            said = self.fix(ROLLED_BACK)
            self.assertIn("find ", said)
            self.assertEqual(states(self.lab), before)
            self.assertEqual(self.owners(), spoilt)
            self.assertEqual(members(self.lab), listed)
            self.assertIn("12345678", self.lab.read("dh2", LOCK))
        finally:
            self.lab.exec("dh2", ["rm", "/var/lib/etcd/dh/second-name"])
        self.fix(COMMITTED)
        self.assertEqual(self.owners(), owners)
        self.assert_configs(2)
        self.assert_voters(2)

    def test_h_not_everybody_may_mend(self):
        self.spoil()
        before = states(self.lab), self.owners()
        rule = ('polkit.addRule(function(a, s) { if (a.id == "org.dhetcd1.inspect" && s.user == "watcher") '
                '{ return polkit.Result.YES; } });')
        self.lab.write("dh1", "/etc/polkit-1/rules.d/50-watcher.rules", rule)
        self.lab.exec("dh1", ["systemctl", "restart", "polkit"])
        argv = ["runuser", "-u", "watcher", "--", "dhetcd", "--no-ask-password", "doctor"]
        self.assertEqual(self.lab.exec("dh1", argv, check=False).returncode, FOUND)
        done = self.lab.exec("dh1", [*argv, "--fix"], check=False)
        self.assertEqual(done.returncode, REJECTED, done.stdout)
        self.assertIn("authentication", done.stderr)
        self.assertEqual((states(self.lab), self.owners()), before)
        job = json.loads(self.dhetcd("--json=short", "doctor", "--fix", "--no-block").stdout)["job"]
        self.assertEqual(self.dhetcd("watch", "-q", job).returncode, COMMITTED)
        self.assertEqual(self.examine(expect=COMMITTED), {})


class DoctorBlind(DoctorCase):
    """A host that cannot be seen any more when all of it is examined once more."""

    lab_options = {"hosts": 2, "members": 2, "meson_options": ["-Dfailpoints=true"], "switches": {"ca": "same"}}

    def test_what_cannot_be_seen_is_not_mended(self):
        self.lab.exec("dh2", ["sed", "-i", "--follow-symlinks", "s/^initial-cluster-state: .*/initial-cluster-state: existing/",
                              CONFIG])
        before = states(self.lab)
        reached = self.lab.host("dh1").path(f"{FAILPOINTS}.reached")
        self.lab.write("dh1", FAILPOINTS, "run.repair-verify.after-intent wait\n", 0o600)
        job = json.loads(self.dhetcd("--json=short", "--no-block", "doctor", "--fix").stdout)["job"]
        self.wait("it is to be examined", reached.exists)
        self.lab.exec("dh2", ["mv", "/root/.ssh/authorized_keys", "/root/kept"])
        self.lab.exec("dh2", ["pkill", "-x", "systemd-stdio-b"])
        reached.unlink()
        self.wait("the step has failed", lambda: any(e.get("DHETCD_PHASE") == "failed" for e in self.journal(job)))
        self.lab.exec("dh2", ["mv", "/root/kept", "/root/.ssh/authorized_keys"])
        done = self.dhetcd("watch", job)
        self.assertEqual(done.returncode, ROLLED_BACK, done.stdout + done.stderr)
        self.assertIn('whether "config-state" is mended cannot be seen', done.stdout + done.stderr)
        self.assertEqual(states(self.lab), before)
        self.assert_nothing_left()


class DoctorOldest(DoctorCase):
    """With etcd 3.4.23: a member without its host, and one whose etcd is newer."""

    lab_options = {"hosts": 3, "members": 3, "suite": "bookworm", "switches": {"ca": "same"}}

    def test_a_hazard_of_the_version(self):
        done = self.dhetcd("--json=short", "doctor")
        self.assertEqual(done.returncode, COMMITTED, done.stdout + done.stderr)
        hazards = [f["evidence"] for f in json.loads(done.stdout) if f["id"] == "version-hazard"]
        self.assertTrue([h for h in hazards if "mended in 3.4.24" in h], hazards)
        self.assertIn("mended in 3.4.24", self.dhetcd("doctor").stdout)

    def test_a_phantom_voter(self):
        self.lab.exec("dh3", ["sh", "-c", "systemctl stop dh-etcd && mv /var/lib/etcd/dh /var/lib/etcd/away"])
        try:
            found = self.wrong("phantom-voter", host=address(3))
        finally:
            self.lab.exec("dh3", ["sh", "-c", "mv /var/lib/etcd/away /var/lib/etcd/dh && systemctl start dh-etcd"])
            self.lab.wait_healthy(3)
        self.assertIn("neither its data nor etcd", found["phantom-voter"]["evidence"])
        self.assertEqual(self.examine(expect=COMMITTED), {})

    def test_b_mixed_versions(self):
        """As in the middle of an upgrade; last, since etcd does not go back."""
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        self.lab.host("dh2").write("/usr/bin/etcd", (rootfs.base("trixie") / "usr/bin/etcd").read_bytes(), 0o755)
        self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
        self.lab.wait_healthy(3)
        found = self.wrong("version-mixed")
        self.assertRegex(found["version-mixed"]["evidence"], r"etcd 3\.5\.\d+; .* has 3\.4\.")


if __name__ == "__main__":
    unittest.main()
