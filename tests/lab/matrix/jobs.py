# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job of the matrix: what it is armed with, and where it is."""

from dhlab.run import wait_until

from . import faults, oracle, points

END_SECONDS = 6 * 60  # the settling's own limit is five minutes
REACH_SECONDS = 120
POLL = 0.2  # seconds; who has reached a point waits there, and many labs poll


def arm(lab, lines, host=None):
    faults.disarm(lab, host)
    faults.file(lab, ".hit", host).unlink(missing_ok=True)
    if lines:
        lab.write(host or lab.roles.job, faults.BASE, "".join(line + "\n" for line in lines), 0o600)


def arm_for(lab, lead, point, fault):
    """The lines that lead there, and the fault at the point."""
    arm(lab, [*lead, f"{points.name(point)} {faults.action(fault)}"])


def hits(lab, host=None):
    path = faults.file(lab, ".hit", host)
    return path.read_text().split() if path.exists() else []


def start(lab, options=(), host=None):
    done = lab.exec(host or lab.roles.job, ["dhetcd", "add", "--no-block", *options, lab.host(lab.roles.new).address])
    return done.stdout.split()[-1]


def ended(lab, job, host=None):
    at = lab.host(host or lab.roles.job)
    return bool(at.init_pid()) and oracle.job_of(lab, job, at.name)["state"] not in ("queued", "running")


def wait_end(lab, job, host=None):
    return wait_until(f"job {job} has ended", lambda: ended(lab, job, host), END_SECONDS, every=0.2)


def wait_reached(lab, point, job, host=None):
    return wait_until(f"{point} is reached",
                      lambda: faults.file(lab, ".reached", host).exists() or ended(lab, job, host),
                      REACH_SECONDS, every=POLL)


def reach(lab, job, point, fault):
    """The fault, as soon as the job is at the point, and the end of the job. False where it did not come there."""
    if faults.action(fault) == "wait":
        wait_reached(lab, points.name(point), job)
        if faults.file(lab, ".reached").exists():
            faults.do(lab, fault)
    wait_end(lab, job)
    return points.name(point) in hits(lab)


def take_over(lab, at):
    """The job, whose own host is gone as soon as it had come to `at`."""
    gone = lab.roles.gone
    arm(lab, [f"{at} wait"], gone)
    job = start(lab, host=gone)
    wait_reached(lab, at, job, gone)
    lab.cut_power(gone)
    arm(lab, [], gone)
    lab.exec(lab.roles.job, ["dhetcd", "settle", "--takeover", "--no-block", job])
    return job


def bring_back(lab, job):
    """The host whose job was taken over follows by itself."""
    gone = lab.roles.gone
    if gone:
        lab.boot(gone, wait=False)
        wait_end(lab, job, gone)
        lab.host(gone).wait_booted()


def stop_at(lab, point, job):
    """Somebody stops the job while it waits at the point."""
    wait_reached(lab, point, job)
    lab.exec(lab.roles.job, ["pkill", "-TERM", "-x", "dhetcd-worker"], check=False)
    faults.file(lab, ".reached").unlink(missing_ok=True)
