# SPDX-License-Identifier: LGPL-2.1-or-later
"""The faults: what happens at a point, and how it is mended."""

import time
import typing

from dhlab.run import wait_until

BASE = "/var/lib/dhetcd/failpoints"
AWAY = 3  # seconds that a host or a link is away
LONG = 20  # so long that ssh gives a connection up by itself: after 15 s
SHUTDOWN_SECONDS = 30  # no job may hold up a host that goes down

# The worker does these to itself; at all other faults it waits at the point until they are done.
BY_ITSELF = {"kill-worker": "kill", "enospc": "enospc", "eio": "eio"}
FAULTS = (*BY_ITSELF, "kill-daemon", "power-job", "power-member", "power-new", "cut-new", "cut-job",
          "reboot-job")
# After these no worker goes on as if nothing had been.
FATAL = (*BY_ITSELF, "power-job")


class Roles(typing.NamedTuple):
    """job: where the worker runs; other: a member; new: the host to add; gone: whose job was taken over."""
    job: str
    other: str
    new: str
    gone: str | None = None


ADDING = Roles("dh1", "dh2", "dh3")
TAKING_OVER = Roles("dh2", "dh3", "dh4", "dh1")


def action(fault):
    return BY_ITSELF.get(fault, "wait")


def file(lab, suffix="", host=None):
    return lab.host(host or lab.roles.job).path(BASE + suffix)


def disarm(lab, host=None):
    """Also while the host is off."""
    for suffix in ("", ".reached"):
        file(lab, suffix, host).unlink(missing_ok=True)


def power(lab, host, waits=None):
    """`waits`: where somebody waits at the point, if not on the job's host."""
    lab.cut_power(host)
    disarm(lab, waits)
    time.sleep(AWAY)
    lab.boot(host)


def reboot(lab, host, waits=None):
    """As an operator does who insists: the units are stopped first, and a job on the host is not waited for."""
    lab.exec(host, ["systemctl", "start", "--no-block", "--job-mode=replace-irreversibly", "poweroff.target"], check=False)
    disarm(lab, waits)
    wait_until(f"{host} has shut down", lambda: not lab.host(host).init_pid(), SHUTDOWN_SECONDS, host, every=0.2)
    power(lab, host, waits)


def cut(lab, host, waits=None):
    """Nobody reaches the host, and no connection with it lives on, as if it had been away for long."""
    lab.cut_link(host)
    broken = lab.break_connections(host)
    disarm(lab, waits)
    time.sleep(AWAY if broken else LONG)
    lab.mend_link(host)


def cut_long(lab, host):
    """The same without help: the connections end as those who have them find out."""
    lab.cut_link(host)
    disarm(lab)
    time.sleep(LONG)
    lab.mend_link(host)


def do(lab, fault):
    """The worker waits at its point meanwhile."""
    roles = lab.roles
    if fault == "kill-daemon":
        lab.exec(roles.job, ["pkill", "-KILL", "-x", "dhetcdd"], check=False)
        disarm(lab)
    elif fault in ("cut-new", "cut-job"):
        cut(lab, roles.new if fault == "cut-new" else roles.job)
    elif fault == "cut-long":
        cut_long(lab, roles.new)
    elif fault == "reboot-job":
        reboot(lab, roles.job)
    else:
        power(lab, {"power-job": roles.job, "power-member": roles.other, "power-new": roles.new}[fault])
