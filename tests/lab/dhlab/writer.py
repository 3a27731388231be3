# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client that writes all the time, and the proof that no acknowledged write was lost.

It is a process of its own, in a cgroup of the lab, so it outlives the command that started it
and ends with the lab. Each acknowledged write is a line `NUMBER SECONDS` in its log.
"""

import os
import signal
import subprocess
import sys
import time

from . import cgroup, paths
from .client import Client
from .errors import LabError
from .run import wait_until

PREFIX = "/lab-writer/"
HIDDEN = 0.1  # gaps up to this are not counted as an interruption


class Writer:
    def __init__(self, lab, name="writer", rate=0):
        self.lab, self.name, self.rate = lab, name, rate
        self.dir = lab.dir / "writers" / name
        self.cgroup = cgroup.of(lab.name, f"writer-{name}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def pid(self):
        running = cgroup.processes(self.cgroup)
        return running[0] if running else None

    def start(self):
        """Begins a new run; returns once the first write was acknowledged."""
        if self.pid():
            raise LabError(f"the writer '{self.name}' runs already",
                           hint=f"lab writer --name {self.lab.name} stop")
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "acked").unlink(missing_ok=True)
        with open(self.dir / "log", "ab") as log:
            # pylint: disable-next=consider-using-with
            self.child = subprocess.Popen(
                [sys.executable, "-m", "dhlab.writing", self.lab.name, self.name, str(self.rate)],
                cwd=paths.LAB, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        self.wait_first()

    def wait_first(self):
        wait_until("the first write is acknowledged",
                   lambda: (self.dir / "acked").exists() and (self.dir / "acked").stat().st_size,
                   15, hint=f"cat {self.dir}/log")

    def stop(self, timeout=10):
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_until("the writer has stopped", self.gone, timeout,
                       hint=f"kill -KILL {pid}")
        self.kill()

    def gone(self):
        child = getattr(self, "child", None)
        if child:
            child.poll()
        return not self.pid()

    def kill(self):
        cgroup.kill(self.cgroup)
        child = getattr(self, "child", None)
        if child:
            child.wait(10)

    def stats(self):
        """Count, rate, longest gap and sum of gaps of the acknowledged writes so far."""
        times = [float(line.split()[1]) for line in self.lines()]
        gaps = [b - a for a, b in zip(times, times[1:])]
        if self.pid() and times:
            gaps.append(time.monotonic() - times[-1])  # the gap that is still open
        span = times[-1] - times[0] if len(times) > 1 else 0
        return {"writes": len(times), "seconds": round(span, 3),
                "rate": round(len(times) / span, 1) if span else 0,
                "longest_gap": round(max(gaps, default=0), 3),
                "sum_of_gaps": round(sum(g for g in gaps if g > HIDDEN), 3)}

    def lines(self):
        path = self.dir / "acked"
        if not path.exists():
            raise LabError(f"the writer '{self.name}' never ran",
                           hint=f"lab writer --name {self.lab.name} start")
        text = path.read_text(encoding="ascii")
        return text[:text.rfind("\n") + 1].splitlines()

    def check(self, expect_writes=1):
        """Reads all keys back; raises when an acknowledged write is lost. Returns stats()."""
        acknowledged = [line.split()[0] for line in self.lines()]
        result = self.stats()
        client = Client(self.lab)
        wait_until("a member takes calls", client.connect, 20,
                   hint=f"lab members --name {self.lab.name}")
        try:
            found = client.read_prefix(PREFIX + self.name + "/")
        finally:
            client.close()
        run_id = (self.dir / "run").read_text().strip()
        lost = [n for n in acknowledged
                if found.get(f"{PREFIX}{self.name}/{run_id}/{n}") != f"write {n}"]
        result["lost"] = len(lost)
        if lost:
            raise LabError(f"{len(lost)} of {len(acknowledged)} acknowledged writes are lost, the "
                           f"first is {lost[0]}", hint=f"less {self.dir}/acked")
        if len(acknowledged) < expect_writes:
            raise LabError(f"only {len(acknowledged)} writes were acknowledged, expected at least "
                           f"{expect_writes}", hint=f"less {self.dir}/log")
        return result
