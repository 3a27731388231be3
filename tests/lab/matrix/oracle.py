# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one oracle: what must hold after every case, whatever the fault and wherever it struck."""

import json

from dhlab import LabError, fingerprint
from dhlab.run import wait_until

from .faults import JOB

ENDED = {"committed": 0, "rejected": 1, "rolled-back": 10}
EVENT = "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a"
TXN_EVENTS = {"committed": EVENT + "09", "rolled-back": EVENT + "0a", "rejected": EVENT + "0c", "stuck": EVENT + "0b"}
JOB_EVENTS = {"committed": EVENT + "04", "rolled-back": EVENT + "05", "rejected": EVENT + "03", "stuck": EVENT + "06"}
TREES = ("/etc/etcd", "/etc/sysconfig/deephaven", "/etc/systemd/system")


class Broken(Exception):
    """An invariant does not hold."""


def need(condition, text):
    if not condition:
        raise Broken(text)


def states(lab):
    """Every host's fingerprint. What was moved aside may stay: it is data, and data is never deleted."""
    found = dict(zip((h.name for h in lab.hosts), lab.all(lambda h: lab.fingerprint(h.name))))
    for one in found.values():
        one["data"] = {n: e for n, e in (one["data"] or {}).items() if ".dhetcd-" not in n}
        one.pop("sha256")
    return found


def members(lab):
    return {(m["ID"], m.get("name", ""), tuple(m["peerURLs"]), m.get("isLearner", False))
            for m in lab.members()["members"]}


def log_path(lab, job):
    return lab.host(JOB).path(f"/var/lib/dhetcd/jobs/{job}/1/log.jsonl")


def log(lab, job):
    path = log_path(lab, job)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def job_of(lab, job):
    return json.loads(lab.host(JOB).path(f"/var/lib/dhetcd/jobs/{job}/job.json").read_text())


def check_log(lab, job):
    """A closed set of ends, the same in the log, the job and the journal, and one of them only."""
    state = job_of(lab, job)["state"]
    need(state in ENDED, f"the job is {state}: {job_of(lab, job).get('text')}")
    ends = [r["state"] for r in log(lab, job) if r["type"] == "end"]
    need(ends == [state] or not ends and state == "rejected", f"the job is {state}, its log ended as {ends}")
    lines = lab.exec(JOB, ["journalctl", "--no-pager", "-o", "json", f"DHETCD_JOB={job}"]).stdout
    told = [json.loads(line).get("MESSAGE_ID") for line in lines.splitlines()]
    for kind, events in (("transaction", TXN_EVENTS), ("job", JOB_EVENTS)):
        found = [name for name, event in events.items() for m in told if m == event]
        # Whose process dies between the last record and its line tells it nowhere; the job's line is the daemon's.
        need(found == [state] or kind == "transaction" and not found, f"the journal tells of the {kind}'s end: {found}")
    return state


def check_committed(lab, before):
    count = len(before["members"]) + 1
    lab.wait_healthy(count, timeout=30)
    listed = members(lab)
    need(not any(m[3] for m in listed), f"a learner is left: {listed}")
    expected = ",".join(f"etcd-{h.number}=https://{h.address}:2380" for h in lab.hosts[:count])
    for host in lab.hosts[:count]:
        text = host.read("/etc/etcd/dh/latest/config.yaml")
        need(f"initial-cluster: {expected}\n" in text and "initial-cluster-state: new\n" in text,
             f"{host.name}: config.yaml does not list the members")
    for name, state in states(lab).items():
        need(state["unit"] == {**state["unit"], "ActiveState": "active", "UnitFileState": "enabled",
                               "NeedDaemonReload": "no"}, f"{name}: dh-etcd is {state['unit']}")


def check_unchanged(lab, before):
    lab.wait_healthy(len(before["members"]), timeout=30)
    now = members(lab)
    need(now == before["members"], f"the member list was {before['members']} and is {now}")
    for name, state in states(lab).items():
        changes = fingerprint.diff(before["hosts"][name], state)
        need(not changes, f"{name} is not what it was: " + "; ".join(changes))


def check_data(lab, writer, count):
    """No acknowledged write is lost, and all members have the same data."""
    writer.stop()
    writer.check()

    def same():
        hashes = set()
        for host in lab.hosts[:count]:
            done = lab.etcdctl(host.name, "endpoint", "hashkv", "-w", "json")
            hashes.add(json.loads(done.stdout)[0]["HashKV"]["hash"])
        return len(hashes) == 1
    wait_until("all members have the same HashKV", same, 20, every=0.3)


def leftovers(lab, host):
    units = lab.exec(host.name, ["systemctl", "list-units", "--plain", "--no-legend", "--all", "dhetcd-txn-*",
                                 "dhetcd-exec-*"]).stdout.strip()
    if units:
        yield f"{host.name}: units {units}"
    failed = lab.exec(host.name, ["systemctl", "--failed", "--plain", "--no-legend"]).stdout.split("\n")
    if [f for f in failed if f.strip() and "dhetcd-add@" not in f]:
        yield f"{host.name}: failed units {failed}"
    if (host.path("/var/lib/dhetcd/host") / "lock.json").exists():
        yield f"{host.name}: a lock"
    if lab.exec(host.name, ["pgrep", "-x", "ssh"], check=False).stdout:
        yield f"{host.name}: an ssh process"
    for tree in TREES:
        for path in host.path(tree).rglob("*dhetcd-*") if host.path(tree).exists() else ():
            if "dhetcd-recover" not in path.name and "dhetcd-add" not in path.name:
                yield f"{host.name}: {path.name} in {tree}"


def check_nothing_left(lab):
    left = []

    def nothing():
        left[:] = [text for texts in lab.all(lambda h: list(leftovers(lab, h))) for text in texts]
        return not left
    try:
        wait_until("nothing is left", nothing, 8, every=0.5)
    except LabError as e:
        raise Broken("left behind: " + "; ".join(left)) from e


def check_settled(lab, job, state):
    """Settling what has ended changes nothing, and says so."""
    log_before, hosts, listed = log_path(lab, job).read_bytes(), states(lab), members(lab)
    done = lab.exec(JOB, ["dhetcd", "settle", job], check=False, timeout=90)
    need(f"is {state}: there is nothing to settle" in done.stderr, f"a second settling says {done.stdout}{done.stderr}")
    need(log_path(lab, job).read_bytes() == log_before, "a second settling wrote to the log")
    need(states(lab) == hosts and members(lab) == listed, "a second settling changed something")


def check(lab, job, before, writer):
    """Returns the state; raises Broken, or LabError, where an invariant does not hold."""
    state = check_log(lab, job)
    if state == "committed":
        check_committed(lab, before)
    else:
        check_unchanged(lab, before)
    check_data(lab, writer, len(before["members"]) + (state == "committed"))
    check_nothing_left(lab)
    check_settled(lab, job, state)
    return state
