# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs cases on one lab as long as it is what it was, and puts it back after a commit or a failure."""

import sys
import time

from dhlab import LabError
from dhlab.run import wait_until

from . import faults, oracle, points

END_SECONDS = 6 * 60  # the settling's own limit is five minutes
REACH_SECONDS = 120
BROKEN = (oracle.Broken, LabError, OSError, ValueError, KeyError)


def arm(lab, lines, host=None):
    faults.disarm(lab, host)
    faults.file(lab, ".hit", host).unlink(missing_ok=True)
    if lines:
        lab.write(host or lab.roles.job, faults.BASE, "".join(line + "\n" for line in lines), 0o600)


def hits(lab):
    path = faults.file(lab, ".hit")
    return path.read_text().split() if path.exists() else []


def start(lab, options=(), host=None):
    done = lab.exec(host or lab.roles.job, ["dhetcd", "add", "--no-block", *options, lab.host(lab.roles.new).address])
    return done.stdout.split()[-1]


def ended(lab, job, host=None):
    at = lab.host(host or lab.roles.job)
    return bool(at.init_pid()) and oracle.job_of(lab, job, at.name)["state"] not in ("queued", "running")


def wait_end(lab, job, host=None):
    return wait_until(f"job {job} has ended", lambda: ended(lab, job, host), END_SECONDS, every=0.2)


def wait_reached(lab, point, job, host=None):
    return wait_until(f"{point} is reached",
                      lambda: faults.file(lab, ".reached", host).exists() or ended(lab, job, host),
                      REACH_SECONDS, every=0.02)


def reach(lab, job, point, fault):
    """The fault, as soon as the job is at the point. False where it ended without coming there."""
    name = points.name(point)
    if faults.action(fault) != "wait":
        wait_end(lab, job)
    else:
        wait_reached(lab, name, job)
        if faults.file(lab, ".reached").exists():
            faults.do(lab, fault)
    return name in hits(lab)


def arm_for(lab, point, fault):
    arm(lab, [*points.lead(point), f"{points.name(point)} {faults.action(fault)}"])


def begin(lab, point, fault):
    """The job, which is to come to the point."""
    if lab.roles.gone:
        return begin_takeover(lab, point, fault)
    if points.is_revert(point):
        return begin_revert(lab, point, fault)
    arm_for(lab, point, fault)
    points.pave(lab, point)
    return start(lab, points.options(point))


def begin_takeover(lab, point, fault):
    gone, at = lab.roles.gone, points.taken_over_at(point)
    arm_for(lab, point, fault)
    arm(lab, [f"{at} wait"], gone)
    job = start(lab, host=gone)
    wait_reached(lab, at, job, gone)
    lab.cut_power(gone)
    arm(lab, [], gone)
    lab.exec(lab.roles.job, ["dhetcd", "settle", "--takeover", "--no-block", job])
    return job


def begin_revert(lab, point, fault):
    arm(lab, [])
    job = start(lab, points.options(point))
    wait_end(lab, job)
    arm_for(lab, point, fault)
    lab.exec(lab.roles.job, ["dhetcd", "rollback", "--no-block", job])
    return job


def bring_back(lab, job):
    """The host whose job was taken over follows by itself."""
    gone = lab.roles.gone
    if gone:
        lab.boot(gone, wait=False)
        wait_end(lab, job, gone)
        lab.host(gone).wait_booted()


def run_case(bench, shape, point, fault):
    """(was the point hit, the state it ended in or what is wrong, seconds)"""
    lab, began = bench.ready(shape), time.monotonic()
    try:
        with lab.writer(rate=10) as writer:
            job = begin(lab, point, fault)
            hit = reach(lab, job, point, fault)
            wait_end(lab, job)
            seconds = time.monotonic() - began
            points.unpave(lab, point)
            faults.disarm(lab)
            bring_back(lab, job)
            untold = point.endswith("end.after") and fault in ("kill-worker", "power-job")
            state = oracle.check(bench, job, writer, untold, points.is_revert(point))
            oracle.need(not hit or state in points.ends(point, fault), f"it is {state}, and must not be after this")
    except BROKEN as e:
        return failed(bench, point, e, began)
    if not hit:
        bench.keep_logs()
    bench.used = state == "committed"
    return hit, state, seconds


def failed(bench, point, error, began):
    hit = False
    try:
        hit = points.name(point) in hits(bench.lab)
        bench.keep_logs()
    except (LabError, OSError) as e:
        print(f"the logs cannot be kept: {e}", file=sys.stderr)
    bench.used = True
    return hit, f"WRONG: {error}", time.monotonic() - began
