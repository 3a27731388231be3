# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run shows: a line for each case, the table at its end, and whether it is a failure."""

import collections
import time

GOOD = ("committed", "rolled-back", "rejected", "canceled")


class Table:
    def __init__(self, declared):
        self.declared, self.hit, self.wrong = declared, set(), []
        self.outcomes, self.cases, self.began = collections.Counter(), 0, time.monotonic()
        self.by_fault, self.by_phase = {}, {}

    def note(self, point, fault, result):
        hit, outcome, seconds = result
        self.cases += 1
        kind = outcome if outcome in GOOD else "other"
        self.outcomes[kind] += 1
        self.by_fault.setdefault(fault.split(":")[-1].split("@")[0], collections.Counter())[kind] += 1
        self.by_phase.setdefault(point.split(".")[0] if "." in point else "random", collections.Counter())[kind] += 1
        if hit:
            self.hit.add(point)
        if outcome not in GOOD:
            self.wrong.append(f"{point}/{fault}: {outcome}")
        print(f"{self.cases:5}  {point + '/' + fault:56} {'hit ' if hit else 'MISS'} {seconds:6.1f} s  {outcome}",
              flush=True)

    def show(self):
        for title, rows in (("fault", self.by_fault), ("phase", self.by_phase)):
            print(f"\n{title:24}" + "".join(f"{kind:>13}" for kind in (*GOOD, "other")))
            for name in sorted(rows):
                print(f"{name:24}" + "".join(f"{rows[name][kind]:13}" for kind in (*GOOD, "other")))
        counts = ", ".join(f"{self.outcomes[name]} {name}" for name in (*GOOD, "other"))
        minutes, hit = (time.monotonic() - self.began) / 60, len(self.hit & set(self.declared))
        print(f"\n{len(self.declared)} points declared, {hit} hit; "
              f"{self.cases} cases in {minutes:.1f} minutes: {counts}")
        for line in self.wrong:
            print(f"  {line}")

    def status(self, tried):
        """1 where anything is wrong, or where a point was tried and never hit."""
        never = [p for p in self.declared if p in tried and p not in self.hit]
        if never:
            print("never hit: " + " ".join(never))
        return 1 if self.wrong or never else 0
