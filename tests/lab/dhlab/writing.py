# SPDX-License-Identifier: LGPL-2.1-or-later
"""The writer's process: one put after another until SIGTERM. Started by writer.py."""

import os
import signal
import sys
import time

from . import cgroup
from .client import Client
from .lab import Lab
from .writer import PREFIX, Writer

LONGEST = 3600  # seconds; a writer that was forgotten ends by itself


def write_all_the_time(lab, writer, rate):
    """Until SIGTERM, or until the lab is gone or an hour is over."""
    end = time.monotonic() + LONGEST
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    group = cgroup.mount() / writer.cgroup
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    run_id = f"{time.time_ns():x}"
    (writer.dir / "run").write_text(run_id)
    client, number = Client(lab), 0
    with open(writer.dir / "acked", "a", buffering=1, encoding="ascii") as acked:
        while not stop and time.monotonic() < end and writer.dir.exists():
            began = time.monotonic()
            try:
                client.put(f"{PREFIX}{writer.name}/{run_id}/{number}", f"write {number}", 1.5)
            except (OSError, ValueError) as e:
                print(f"{began:.3f} write {number}: {e}", flush=True)
                client.close()
                time.sleep(0.02)
                continue
            acked.write(f"{number} {time.monotonic():.4f}\n")
            number += 1
            if rate:
                time.sleep(max(0, began + 1 / rate - time.monotonic()))


def main():
    lab = Lab.open(sys.argv[1])
    write_all_the_time(lab, Writer(lab, sys.argv[2]), float(sys.argv[3]))


if __name__ == "__main__":
    main()
