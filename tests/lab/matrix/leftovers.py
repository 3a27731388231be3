# SPDX-License-Identifier: LGPL-2.1-or-later
"""What no transaction may leave on a host once it has ended."""

import hashlib
import json

# The names of files that are written beside others, and of those that belong there.
TREES = ("/etc", "/var/lib/dhetcd", "/usr/illumon", "/root", "/tmp")
OURS = ("dhetcd-recover", "dhetcd-add", "dhetcd-repair")
# As the kernel cuts their names.
PROCESSES = ("ssh", "dhetcd-worker", "systemd-stdio-b")
UNITS = ("dhetcd-txn-*", "dhetcd-exec-*", "dhetcd-look-*", "dhetcd-install-*", "dhetcd-installer-*")


def lines(lab, host, argv):
    return [x for x in lab.exec(host.name, argv, check=False).stdout.splitlines() if x.strip()]


def units(lab, host):
    for line in lines(lab, host, ["systemctl", "list-units", "--plain", "--no-legend", "--all", *UNITS]):
        yield f"unit {line}"
    for line in lines(lab, host, ["systemctl", "--failed", "--plain", "--no-legend"]):
        if "dhetcd-add@" not in line:
            yield f"failed unit {line}"
    for line in lines(lab, host, ["systemctl", "list-jobs", "--plain", "--no-legend"]):
        if "No jobs" not in line:
            yield f"job of systemd {line}"


def processes(lab, host):
    for name in PROCESSES:
        if lines(lab, host, ["pgrep", "-x", name]):
            yield f"process {name}"


def files(host):
    state = host.path("/var/lib/dhetcd")
    if (state / "host/lock.json").exists():
        yield "a lock"
    for marker in state.glob("jobs/*/open"):
        yield f"an open job {marker.parent.name}"
    for runtime in host.path("/run").glob("dhetcd-*"):
        yield f"runtime directory {runtime.name}"
    for tree in TREES:
        top = host.path(tree)
        for path in top.rglob("*.dhetcd-*") if top.exists() else ():
            if not any(name in path.name for name in OURS):
                yield f"temporary file {tree}/{path.relative_to(top)}"


def inhibitors(lab, host):
    """logind's, of ours: (what, who, why, mode, uid, pid) each."""
    done = lab.exec(host.name, ["busctl", "--json=short", "call", "org.freedesktop.login1", "/org/freedesktop/login1",
                                "org.freedesktop.login1.Manager", "ListInhibitors"])
    for one in json.loads(done.stdout)["data"][0]:
        if "dhetcd" in one[1]:
            yield f"inhibitor {one}"


def store(host):
    """The snapshots are whole, as "dhetcd rollback" needs them, and the store has nothing but them."""
    top, needed = host.path("/var/lib/dhetcd/store"), set()
    for manifest in top.glob("snapshots/*"):
        if manifest.suffix != ".json":
            yield f"unfinished manifest {manifest.name}"
        else:
            needed |= {e["sha256"] for e in json.loads(manifest.read_text())["tree"]["entries"] if "sha256" in e}
    found = {path.parent.name + path.name: path for path in top.glob("objects/*/*")}
    for name in needed - found.keys():
        yield f"a snapshot without its object {name}"
    for name, path in found.items():
        if name not in needed:
            yield f"object {name} of no snapshot"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != name:
            yield f"damaged object {name}"


def of(lab, host):
    """One line for each thing."""
    return [f"{host.name}: {x}" for x in (*units(lab, host), *processes(lab, host), *inhibitors(lab, host), *files(host),
                                          *store(host))]


def listeners(lab, host):
    """What listens on the host: (address, port) of TCP."""
    found = set()
    for line in lines(lab, host, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]):
        fields = line.split()
        if fields[3:4] == ["0A"]:
            address, port = fields[1].rsplit(":", 1)
            found.add((address, int(port, 16)))
    return found


def told(lab, host, match):
    """The MESSAGE_IDs of the journal's lines that match."""
    return [json.loads(x).get("MESSAGE_ID")
            for x in lines(lab, host, ["journalctl", "--no-pager", "-o", "json", match])]
