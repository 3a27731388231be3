# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an operator sees: the cluster, the plan, and a job while it runs and afterwards. In this order, on one lab."""

import fcntl
import html.parser
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unittest
from xml.etree import ElementTree

import browser
from support import COMMITTED, FOUND, LAB, REJECTED, ROLLED_BACK, USAGE, LabCase, LabError, address, members, states

INSTALLER = "/opt/deephaven/installer"
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


    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def key(self, name):
        self.tmux("send-keys", name)


def on_terminal(lab, width, *argv):
    """What the command writes to a terminal that wide, without colours: its lines."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    with subprocess.Popen(lab.host("dh1").enter(argv, 60), stdin=subprocess.DEVNULL, stdout=terminal, env={
            "TERM": "xterm-256color", "NO_COLOR": "1", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}):
        os.close(terminal)
        text = b""
        try:
            while part := os.read(control, 65536):
                text += part
        except OSError:  # EIO: its end
            os.close(control)
    return text.decode().replace("\r", "").split("\n")


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
    slow = 2
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

    def assert_table(self, narrow, wide, *argv):
        """No line of the table is wider than the terminal; the columns that are promised there are whole."""
        for width, columns in ((80, narrow), (200, narrow + wide)):
            lines = on_terminal(self.lab, width, "dhetcd", "--no-pager", *argv)
            headings = [i for i, x in enumerate(lines) if all(re.search(rf"(^| ){c}( |$)", x) for c in columns)]
            self.assertTrue(headings, f"{argv} at {width} has no line of {columns}: {lines}")
            table = lines[headings[0]:]
            table = table[:table.index("")] if "" in table else table
            self.assertGreater(len(table), 1, lines)
            self.assertEqual([x for x in table if len(x) > width], [], f"{argv} at {width}")

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
            bare, _ = self.look("--no-legend", "cluster", expect=REJECTED)
            found, _ = self.look("--no-legend", "doctor", expect=FOUND)
            self.assert_table(["SEVERITY", "FINDING", "HOST"], ["CAUSE"], "doctor")
            rows = {m["name"]: m for m in self.look_json("cluster", expect=REJECTED)["members"]}
        finally:
            self.lab.exec("dh2", ["systemctl", "start", "dh-etcd"])
            self.lab.wait_healthy(2)
        self.assertEqual({n: m["health"] for n, m in rows.items()}, {"etcd-1": "no leader", "etcd-2": "no answer"})
        self.assertEqual(len([line for line in table.splitlines() if "etcd-2 " in line and "no answer" in line]), 1)
        for text in (table, bare):
            self.assertIn("it is LOST", text)
            self.assertRegex(text, r"(?m)^etcd-2: .")
        self.assertNotIn("HEALTH", bare)
        self.assertNotIn("SEVERITY", found)
        for word in ("  seen: ", "  mend", " wrong."):
            self.assertIn(word, found)

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

    def test_e_tables_fit(self):
        """At 80 and at 200 columns."""
        self.look("schedule", "--no-check", address(3), "--on=2098-01-01")
        self.assert_table(["ID", "NAME", "ROLE", "DB SIZE", "INDEX", "LAG", "HEALTH"], ["ADDRESS", "VERSION"], "cluster")
        for options in ([], ["--restart=always"]):
            self.assert_table(["#", "STEP", "TIME", "OUTAGE", "RESTARTS"], ["HOSTS"], *options, "plan", address(3))
        self.assert_table(["NEXT", "ON", "UNTIL", "NODES"], [], "schedule")
        self.assert_table(["NEXT", "ON", "UNTIL", "NODES"], [], "list")
        self.look("unschedule", address(3))

    # -- JSON -------------------------------------------------------------------------------
    def test_e_json(self):
        """Every verb prints one value of JSON, of the shape that dhetcd(1) tells; a job, and a run of the installer, that
        are canceled, too."""
        node, cnf = address(3), f"--installer-dir={INSTALLER}"
        looks = [("list", list), ("cluster", "members"), (f"plan {node}", "additions"), (f"check {node}", "additions"),
                 ("doctor", list), ("schedule", list), ("config", list), ("trust --list", list), (f"cnf show {cnf}", "nodes"),
                 (f"cnf check {cnf}", list), ("install --list", list), ("watch", type(None)),
                 (f"cnf add --dry-run {cnf} {address(4)}", "diff")]
        acts = [(f"schedule --no-check {node} --on=2098-01-01", "dates_usec", 0), (f"unschedule {node}", "node", 0),
                ("settle --all", list, 0), ("rescue", "transactions", 1), (f"add {address(2)}", "transactions", 1)]
        for argv, shape in looks:
            for mode in ("pretty", "short"):
                self.shown(argv, shape, mode)
            with self.assertRaises(ValueError):
                json.loads(self.look("--json=off", *argv.split())[0])
        for argv, shape, code in acts:
            self.shown(argv, shape, "pretty", expect=code)
        known = self.lab.read("dh1", "/etc/ssh/ssh_known_hosts")
        self.lab.write("dh1", "/etc/ssh/ssh_known_hosts", "")
        self.assertTrue(self.shown(f"trust --yes {node}", "keys", "short")["changed"])
        self.assertFalse(self.shown(f"trust {node}", "keys", "short")["changed"])
        self.assertEqual(self.shown(f"trust --remove {node}", "host", "short")["keys"], [])
        self.lab.write("dh1", "/etc/ssh/ssh_known_hosts", known)

        self.lab.break_script("dh1", "config_generator", "hang")
        job = self.shown(f"add --no-block {node}", "job", "short")["job"]
        self.wait("the script hangs", lambda: [e for e in self.journal(job) if e.get("DHETCD_STEP") == "generate"])
        self.assertEqual(self.shown(f"cancel {job}", "job", "short"), {"job": job})
        self.assertEqual(self.shown(f"watch {job}", "transactions", "short", expect=ROLLED_BACK)["state"], "rolled-back")
        self.lab.mend("dh1", "config_generator")
        for verb, shape in (("show", "transactions"), ("report", "lines")):
            self.shown(f"{verb} {job}", shape, "pretty")
        self.lab.break_script("dh1", "master_install", "hang")
        grown = self.shown(f"grow --no-block {cnf} {node}", "install", "short")["install"]
        self.assertEqual(self.shown(f"cancel {grown}", "install", "short"), {"install": grown})
        self.lab.mend("dh1", "master_install")
        self.assertEqual(self.shown(f"watch {grown}", "install", "short", expect=REJECTED)["state"], "canceled")

        verbs = re.findall(r'(?m)^        \{ "([a-z]+)", -?\d, -?\d, verb_', (LAB.parents[1] / "src/cli/main.c").read_text())
        self.assertGreater(len(verbs), 15)
        self.assertEqual(set(verbs) - self.verbs_shown, {"rollback"})  # test_k

    verbs_shown = set()

    def shown(self, argv, shape, mode, expect=COMMITTED):
        text, _ = self.look(f"--json={mode}", *argv.split(), expect=expect)
        value = json.loads(text)
        self.verbs_shown.add(argv.split()[0])
        self.assertTrue(mode == "pretty" or text.count("\n") == 1, text)
        if isinstance(shape, type):
            self.assertIsInstance(value, shape, argv)
        else:
            self.assertIn(shape, value, argv)
        return value

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
                self.assertIn(f"Follow it: dhetcd watch {job}", self.look("cancel", job)[0])
                self.wait_showing("the job has ended", lambda: terminal.exit_code() is not None, terminal)
                self.assertEqual(terminal.exit_code(), ROLLED_BACK)
                self.assertNotIn("█", terminal.screen())
            finally:
                terminal.close()
        finally:
            for host, link in links:
                self.lab.exec(host, ["tc", "qdisc", "del", "dev", link, "root"])

    def test_f_b_interrupts(self):
        """^C leaves a job that somebody watches, and cancels, the second time, one's own; the words and the exit codes."""
        self.lab.break_script("dh1", "config_generator", "hang")
        own, other = (Terminal(self.lab, 120, ["bash", "--norc", "-i"]), Terminal(self.lab, 119, ["bash", "--norc", "-i"]))
        try:
            own.type(f"dhetcd add {address(3)}; echo code=$?")
            self.wait_showing("the script hangs", lambda: "▶  4/16 generate" in own.screen(), own)
            job = self.newest_job()["job"]
            other.type("dhetcd watch; echo code=$?")
            self.wait_showing("it is watched", lambda: "▶  4/16 generate" in other.screen(), other)
            other.key("C-c")
            self.wait_showing("watch was left", lambda: "code=130" in other.screen(), other)
            self.assertRegex(other.screen(), rf'Job {job} goes on without us; see "dhetcd show {job}"\.\s*\n *code=130')
            left = self.lab.exec("dh1", ["timeout", "--preserve-status", "1", "dhetcd", "watch", job], check=False)
            self.assertEqual(left.returncode, 143, left.stderr)
            own.key("C-c")
            self.wait_showing("it says how to go on", lambda: "Press ^C again" in own.screen(), own)
            self.assertEqual(self.job(job)["state"], "running")
            own.key("C-c")
            self.wait_showing("it is put back", lambda: "code=10" in own.screen(), own)
            self.assertIn(f"Canceling job {job}", own.screen())
        finally:
            own.close()
            other.close()
            self.lab.mend("dh1", "config_generator")
        self.assertEqual(self.job(job)["state"], "rolled-back")
        _, said = self.look("cancel", job, expect=REJECTED)  # it has ended
        self.assertIn("dhetcd: ", said)

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
        self.assert_table(["JOB", "STATE", "NODES", "TEXT"], ["ENDED OR QUEUED"], "list")
        self.assert_table(["STEP", "STATE", "STARTED", "TOOK", "UNDO"], ["HOSTS"], "show", self.newest())
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

    @unittest.skipUnless(browser.PROGRAM, "chromium is not here: contrib/install-deps report")
    def test_i_report_in_a_browser(self):
        """Something is seen, all of the picture is in it, no text is on another, nothing is cut off at the side."""
        page = self.look("report", self.newest())[0]
        for width in (500, 1000):  # the narrowest that there is without a screen, and a desk's
            with self.subTest(width=width):
                found = browser.measure(page, width)
                self.assertGreater(len(found["boxes"]), 50)
                self.assertEqual(browser.outside(found), [])
                self.assertEqual(browser.overlaps(found), [])
                self.assertLessEqual(found["wider"], 0)
                self.assertGreaterEqual(found["font"], 7)
                self.assertGreater(browser.colours(browser.screenshot(page, width)), 50)

    def test_j_the_exit_code_of_a_refused_job(self):
        job = self.look("--no-block", "add", address(2))[0].strip()
        text, _ = self.look("watch", job, user="watcher", expect=REJECTED)
        self.assertIn("is a member of the cluster already", text)

    def test_k_json_of_a_rollback(self):
        job = next(j["job"] for j in map(json.loads, self.job_files("dh1")) if j["state"] == "committed")
        self.assertEqual(self.shown(f"rollback --no-block {job}", "job", "short"), {"job": job})
        self.assertEqual(self.shown(f"watch {job}", "state", "short", expect=ROLLED_BACK)["state"], "rolled-back")


if __name__ == "__main__":
    unittest.main()
