# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one exception of the lab: what went wrong, where, and what to do next."""


class LabError(Exception):
    def __init__(self, what, host=None, hint=None):
        self.what, self.host, self.hint = what, host, hint
        text = f"{host}: {what}" if host else what
        super().__init__(f"{text}\n  next: {hint}" if hint else text)


class CannotRun(LabError):
    """The lab cannot run on this machine (exit code 77: tests are skipped)."""
