# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs cases on one lab as long as it is what it was, and puts it back after a commit or a failure."""

import sys
import time
import typing

from dhlab import LabError

from . import faults, kinds, oracle, points
from .jobs import hits
from .table import Result

BROKEN = (oracle.Broken, LabError, OSError, ValueError, KeyError)


class Case(typing.NamedTuple):
    """One fault at one point."""
    shape: str
    point: str
    fault: str

    def run(self, bench):
        """(the point, the fault, its Result)"""
        return self.point, self.fault, run_case(bench, *self)


def run_case(bench, shape, point, fault):
    lab, began = bench.ready(shape), time.monotonic()
    kind, own = kinds.of(point)
    try:
        with kind.writer(lab) as writer:
            job = kind.begin(lab, own, fault)
            hit = kind.reach(lab, job, own, fault)
            seconds = time.monotonic() - began
            kind.unpave(lab, own)
            for host in lab.hosts:
                faults.disarm(lab, host.name)
            kind.bring_back(lab, job)
            untold = own.endswith("end.after") and fault in ("kill-worker", "power-job")
            state = kind.check(bench, job, writer, own, fault, untold)
            oracle.need(not hit or state in kind.ends(own, fault), f"it is {state}, and must not be after this")
    except BROKEN as e:
        return failed(bench, point, fault, e, began)
    if not hit:
        bench.keep_logs(point, fault)
    bench.used = kind.uses_up or state == "committed"
    return Result(hit, state, seconds, writer.stats()["longest_gap"])


def failed(bench, point, fault, error, began):
    hit = False
    try:
        hit = any(points.name(point) in hits(bench.lab, host.name) for host in bench.lab.hosts)
        bench.keep_logs(point, fault)
    except (LabError, OSError) as e:
        print(f"the logs cannot be kept: {e}", file=sys.stderr)
    bench.used = True
    return Result(hit, f"WRONG: {error}", time.monotonic() - began)
