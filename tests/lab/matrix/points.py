# SPDX-License-Identifier: LGPL-2.1-or-later
"""The failpoints that the worker declares, and what leads a job to each of them."""

from .faults import JOB, NEW

WORKER = "/usr/libexec/dhetcd/dhetcd-worker"
# Only where the generator makes a new CA has this step anything to do.
ONLY_NEW_CA = ("trust",)
# With restart=always a member is restarted also where nothing asks for it.
ONLY_RESTARTING = ("restart",)
SCRIPT = "enable_dh_etcd_systemd"


def declared(lab):
    return lab.exec(JOB, [WORKER, "failpoints"]).stdout.split()


def step_of(point):
    return point.split(".")[1]


def needs_new_ca(point):
    return step_of(point) in ONLY_NEW_CA


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
        lab.break_script(NEW, SCRIPT, "fail")


def unpave(lab, point):
    if point.startswith("undo."):
        lab.mend(NEW, SCRIPT)
