# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fault in each step before the promotion: afterwards everything is, byte for byte, what it was."""

import unittest

from support import CONF, REJECTED, ROLLED_BACK, LabCase, When, address, members, states

NEW = "dh4"


class Faults:
    """Run with both kinds of CA: the undo differs."""

    def check_undone(self, step, inject, mend, expect=ROLLED_BACK, options=(), says=()):
        before, list_before = states(self.lab), members(self.lab)
        with self.lab.writer() as writer:
            try:
                inject()
                output = self.add(address(4), expect=expect, options=options)
            finally:
                mend()
        self.assertIn(f"{step}: ", output)
        for word in says:
            self.assertIn(word, output)
        job = self.newest_job()
        self.assertTrue(job["text"], job)
        failed = [e for e in self.journal(job["job"]) if e.get("DHETCD_PHASE") == "failed"]
        self.assertEqual([e["DHETCD_STEP"] for e in failed], [step])
        self.assert_unchanged(before, list_before)
        writer.check(expect_writes=20)

    def script(self, step, host, script, mode, **kwargs):
        self.check_undone(step, lambda: self.lab.break_script(host, script, mode),
                          lambda: self.lab.mend(host, script), **kwargs)

    # Step 2: another job holds a host.
    def test_02_lock_held(self):
        call = ["busctl", "call", "org.dhetcd1", "/org/dhetcd1", "org.dhetcd1.Host"]
        before, list_before = states(self.lab), members(self.lab)
        self.lab.exec("dh3", [*call, "Lock", "ss", "0badcafe-1", "10.128.1.77"])
        try:
            output = self.add(address(4), expect=REJECTED, options=["--no-wait"])
        finally:
            self.lab.exec("dh3", [*call, "Unlock", "s", "0badcafe-1"])
        self.assertIn("0badcafe", output)
        self.assertIn("10.128.1.77", output)
        self.assert_unchanged(before, list_before)

    # Step 3: no room for etcd's snapshot.
    def test_03_backup_disk_full(self):
        jobs = "/var/lib/dhetcd/jobs"

        def fill():
            self.lab.exec("dh1", ["mkdir", "-p", jobs])
            self.lab.exec("dh1", ["mount", "-t", "tmpfs", "-o", "size=640k", "tmpfs", jobs])
            self.lab.exec("dh1", ["systemctl", "stop", "dhetcdd"])

        def empty():
            self.lab.exec("dh1", ["systemctl", "stop", "dhetcdd"])
            self.lab.exec("dh1", ["umount", "-l", jobs])
        before, list_before = states(self.lab), members(self.lab)
        fill()
        try:
            output = self.add(address(4), expect=ROLLED_BACK)
        finally:
            empty()
        self.assertIn("backup: ", output)
        self.assertIn("No space left", output)
        self.assert_unchanged(before, list_before)

    # Step 4
    def test_04_generate_fails(self):
        self.script("generate", "dh1", "config_generator", "fail", says=["the vendor's script"])

    def test_04_generate_half_and_says_nothing(self):
        self.script("generate", "dh1", "config_generator", "half", says=["ended without an error"])

    def test_04_generate_hangs(self):
        self.lab.write("dh1", CONF, "[job]\nStepTimeoutSec=5\n")
        try:
            self.script("generate", "dh1", "config_generator", "hang", says=["timeout"])
        finally:
            self.lab.exec("dh1", ["rm", CONF])

    # Step 5: a password of the cluster that cannot be read, because a directory is in its place.
    def test_05_merge_password_unreadable(self):
        path = "/etc/sysconfig/deephaven/etcd/client/schema/password"
        self.lab.exec("dh1", ["mv", path, "/root/saved-password"])
        self.lab.exec("dh1", ["mkdir", path])
        try:
            self.check_undone("merge", lambda: None, lambda: None)
        finally:
            self.lab.exec("dh1", ["rmdir", path])
            self.lab.exec("dh1", ["mv", "/root/saved-password", path])

    # Step 6
    def test_06_deploy_server_fails_on_new(self):
        self.script("deploy", NEW, "config_packager.unpackage-server", "half-fail")

    def test_06_deploy_server_half_on_member(self):
        self.script("deploy", "dh3", "config_packager.unpackage-server", "half")

    def test_06_deploy_client_fails_on_member(self):
        self.script("deploy", "dh2", "config_packager.unpackage-client", "fail")

    def test_06_deploy_says_nothing_and_does_nothing(self):
        self.script("deploy", NEW, "config_packager.unpackage-server", "stderr")

    # Scripts that end without an error: only what they left tells.
    def test_06_deploy_client_half_on_member(self):
        self.script("deploy", "dh3", "config_packager.unpackage-client", "half",
                    says=["client/acl-rw/password is not the one of the package"])

    def test_06_deploy_client_does_nothing_on_member(self):
        self.script("deploy", "dh2", "config_packager.unpackage-client", "stderr",
                    says=["client/acl-ro/endpoints is not the one of the package"])

    def test_06_deploy_client_does_nothing_on_new(self):
        self.script("deploy", NEW, "config_packager.unpackage-client", "stderr")

    def test_06_deploy_leaves_a_key_that_etcd_cannot_read(self):
        script = "/usr/illumon/latest/install/config_packager.sh"
        wrapper = f'#!/bin/bash\n{script}.real "$@" || exit\nchown root:root /etc/etcd/dh/latest/ssl/server.key\n'

        def inject():
            self.lab.exec(NEW, ["mv", script, f"{script}.real"])
            self.lab.write(NEW, script, wrapper, 0o755)
        self.check_undone("deploy", inject, lambda: self.lab.exec(NEW, ["mv", f"{script}.real", script]),
                          says=["server.key cannot be read by etcd"])

    # A member whose disk is full when the package arrives.
    def test_06_deploy_disk_full_on_member(self):
        state = "/var/lib/dhetcd/host"
        events = []

        def fill():
            self.lab.exec("dh3", ["dd", "if=/dev/zero", f"of={state}/filler", "bs=1k"], check=False)

        def inject():
            self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"])
            self.lab.exec("dh3", ["mkdir", "-p", state])
            self.lab.exec("dh3", ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state])
            events.append(When(self.lab, "deploy", "intent", fill))
            events.append(When(self.lab, "deploy", "undo", lambda: self.lab.exec("dh3", ["rm", f"{state}/filler"])))

        def mend():
            for e in events:
                e.done()
            self.lab.exec("dh3", ["systemctl", "stop", "dhetcdd"])
            self.lab.exec("dh3", ["umount", "-l", state])
        self.check_undone("deploy", inject, mend, says=["No space left"])

    # The script succeeds on a member, but its disk does not take what was written.
    def test_06_deploy_not_synced(self):
        fake, asked = "/root/sync", "/root/sync.asked"

        def inject():
            self.lab.write("dh3", fake, f'#!/bin/sh\necho "$@" >>{asked}\necho "sync: no disk" >&2\nexit 1\n', 0o755)
            self.lab.exec("dh3", ["mount", "--bind", fake, "/usr/bin/sync"])

        def mend():
            self.lab.exec("dh3", ["umount", "/usr/bin/sync"])
        self.check_undone("deploy", inject, mend, says=['"unpackage-server" failed (exit-code, status 1)'])
        self.assertIn("sync: no disk", self.lab.exec("dh3", ["journalctl", "-o", "cat"]).stdout)
        self.assertRegex(self.lab.read("dh3", asked), r"(?m)^--file-system /etc/etcd/dh")

    # Step 7: the new host is off the network just then, and back while the undo waits for it.
    def test_07_narrow_host_unreachable(self):
        events = []

        def inject():
            events.append(When(self.lab, "narrow", "intent", lambda: self.lab.cut_link(NEW)))
            events.append(When(self.lab, "narrow", "undo", lambda: self.lab.mend_link(NEW)))
        self.check_undone("narrow", inject, lambda: [e.done() for e in events])

    # Step 8: a member does not start again.
    def test_08_restart_fails(self):
        drop_in = "/run/systemd/system/dh-etcd.service.d/50-broken.conf"

        def break_start():
            self.lab.write("dh3", drop_in, "[Service]\nExecStartPre=/bin/false\nRestart=no\n")
            self.lab.exec("dh3", ["systemctl", "daemon-reload"])

        def mend():
            self.lab.exec("dh3", ["rm", "-r", "/run/systemd/system/dh-etcd.service.d"])
            self.lab.exec("dh3", ["systemctl", "daemon-reload"])
        events = []

        def inject():
            events.append(When(self.lab, "restart", "intent", break_start))
            events.append(When(self.lab, "restart", "failed", mend))
        self.check_undone("restart", inject, lambda: [e.done() for e in events], options=["--restart=always"])

    # Step 9: somebody else adds a learner meanwhile; etcd takes one at a time.
    def test_09_add_learner_refused(self):
        events = []

        self.add_foreign_learner()  # as soon as etcd takes one
        self.remove_learner()

        def inject():
            events.append(When(self.lab, "lock", "done", self.add_foreign_learner))
            events.append(When(self.lab, "add-learner", "failed", self.remove_learner))
        self.check_undone("add-learner", inject, lambda: [e.done() for e in events])

    # Step 10
    def test_10_start_fails(self):
        self.script("start", NEW, "enable_dh_etcd_systemd", "fail")

    def test_10_start_says_nothing_and_does_nothing(self):
        self.script("start", NEW, "enable_dh_etcd_systemd", "stderr")

    def test_10_start_half(self):
        self.script("start", NEW, "enable_dh_etcd_systemd", "half")

    def data(self):
        latest = self.lab.exec("dh1", ["readlink", "/etc/etcd/dh/latest"]).stdout.strip()
        return f"/var/lib/etcd/dh/{latest.split('/')[-1]}"

    # Somebody else writes to the data directory after the preflight: what is there is neither taken nor touched.
    def test_10_start_data_directory_not_empty(self):
        data, before = self.data(), self.lab.fingerprint(NEW)["data"]
        events = []

        def fill():
            self.lab.exec(NEW, ["mkdir", "-p", f"{data}/member"])
            self.lab.write(NEW, f"{data}/member/foreign", "not ours")
            self.lab.exec(NEW, ["chown", "-R", "daemon", data])
            events.append(self.look(data))

        def inject():
            events.append(When(self.lab, "lock", "done", fill))

        def mend():
            events[0].done()
            self.assertEqual(self.look(data), events[1])
            self.lab.exec(NEW, ["rm", "-r", data])
            if not before:
                self.lab.exec(NEW, ["rmdir", "/var/lib/etcd/dh"])
        self.check_undone("start", inject, mend, says=["is not empty", "--move-data-aside"])

    def look(self, data):
        """Owner, mode, time and size of all that is in it."""
        return self.lab.exec(NEW, ["find", data, "-mindepth", "1", "-printf", "%P %u %g %m %T@ %s\n"]).stdout

    def change_unit(self, line):
        self.lab.write(NEW, "/run/systemd/system/dh-etcd.service.d/50-broken.conf", f"[Service]\n{line}\nRestart=no\n")

    def mend_unit(self):
        self.lab.exec(NEW, ["rm", "-r", "/run/systemd/system/dh-etcd.service.d"])
        self.lab.exec(NEW, ["systemctl", "daemon-reload"])

    def unstartable(self, **kwargs):
        self.check_undone("start", lambda: self.change_unit("ExecStartPre=/bin/false"), self.mend_unit, **kwargs)

    def test_10_start_etcd_does_not_start(self):
        self.unstartable()

    def test_10_start_etcd_does_not_start_and_data_was_moved_aside(self):
        data, parent = self.data(), self.lab.fingerprint(NEW)["data"]
        self.lab.exec(NEW, ["mkdir", "-p", f"{data}/member"])
        self.lab.write(NEW, f"{data}/member/old", "of an earlier start")
        self.lab.exec(NEW, ["chown", "-R", "daemon", data])
        before = self.look(data)
        try:
            self.unstartable(options=["--move-data-aside"])
            self.assertEqual(self.look(data), before)
        finally:
            self.lab.exec(NEW, ["rm", "-r", *([data] if parent else ["/var/lib/etcd/dh"])])

    # Step 11: a learner that is alive and near the leader's index, but cut off from its peers as soon as it has started.
    def test_11_never_in_sync(self):
        self.lab.write("dh1", CONF, "[job]\nSyncTimeoutSec=6\n")
        cut = ("table inet cut { chain in { type filter hook input priority 0; tcp dport 2380 drop; "
               "tcp sport 2380 drop;\n}\n}\n")

        def inject():
            self.lab.write(NEW, "/root/cut.nft", cut)
            self.change_unit("ExecStartPost=+/usr/sbin/nft -f /root/cut.nft")

        def mend():
            self.mend_unit()
            self.lab.exec(NEW, ["nft", "delete", "table", "inet", "cut"])
            self.lab.exec("dh1", ["rm", CONF])
        self.check_undone("sync", inject, mend)

    # Cancelled by the operator in the middle.
    def test_12_stop_in_the_middle(self):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "hang")
        unit = f"dhetcd-add@{address(4)}"
        try:
            self.lab.exec("dh1", ["systemctl", "start", "--no-block", unit])
            self.wait("the learner is added", self.has_learner)
            self.lab.exec("dh1", ["systemctl", "stop", unit], timeout=180)
        finally:
            self.lab.mend(NEW)
        self.assertEqual(self.newest_job()["state"], "rolled-back")
        self.assert_unchanged(before, list_before)

    # The worker is killed: PID 1 itself starts the rollback.
    def test_13_worker_killed(self):
        before, list_before = states(self.lab), members(self.lab)
        self.lab.break_script(NEW, "enable_dh_etcd_systemd", "hang")
        unit = f"dhetcd-add@{address(4)}"
        try:
            self.lab.exec("dh1", ["systemctl", "start", "--no-block", unit])
            self.wait("the learner is added", self.has_learner)
            self.lab.mend(NEW)
            self.lab.exec("dh1", ["pkill", "-KILL", "-x", "dhetcd-worker"])
            self.wait("the job has ended", lambda: self.newest_job()["state"] != "running")
        finally:
            self.lab.mend(NEW)
        self.assertEqual(self.newest_job()["state"], "rolled-back")
        self.assert_unchanged(before, list_before)


class RollbackNewCA(Faults, LabCase):
    slow, shares = 4, "rollback"
    lab_options = {"hosts": 4, "members": 3, "switches": {"ca": "new", "client_auth": "cert"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        cls.lab.set_switch(None, data_dir="wrong-owner")  # its first members could not have started with it


class RollbackSameCA(Faults, LabCase):
    slow, shares = 3, "rollback"
    lab_options = {"hosts": 4, "members": 3,
                   "switches": {"ca": "same", "latest": "absolute", "id_length": 8, "data_dir": "full"}}


if __name__ == "__main__":
    unittest.main()
