# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lab of real hosts (systemd, sshd, etcd) on one machine. See tests/lab/README.md."""

import os

from .errors import CannotRun, LabError
from .lab import Lab
from .preconditions import check

__all__ = ["CannotRun", "Lab", "LabError", "check"]

for _each in ("/usr/sbin", "/sbin"):  # su and cron leave them out
    if _each not in os.environ.get("PATH", "").split(":"):
        os.environ["PATH"] = os.environ.get("PATH", "") + ":" + _each
