# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a job may be, as src/basic/job-kind.h has it: the points of each, what leads there, and what must hold then.
"KIND:" before a point tells whose it is; without it, it is an addition's."""

from . import daemon, faults, jobs, oracle, points, repair, rescue
from .bench import Site


class Addition:
    faults, uses_up = faults.FAULTS, False
    shapes = {
        "same": lambda name: Site(name, faults.ADDING, 3),
        "new": lambda name: Site(name, faults.ADDING, 3, ca="new"),
        "takeover": lambda name: Site(name, faults.TAKING_OVER, 4),
    }
    shape, ends = staticmethod(points.shape), staticmethod(points.ends)
    unpave = staticmethod(points.unpave)
    reach, bring_back = staticmethod(jobs.reach), staticmethod(jobs.bring_back)

    @staticmethod
    def declared(lab):
        return points.declared(lab, "add")

    @staticmethod
    def writer(lab):
        return lab.writer(rate=10)

    def begin(self, lab, point, fault):
        """The job, which is to come to the point."""
        if lab.roles.gone:
            jobs.arm_for(lab, points.lead(point), point, fault)
            return jobs.take_over(lab, points.taken_over_at(point))
        if points.is_revert(point):
            return self.begin_revert(lab, point, fault)
        jobs.arm_for(lab, points.lead(point), point, fault)
        points.pave(lab, point)
        job = jobs.start(lab, points.options(point))
        if points.stopped_at(point):
            jobs.stop_at(lab, points.stopped_at(point), job)
        return job

    @staticmethod
    def begin_revert(lab, point, fault):
        jobs.arm(lab, [])
        job = jobs.start(lab, points.options(point))
        jobs.wait_end(lab, job)
        jobs.arm_for(lab, points.lead(point), point, fault)
        lab.exec(lab.roles.job, ["dhetcd", "rollback", "--no-block", job])
        return job

    @staticmethod
    def check(bench, job, writer, point, untold):
        return oracle.check(bench, job, writer, untold, points.is_revert(point))


KINDS = {"": Addition(), "daemon": daemon.Daemon(), "rescue": rescue.Rescue(), "rescue-snapshot": rescue.FromSnapshot(),
         "repair": repair.Repair()}
OTHERS = ("rescue", "rescue-snapshot", "repair")  # which need labs of their own
FAULTS = (*faults.FAULTS, *(f for f in daemon.Daemon.faults if f not in faults.FAULTS))
SHAPES = {name: make for kind in KINDS.values() for name, make in kind.shapes.items()}


def of(point):
    """(the kind, the point as it calls it)"""
    name, _, rest = point.partition(":")
    return (KINDS[name], rest) if rest and name in KINDS else (KINDS[""], point)


def where(point, fault, turn):
    """The fault; of the daemon's with the host that it strikes, another one each turn."""
    kind, name = of(point)
    return kind.where(name, fault, turn) if kind is KINDS["daemon"] else fault


def declared(lab):
    return [f"{name}:{point}".lstrip(":") for name, kind in KINDS.items() for point in kind.declared(lab)]
