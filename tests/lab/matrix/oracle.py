# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one oracle: what must hold after every case, whatever the fault and wherever it struck."""

import hashlib
import json
import typing

from dhlab import LabError, fingerprint
from dhlab.client import Client
from dhlab.run import wait_until

from . import contents, faults, leftovers, records

ENDED = {"committed": 0, "rejected": 1, "canceled": 1, "rolled-back": 10}  # the only ends, and their exit codes
STUCK = 11  # no end; only where the quorum is lost
EVENT = "b1c40ed2fd7a4b0d9a2c6dbb3f3f0a"
TXN_EVENTS = {"committed": EVENT + "09", "rolled-back": EVENT + "0a", "rejected": EVENT + "0c", "stuck": EVENT + "0b"}
JOB_EVENTS = {"committed": EVENT + "04", "rolled-back": EVENT + "05", "rejected": EVENT + "03", "stuck": EVENT + "06",
              "canceled": EVENT + "07"}
KEYS = "/schema/"
OUR_KEYS = "dhetcd/"
ETCD_PORTS = {2379, 2380}


class Broken(Exception):
    """An invariant does not hold."""


class Picture(typing.NamedTuple):
    """What a rollback brings back."""
    hosts: dict
    members: set
    listeners: dict
    keys: dict


def need(condition, text):
    if not condition:
        raise Broken(text)


def states(lab):
    """Every host's fingerprint."""
    found = dict(zip((h.name for h in lab.hosts), lab.all(lambda h: lab.fingerprint(h.name))))
    for one in found.values():
        one.pop("sha256")
    return found


def members(lab):
    return {(m["ID"], m.get("name", ""), tuple(m["peerURLs"]), m.get("isLearner", False))
            for m in lab.members()["members"]}


def keys(lab, prefix=KEYS):
    """What was in the cluster before any writer."""
    client = Client(lab)
    wait_until("a member takes calls", client.connect, 20)
    try:
        return client.read_prefix(prefix)
    finally:
        client.close()


def listeners(lab):
    return {h.name: leftovers.listeners(lab, h) for h in lab.hosts}


def picture(lab):
    return Picture(states(lab), members(lab), listeners(lab), keys(lab))


def job_dir(lab, job, host=None):
    return lab.host(host or lab.roles.job).path(f"/var/lib/dhetcd/jobs/{job}")


def log_path(lab, job, host=None):
    return job_dir(lab, job, host) / "1/log.jsonl"


def log(lab, job, host=None):
    return records.read(log_path(lab, job, host))


def job_of(lab, job, host=None):
    return json.loads((job_dir(lab, job, host) / "job.json").read_text())


# -- how it ended -------------------------------------------------------------------------------
def check_end(lab, job, may_be_untold, revert, may_be_retold=False):
    """A closed set of ends, the same in the log, the job, the journal, the bus and the exit code, and each only once.
    A job that is taken back has ended before, as committed, but for one that another host took over before that."""
    state = job_of(lab, job)["state"]
    need(state in ENDED, f"the job is {state}: {job_of(lab, job).get('text')}")
    of_job = log(lab, job)
    ends = [r["state"] for r in of_job if r["type"] == "end"]
    types = {r["type"] for r in of_job}
    reverted = "revert" in types and ("commit" in types or not lab.roles.gone)
    of_txn = "rejected" if state == "canceled" else state  # by somebody, and so refused before its first change
    expected = ["committed", of_txn] if reverted else [of_txn]
    need(ends == expected or not ends and of_txn == "rejected", f"the job is {state}, its log ended as {ends}")
    need(revert or not reverted, "it was taken back, and nobody asked for that")
    told = leftovers.told(lab, lab.host(lab.roles.job), f"DHETCD_JOB={job}")
    for kind, events in (("transaction", TXN_EVENTS), ("job", JOB_EVENTS)):
        found = [name for m in told for name, event in events.items() if m == event]
        # Whose process dies between the last record and its line tells it nowhere; the job's line is the daemon's.
        untold = kind == "transaction" and found == expected[:-1] and (may_be_untold or not ends)
        # What could not be taken back is as it was, and the job tells so.
        wanted = (["committed", state] if revert else [state]) if kind == "job" else expected
        # A daemon that dies before the job's end is on disk has told it already.
        retold = kind == "job" and found == [*wanted, state] and may_be_retold
        need(found == wanted or untold or retold, f"the journal tells of the {kind}'s end: {found}")
    if lab.roles.gone:
        old = job_of(lab, job, lab.roles.gone)["state"]
        need(old == state, f"the host that lost the job says {old}, the one that took it over {state}")
    return state


def check_told(lab, job, state):
    """What the operator is told now agrees with the disk."""
    done = lab.exec(lab.roles.job, ["dhetcd", "watch", "--quiet", job], check=False)
    need(done.returncode == ENDED[state], f"it is {state}, and \"dhetcd watch\" exits with {done.returncode}")
    shown = json.loads(lab.exec(lab.roles.job, ["dhetcd", "show", "--json=short", job]).stdout)["state"]
    need(shown == state, f"it is {state}, and \"dhetcd show\" says {shown}")


# -- all hosts on the same side -----------------------------------------------------------------
def check_members(lab, before):
    """The old members, and the new host as the only other voter."""
    listed = members(lab)
    need(not any(m[3] for m in listed), f"a learner is left: {listed}")
    need(before.members <= listed, f"the members were {before.members} and are {listed}")
    added = {m[1:3] for m in listed - before.members}
    new = lab.host(lab.roles.new)
    need(added == {(f"etcd-{new.number}", (f"https://{new.address}:2380",))}, f"members were added: {added}")


def check_configs(lab):
    expected = ",".join(f"etcd-{h.number}=https://{h.address}:2380" for h in lab.hosts)
    for host in lab.hosts:
        text = host.read("/etc/etcd/dh/latest/config.yaml")
        need(f"initial-cluster: {expected}\n" in text and "initial-cluster-state: new\n" in text,
             f"{host.name}: config.yaml does not list the members")
        others = contents.of_package(host)
        need(not others, f"{host.name}: not what its package has: {', '.join(others)}")
    count = len(contents.packages(lab))
    need(count == 1, f"the hosts have {count} different packages")


def check_listeners(lab, before, added):
    """The same as before, and the new member's two ports; etcd and sshd are not yet back for a moment after a boot."""
    now = {}

    def as_wanted():
        now.update(listeners(lab))
        for name, was in before.listeners.items():
            more = {port for _, port in now[name] - was}
            if was - now[name] or more != (ETCD_PORTS if added and name == lab.roles.new else set()):
                return False
        return True
    try:
        wait_until("the listeners are as they must be", as_wanted, 15, every=0.5)
    except LabError as e:
        raise Broken(f"{e}; they were {before.listeners} and are {now}") from e


def check_committed(bench, lab, before):
    lab.wait_healthy(len(before.members) + 1, timeout=30)
    check_members(lab, before)
    check_configs(lab)
    now = states(lab)
    for name, state in now.items():
        need(state["unit"] == {**state["unit"], "ActiveState": "active", "UnitFileState": "enabled",
                               "NeedDaemonReload": "no"}, f"{name}: dh-etcd is {state['unit']}")
    for name, files in contents.layout(lab, now).items():
        changes = fingerprint.diff(bench.committed.files[name], files)
        need(not changes, f"{name} is not what an undisturbed commit makes of it: " + "; ".join(changes))


def check_unchanged(lab, before):
    lab.wait_healthy(len(before.members), timeout=30)
    now = members(lab)
    need(now == before.members, f"the member list was {before.members} and is {now}")
    for name, state in states(lab).items():
        changes = fingerprint.undone(before.hosts[name], state)
        need(not changes, f"{name} is not what it was: " + "; ".join(changes))


# -- data -----------------------------------------------------------------------------------------
def hashes(lab, hosts):
    """(hash, revision) of each."""
    found = set()
    for host in hosts:
        one = json.loads(lab.etcdctl(host.name, "endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
        found.add((one["hash"], one["header"]["revision"]))
    return found


def check_data(lab, before, writer, count, fault=None):
    """No acknowledged write is lost, nor what was there before, and all voters have the same data."""
    writer.stop()
    gap, allowed = writer.check()["longest_gap"], faults.longest_gap(fault)
    need(gap <= allowed, f"for {gap} s no write was acknowledged, {allowed} s are allowed")
    need(keys(lab) == before.keys, "keys from before the job are lost or changed")
    ours = keys(lab, OUR_KEYS)
    need(not ours, f"keys of the job are left: {ours}")
    wait_until("all members have the same HashKV at the same revision",
               lambda: len(hashes(lab, lab.hosts[:count])) == 1, 20, every=0.3)


def check_backup(lab, job, state):
    """What the job saved is still what it says it is: etcd's own digest are the last 32 bytes."""
    host = lab.roles.gone or lab.roles.job  # who took the job over did not save it again
    found = log(lab, job, host)
    notes = [r["value"] for r in found if r["type"] == "note" and r["key"] == "backup"]
    done = any(r["type"] == "done" and r.get("step") == "backup" for r in found)
    need(notes or not done and state != "committed", f"it is {state}, and there is no note of what was saved")
    for note in notes:
        saved = lab.host(host).path(note["path"])
        need(saved.exists(), f"{saved.name} of the job is gone")
        data = saved.read_bytes()
        need(hashlib.sha256(data[:-32]).hexdigest() == data[-32:].hex() == note["sha256"], f"{saved.name} is damaged")
        need(note["revision"] > 0, f"the revision of {saved.name} is not known")


def check_host_records(lab, job, state, hosts=None, but=None):
    """What each host wrote down of the job is whole, and nothing that it began is open; of the step `but` it may be, where
    only a look at the host tells whether it has happened."""
    for host in hosts or lab.hosts:
        path = host.path(f"/var/lib/dhetcd/host/{job}-1/log.jsonl")
        need(path.exists() or state != "committed", f"{host.name} has no record of the job")
        kept = list(host.path("/var/lib/dhetcd/store/snapshots").glob(f"{job}-1.*.json"))
        need(kept or state != "committed", f"{host.name} has no snapshot of the job")
        left = [one for one in records.left_open(records.read(path)) if one.split()[0] != but]
        need(not left, f"{host.name}: begun and never ended: {', '.join(left)}")


# -- nothing left, nothing more to do ---------------------------------------------------------------
def check_nothing_left(lab, hosts=None, but=()):
    left = []

    def nothing():
        left[:] = [text for h in hosts or lab.hosts for text in leftovers.of(lab, h)]
        return left == list(but)
    try:
        wait_until("nothing is left", nothing, 15, every=0.5)
    except LabError as e:
        raise Broken("left behind: " + "; ".join(left) if left else str(e)) from e


def check_ended(lab, job, state):
    """Who settles what has ended is told so."""
    log_before = log_path(lab, job).read_bytes()
    done = lab.exec(lab.roles.job, ["dhetcd", "settle", job], check=False, timeout=90)
    need(done.returncode == 1 and f"is {state}: there is nothing to settle" in done.stderr,
         f"a second settling exits with {done.returncode}: {done.stdout}{done.stderr}")
    need(log_path(lab, job).read_bytes() == log_before, "a second settling wrote to the log")


def check_settled(lab, job, state):
    """Settling what has ended changes nothing."""
    log_before, hosts, listed = log_path(lab, job).read_bytes(), states(lab), members(lab)
    check_ended(lab, job, state)
    done = lab.exec(lab.roles.job, ["dhetcd", "settle", "--all"], check=False, timeout=90)
    need(done.returncode == 0, f"settling all exits with {done.returncode}: {done.stderr}")
    need(log_path(lab, job).read_bytes() == log_before, "settling all wrote to the log")
    need(states(lab) == hosts and members(lab) == listed, "a second settling changed something")


def check_never_was(bench, writer):
    """An order that was not taken has changed nothing."""
    lab, before = bench.lab, bench.before
    check_unchanged(lab, before)
    check_data(lab, before, writer, len(before.members))
    check_nothing_left(lab)


def check(bench, job, writer, may_be_untold=False, revert=False, may_be_retold=False, fault=None):
    """Returns the state; raises Broken, or LabError, where an invariant does not hold."""
    lab, before = bench.lab, bench.before
    state = check_end(lab, job, may_be_untold, revert, may_be_retold)
    if state == "committed":
        check_committed(bench, lab, before)
    else:
        check_unchanged(lab, before)
    check_data(lab, before, writer, len(before.members) + (state == "committed"), fault)
    check_backup(lab, job, state)
    check_host_records(lab, job, state)
    check_told(lab, job, state)
    check_settled(lab, job, state)
    check_nothing_left(lab)
    check_listeners(lab, before, state == "committed")
    return state
