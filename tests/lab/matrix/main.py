# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command: which cases, in which order, on which labs."""

import argparse
import random
import signal
import subprocess
import sys
import time

from dhlab import CannotRun, LabError, paths

from . import cases, interrupts, kinds
from .bench import Bench
from .table import Table

NEW_CA_SHARE = 0.15  # of the seeded cases: each member trusts both CAs, so these take longer
OTHERS = 1  # of the seeded cases is of a rescue or a repair, which take longer, and a lab of their own
BATCH = 24  # cases are sorted by the lab they need within so many


def arguments():
    parser = argparse.ArgumentParser(prog="crash-matrix", description="Every failpoint times every fault, on real "
                                     "hosts; after each the same invariants must hold.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="all cases; a point that is never hit is a failure")
    what.add_argument("--case", action="append", default=[], metavar="POINT/FAULT", help="this one; may be repeated")
    what.add_argument("--random", type=int, default=0, metavar="N", help="N interrupts at random times instead")
    what.add_argument("--list", action="store_true", help="only print the cases")
    parser.add_argument("--seed", type=int, help="of a random choice of cases; default: from the present commit")
    parser.add_argument("--minutes", type=float, help="begin no case that may end later; default 7 where cases "
                        "are chosen")
    parser.add_argument("--fault", action="append", choices=kinds.FAULTS, help="only these")
    parser.add_argument("--phase", action="append", help="only points that begin with this")
    parser.add_argument("--name", default="matrix", help="of the lab")
    parser.add_argument("--shape", choices=kinds.SHAPES, help="of the lab for all cases; default: as each needs it")
    return parser.parse_args()


def seed_of_commit():
    done = subprocess.run(["git", "-C", str(paths.TREE), "rev-parse", "HEAD"], capture_output=True, text=True,
                          check=False, timeout=10)
    return int(done.stdout[:8] or "1", 16)


def all_cases(declared, args, rng, other):
    """Each point once, then each once more with another fault, and so on: a part has as many points as it can have."""
    chosen, todo = [p for p in declared if not args.phase or any(p.startswith(x) for x in args.phase)], []
    order = list(args.fault or kinds.FAULTS)
    if not args.all:
        rng.shuffle(chosen)
        rng.shuffle(order)
        chosen = chosen if args.phase else with_few_others(chosen, other)
    for turn in range(len(order)):
        for i, point in enumerate(chosen):
            possible = [f for f in order if f in kinds.of(point)[0].faults]
            if turn < len(possible):
                todo.append((point, kinds.where(point, possible[(i + turn) % len(possible)], i + turn)))
    return todo


def with_few_others(chosen, other):
    """Additions, and before them a few points of one other kind of job, as each kind needs a lab of its own."""
    few = [p for p in chosen if kinds.of(p)[0] is kinds.KINDS[other]][:OTHERS]
    return few + [p for p in chosen if not p.startswith(tuple(f"{name}:" for name in kinds.OTHERS))]


def shape_of(point, args, rng):
    kind, name = kinds.of(point)
    return args.shape or kind.shape(name, new_ca=not args.all and not args.case and rng.random() < NEW_CA_SHARE)


def first_shape(args, rng, other):
    """Of the lab that is made first."""
    if args.case:
        return shape_of(args.case[0].split("/")[0], args, rng)
    chosen = not (args.all or args.random or args.phase)
    return args.shape or (kinds.KINDS[other].shape("") if chosen else "same")


def choose(declared, args, rng, other, first):
    """(shape of the lab, point, fault) in the order in which they are run."""
    found = [tuple(c.split("/", 1)) for c in args.case] or all_cases(declared, args, rng, other)
    todo = [(shape_of(point, args, rng), point, fault) for point, fault in found]
    order = [first, *kinds.SHAPES]
    return [case for at in range(0, len(todo), BATCH)
            for case in sorted(todo[at:at + BATCH], key=lambda c: order.index(c[0]))]


class Clock:
    """Whether there is time for one more case, as long as the longest so far in the same lab."""

    def __init__(self, minutes):
        self.end = time.monotonic() + minutes * 60 if minutes else float("inf")
        self.last, self.shape, self.longest = None, None, {}

    def may_begin(self, shape=None):
        now = time.monotonic()
        if self.last:
            self.longest[self.shape] = max(self.longest.get(self.shape, 0), now - self.last)
        self.last, self.shape = now, shape
        return now + self.longest.get(shape, 0) < self.end


def run_cases(bench, table, todo, may_begin, tried):
    """`tried` gets the points."""
    for shape, point, fault in todo:
        if not may_begin(shape):
            break
        tried.add(point)
        table.note(point, fault, cases.run_case(bench, shape, point, fault))
        if point not in table.hit:  # etcd may have refused the addition before it: once more
            table.note(point, fault, cases.run_case(bench, shape, point, fault))


def work(bench, args):
    seed = args.seed if args.seed is not None else seed_of_commit()
    rng = random.Random(seed)
    if not args.all and not args.case and not args.random:
        args.minutes = args.minutes or 7
    clock = Clock(args.minutes)
    other = rng.choice(kinds.OTHERS)
    first = first_shape(args, rng, other)
    table = Table(kinds.declared(bench.ready(first)))
    todo = choose(table.declared, args, rng, other, first)
    if args.list:
        print("\n".join(f"{point}/{fault}" for _, point, fault in todo))
        return 0
    if not args.all and not args.case:
        print(f"seed {seed}", flush=True)
    tried = set()
    try:
        if args.random:
            interrupts.run(bench, rng, args.random, table, clock.may_begin)
        else:
            run_cases(bench, table, todo, clock.may_begin, tried)
    except KeyboardInterrupt:
        print("interrupted")
        table.show()
        return 130
    table.show()
    return table.status(tried)


def main():
    args = arguments()
    for each in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background
        signal.signal(each, signal.default_int_handler)
    bench = Bench(args.name, kinds.SHAPES)
    try:
        return work(bench, args)
    except CannotRun as e:
        print(f"crash-matrix: {e}", file=sys.stderr)
        return 77
    except LabError as e:
        print(f"crash-matrix: {e}", file=sys.stderr)
        return 1
    finally:
        bench.down()
