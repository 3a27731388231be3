# SPDX-License-Identifier: LGPL-2.1-or-later
"""The failpoints that the worker declares, what leads a job to each of them, and how it may end from there."""

from . import faults

WORKER = "/usr/libexec/dhetcd/dhetcd-worker"
# Only where the generator makes a new CA has this step anything to do.
ONLY_NEW_CA = ("trust",)
# With restart=always a member is restarted also where nothing asks for it.
ONLY_RESTARTING = ("restart",)
SCRIPT = "enable_dh_etcd_systemd"
TAKEN_OVER_AT = "run.sync.after-intent"  # the job's host is gone then, with a learner in the member list


def declared(lab):
    return lab.exec(lab.roles.job, [WORKER, "failpoints"]).stdout.split()


def step_of(point):
    return point.split(".")[1]


def shape(point, new_ca=False):
    """Of the lab that the point needs."""
    if point.startswith("takeover."):
        return "takeover"
    return "new" if new_ca or step_of(point) in ONLY_NEW_CA else "same"


def options(point):
    return ["--restart=always"] if step_of(point) in ONLY_RESTARTING else []


def way(point):
    """Lines of the failpoints' file that make a job come to the point at all."""
    phase, step = point.split(".")[:2]
    if phase == "settle-run":
        return [f"run.{step}.applied kill"]
    if phase == "settle-forward":
        return ["forward.finish.before-intent kill"]
    if phase in ("settle-undo", "settle"):
        return ["run.sync.after-intent kill"]
    return []


def pave(lab, point):
    """A step fails by itself where the first worker is to undo."""
    if point.startswith("undo."):
        lab.break_script(lab.roles.new, SCRIPT, "fail")


def unpave(lab, point):
    if point.startswith("undo."):
        lab.mend(lab.roles.new, SCRIPT)


def ends(point, fault):
    """The closed set of states that the fault at the point may end in."""
    phase, step, at = point.split(".")[0], step_of(point), point.split(".")[-1]
    if phase in ("forward", "settle-forward", "settle-run"):
        return {"committed"}
    if phase != "run":
        return {"rolled-back"}
    if step == "promote" and at != "before-intent":
        asked = at == "after-intent"  # the fault comes before the question, and may leave the worker alive
        return {"committed", "rolled-back"} if asked else {"committed"}
    back = {"preflight": {"rejected"}, "lock": {"rejected", "rolled-back"}}.get(step, {"rolled-back"})
    if (step, at) == ("backup", "before-intent"):  # locked, and nothing else
        back = {"rejected", "rolled-back"}
    unwritten = (step, at, fault) == ("preflight", "before-intent", "power-job")  # what has not begun begins after the boot
    return back if fault in faults.FATAL and not unwritten else back | {"committed"}
