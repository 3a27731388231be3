# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the lab keeps things. Nothing else knows these paths."""

import contextlib
import fcntl
import os
import pathlib
import re
import time

from .errors import LabError

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parent
TREE = LAB.parent.parent
VENDOR = LAB / "vendor"
INSTALL_DEPS = TREE / "contrib" / "install-deps"


def cache():
    return pathlib.Path(os.environ.get("DHETCD_LAB_CACHE") or "/var/cache/dhetcd-lab")


def state():
    return pathlib.Path(os.environ.get("DHETCD_LAB_DIR") or "/var/lib/dhetcd-lab")


def lab_dir(name):
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"'{name}' is no name for a lab: use a-z, 0-9 and -, 31 characters at most")
    return state() / name


@contextlib.contextmanager
def lock(path, timeout, what, remove=False):
    """An flock on a file beside what it protects; it goes with the process. With `remove` the
    file goes too, so whoever gets the lock makes sure that the file is still the one there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    while True:
        with open(path, "a", encoding="ascii") as f:
            if locked(f, path):
                yield
                if remove:
                    path.unlink(missing_ok=True)
                return
        if time.monotonic() > deadline:
            raise LabError(f"another lab command works on {what} (waited {timeout} s)",
                           hint=f"fuser -v {path}")
        time.sleep(0.1)


def locked(f, path):
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(f.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def write(path, text, mode=0o644):
    """Writes a file of that mode, making its parents; never follows what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
        os.fchmod(f.fileno(), mode)
