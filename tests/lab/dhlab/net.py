# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's network: a namespace with one bridge, and nothing that leads out of it."""

import contextlib
import ctypes
import os
import pathlib
import socket

from .run import run

BRIDGE, BRIDGE_ADDRESS, FIRST_HOST = "br0", "10.128.1.1", 149
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def address(number):
    """Host 1 is 10.128.1.149, as on the vendor's page; past .254 it goes on from .2."""
    last = FIRST_HOST + number - 1
    return f"10.128.1.{last if last < 255 else last - 253}"


class Network:
    def __init__(self, lab):
        self.name = f"dhlab-{lab}"
        self.path = pathlib.Path("/run/netns") / self.name

    def up(self):
        run(["ip", "netns", "add", self.name])
        for command in (["link", "set", "lo", "up"],
                        ["link", "add", BRIDGE, "type", "bridge"],
                        ["addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE],
                        ["link", "set", BRIDGE, "up"]):
            run(["ip", "-n", self.name, *command])

    def down(self):
        if self.path.exists():
            run(["ip", "netns", "delete", self.name])

    def exec(self, argv, **kwargs):
        return run(["nsenter", f"--net={self.path}", "--", *argv], **kwargs)

    def link(self, host, state):
        """Plugs a host's cable in ('up') or out ('down')."""
        run(["ip", "-n", self.name, "link", "set", f"vb-{host}", state], host=host)

    def links(self):
        """{host: is its cable plugged in}, for the hosts that run."""
        out = self.exec(["ip", "-o", "link", "show", "type", "veth"]).stdout
        found = {}
        for line in out.splitlines():
            name = line.split(":")[1].split("@")[0].strip()
            flags = line.split("<")[1].split(">")[0].split(",")
            found[name.removeprefix("vb-")] = "UP" in flags
        return found

    def drop_between(self, pairs):
        """Drops all traffic between the two addresses of each pair, and nothing else."""
        rules = ["table bridge dhlab", "delete table bridge dhlab"]
        if pairs:
            drops = [f"ip saddr {a} ip daddr {b} drop" for x, y in pairs
                     for a, b in ((x, y), (y, x))]
            rules += ["table bridge dhlab {",
                      "chain cut { type filter hook forward priority 0; policy accept;",
                      *drops, "}", "}"]
        self.exec(["nft", "-f", "-"], input="\n".join(rules) + "\n")

    @staticmethod
    def destroy(network, which):
        """TCP connections of a namespace that ss's filter `which` finds; those that are still there after it, as lines.
        Some may be tried anew meanwhile."""
        ss = ["nsenter", network, "--", "ss", "--no-header", "--tcp", "--numeric"]
        run([*ss, "--kill", "state", "connected", *which])
        return run([*ss, "state", "established", *which]).stdout.splitlines()

    @contextlib.contextmanager
    def inside(self):
        """This thread works in the lab's namespace meanwhile."""
        with open("/proc/thread-self/ns/net", "rb") as own, open(self.path, "rb") as there:
            setns(there)
            try:
                yield
            finally:
                setns(own)

    def connect(self, to, port, timeout):
        with self.inside():
            return socket.create_connection((to, port), timeout)


def setns(f):
    if _libc.setns(f.fileno(), CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
