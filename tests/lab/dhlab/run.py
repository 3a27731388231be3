# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running commands and waiting, always with a deadline, never through a shell."""

import subprocess
import time

from .errors import LabError


def run(argv, timeout=60, check=True, host=None, hint=None, **kwargs):
    """subprocess.run() with text output; a failure names the host and the output's end."""
    kwargs.setdefault("stdin", None if "input" in kwargs else subprocess.DEVNULL)
    if kwargs["stdin"] is None:
        del kwargs["stdin"]
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    kwargs.setdefault("text", True)
    try:
        done = subprocess.run(argv, timeout=timeout, check=False, **kwargs)
    except subprocess.TimeoutExpired as e:
        raise LabError(f"not done after {timeout} s: {show(argv)}", host, hint) from e
    except FileNotFoundError as e:
        raise LabError(f"{argv[0]} is not installed", host, "contrib/install-deps lab") from e
    if check and done.returncode != 0:
        said = tail(done.stderr) or tail(done.stdout) or "it said nothing"
        raise LabError(f"exit {done.returncode} from {show(argv)}: {said}", host, hint)
    return done


def show(argv):
    text = " ".join(str(a) for a in argv)
    return text if len(text) <= 200 else text[:200] + "…"


def tail(text, lines=8):
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return "\n  ".join((text or "").strip().splitlines()[-lines:])


def wait_until(what, probe, timeout, host=None, hint=None, every=0.05):
    """Calls probe() until it returns something true; returns that. Raises at the deadline."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            got = probe()
            if got:
                return got
        except (OSError, LabError, ValueError) as e:
            last = e
        if time.monotonic() >= deadline:
            because = f" (last error: {last})" if last else ""
            raise LabError(f"not within {timeout} s: {what}{because}", host, hint)
        time.sleep(every)
