# SPDX-License-Identifier: LGPL-2.1-or-later
"""The failpoints that the worker declares, what leads a job to each of them, and how it may end from there."""

import typing

from . import faults

WORKER = "/usr/libexec/dhetcd/dhetcd-worker"
# Only where the generator makes a new CA has this step anything to do.
ONLY_NEW_CA = ("trust",)
# With restart=always a member is restarted also where nothing asks for it.
ONLY_RESTARTING = ("restart",)
SCRIPT = "enable_dh_etcd_systemd"
# Where the job's host is gone: with a learner in the member list, or with a voter.
TAKEN_OVER_AT = {"": "run.sync.after-intent", "promoted": "run.promote.after-commit"}


class Steps(typing.NamedTuple):
    """Of a plan: what only looks, what locks, the first that changes anything, the point of no return."""
    look: str
    lock: str
    change: str
    commit: str


ADDITION = Steps("preflight", "lock", "backup", "promote")


def declared(lab, kind):
    """Each is [WAY:]NAME: where a job comes to the failpoint NAME in two ways, WAY names the second one."""
    listed = lab.exec(lab.roles.job, [WORKER, "failpoints"]).stdout.split()
    return [line.removeprefix(f"{kind}:") for line in listed if line.startswith(f"{kind}:")]


def name(point):
    return point.rpartition(":")[2]


def phase_of(point):
    return name(point).split(".")[0]


def step_of(point):
    return point.split(".")[1]


def is_revert(point):
    """A committed job is taken back."""
    return point.startswith("revert")


def taken_over_at(point):
    return TAKEN_OVER_AT[point.rpartition(":")[0]]


def shape(point, new_ca=False):
    """Of the lab that the point needs."""
    if phase_of(point) == "takeover":
        return "takeover"
    return "new" if new_ca or step_of(point) in ONLY_NEW_CA else "same"


def options(point):
    return ["--restart=always"] if step_of(point) in ONLY_RESTARTING else []


def lead(point):
    """Lines of the failpoints' file that make a job come to the point at all."""
    phase = phase_of(point)
    if phase == "settle-run":
        return [f"run.{step_of(point)}.applied kill"]
    if phase == "settle-forward":
        return ["forward.finish.before-intent kill"]
    if phase in ("settle-undo", "settle"):
        before = ADDITION.commit if step_of(point) == ADDITION.commit else "sync"
        return ["undo.finish.after-intent kill" if is_revert(point) else f"run.{before}.after-intent kill"]
    return [f"{stopped_at(point)} wait"] if stopped_at(point) else []


def stopped_at(point):
    """Where somebody stops the job, so that it undoes what can be undone only then."""
    commit = f"{ADDITION.commit}."
    return f"run.{commit}after-intent" if point.startswith(f"undo.{commit}") else None


def lead_of(point, steps):
    """The lines for a plan whose job is stopped, or dies, in its point of no return."""
    at = f"run.{steps.commit}"
    return {"settle-run": [f"{at}.applied kill"], "settle-forward": [f"{at}.after-commit kill"],
            "settle-undo": [f"{at}.after-intent kill"], "settle": [f"{at}.after-intent kill"],
            "undo": [f"{at}.after-intent wait"]}.get(phase_of(point), [])


def breaks(point):
    return point.startswith("undo.") and not stopped_at(point)


def pave(lab, point):
    """A step fails by itself where the first worker is to undo."""
    if breaks(point):
        lab.break_script(lab.roles.new, SCRIPT, "fail")


def unpave(lab, point):
    if breaks(point):
        lab.mend(lab.roles.new, SCRIPT)


def ends(point, fault, steps=ADDITION):
    """The closed set of states that the fault at the point may end in."""
    phase, step, at = phase_of(point), step_of(point), point.split(".")[-1]
    if phase in ("forward", "settle-forward", "settle-run") or point.startswith("promoted:"):
        return {"committed"}
    if phase == "revert":  # it only looks whether it may, and who dies then has changed nothing
        return {"committed"} if fault == "kill-worker" else {"committed", "rolled-back"}
    if phase != "run":
        return {"rolled-back"}
    if step == steps.commit and at != "before-intent":
        asked = at == "after-intent"  # the fault comes before the question, and may leave the worker alive
        return {"committed", "rolled-back"} if asked else {"committed"}
    back = {steps.look: {"rejected"}, steps.lock: {"rejected", "rolled-back"}}.get(step, {"rolled-back"})
    if (step, at) == (steps.change, "before-intent"):  # locked, and nothing else
        back = {"rejected", "rolled-back"}
    unwritten = (step, at, fault) == (steps.look, "before-intent", "power-job")  # what has not begun begins after the boot
    return back if fault in faults.FATAL and not unwritten else back | {"committed"}
