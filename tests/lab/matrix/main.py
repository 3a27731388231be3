# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command: which cases, in which order, on which labs."""

import argparse
import itertools
import random
import subprocess
import sys
import time

from dhlab import CannotRun, LabError, paths

from . import cases, faults, interrupts, points
from .table import Table

NEW_CA_SHARE = 0.15  # of the seeded cases: each member trusts both CAs, so these take longer


def arguments():
    parser = argparse.ArgumentParser(prog="crash-matrix", description="Every failpoint times every fault, on real "
                                     "hosts; after each the same invariants must hold.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="all cases; a point that is never hit is a failure")
    what.add_argument("--case", action="append", default=[], metavar="POINT/FAULT", help="this one; may be repeated")
    what.add_argument("--random", type=int, default=0, metavar="N", help="N interrupts at random times instead")
    what.add_argument("--list", action="store_true", help="only print the cases")
    parser.add_argument("--seed", type=int, help="of a random choice of cases; default: from the present commit")
    parser.add_argument("--minutes", type=float, help="begin no case later than this; default 7 where cases are chosen")
    parser.add_argument("--fault", action="append", choices=faults.FAULTS, help="only these")
    parser.add_argument("--phase", action="append", help="only points that begin with this")
    parser.add_argument("--name", default="matrix", help="of the lab")
    parser.add_argument("--ca", choices=("same", "new"), help="for all cases; default: as each needs it")
    return parser.parse_args()


def seed_of_commit():
    done = subprocess.run(["git", "-C", str(paths.TREE), "rev-parse", "HEAD"], capture_output=True, text=True,
                          check=False, timeout=10)
    return int(done.stdout[:8] or "1", 16)


def all_cases(declared, args):
    chosen = [p for p in declared if not args.phase or any(p.startswith(x) for x in args.phase)]
    return [tuple(c) for c in itertools.product(chosen, args.fault or faults.FAULTS)]


def choose(declared, args, rng):
    """The cases in the order in which they are run."""
    if args.case:
        return [tuple(c.split("/", 1)) for c in args.case]
    found = all_cases(declared, args)
    if not args.all:
        rng.shuffle(found)
    return found


def ca_of(point, args, rng):
    if args.ca:
        return args.ca
    return "new" if points.needs_new_ca(point) or not args.all and rng.random() < NEW_CA_SHARE else "same"


def run_cases(bench, args, rng, table, todo):
    end = time.monotonic() + args.minutes * 60 if args.minutes else float("inf")
    tried = set()
    for point, fault in todo:
        if time.monotonic() >= end:
            break
        ca = ca_of(point, args, rng)
        if ca != bench.ca:
            bench.used_up()
            bench.ca = ca
        tried.add(point)
        table.note(point, fault, cases.run_case(bench, point, fault))
    return tried


def work(bench, args):
    seed = args.seed if args.seed is not None else seed_of_commit()
    rng = random.Random(seed)
    table = Table(points.declared(bench.ready()))
    todo = choose(table.declared, args, rng)
    if args.list:
        print("\n".join("/".join(c) for c in todo))
        return 0
    if not args.all and not args.case:
        print(f"seed {seed}")
        args.minutes = args.minutes or (None if args.random else 7)
    tried = set()
    if args.random:
        interrupts.run(bench, rng, args.random, table)
    else:
        tried = run_cases(bench, args, rng, table, todo)
    table.show()
    return table.status(tried)


def main():
    args = arguments()
    bench = cases.Bench(args.name, args.ca or "same")
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
