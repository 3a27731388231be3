# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an operator sees: the cluster, the plan, and a job while it runs and afterwards. In this order, on one lab."""

import html.parser
import json
import re
import subprocess
import sys
import unittest
from xml.etree import ElementTree

from support import COMMITTED, LAB, REJECTED, ROLLED_BACK, USAGE, LabCase, LabError, address, members, states

RULE = """polkit.addRule(function(action, subject) {
    if (action.id == "org.dhetcd1.inspect" && subject.user == "watcher") { return polkit.Result.YES; }
});
"""


class Terminal:
    """A terminal of tmux in which a command runs on a host."""

    def __init__(self, lab, width, argv, user="root", env=()):
        self.socket, self.width = f"dhlab-{lab.name}-{width}", width
        self.status = lab.dir / f"status-{width}"
        self.status.unlink(missing_ok=True)
        # tmux sometimes forgets a command's status (3.3a: dead, and no status for ever)
        command = ["sh", "-c", '"$@"; echo $? >"$0.new"; mv "$0.new" "$0"', str(self.status),
                   "env", "TERM=xterm-256color", sys.executable, str(LAB / "lab"), "exec", "--name", lab.name, "dh1",
                   "runuser", "-u", user, "--", "env", "TERM=xterm-256color", "LANG=C.UTF-8", *env, *argv]
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", "24", *command, ";",
                  "set-option", "remain-on-exit", "on")

    def tmux(self, *argv):
        return subprocess.run(["tmux", "-u", "-L", self.socket, *argv], check=True, timeout=20, capture_output=True,
                              text=True).stdout

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def exit_code(self):
        """None while it runs, and while tmux has not yet seen the end of its output."""
        dead = self.tmux("display-message", "-p", "#{pane_dead}").strip() == "1"
        return int(self.status.read_text()) if dead and self.status.exists() else None

    def close(self):
        self.tmux("kill-server")


class Page(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


class See(LabCase):
    lab_options = {"hosts": 3, "members": 2, "switches": {"ca": "same"}}

    @classmethod
    def new_lab(cls):
        super().new_lab()
        cls.lab.exec("dh1", ["useradd", "-G", "systemd-journal", "watcher"])

    def look(self, *argv, expect=COMMITTED, user="root"):
        done = self.lab.exec("dh1", ["runuser", "-u", user, "--", "dhetcd", "--no-ask-password", *argv], check=False,
                             timeout=180)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def look_json(self, *argv, **kwargs):
        return json.loads(self.look("--json=short", *argv, **kwargs)[0])

    # -- cluster ----------------------------------------------------------------------------
    def test_a_cluster(self):
        table, _ = self.look("cluster")
        found = self.look_json("cluster")
        self.assertEqual({int(m["id"], 16) for m in found["members"]}, {int(m[0]) for m in members(self.lab)})
        for m in found["members"]:
            self.assertIn(m["id"], table)
            self.assertEqual(m["health"], "healthy")
            self.assertLessEqual(m["raft_lag"], 10)
        self.assertEqual(sorted(m["role"] for m in found["members"]), ["follower", "leader"])
        self.assertEqual((found["voters"], found["quorum"], found["list"]), (2, 2, "quorum"))

    def test_b_cluster_without_quorum(self):
        self.lab.exec("dh2", ["systemctl", "stop", "dh-etcd"])
        try:
            table, _ = self.look("cluster", expect=REJECTED)
            rows = {m["name"]: m for m in self.look_json("cluster", expect=REJECTED)["members"]}
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assertEqual({n: m["health"] for n, m in rows.items()}, {"etcd-1": "no leader", "etcd-2": "no answer"})
        self.assertEqual(len([line for line in table.splitlines() if "etcd-2 " in line and "no answer" in line]), 1)
        self.assertIn("it is LOST", table)

    def test_b_nobody_answers(self):
        for host in ("dh2", "dh1"):
            self.lab.exec(host, ["systemctl", "stop", "dh-etcd"])
        try:
            found = self.look_json("cluster", expect=REJECTED)
            _, said = self.look("plan", address(3), expect=REJECTED)
        finally:
            for host in ("dh1", "dh2"):  # each waits for the other
                self.lab.exec(host, ["systemctl", "start", "--no-block", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assertEqual(found["list"], "none")
        self.assertEqual({m["health"] for m in found["members"]}, {"no answer"})
        self.assertIn("the cluster does not answer", said)

    def test_c_not_everybody_may_look(self):
        _, said = self.look("cluster", user="watcher", expect=REJECTED)
        self.assertIn("authentication", said)
        self.lab.write("dh1", "/etc/polkit-1/rules.d/50-watcher.rules", RULE)
        for _ in range(20):  # polkit reads its rules anew when it notices
            if self.dhetcd_as("watcher", "cluster").returncode == COMMITTED:
                break
        self.look("cluster", user="watcher")
        self.look("plan", address(3), user="watcher")

    def dhetcd_as(self, user, *argv):
        return self.lab.exec("dh1", ["runuser", "-u", user, "--", "dhetcd", "--no-ask-password", *argv], check=False)

    # -- plan -------------------------------------------------------------------------------
    def everything(self):
        """What a plan might have changed: fingerprints, and all that dhetcd keeps."""
        kept = {h.name: sorted(str(p) for p in h.path("/var/lib/dhetcd").rglob("*")) for h in self.lab.hosts}
        return states(self.lab), members(self.lab), kept

    def test_d_plan_changes_nothing(self):
        before = self.everything()
        text, _ = self.look("plan", address(3))
        plan = self.look_json("check", address(3))
        self.assertEqual(self.everything(), before)
        self.assert_nothing_left()
        steps = [s["step"] for s in plan["steps"]]
        self.assertEqual((steps[0], steps[-1]), ("preflight", "unlock"))
        for step in plan["steps"]:
            self.assertIn(f"({step['step']})", text)
        self.assertEqual(plan["members_after"], 3)
        self.assertEqual([s["step"] for s in plan["steps"] if s["restarts"] and not s["perhaps"]], [])
        self.assertEqual(plan["outage_seconds"], 0)
        self.assertTrue(all(s["rollback"] for s in plan["steps"] if s["changes"] and s["step"] != "unlock"))
        always = self.look_json("--restart=always", "plan", address(3))
        self.assertGreater(always["outage_seconds"], 0)

    # -- conventions ------------------------------------------------------------------------
    def test_e_another_host(self):
        """-H, as with systemctl: the dhetcdd of dh2 answers, over ssh with the user's own settings."""
        self.lab.write("dh1", "/root/.ssh/config", "IdentityFile /etc/dhetcd/ssh/id_ed25519\n")
        self.assertEqual(self.look_json("-H", address(2), "list"), [])
        self.assertEqual(len(self.look_json("--host", f"root@{address(2)}", "cluster")["members"]), 2)
        self.assertEqual([f for f in self.look_json("-H", address(2), "doctor") if f["severity"] != "note"], [])
        _, said = self.look("-H", address(3), "add", address(1), expect=REJECTED)  # it has no root client
        self.assertIn("Only the job's state is shown", said)
        for argv, code in ((["-H", "10.128.1.99", "list"], REJECTED), (["-H", "-oProxyCommand=x", "list"], USAGE),
                           (["-H", address(2), "config"], USAGE)):
            _, said = self.look(*argv, expect=code)
            self.assertIn("dhetcd: ", said)

    def test_e_introspection_is_what_the_man_page_says(self):
        """busctl introspect has a name for each argument, and org.dhetcd1(5) has each of them."""
        page = (LAB.parents[1] / "contrib/man/org.dhetcd1.5.scd").read_text()
        xml = self.lab.exec("dh1", ["busctl", "introspect", "--xml-interface", "org.dhetcd1", "/org/dhetcd1"]).stdout
        found = 0
        for interface in ElementTree.fromstring(xml).iter("interface"):
            for member in interface:
                arguments = [(a.get("direction", "in"), f"_{a.get('type')}_ {a.get('name')}")
                             for a in member.iter("arg")]
                if interface.get("name").startswith("org.dhetcd1."):
                    self.assertNotIn("None", [text.split()[1] for _, text in arguments], member.attrib)
                if interface.get("name") != "org.dhetcd1.Manager":
                    continue
                ins, outs = (", ".join(t for d, t in arguments if d == way) for way in ("in", "out"))
                line = f"*{member.get('name')}*({ins})" + (f" → ({outs})" if outs else "")
                if member.tag == "property":
                    line = f"*{member.get('name')}* (_{member.get('type')}_"
                self.assertIn("\n" + line, page)
                found += 1
        self.assertGreater(found, 15)

    def test_e_pager(self):
        """On a terminal what is longer than it goes through a pager; its end is not an error, and none is by wish."""
        for options, lines in (([], 3), (["--no-pager"], 30)):
            terminal = Terminal(self.lab, 80, ["dhetcd", *options, "plan", address(3)], env=["SYSTEMD_PAGER=head -n 3"])
            try:
                self.wait_showing("the plan is shown", lambda t=terminal: t.exit_code() is not None, terminal)
                self.assertEqual(terminal.exit_code(), COMMITTED, terminal.screen())
                shown = [x for x in terminal.screen("-S", "-").splitlines() if x.strip() and "Pane is dead" not in x]
                (self.assertLessEqual if lines == 3 else self.assertGreater)(len(shown), lines, shown)
            finally:
                terminal.close()

    def test_e_plan_says_what_would_be_refused(self):
        before = self.everything()
        for nodes, cause in (([address(2)], "is a member of the cluster already"), (["10.128.1.99"], "10.128.1.99")):
            with self.subTest(nodes=nodes):
                _, said = self.look("plan", *nodes, expect=REJECTED)
                self.assertIn(cause, said)
                plan = self.look_json("plan", *nodes, expect=REJECTED)
                self.assertTrue(plan["rejected"])
                self.assertIn(cause, plan["cause"])
        self.look("plan", "dh3", expect=REJECTED)  # refused before anybody is asked
        self.look("--require-odd", "plan", address(3))
        self.assertEqual(self.everything(), before)

    # -- a job ------------------------------------------------------------------------------
    def test_f_a_bar_for_what_takes_long(self):
        """The snapshot's bytes, over links made slow; then the job is taken back."""
        links = (("dh1", "lo"), ("dh2", "host0"))  # the first or the second member gives it
        for host, link in links:
            self.lab.exec(host, ["tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", "1mbit", "burst", "128kb",
                                 "latency", "400ms"])
        try:
            job = self.look("--no-block", "add", address(3))[0].strip()
            terminal = Terminal(self.lab, 100, ["dhetcd", "watch", job])
            try:
                bar = r"█+[^█]* \d[\d.]*[KM] of \d[\d.]*[KM], \d[\d.]*K/s, left: \d"
                self.wait_showing("a bar of bytes", lambda: re.search(bar, terminal.screen()), terminal)
                self.look("cancel", job)
                self.wait_showing("the job has ended", lambda: terminal.exit_code() is not None, terminal)
                self.assertEqual(terminal.exit_code(), ROLLED_BACK)
                self.assertNotIn("█", terminal.screen())
            finally:
                terminal.close()
        finally:
            for host, link in links:
                self.lab.exec(host, ["tc", "qdisc", "del", "dev", link, "root"])

    def test_f_follow(self):
        job = self.look("--no-block", "add", address(3))[0].strip()
        narrow = Terminal(self.lab, 80, ["dhetcd", "watch", job], user="watcher")
        wide = Terminal(self.lab, 200, ["dhetcd", "watch", job], env=["NO_COLOR=1"])
        seen = set()

        def ended():
            seen.update(re.findall(r"[▶✓·] +\d+/16 ([a-z-]+)", narrow.screen() + wide.screen()))
            return narrow.exit_code() is not None and wide.exit_code() is not None
        try:
            self.wait_showing("both terminals have seen the end", ended, narrow, wide)
            for terminal in (narrow, wide):
                screen = terminal.screen()
                self.assertEqual(terminal.exit_code(), COMMITTED, screen)
                self.assertRegex(screen, r"✓ +1/16 preflight .*\n(.*\n)*✓ 16/16 unlock")
                self.assertEqual(screen.count("16/16"), 1, screen)
                # tmux scrolls by a line when the command ends
                self.assertEqual(terminal.screen("-S", "-").count("is done"), 1, screen)
                self.assertLessEqual(max(map(len, screen.splitlines())), terminal.width)
            self.assertIn("\x1b[1m\x1b[32m✓", narrow.screen("-e"))
            self.assertNotIn("\x1b[1m\x1b[32m", wide.screen("-e"))
        finally:
            narrow.close()
            wide.close()
        self.assertIn("sync", seen)
        self.assert_voters(3)
        loud = [x["MESSAGE"] for x in self.journal(job) if int(x["PRIORITY"]) <= 4]
        self.assertEqual(loud, [], "a success is quiet")

    def wait_showing(self, what, condition, *terminals):
        try:
            self.wait(what, condition)
        except LabError:
            for terminal in terminals:
                print(f"--- {terminal.width} columns, exit code {terminal.exit_code()}:\n{terminal.screen()}", flush=True)
            raise

    def newest(self):
        if not self.job_files("dh1"):  # the lab is a new one
            self.add(address(3))
        return self.newest_job()["job"]

    def test_g_late_joiners_see_the_past(self):
        text, _ = self.look("watch", self.newest(), user="watcher")  # no terminal: lines
        self.assertNotIn("\x1b", text)
        lines = text.splitlines()
        self.assertEqual(len([x for x in lines if "[1/16] preflight: done" in x]), 1)
        self.assertIn("is done", lines[-1])
        told = [x for x in self.journal(self.newest()) if x.get("DHETCD_WHAT") == "entries"]
        self.assertGreaterEqual(int(told[-1]["DHETCD_TOTAL"]), int(told[-1]["DHETCD_DONE"]))
        self.look("watch", "00000000", user="watcher", expect=REJECTED)

    def test_g_nobody_else_tells_of_a_job(self):
        forged = f"MESSAGE=forged\nMESSAGE_ID={'0' * 32}\nPRIORITY=3\nDHETCD_JOB={self.newest()}\n"
        self.lab.write("dh1", "/tmp/forged", forged)
        self.lab.exec("dh1", ["runuser", "-u", "watcher", "--", "logger", "--journald=/tmp/forged"])
        self.wait("the line is in the journal", lambda: any(x["MESSAGE"] == "forged" for x in
                                                            self.journal(self.newest())))
        for verb in ("watch", "report"):
            self.assertNotIn("forged", self.look(verb, self.newest())[0])

    def test_h_show(self):
        job = self.look_json("show", self.newest(), user="watcher")
        steps = {s["step"]: s for s in job["transactions"][0]["steps"]}
        self.assertEqual(steps["restart"]["state"], "skipped")
        self.assertEqual(steps["promote"]["state"], "done")
        self.assertGreater(steps["deploy"]["ended_usec"], steps["deploy"]["started_usec"])
        self.assertEqual(sorted(steps["narrow"]["hosts"]), [address(n) for n in (1, 2, 3)])
        text, _ = self.look("show", self.newest(), user="watcher")
        for name, step in steps.items():
            self.assertRegex(text, rf"(?m)^{name} +{step['state']} ")
        backup = job["transactions"][0]["backup"]
        self.assertIn(f"revision {backup['revision']}, SHA-256 {backup['sha256']}", text)
        self.assertIn(self.newest(), [j["job"] for j in self.look_json("list", user="watcher")])
        self.assertRegex(self.look("list", user="watcher")[0], rf"{self.newest()}  committed +- .*{address(3)} .{{40}}")
        terminal = Terminal(self.lab, 60, ["dhetcd", "--no-pager", "list"], user="watcher")
        try:
            self.wait_showing("the list", lambda: terminal.exit_code() is not None, terminal)
            line = next(x for x in terminal.screen().splitlines() if x.startswith(self.newest()))
            self.assertRegex(line, rf"committed +{address(3)} .*…$")
            self.assertLessEqual(len(line), 60)
        finally:
            terminal.close()

    def test_i_report(self):
        page = Page(self.look("report", self.newest(), user="watcher")[0])
        names = [tag for tag, _ in page.tags]
        text = "".join(page.text)
        self.assertIn("svg", names)
        self.assertEqual([t for t in page.tags if t[0] in ("script", "img", "link", "iframe") or "src" in t[1] or
                          "href" in t[1]], [])
        for word in ("preflight", "unlock", address(1), address(3), "committed", "raft lag", "root (0)", self.newest()):
            self.assertIn(word, text)
        data = self.look_json("report", self.newest(), user="watcher")
        self.assertGreater(len(data["lines"]), 30)

    def test_j_the_exit_code_of_a_refused_job(self):
        job = self.look("--no-block", "add", address(2))[0].strip()
        text, _ = self.look("watch", job, user="watcher", expect=REJECTED)
        self.assertIn("is a member of the cluster already", text)


if __name__ == "__main__":
    unittest.main()
