# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a rollback must bring back, byte for byte: a host's etcd configuration as JSON."""

import hashlib
import json
import os
import stat

TREES = ("/etc/etcd/dh", "/etc/sysconfig/deephaven/etcd")
UNIT_DIR = "/etc/systemd/system"
DATA = "/var/lib/etcd/dh"


def take(host):
    found = {}
    for tree in TREES:
        walk(host.path(tree), tree, found)
    for name in unit_files(host.path(UNIT_DIR)):
        walk(host.path(UNIT_DIR) / name, f"{UNIT_DIR}/{name}", found)
    result = {"host": host.name, "files": dict(sorted(found.items())), "data": data(host.path(DATA)),
              "unit": unit(host)}
    result["sha256"] = digest(result)
    return result


def data(path):
    """The directory of etcd's data as ".", and what is in it by name; None where it is not there."""
    if not path.is_dir():
        return None
    found = {name: entry(path / name, content=False) for name in (".", *sorted(os.listdir(path)))}
    entries = {name: each for name, each in found.items() if each}
    for name, each in entries.items():
        each.pop("mtime_ns")  # etcd writes there
        if name != "." and each["type"] == "directory":
            each["empty"] = not os.listdir(path / name)
    return entries


def unit_files(units):
    """dh-etcd's unit, its drop-ins, and the links that enable it, absolute ones included."""
    if not units.is_dir():
        return []
    names = sorted(os.listdir(units))
    wants = [f"{n}/dh-etcd.service" for n in names if n.endswith((".wants", ".requires"))]
    return [n for n in names if n.startswith("dh-etcd.service")] + wants


def digest(result):
    facts = {k: v for k, v in result.items() if k != "sha256"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def walk(path, name, found):
    if not os.path.lexists(path):
        return
    one = entry(path)
    if one is None:
        return
    found[name] = one
    if one["type"] == "directory":
        for child in sorted(os.listdir(path)):
            walk(path / child, f"{name}/{child}", found)


def entry(path, content=True):
    """One path's facts; None for what an overlay's own layer marks as deleted."""
    st = os.lstat(path)
    if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:
        return None
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link",
             stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "char device",
             stat.S_IFBLK: "block device"}
    kind = kinds[stat.S_IFMT(st.st_mode)]
    one = {"type": kind, "mode": f"{stat.S_IMODE(st.st_mode):04o}", "uid": st.st_uid,
           "gid": st.st_gid, "mtime_ns": st.st_mtime_ns}
    if kind == "file" and content:
        one["size"] = st.st_size
        with open(path, "rb") as f:
            one["sha256"] = hashlib.file_digest(f, "sha256").hexdigest()
    if kind == "link":
        one["target"] = os.readlink(path)
    attributes = {n: os.getxattr(path, n, follow_symlinks=False).hex()
                  for n in sorted(os.listxattr(path, follow_symlinks=False))
                  if not n.startswith("trusted.overlay.")}
    if attributes:
        one["xattrs"] = attributes
    return one


def unit(host):
    """Load, active and enabled state of dh-etcd; None while the host is off."""
    if not host.init_pid():
        return None
    done = host.exec(["systemctl", "show", "dh-etcd.service", "--property=LoadState,ActiveState,"
                      "SubState,UnitFileState,NeedDaemonReload"])
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def diff(a, b, prefix=""):
    """One line for each difference, as text."""
    lines = []
    for key in sorted({*a, *b}):
        if key == "sha256" and not prefix:
            continue
        name = f"{prefix}{key}"
        if key not in b:
            lines.append(f"- {name}: {brief(a[key])}")
        elif key not in a:
            lines.append(f"+ {name}: {brief(b[key])}")
        elif isinstance(a[key], dict) and isinstance(b[key], dict):
            lines += diff(a[key], b[key], f"{name} ")
        elif a[key] != b[key]:
            lines.append(f"! {name}: {brief(a[key])} → {brief(b[key])}")
    return lines


def changed(before, now):
    """The names of the files that are not the same, whatever their times."""
    def facts(one):
        return {k: v for k, v in one.items() if k != "mtime_ns"} if one else None
    files = before["files"], now["files"]
    return {name for name in {*files[0], *files[1]} if facts(files[0].get(name)) != facts(files[1].get(name))}


def undone(before, now):
    """What is not as it was, as diff(). What was moved aside may stay, and with it the directory that it is in: it is
    data, and data is never deleted."""
    was, found = before["data"], now["data"]
    aside = {name for name in found or {} if ".dhetcd-" in name and name not in (was or {})}
    left = {name: e for name, e in (found or {}).items() if name not in aside}
    return diff(before, {**now, "data": None if was is None and aside and left.keys() == {"."} else left or found})


def brief(value):
    return value.get("type", json.dumps(value)) if isinstance(value, dict) else json.dumps(value)
