# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run shows: a line for each case, the table at its end, and whether it is a failure."""

import collections
import time
import typing

GOOD = ("committed", "rolled-back", "rejected", "canceled", "stuck")  # stuck: where it must be, and all of it held
COLUMNS = (*GOOD, "missed", "other")  # missed: it ended well, and the point was not come to


class Result(typing.NamedTuple):
    """hit: was the point come to; outcome: the state it ended in, or what is wrong; gap: the longest between writes."""
    hit: bool
    outcome: str
    seconds: float
    gap: float = 0


class Table:
    def __init__(self, declared):
        self.declared, self.hit, self.wrong = declared, set(), []
        self.outcomes, self.cases, self.began = collections.Counter(), 0, time.monotonic()
        self.by_fault, self.by_phase, self.places, self.gaps = {}, {}, collections.Counter(), {}

    def count(self, point, fault, result):
        self.cases += 1
        kind = "other" if result.outcome not in GOOD else result.outcome if result.hit else "missed"
        fault = fault.split(":")[-1].split("@")[0]
        self.outcomes[kind] += 1
        self.by_fault.setdefault(fault, collections.Counter())[kind] += 1
        self.by_phase.setdefault(point.split(".")[0] if "." in point else "random", collections.Counter())[kind] += 1
        self.gaps[fault] = max(self.gaps.get(fault, 0), result.gap)
        if "." not in point:
            self.places[point] += 1
        if result.hit:
            self.hit.add(point)
        if result.outcome not in GOOD:
            self.wrong.append(f"{point}/{fault}: {result.outcome}")

    def note(self, point, fault, result):
        self.count(point, fault, result)
        print(f"{self.cases:5}  {point + '/' + fault:56} {'hit ' if result.hit else 'MISS'} {result.seconds:6.1f} s  "
              f"{result.outcome}", flush=True)

    def show(self, timed=True):
        for title, rows in (("fault", self.by_fault), ("phase", self.by_phase)):
            print(f"\n{title:32}" + "".join(f"{kind:>13}" for kind in COLUMNS)
                  + ("  longest gap" if title == "fault" else ""))
            for name in sorted(rows):
                print(f"{name:32}" + "".join(f"{rows[name][kind]:13}" for kind in COLUMNS)
                      + (f"{self.gaps[name]:11.1f} s" if title == "fault" else ""))
        counts = ", ".join(f"{self.outcomes[name]} {name}" for name in COLUMNS)
        took = f" in {(time.monotonic() - self.began) / 60:.1f} minutes" if timed else ""
        print(f"\n{len(self.declared)} points declared, {len(self.hit & set(self.declared))} hit; "
              f"{self.cases} cases{took}: {counts}")
        for line in self.wrong:
            print(f"  {line}")

    def show_places(self):
        if self.places:
            print("\nwhere the interrupts hit:")
        for place, n in self.places.most_common():
            print(f"  {place:32} {'#' * n} {n}")

    def status(self, tried):
        """1 where anything is wrong, where a point was tried and never hit, or where there was no time for any."""
        if self.cases == 0:
            print("no case was run")
            return 1
        never = [p for p in self.declared if p in tried and p not in self.hit]
        if never:
            print("never hit: " + " ".join(never))
        return 1 if self.wrong or never else 0
