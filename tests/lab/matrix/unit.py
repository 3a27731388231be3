# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job that is asked for as dhetcd-add@ADDRESS.service."""

import subprocess

from dhlab.run import wait_until

from . import oracle


class Unit:
    """The job as an operator asks for it who waits for its end: its unit, and what `systemctl start` comes to."""

    def __init__(self, lab):
        self.lab, self.name = lab, f"dhetcd-add@{lab.host(lab.roles.new).address}.service"
        self.host = lab.host(lab.roles.job)
        self.init = self.host.init_pid()
        before = self.jobs()
        # pylint: disable-next=consider-using-with
        self.asked = subprocess.Popen(self.host.enter(["systemctl", "start", self.name]), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("the unit has asked for a job", lambda: self.jobs() - before, 30)
        self.job = (self.jobs() - before).pop()

    def jobs(self):
        return {p.parent.name for p in self.host.path("/var/lib/dhetcd/jobs").glob("*/job.json")}

    def check(self, state):
        """It agrees with the end, where the host was not down meanwhile."""
        if self.host.init_pid() != self.init:
            self.asked.kill()
            self.asked.wait(10)
            return
        code = self.asked.wait(30)
        shown = self.lab.exec(self.host.name, ["systemctl", "show", "--property=Result,ExecMainStatus", self.name]).stdout
        self.lab.exec(self.host.name, ["systemctl", "reset-failed", self.name], check=False)
        good = state == "committed"
        expected = f"Result={'success' if good else 'exit-code'}\nExecMainStatus={oracle.ENDED[state]}\n"
        oracle.need((code == 0) == good and sorted(shown.split()) == sorted(expected.split()),
                    f"it is {state}, \"systemctl start {self.name}\" exits with {code}, and the unit has {shown.split()}")
