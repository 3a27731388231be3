# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command: which cases, in which order, on which labs."""

import argparse
import random
import signal
import subprocess
import sys
import time

from dhlab import CannotRun, paths

from . import interrupts, kinds, labs, results
from .cases import BROKEN, Case
from .table import Table

NEW_CA_SHARE = 0.15  # of the seeded cases: each member trusts both CAs, so these take longer
OTHERS = 1  # of the seeded cases is of a rescue, a stuck job or a repair, which take longer, and a lab of their own
INTERRUPTS = 4  # of a batch of the seeded ones strike at a random time
BATCH = 24  # cases are sorted by the lab they need within so many; with --all within one turn of all points


def arguments():
    parser = argparse.ArgumentParser(prog="crash-matrix", description="Every failpoint times every fault, on real "
                                     "hosts; after each the same invariants must hold.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="all cases; a point that is never hit is a failure")
    what.add_argument("--case", action="append", default=[], metavar="POINT/FAULT", help="this one; may be repeated")
    what.add_argument("--random", type=int, default=0, metavar="N", help="N interrupts at random times instead")
    what.add_argument("--list", action="store_true", help="only print the cases")
    what.add_argument("--table", nargs="+", metavar="FILE", help="only print the table of what was recorded")
    parser.add_argument("--seed", type=int, help="of a random choice of cases; default: from the present commit")
    parser.add_argument("--minutes", type=float, help="begin no case that may end later; default 7 where cases "
                        "are chosen")
    parser.add_argument("--fault", action="append", choices=kinds.FAULTS, help="only these")
    parser.add_argument("--jobs", type=int, default=1, help="so many labs side by side: NAME-1, NAME-2, …")
    parser.add_argument("--record", metavar="FILE", help="append a JSON line for each case")
    parser.add_argument("--resume", action="store_true", help="leave out what the FILE of --record has as good")
    parser.add_argument("--phase", action="append", help="only points that begin with this")
    parser.add_argument("--name", default="matrix", help="of the lab")
    parser.add_argument("--shape", choices=kinds.SHAPES, help="of the lab for all cases; default: as each needs it")
    return parser.parse_args()


def git(*argv):
    return subprocess.run(["git", "-C", str(paths.TREE), *argv], capture_output=True, text=True, check=False,
                          timeout=10).stdout.strip()


def seed_of_commit():
    return int(git("rev-parse", "HEAD")[:8] or "1", 16)


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
    if args.case and "." in args.case[0]:
        return shape_of(args.case[0].split("/")[0], args, rng)
    chosen = not (args.all or args.random or args.phase)
    return args.shape or (kinds.KINDS[other].shape("") if chosen else "same")


def choose(declared, args, rng, other, first):
    """What is to be run, in its order; of cases those that need the same lab are together, so many at a time."""
    if args.random:
        return interrupts.chosen(rng, args.random, args.shape or "same")
    found = [named(c, declared) for c in args.case] or all_cases(declared, args, rng, other)
    todo = [Case(shape_of(point, args, rng), point, fault) for point, fault in found]
    mixed = not (args.all or args.case or args.phase or args.fault or args.shape)
    size = BATCH - INTERRUPTS if mixed else len({case.point for case in todo}) if args.all else BATCH
    order, result = [first, *kinds.SHAPES], []
    for at in range(0, len(todo), size):
        batch = todo[at:at + size]
        for one in interrupts.chosen(rng, INTERRUPTS, "same") if mixed else []:
            batch.insert(rng.randrange(len(batch) + 1), one)
        result += sorted(batch, key=lambda item: order.index(item.shape))
    return result


def named(case, declared):
    """A case that --case names; one that there is not would only be missed."""
    point, _, fault = case.partition("/")
    if point not in declared:
        raise ValueError(f"{case}: there is no such point; see: crash-matrix --list")
    kind, own = kinds.of(point)
    if fault.split("@")[0] not in kind.faults:
        raise ValueError(f"{case}: at this point there are the faults {', '.join(kind.faults)}")
    if fault.partition("@")[2] not in kind.roles(own):
        raise ValueError(f"{case}: after the fault must be one of: {' '.join('@' + r for r in kind.roles(own) if r) or 'nothing'}")
    return point, fault


def run_all(site, table, record, todo, end):
    """The points that were tried."""
    tried = set()
    for item, point, fault, result in site.run(todo, end):
        tried.add(point)
        table.note(point, fault, result)
        record.note(item, point, fault, result)
    return tried


def work(site, args):
    seed = args.seed if args.seed is not None else seed_of_commit()
    rng = random.Random(seed)
    if not args.all and not args.case and not args.random:
        args.minutes = args.minutes or 7
    end = time.monotonic() + args.minutes * 60 if args.minutes else float("inf")
    other = rng.choice(kinds.OTHERS)
    first = first_shape(args, rng, other)
    table = Table(site.declared(first))
    todo = choose(table.declared, args, rng, other, first)
    if args.list:
        print("\n".join(f"{case.point}/{case.fault}" for case in todo if isinstance(case, Case)))
        return 0
    record = results.Results(args.record, commit=git("describe", "--always", "--dirty"), seed=seed)
    if args.resume:
        done = record.good()
        todo = [item for item in todo if tuple(item) not in done]
    record.write(declared=table.declared)
    if not args.all and not args.case:
        print(f"seed {seed}", flush=True)
    try:
        tried = run_all(site, table, record, todo, end)
    except KeyboardInterrupt:
        print("interrupted")
        table.show()
        return 130
    table.show()
    table.show_places()
    return table.status(tried)


def show_recorded(files):
    table = Table([])
    results.fill(table, files)
    table.show(timed=False)
    return table.status(table.declared)


def main():
    args = arguments()
    if args.table:
        return show_recorded(args.table)
    for each in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background
        signal.signal(each, signal.default_int_handler)
    site = labs.Labs(args.name, args.jobs)
    try:
        return work(site, args)
    except CannotRun as e:
        print(f"crash-matrix: {e}", file=sys.stderr)
        return 77
    except BROKEN as e:
        print(f"crash-matrix: {e}", file=sys.stderr)
        return 1
    finally:
        site.down()
