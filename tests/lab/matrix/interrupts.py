# SPDX-License-Identifier: LGPL-2.1-or-later
"""Interrupts at a random time of the whole cycle, most of them forced; where they hit is a histogram."""

import time
import typing

from dhlab.run import wait_until

from . import faults, oracle, points
from .cases import BROKEN, failed
from .jobs import arm, start, wait_end
from .table import Result

FORCED = 0.85
BACK = 0.4  # of the jobs cannot be done, so that it is the rollback that is interrupted
BACK_PART = 0.1  # of a commit's time is what a rollback takes
FAIL_SECONDS = 120
FORCED_FAULTS = ("kill-worker", "kill-daemon", "power-job", "power-member", "power-new", "cut-job", "cut-member", "cut-new",
                 "cut-long")
POLITE_FAULTS = ("stop", "reboot-job")


class Interrupt(typing.NamedTuple):
    """One fault after a part of the time that an undisturbed commit takes; `back`: a step of the job fails, and the fault
    comes after a part of the time that a rollback takes."""
    shape: str
    part: float
    fault: str
    back: bool

    def run(self, bench):
        """(where it hit, the fault, its Result)"""
        place = ["?"]
        result = run_one(bench, self, place)
        return place[0], f"{'back' if self.back else 'forward'}:{self.part:.3f}:{self.fault}", result


def chosen(rng, count, shape):
    """The seed alone says which, whatever the machine is like."""
    found = []
    for _ in range(count):
        fault = rng.choice(FORCED_FAULTS if rng.random() < FORCED else POLITE_FAULTS)
        if fault == "cut-long":
            fault += rng.choice(("-job", "-member", "-new"))
        found.append(Interrupt(shape, rng.uniform(0, 1.1), fault, rng.random() < BACK))
    return found


def interrupt(lab, job, fault):
    if fault == "kill-worker":
        lab.exec(lab.roles.job, ["pkill", "-KILL", "-x", "dhetcd-worker"], check=False)
    elif fault == "stop":
        lab.exec(lab.roles.job, ["dhetcd", "cancel", job], check=False)
    else:
        faults.do(lab, fault)


def steps(lab, job):
    """The records so far; none where one is just being written."""
    try:
        return [r for r in oracle.log(lab, job) if "step" in r]
    except ValueError:
        return []


def wait(bench, one, job):
    """Until it is time for the fault; where that is."""
    lab, seconds = bench.lab, one.part * bench.committed.seconds
    if one.back:
        wait_until("the step fails", lambda: any(r["type"] == "failed" for r in steps(lab, job)), FAIL_SECONDS)
    time.sleep(seconds * BACK_PART if one.back else seconds)
    found = steps(lab, job)
    return f"{found[-1]['step']} ({found[-1]['type']})" if found else "before the first step"


def run_one(bench, one, place):
    lab, began = bench.ready(one.shape), time.monotonic()
    arm(lab, [])
    if one.back:
        lab.break_script(lab.roles.new, points.SCRIPT, "fail")
    try:
        with lab.writer(rate=10) as writer:
            job = start(lab)
            place[0] = wait(bench, one, job)
            interrupt(lab, job, one.fault)
            wait_end(lab, job)
            seconds = time.monotonic() - began
            lab.mend(lab.roles.new, points.SCRIPT)
            state = oracle.check(bench, job, writer, may_be_untold=True, fault=one.fault)
            oracle.need(not one.back or state != "committed", "it is committed, and one of its steps fails")
    except BROKEN as e:
        return failed(bench, place[0], f"{one.part:.3f}-{one.fault}", e, began)
    bench.used = state == "committed"
    return Result(True, state, seconds, writer.stats()["longest_gap"])
