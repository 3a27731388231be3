# SPDX-License-Identifier: LGPL-2.1-or-later
"""Interrupts at a random time of the whole cycle, most of them forced; where they hit is a histogram."""

import collections
import time

from . import faults, oracle
from .cases import BROKEN, failed
from .jobs import arm, start, wait_end

FORCED = 0.85
FORCED_FAULTS = ("kill-worker", "kill-daemon", "power-job", "power-member", "power-new")
POLITE_FAULTS = ("stop", "reboot-job")


def measure(bench):
    """Seconds of an undisturbed cycle."""
    lab = bench.ready()
    arm(lab, [])
    began = time.monotonic()
    wait_end(lab, start(lab))
    bench.used = True
    return time.monotonic() - began


def interrupt(lab, job, fault):
    if fault == "kill-worker":
        lab.exec(lab.roles.job, ["pkill", "-KILL", "-x", "dhetcd-worker"], check=False)
    elif fault == "stop":
        lab.exec(lab.roles.job, ["dhetcd", "cancel", job], check=False)
    else:
        faults.do(lab, fault)


def where(lab, job):
    records = [r for r in oracle.log(lab, job) if "step" in r]
    return f"{records[-1]['step']} ({records[-1]['type']})" if records else "before the first step"


def one(bench, random, cycle):
    lab, began = bench.ready(), time.monotonic()
    arm(lab, [])
    fault = random.choice(FORCED_FAULTS if random.random() < FORCED else POLITE_FAULTS)
    delay, place = random.uniform(0, 1.1 * cycle), "?"
    try:
        with lab.writer(rate=10) as writer:
            job = start(lab)
            time.sleep(delay)
            place = where(lab, job)
            interrupt(lab, job, fault)
            wait_end(lab, job)
            seconds = time.monotonic() - began
            state = oracle.check(bench, job, writer, may_be_untold=True)
    except BROKEN as e:
        return place, f"{delay:.2f}s:{fault}", failed(bench, place, e, began)
    bench.used = state == "committed"
    return place, f"{delay:.2f}s:{fault}", (True, state, seconds)


def show(histogram):
    print("\nwhere the interrupts hit:")
    for place, n in histogram.most_common():
        print(f"  {place:32} {'#' * n} {n}")


def run(bench, random, count, table, may_begin):
    cycle, histogram = measure(bench), collections.Counter()
    print(f"one undisturbed cycle: {cycle:.1f} s; a node is added {count} times")
    try:
        for _ in range(count):
            if not may_begin():
                break
            place, fault, result = one(bench, random, cycle)
            histogram[place] += 1
            table.note(place, fault, result)
    finally:
        show(histogram)
