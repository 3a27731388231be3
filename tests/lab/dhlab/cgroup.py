# SPDX-License-Identifier: LGPL-2.1-or-later
"""One cgroup for each host: it is how a lab finds and ends every process it started."""

import contextlib
import os
import pathlib
import time

from .errors import CannotRun
from .run import run, wait_until

TOP = "dhetcd-lab"
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
OWN_MOUNT = "/run/dhetcd-lab/cgroup"


def mount():
    """The cgroup2 hierarchy, mounted for ourselves where the machine has none mounted."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            _, where, kind, options, *_ = line.split()
            if kind == "cgroup2" and options.split(",")[0] == "rw":
                return pathlib.Path(where)
    os.makedirs(OWN_MOUNT, exist_ok=True)
    done = run(["mount", "-t", "cgroup2", "none", OWN_MOUNT], check=False)
    if done.returncode != 0:
        raise CannotRun(f"no cgroup2 here: {done.stderr.strip()}",
                        hint="run the lab where cgroup2 can be mounted (a real or virtual machine)")
    return pathlib.Path(OWN_MOUNT)


def of(lab, host=None):
    """The cgroup's path below the hierarchy's root."""
    return "/".join([TOP, lab] + ([host] if host else []))


def processes(group):
    found = []
    for listing in (mount() / group).glob("**/cgroup.procs"):
        try:
            found += [int(x) for x in listing.read_text().split()]
        except OSError:
            continue  # gone meanwhile
    return found


def kill(group, timeout=20):
    """SIGKILL to everything in the group; returns when it is empty and gone."""
    where = mount() / group
    if not where.is_dir():
        return
    (where / "cgroup.kill").write_text("1")
    wait_until(f"the processes of {group} are gone", lambda: not processes(group), timeout,
               hint=f"cat {where}/cgroup.procs; ps -o pid,stat,wchan,args -p PID")
    deadline = time.monotonic() + timeout
    for child, _, _ in os.walk(where, topdown=False):
        while True:
            try:
                os.rmdir(child)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
    with contextlib.suppress(OSError):  # other labs may be up
        os.rmdir(mount() / TOP)


@contextlib.contextmanager
def out_of_memory(pid):
    """The process gets no more memory: at its next need of some the kernel's OOM killer ends it. Gives what tells whether it
    has. Only where the machine has the memory controller of cgroup 1."""
    if not (MEMORY / "memory.limit_in_bytes").exists():
        raise CannotRun("no memory controller of cgroup 1 here", hint="ls /sys/fs/cgroup/memory")
    where = MEMORY / f"{TOP}-{pid}"
    where.mkdir()
    try:
        (where / "memory.limit_in_bytes").write_text("4096")
        (where / "cgroup.procs").write_text(str(pid))
        yield lambda: "oom_kill 0\n" not in (where / "memory.oom_control").read_text()
    finally:
        wait_until(f"no process is left in {where}", lambda: not (where / "cgroup.procs").read_text(), 60)
        where.rmdir()
