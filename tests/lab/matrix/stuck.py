# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the quorum is lost a job is stuck, says so and what to do, each time it is tried again; and is finished as soon as
the lost member is back."""

import json

from dhlab.run import wait_until

from . import daemon, jobs, oracle, rescue
from .oracle import need


class Stuck(daemon.AtWork):
    """An addition that is stuck is tried again, in vain: dhetcdd is struck while it writes that down."""

    faults = ("enospc", "eio", "kill-daemon", "power-job", "reboot-job")
    uses_up, shapes = True, {}
    own, undoing, struck = ("manager.stuck.",), (), "job"
    here = rescue.Rescue.here

    def declared(self, lab):
        return [p for p in daemon.listed(lab) if p.startswith(self.own)]

    def shape(self, point, new_ca=False):
        return "stuck"

    def ends(self, point, fault):
        return {"stuck"}

    def writer(self, lab):
        return rescue.Patient(lab, rate=10)

    def begin(self, lab, point, fault):
        lab.wait_idle()
        lab.write("dh1", rescue.CONF, "[settle]\nBudgetSec=1\nRetryBudgetSec=1\n")
        self.arm(lab, point, fault)
        lab.exec("dh1", ["dhetcd", "settle", "--no-block", lab.job])
        return lab.job

    def reach(self, lab, job, point, fault):
        wait_until(f"{point} is reached", lambda: point in jobs.hits(lab), jobs.REACH_SECONDS, every=jobs.POLL)
        if fault not in daemon.BY_ITSELF:
            daemon.do(lab, self.here[fault], "dh1")
        return True

    def check(self, bench, job, writer, point, fault, untold):
        """It is stuck, and says so and with what to do; as soon as the lost member is back it is finished."""
        lab = bench.lab
        wait_until("dhetcd answers", lambda: lab.exec("dh1", ["dhetcd", "list"], check=False).returncode == 0, 60)
        lab.wait_idle()
        wait_until("etcd runs as before", lambda: rescue.state_of(lab)["runs"], 20, "dh1")
        shown = json.loads(lab.exec("dh1", ["dhetcd", "show", "--json=short", job]).stdout)
        need(shown["state"] == "stuck", f"it is shown as {shown['state']}")
        need(f"dhetcd rescue {job}" in shown["text"], f"what to do is not told: {shown['text']}")
        need((oracle.job_dir(lab, job) / "open").exists(), "the next boot would not know of it")
        done = lab.exec("dh1", ["dhetcd", "watch", "--quiet", job], check=False)
        need(done.returncode == oracle.STUCK, f"it is stuck, and \"dhetcd watch\" exits with {done.returncode}")
        rescue.check_goes_on(bench, writer)
        return "stuck"
