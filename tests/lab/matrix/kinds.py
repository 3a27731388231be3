# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a job may be, as src/basic/job-kind.h has it: the points of each, what leads there, and what must hold then.
"KIND:" before a point tells whose it is; without it, it is an addition's."""

import time
import typing
import zlib

from . import boot, contents, daemon, faults, jobs, oracle, points, repair, rescue, stuck
from .bench import Site
from .unit import Unit

BY_UNIT = 3  # of so many cases one is asked for as dhetcd-add@ADDRESS


class Committed(typing.NamedTuple):
    """What of the files each commit leaves alike, and how long it takes."""
    files: dict
    seconds: float


class Adding(Site):
    def commit(self):
        began, host = time.monotonic(), self.roles.gone or self.roles.job
        job = jobs.start(self, host=host)
        jobs.wait_end(self, job, host)
        seconds, state = time.monotonic() - began, oracle.job_of(self, job, host)["state"]
        oracle.need(state == "committed", f"an addition that nothing disturbs is {state}: see the journals")
        return Committed(contents.layout(self, oracle.states(self)), seconds)


class Addition:
    faults, uses_up = faults.FAULTS, False
    shapes = {
        "same": lambda name: Adding(name, faults.ADDING, 3),
        "new": lambda name: Adding(name, faults.ADDING, 3, ca="new"),
        "takeover": lambda name: Adding(name, faults.TAKING_OVER, 4),
    }
    unit = None  # of the present case
    shape, ends = staticmethod(points.shape), staticmethod(points.ends)
    unpave = staticmethod(points.unpave)
    reach, bring_back = staticmethod(jobs.reach), staticmethod(jobs.bring_back)

    @staticmethod
    def declared(lab):
        return points.declared(lab, "add")

    @staticmethod
    def roles(point):
        return ("",)

    @staticmethod
    def writer(lab):
        return lab.writer(rate=10)

    def begin(self, lab, point, fault):
        """The job, which is to come to the point."""
        self.unit = None
        if lab.roles.gone:
            jobs.arm_for(lab, points.lead(point), point, fault)
            return jobs.take_over(lab, points.taken_over_at(point))
        if points.is_revert(point):
            return self.begin_revert(lab, point, fault)
        jobs.arm_for(lab, points.lead(point), point, fault)
        points.pave(lab, point)
        job = self.start(lab, point, fault)
        if points.stopped_at(point):
            jobs.stop_at(lab, points.stopped_at(point), job)
        return job

    def start(self, lab, point, fault):
        """Always the same cases are asked for by the unit, which has no options."""
        options = points.options(point)
        if options or zlib.crc32(f"{point}/{fault}".encode()) % BY_UNIT != 0:
            return jobs.start(lab, options)
        self.unit = Unit(lab)
        return self.unit.job

    @staticmethod
    def begin_revert(lab, point, fault):
        jobs.arm(lab, [])
        job = jobs.start(lab, points.options(point))
        jobs.wait_end(lab, job)
        jobs.arm_for(lab, points.lead(point), point, fault)
        lab.exec(lab.roles.job, ["dhetcd", "rollback", "--no-block", job])
        return job

    def check(self, bench, job, writer, point, fault, untold):
        state = oracle.check(bench, job, writer, untold, points.is_revert(point), fault=fault)
        if self.unit:
            self.unit.check(state)
        return state


class Taken(Addition):
    """An addition that was taken over: whoever did so is struck as well, while he settles it. Of the faults those after
    which he must find his way anew; what he does is what is settled elsewhere, with all of them."""

    faults = ("kill-worker", "power-job", "cut-job")
    shapes = {}
    # Not begun before the job is taken over; on the lost host alone; left out in this lab.
    never = ("promote", "generate", "merge", *points.ONLY_NEW_CA, *points.ONLY_RESTARTING)

    @classmethod
    def declared(cls, lab):
        return [p for p in points.declared(lab, "add") if p.startswith("settle") and ":" not in p
                and not p.startswith("settle-run.") and points.step_of(p) not in cls.never]

    @staticmethod
    def shape(point, new_ca=False):
        return "takeover"

    def begin(self, lab, point, fault):
        self.unit = None
        jobs.arm_for(lab, [], point, fault)
        return jobs.take_over(lab, points.TAKEN_OVER_AT["promoted" if point.startswith("settle-forward.") else ""])


KINDS = {"": Addition(), "taken": Taken(), "daemon": daemon.Daemon(), "boot": boot.Boot(), "rescue": rescue.Rescue(),
         "rescue-snapshot": rescue.FromSnapshot(), "stuck": stuck.Stuck(), "repair": repair.Repair()}
OTHERS = ("rescue", "rescue-snapshot", "stuck", "repair")  # which need labs of their own
FAULTS = (*faults.FAULTS, *(f for f in daemon.Daemon.faults if f not in faults.FAULTS))
SHAPES = {name: make for kind in KINDS.values() for name, make in kind.shapes.items()}


def of(point):
    """(the kind, the point as it calls it)"""
    name, _, rest = point.partition(":")
    return (KINDS[name], rest) if rest and name in KINDS else (KINDS[""], point)


def where(point, fault, turn):
    """The fault; of the daemon's with the host that it strikes, another one each turn."""
    kind, name = of(point)
    return kind.where(name, fault, turn) if isinstance(kind, daemon.Daemon) else fault


def declared(lab):
    return [f"{name}:{point}".lstrip(":") for name, kind in KINDS.items() for point in kind.declared(lab)]
