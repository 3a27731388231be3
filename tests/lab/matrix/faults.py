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
AWAY_FAULTS = ("power", "cut", "reboot")
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


def longest_gap(fault):
    """Seconds for which no write may be acknowledged. Of two members both are needed, so a host that is away is an outage,
    and then it boots; measured on a machine with eight times the load that it can bear: 1.4, 6.5 and with LONG 20 s more."""
    if fault and fault.startswith("cut-long"):
        return LONG + 30
    return 30 if not fault or fault.startswith(AWAY_FAULTS) else 15


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


def cut(lab, host, waits=None, long=False):
    """Nobody reaches the host, and no connection with it lives on. A long cut ends them by itself."""
    lab.cut_link(host)
    broken = not long and lab.break_connections(host)
    disarm(lab, waits)
    time.sleep(AWAY if broken else LONG)
    lab.mend_link(host)


def do(lab, fault):
    """The worker waits at its point meanwhile."""
    kind, _, role = fault.rpartition("-")
    host = {"job": lab.roles.job, "member": lab.roles.other, "new": lab.roles.new}.get(role)
    if fault == "kill-daemon":
        lab.exec(lab.roles.job, ["pkill", "-KILL", "-x", "dhetcdd"], check=False)
        disarm(lab)
    elif kind == "reboot":
        reboot(lab, host)
    elif kind == "power":
        power(lab, host)
    else:
        cut(lab, host, long=kind == "cut-long")
