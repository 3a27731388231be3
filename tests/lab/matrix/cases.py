# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs cases on one lab as long as it is what it was, and on a fresh one after a commit or a failure."""

import sys
import time

from dhlab import Lab, LabError
from dhlab.run import wait_until

from . import faults, oracle, points

JOB, NEW = faults.JOB, faults.NEW
OPTIONS = ["-Dfailpoints=true"]
END_SECONDS = 6 * 60  # the settling's own limit is five minutes
REACH_SECONDS = 120


class Bench:
    """One lab after another: two members, of which one has the job, and a host to add."""

    def __init__(self, name, ca):
        self.name, self.ca, self.lab, self.before = name, ca, None, None

    def ready(self):
        if not self.lab:
            self.fresh()
        return self.lab

    def fresh(self):
        lab = Lab(name=self.name, hosts=3, members=2, keys=300, switches={"ca": self.ca}, replace=True,
                  meson_options=OPTIONS)
        lab.up()
        self.lab, self.before = lab, {"hosts": oracle.states(lab), "members": oracle.members(lab)}

    def used_up(self):
        self.lab = None

    def keep_logs(self):
        if self.lab:
            self.lab.save_logs()

    def down(self):
        Lab(name=self.name).down()


def arm(lab, lines):
    faults.disarm(lab)
    faults.file(lab, ".hit").unlink(missing_ok=True)
    if lines:
        lab.write(JOB, faults.BASE, "".join(line + "\n" for line in lines), 0o600)


def hits(lab):
    path = faults.file(lab, ".hit")
    return path.read_text().split() if path.exists() else []


def start(lab, options=()):
    done = lab.exec(JOB, ["dhetcd", "add", "--no-block", *options, lab.host(NEW).address])
    return done.stdout.split()[-1]


def ended(lab, job):
    return bool(lab.host(JOB).init_pid()) and oracle.job_of(lab, job)["state"] not in ("queued", "running")


def wait_end(lab, job):
    return wait_until(f"job {job} has ended", lambda: ended(lab, job), END_SECONDS, every=0.2)


def reach(lab, job, point, fault):
    """The fault, as soon as the job is at the point. False where it ended without coming there."""
    if faults.action(fault) != "wait":
        wait_end(lab, job)
    else:
        wait_until(f"{point} is reached", lambda: faults.file(lab, ".reached").exists() or ended(lab, job),
                   REACH_SECONDS, every=0.02)
        if faults.file(lab, ".reached").exists():
            faults.do(lab, fault)
    return point in hits(lab)


def run_case(bench, point, fault):
    """(was the point hit, the state it ended in or what is wrong, seconds)"""
    lab, began = bench.ready(), time.monotonic()
    way = points.way(point)
    if way and way[0].split()[0] == point:
        way = []
    arm(lab, [*way, f"{point} {faults.action(fault)}"])
    points.pave(lab, point)
    try:
        with lab.writer(rate=50) as writer:
            job = start(lab, points.options(point))
            hit = reach(lab, job, point, fault)
            wait_end(lab, job)
            seconds = time.monotonic() - began
            points.unpave(lab, point)
            faults.disarm(lab)
            state = oracle.check(lab, job, bench.before, writer)
    except (oracle.Broken, LabError, OSError, ValueError) as e:
        return failed(bench, point, e, began)
    if state == "committed":
        bench.used_up()
    return hit, state, seconds


def failed(bench, point, error, began):
    hit = False
    try:
        hit = point in hits(bench.lab)
        bench.keep_logs()
    except (LabError, OSError) as e:
        print(f"the logs cannot be kept: {e}", file=sys.stderr)
    bench.used_up()
    return hit, f"WRONG: {error}", time.monotonic() - began
