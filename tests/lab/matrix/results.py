# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file that --record names: a JSON line for each case, so that --all can be run in parts, and shown as one table."""

import json
import os

from .table import GOOD, Result


class Results:
    """`facts` are in each of its lines. Without a path nothing is written, and nothing was before."""

    def __init__(self, path, **facts):
        self.path, self.facts = path, facts

    def write(self, **more):
        if self.path:
            with open(self.path, "a", encoding="utf-8") as f:
                f.write(json.dumps({**self.facts, **more}) + "\n")
                f.flush()
                os.fsync(f.fileno())

    def note(self, item, point, fault, result):
        self.write(shape=item.shape, point=point, fault=fault, **result._asdict())

    def good(self):
        """(shape, point, fault) of those that need no other run."""
        return {(r["shape"], r["point"], r["fault"]) for r in read([self.path] if self.path else [])
                if "point" in r and r["hit"] and r["outcome"] in GOOD}


def read(paths):
    """A line that was cut short is left out."""
    for path in paths:
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                yield from (json.loads(line) for line in f if line.endswith("\n"))


def fill(table, paths):
    """Of the same case the newest line counts."""
    newest = {}
    for line in read(paths):
        if "declared" in line:
            table.declared = line["declared"]
        else:
            newest[line["shape"], line["point"], line["fault"], line["seed"] if ":" in line["fault"] else None] = line
    for line in newest.values():
        table.count(line["point"], line["fault"], Result(*(line[name] for name in Result._fields)))
