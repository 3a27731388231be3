# SPDX-License-Identifier: LGPL-2.1-or-later
"""dhetcd-repair.service, which puts back what a power cut has left half-written before etcd starts: it is killed, short of
disk, or the power goes once more."""

import time

from dhlab.run import wait_until

from . import daemon, faults, jobs

HALF_WRITTEN = "host.RunScript.sent"  # a script is at work on the host's files


class Boot(daemon.Daemon):
    faults = ("kill-daemon", "enospc", "eio", "power-here")

    @staticmethod
    def declared(lab):
        return [p for p in daemon.listed(lab) if p.startswith("boot.")]

    @staticmethod
    def shape(point, new_ca=False):
        return "same"

    @staticmethod
    def ends(point, case):
        return {"rolled-back"}

    @staticmethod
    def begin(lab, point, case):
        fault, at = daemon.split(lab, case)
        for host in lab.hosts:
            jobs.arm(lab, [], host.name)
        jobs.arm(lab, [f"{HALF_WRITTEN} wait", f"{point} {daemon.BY_ITSELF.get(fault, 'wait')}"], at)
        return jobs.start(lab)

    @staticmethod
    def reach(lab, job, point, case):
        fault, at = daemon.split(lab, case)
        reached = faults.file(lab, ".reached", at)
        wait_until(f"{HALF_WRITTEN} is reached", reached.exists, jobs.REACH_SECONDS, at, every=jobs.POLL)
        lab.cut_power(at)
        faults.file(lab, ".reached", at).unlink()
        time.sleep(faults.AWAY)
        lab.boot(at, wait=fault in daemon.BY_ITSELF)
        if fault not in daemon.BY_ITSELF:
            wait_until(f"{point} is reached", faults.file(lab, ".reached", at).exists, jobs.REACH_SECONDS, at, every=jobs.POLL)
            faults.power(lab, at, at)
        jobs.wait_end(lab, job)
        return point in jobs.hits(lab, at)

    @staticmethod
    def check(bench, job, writer, point, case, untold):
        return daemon.Daemon.check(bench, job, writer, point, f"power-here, {case}", untold)
