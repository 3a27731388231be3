# SPDX-License-Identifier: LGPL-2.1-or-later
"""The failpoints of dhetcdd: a fault strikes it, or its host, in the midst of what it was asked for. Which of the hosts
is a part of the case: daemon:host.Restore.after-intent/kill-daemon@other."""

import concurrent.futures
import time
import typing

from dhlab.run import wait_until

from . import faults, jobs, oracle, points

DAEMON = "/usr/libexec/dhetcd/dhetcdd"
# The daemon does these to itself; at all other faults it waits at the point until they are done.
BY_ITSELF = {"kill-daemon": "kill", "enospc": "enospc", "eio": "eio"}
FAULTS = (*BY_ITSELF, "kill-worker", "power-here", "cut-here", "power-job", "reboot-here")
ALL = ("job", "other", "new")
ORDER = "manager.queued."  # while somebody waits to be told that there is a job
CANCEL = "manager.canceled."  # of a job that waits, while another one is at HELD_AT
HELD_AT = "run.preflight.before-intent"

# Nothing of an addition comes there.
ELSEWHERE = ("host.Examine.", "host.Forget.", "host.OwnDataDirectory.", "host.DisownDataDirectory.",
             "manager.stuck.", "manager.rescued.", "boot.")


class Way(typing.NamedTuple):
    """How a job comes to a point: on which hosts, in which lab, asked for with what, with what before it."""
    roles: tuple = ALL
    shape: str = "same"
    options: tuple = ()
    before: tuple = ()  # lines of the failpoints' file of the job's host
    ends: tuple = ("committed", "rolled-back")


BACK = Way(before=("run.sync.after-intent kill",), ends=("rolled-back",))
TAKEOVER = Way(shape="takeover", ends=("rolled-back",))
# What the preflight or the lock asks for may still be refused.
EARLY = Way(ends=("committed", "rolled-back", "rejected"))
WAYS = {
    "host.Describe": EARLY, "host.AdminUser": EARLY, "host.TryConnect": EARLY, "host.Lock": EARLY,
    "host.KeepPlan": EARLY, "host.Snapshot": EARLY,
    "host.Unlock": Way(ends=("committed",)),
    "host.TrustAuthorities": Way(shape="new", roles=("job", "other")),
    "host.PrepareDataDirectory": Way(roles=("new",)),
    "host.ManageUnit": Way(options=("--restart=always",)),
    "host.Restore": BACK, "host.Compare": BACK,
    "host.RestoreDataDirectory": BACK._replace(roles=("new",)),
    "host.Recall": TAKEOVER, "host.TakeLock": TAKEOVER, "host.Close": TAKEOVER,
    "host.ScriptOutput": TAKEOVER._replace(roles=("other", "new")),
    "manager.queued": EARLY._replace(roles=("job",)),
    "manager.running": EARLY._replace(roles=("job",)),
    "manager.canceled": EARLY._replace(roles=("job",), before=(f"{HELD_AT} wait",)),
    "manager.rejected": Way(roles=("job",), before=("run.preflight.after-intent enospc",), ends=("rejected",)),
    "manager.committed": Way(roles=("job",), ends=("committed",)),
    "manager.rolled-back": BACK._replace(roles=("job",)),
}


def way(point):
    return WAYS.get(point.rsplit(".", 1)[0], Way())


def split(lab, case):
    """(the fault, the host)"""
    fault, role = case.split("@")
    return fault, getattr(lab.roles, role)


def kills_worker(lab, case):
    fault, at = split(lab, case)
    return fault in ("kill-worker", "power-job") or (fault in ("power-here", "reboot-here") and at == lab.roles.job)


def do(lab, fault, at):
    """Its dhetcdd waits at the point meanwhile."""
    if fault == "kill-worker":
        lab.exec(lab.roles.job, ["pkill", "-KILL", "-x", "dhetcd-worker"], check=False)
        faults.disarm(lab, at)
    elif fault == "cut-here":
        faults.cut(lab, at, at)
    elif fault == "reboot-here":
        faults.reboot(lab, at, at)
    else:
        faults.power(lab, lab.roles.job if fault == "power-job" else at, at)


def all_jobs(lab):
    return {path.name for path in lab.host(lab.roles.job).path("/var/lib/dhetcd/jobs").glob("*")}


def ask(lab, point, fault, at, asking):
    """What who asks is told, if the daemon is struck meanwhile."""
    reached = faults.file(lab, ".reached", at)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lab.exec, lab.roles.job, ["dhetcd", *asking], check=False)
        if fault not in BY_ITSELF:
            wait_until(f"{point} is reached", lambda: reached.exists() and reached.read_text() == point,
                       jobs.REACH_SECONDS, every=jobs.POLL)
            do(lab, fault, at)
        return asked.result()


def order(lab, point, fault, at):
    """The job that was asked for, whatever who asked was told; None where there is none."""
    job, before = lab.roles.job, all_jobs(lab)
    told = ask(lab, point, fault, at, ["add", "--no-block", lab.host(lab.roles.new).address])
    faults.disarm(lab, at)
    listed = lab.exec(job, ["dhetcd", "list", "--json=short"]).stdout
    found = all_jobs(lab) - before
    oracle.need(all(one in listed for one in found), f"of {found} is left, and known are: {listed}")
    oracle.need(found or told.returncode != 0, "an order was taken, and there is no job")
    return found.pop() if found else None


def listed(lab):
    return lab.exec(lab.roles.job, [DAEMON, "failpoints"]).stdout.split()


def cancel(lab, point, fault, at):
    """The job that goes on; the one behind it stays canceled."""
    job = jobs.start(lab)
    jobs.wait_reached(lab, HELD_AT, job)
    other = jobs.start(lab)
    if ask(lab, point, fault, at, ["cancel", other]).returncode != 0:
        lab.exec(lab.roles.job, ["dhetcd", "cancel", other], check=False)
    wait_until("it is canceled", lambda: oracle.job_of(lab, other)["state"] == "canceled", 15)
    faults.disarm(lab, at)
    return job


class Daemon:
    faults, shapes, uses_up = FAULTS, {}, False
    bring_back = staticmethod(jobs.bring_back)

    @staticmethod
    def declared(lab):
        return [p for p in listed(lab) if not p.startswith(ELSEWHERE)]

    @staticmethod
    def roles(point):
        return way(point).roles

    @staticmethod
    def where(point, fault, turn):
        roles = [x for x in way(point).roles if (fault, x) != ("power-job", "job")] or ["job"]
        return f"{fault}@{roles[turn % len(roles)]}"

    @staticmethod
    def shape(point, new_ca=False):
        return way(point).shape

    @staticmethod
    def ends(point, case):
        return way(point).ends

    @staticmethod
    def unpave(lab, point):
        pass

    @staticmethod
    def writer(lab):
        return lab.writer(rate=10)

    @staticmethod
    def begin(lab, point, case):
        """The job; None where the daemon died of the order and nothing of it is left."""
        fault, at = split(lab, case)
        lab.exec(at, ["systemctl", "stop", "dhetcdd"])  # a disk that failed in the case before may do so still in its process
        lines = {lab.roles.job: list(way(point).before)}
        lines.setdefault(at, []).append(f"{point} {BY_ITSELF.get(fault, 'wait')}")
        for host in lab.hosts:
            jobs.arm(lab, lines.get(host.name, []), host.name)
        if lab.roles.gone:
            return jobs.take_over(lab, points.TAKEN_OVER_AT[""])
        if point.startswith(ORDER):
            return order(lab, point, fault, at)
        if point.startswith(CANCEL):
            return cancel(lab, point, fault, at)
        return jobs.start(lab, way(point).options)

    @staticmethod
    def reach(lab, job, point, case):
        fault, at = split(lab, case)
        if fault not in BY_ITSELF and not point.startswith((ORDER, CANCEL)):
            reached = faults.file(lab, ".reached", at)
            wait_until(f"{point} is reached", lambda: reached.exists() or jobs.ended(lab, job), jobs.REACH_SECONDS,
                       every=jobs.POLL)
            if not reached.exists():  # the job's end may be on disk just before the point
                time.sleep(1)
            if reached.exists():
                do(lab, fault, at)
        if job:
            jobs.wait_end(lab, job)
        return point in jobs.hits(lab, at)

    @staticmethod
    def check(bench, job, writer, point, case, untold):
        if not job:
            oracle.check_never_was(bench, writer)
            return "rejected"
        return oracle.check(bench, job, writer, may_be_untold=kills_worker(bench.lab, case), may_be_retold=point.startswith("manager."), fault=case)


class AtWork:
    """A job other than an addition: `plan` has its own points, and of dhetcdd those of the methods `own`, which are struck
    on one host; `undoing` are called when the worker has died."""

    @staticmethod
    def roles(point):
        return ("",)

    def declared(self, lab):
        return points.declared(lab, self.plan) + [p for p in listed(lab) if p.startswith(self.own)]

    def arm(self, lab, point, fault):
        if not point.startswith(self.own):
            jobs.arm_for(lab, points.lead_of(point, self.steps), point, fault)
            return
        at, lines = getattr(lab.roles, self.struck), {lab.roles.job: []}
        if point.startswith(self.undoing):
            lines[lab.roles.job] += points.lead_of("settle", self.steps)
        lines.setdefault(at, []).append(f"{point} {BY_ITSELF.get(fault, 'wait')}")
        for host, each in lines.items():
            jobs.arm(lab, each, host)

    def reach(self, lab, job, point, fault):
        if not point.startswith(self.own):
            return jobs.reach(lab, job, point, fault)
        return Daemon.reach(lab, job, point, f"{self.here.get(fault, fault)}@{self.struck}")

    def unpave(self, lab, point):
        pass

    def bring_back(self, lab, job):
        pass
