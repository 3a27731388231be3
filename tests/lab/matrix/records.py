# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs of transactions and of hosts, as src/txn/txn-log.c writes them: a JSON record a line, each with its place and a
sum over it and the sum before."""

import hashlib
import json

SUM = ',"sum":"'


def read(path):
    """The records; a ValueError names the first that is not whole."""
    if not path.exists():
        return []
    found, previous = [], ""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            body, _, rest = line.rpartition(SUM)
            previous = hashlib.sha256((previous + body).encode()).hexdigest()[:16]
            if rest != previous + '"}\n':
                raise ValueError(f"{path}: record {len(found) + 1} is damaged")
            found.append(json.loads(line))
            if found[-1]["seq"] != len(found):
                raise ValueError(f"{path}: record {len(found)} has another's place")
    return found


def key(record):
    return record["step"], record["operation"], record["verb"]


def left_open(records):
    """What a host began and never ended: neither done, nor failed, nor begun anew, nor restored since, by its own step or,
    where it is no part of an undo itself, by one before it."""
    steps = list(dict.fromkeys(record["step"] for record in records))
    for at, begun in enumerate(records):
        if begun["type"] == "intent" and not any(
                key(later) == key(begun) or later["type"] == "done" and later["operation"] == "Restore"
                and (later["step"] == begun["step"] or not begun["step"].endswith("-undo")
                     and steps.index(later["step"]) < steps.index(begun["step"])) for later in records[at + 1:]):
            yield " ".join(key(begun)).strip()
