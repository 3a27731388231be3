# SPDX-License-Identifier: LGPL-2.1-or-later
"""One host: boot it, run commands in it, cut its power, read its files."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

from . import cgroup, paths
from .errors import LabError
from .run import run, wait_until

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "HOME": "/root", "LANG": "C.UTF-8", "USER": "root", "LOGNAME": "root"}
BOOT_SECONDS = 60


class Host:
    def __init__(self, lab, number, address):
        self.lab, self.number, self.address = lab, number, address
        self.name = f"dh{number}"
        self.dir = lab.dir / "hosts" / self.name
        self.upper = self.dir / "upper"
        self.cgroup = cgroup.of(lab.name, self.name)

    # -- power ------------------------------------------------------------------------------
    def start(self):
        """Boots the host without waiting for it."""
        if self.init_pid():
            return
        cgroup.kill(self.cgroup)
        for each in ("upper", "work", "root"):
            (self.dir / each).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.dir / "work", ignore_errors=True)
        (self.dir / "work").mkdir()
        (self.dir / "pid").unlink(missing_ok=True)
        with open(self.dir / "console.log", "ab") as log:
            subprocess.run(
                ["setsid", "--fork", "unshare", "--mount", "--propagation=private", "--",
                 str(paths.HERE / "launch-host"), str(self.dir), self.lab.lower, self.cgroup,
                 str(self.lab.net.path), self.name],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=10,
                env=ENVIRONMENT)

    def wait_booted(self, timeout=BOOT_SECONDS):
        hint = f"cat {self.dir}/console.log"
        wait_until("the host's init runs", self.init_pid, timeout, self.name, hint)
        wait_until("sshd answers", self.ssh_banner, timeout, self.name, hint)
        done = self.exec(["systemctl", "is-system-running", "--wait"], check=False,
                         timeout=timeout)
        if done.stdout.strip() not in ("running", "degraded"):
            raise LabError(f"booted into '{done.stdout.strip()}': {done.stderr.strip()}",
                           self.name, f"lab exec --name {self.lab.name} {self.name} -- "
                           "systemctl list-jobs")

    def ssh_banner(self):
        with self.lab.net.connect(self.address, 22, 1) as s:
            s.settimeout(2)
            return s.recv(4) == b"SSH-"

    def cut_power(self):
        """Ends every process of the host at once; what it had written stays."""
        pid = self.init_pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
        cgroup.kill(self.cgroup)

    def nspawn_pid(self):
        try:
            pid = int((self.dir / "pid").read_text())
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
                return pid if f"/{self.cgroup}/" in f.read().replace("\n", "/\n") else None
        except (OSError, ValueError):
            return None

    def init_pid(self):
        """The pid of the host's systemd, seen from outside; None while it does not run."""
        nspawn = self.nspawn_pid()
        if not nspawn:
            return None
        try:
            children = pathlib.Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        except OSError:
            return None
        for child in map(int, children):
            try:
                status = pathlib.Path(f"/proc/{child}/status").read_text()
                with open(f"/proc/{child}/comm", encoding="ascii") as f:
                    comm = f.read().strip()
            except OSError:
                continue
            inner = [x for x in status.splitlines() if x.startswith("NSpid:")]
            if comm == "systemd" and inner and inner[0].split()[-1] == "1":
                return child
        return None

    def network(self):
        """Its network namespace, as an option of nsenter."""
        return f"--net=/proc/{self.init_pid()}/ns/net"

    # -- commands ---------------------------------------------------------------------------
    def enter(self, argv, timeout=None):
        pid = self.init_pid()
        if not pid:
            raise LabError("is not running", self.name,
                           f"lab boot --name {self.lab.name} {self.name}")
        limit = ["timeout", "-k", "2", str(timeout)] if timeout else []
        return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "--", *limit, *argv]

    def exec(self, argv, check=True, timeout=60, env=None, **kwargs):
        """Runs a command as root in the host; returns a CompletedProcess (text)."""
        done = run(self.enter([str(a) for a in argv], timeout), timeout=timeout + 10,
                   host=self.name, check=check, env={**ENVIRONMENT, **(env or {})},
                   hint=f"lab shell --name {self.lab.name} {self.name}", **kwargs)
        return done

    # -- files ------------------------------------------------------------------------------
    def path(self, inside, follow=False):
        """A path of the host seen from outside: whole while it runs, its own layer when off.
        Links on the way, absolute ones too, lead where they lead in the host."""
        pid = self.init_pid()
        top = pathlib.Path(f"/proc/{pid}/root") if pid else self.upper
        return resolve(top, str(inside), follow)

    def read(self, inside):
        return self.path(inside, follow=True).read_text(encoding="utf-8")

    def write(self, inside, text, mode=0o644):
        paths.write(self.path(inside), text, mode)

    def reachable(self, port=22):
        try:
            with self.lab.net.connect(self.address, port, 0.5):
                return True
        except (OSError, socket.timeout):
            return False


def resolve(top, inside, follow):
    """top/inside with every link on the way (the last one too, if `follow`) kept below top."""
    todo, at = [x for x in inside.split("/") if x and x != "."][::-1], []
    for _ in range(200):
        if not todo:
            return top.joinpath(*at)
        part = todo.pop()
        if part == "..":
            at = at[:-1]
            continue
        path = top.joinpath(*at, part)
        if path.is_symlink() and (todo or follow):
            target = os.readlink(path)
            at = [] if target.startswith("/") else at
            todo += [x for x in target.split("/") if x and x != "."][::-1]
        else:
            at.append(part)
    raise LabError(f"too many links in {inside}")
