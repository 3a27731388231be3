# SPDX-License-Identifier: LGPL-2.1-or-later
"""The faults: what happens at a point, and how it is mended. JOB is the job's host, NEW the new one, OTHER a member."""

import time

JOB, OTHER, NEW = "dh1", "dh2", "dh3"
BASE = "/var/lib/dhetcd/failpoints"
AWAY = 3  # seconds that a host or a link is away

# The worker does these to itself; at all other faults it waits at the point until they are done.
BY_ITSELF = {"kill-worker": "kill", "enospc": "enospc", "eio": "eio"}
FAULTS = (*BY_ITSELF, "kill-daemon", "power-job", "power-member", "power-new", "cut-new")


def action(fault):
    return BY_ITSELF.get(fault, "wait")


def file(lab, suffix=""):
    return lab.host(JOB).path(BASE + suffix)


def disarm(lab):
    """Also while the job's host is off."""
    for suffix in ("", ".reached"):
        file(lab, suffix).unlink(missing_ok=True)


def power(lab, host):
    lab.cut_power(host)
    disarm(lab)
    time.sleep(AWAY)
    lab.boot(host)


def do(lab, fault):
    """The worker waits at its point meanwhile."""
    if fault == "kill-daemon":
        lab.exec(JOB, ["pkill", "-KILL", "-x", "dhetcdd"], check=False)
        disarm(lab)
    elif fault == "cut-new":
        lab.cut_link(NEW)
        disarm(lab)
        time.sleep(AWAY)
        lab.mend_link(NEW)
    else:
        power(lab, {"power-job": JOB, "power-member": OTHER, "power-new": NEW}[fault])
