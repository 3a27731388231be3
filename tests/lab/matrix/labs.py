# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where cases are run: on one lab, or on several side by side, each with a process of its own."""

import multiprocessing
import signal
import time

from . import kinds
from .bench import Bench
from .table import GOOD

STOP_SECONDS = 60


class Clock:
    """Whether there is time for one more case, as long as the longest so far in the same lab."""

    def __init__(self, end):
        self.end, self.last, self.shape, self.longest = end, None, None, {}

    def may_begin(self, shape):
        now = time.monotonic()
        if self.last:
            self.longest[self.shape] = max(self.longest.get(self.shape, 0), now - self.last)
        self.last, self.shape = now, shape
        return now + self.longest.get(shape, 0) < self.end


def run(bench, todo, clock):
    """(item, point, fault, Result) for each run."""
    for item in todo:
        if not clock.may_begin(item.shape):
            return
        point, fault, result = item.run(bench)
        yield item, point, fault, result
        if not result.hit and result.outcome in GOOD:  # etcd may have refused it before: once more
            yield item, *item.run(bench)


def serve(bench, todo, told, end):
    """A process with a lab. What it could not do is told as what it raised, its end as None."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)  # its lab is ended by the one who started it
    try:
        for one in run(bench, iter(todo.get, None), Clock(end)):
            told.put(one)
    except Exception as e:  # pylint: disable=broad-exception-caught
        told.put(e)
    told.put(None)


class Labs:
    def __init__(self, name, count):
        self.benches = [Bench(name if count == 1 else f"{name}-{n + 1}", kinds.SHAPES) for n in range(count)]
        self.processes = []

    def declared(self, shape):
        return kinds.declared(self.benches[0].ready(shape))

    def run(self, todo, end):
        if len(self.benches) == 1:
            return run(self.benches[0], todo, Clock(end))
        return self.side_by_side(todo, end)

    def side_by_side(self, todo, end):
        fork = multiprocessing.get_context("fork")
        asked, told = fork.Queue(), fork.Queue()
        asked.cancel_join_thread()  # what nobody has taken when the time is over is not waited for
        for item in [*todo, *(None for _ in self.benches)]:
            asked.put(item)
        self.processes = [fork.Process(target=serve, args=(b, asked, told, end)) for b in self.benches]
        for each in self.processes:
            each.start()
        left = len(self.processes)
        while left > 0:
            one = told.get()
            if isinstance(one, Exception):
                raise one
            left -= one is None
            if one:
                yield one

    def down(self):
        for each in self.processes:
            each.terminate()
            each.join(STOP_SECONDS)
        for bench in self.benches:
            bench.down()
