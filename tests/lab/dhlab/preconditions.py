# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether the lab can run on this machine, found out by trying."""

import os
import pathlib
import shutil
import tempfile

from . import cgroup, paths
from .errors import CannotRun
from .run import run

TOOLS = ("systemd-nspawn", "mmdebstrap", "ip", "nft", "nsenter", "unshare", "setsid",
         "ssh-keygen", "mount", "chroot", "timeout")


def check():
    """Raises CannotRun with the reason; returns nothing when the lab can run."""
    if os.geteuid() != 0:
        raise CannotRun("the lab must be run as root", hint="sudo lab check")
    missing = [t for t in TOOLS if not shutil.which(t)]
    if missing:
        raise CannotRun(f"not installed: {', '.join(missing)}", hint="contrib/install-deps lab")
    where = cgroup.mount()
    probe = where / cgroup.TOP
    try:
        probe.mkdir(exist_ok=True)
        if not (probe / "cgroup.kill").exists():
            raise CannotRun("this kernel's cgroup2 has no cgroup.kill (Linux 5.14 or later has)")
    except OSError as e:
        raise CannotRun(f"cannot make a cgroup in {where}: {e.strerror}",
                        hint="run the lab where cgroup2 is writable") from e
    check_mounts()
    name = f"dhlab-probe-{os.getpid()}"  # others may look at the same time
    probe = run(["ip", "netns", "add", name], check=False)
    run(["ip", "netns", "delete", name], check=False)
    if probe.returncode != 0:
        raise CannotRun(f"cannot make a network namespace: {probe.stderr.strip()}")


def check_mounts():
    """A mount namespace, cgroup2 and an overlay on the state directory's file system."""
    try:
        paths.state().mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise CannotRun(f"cannot make {paths.state()}: {e.strerror}",
                        hint="set DHETCD_LAB_DIR to a writable directory") from e
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=paths.state()) as at:
        for each in ("lower", "upper", "work", "root", "cgroup"):
            pathlib.Path(at, each).mkdir()
        alone = ["unshare", "--mount", "--propagation=private", "--"]
        done = run([*alone, "mount", "-t", "cgroup2", "none", f"{at}/cgroup"], check=False)
        if done.returncode != 0:
            raise CannotRun(f"cannot mount cgroup2 in a mount namespace: {done.stderr.strip()}",
                            hint="run the lab with CAP_SYS_ADMIN, outside unprivileged containers")
        done = run([*alone, "mount", "-t", "overlay", "-o",
                    f"lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work", "none",
                    f"{at}/root"], check=False)
        if done.returncode != 0:
            raise CannotRun(f"cannot mount an overlay on {paths.state()}: {done.stderr.strip()}",
                            hint="set DHETCD_LAB_DIR to a directory on ext4 or XFS")
