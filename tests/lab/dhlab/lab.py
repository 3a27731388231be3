# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab as tests use it: `with Lab(name="x", hosts=3) as lab: …`."""

import concurrent.futures
import json
import re
import shutil
import sys
import time

from . import cgroup, cluster, compile as compiler, fingerprint, paths, preconditions, provision, \
    rootfs, switches as sw
from .errors import LabError
from .host import Host
from .net import Network, address
from .run import wait_until
from .writer import Writer


class Lab:
    """hosts: dh1..dhN at 10.128.1.149 and up; the first `members` of them are the cluster."""

    def __init__(self, name="lab", hosts=3, members=1, keys=3000, suite="trixie", switches=None,
                 dhetcd=True, meson_options=(), keep=False, replace=False):
        if not 1 <= members <= hosts <= 100:
            raise LabError(f"cannot make {members} members of {hosts} hosts",
                           hint="lab up --hosts 3 --members 1")
        self.name, self.suite, self.count = name, suite, hosts
        self.dir = paths.lab_dir(name)
        self.members_at_start, self.keys = members, keys
        self.switches = sw.checked(switches or {})
        self.dhetcd, self.meson_options, self.keep = dhetcd, list(meson_options), keep
        self.replace = replace  # up() ends a lab of that name that an earlier run left
        self.net = Network(name)
        self.hosts = [Host(self, n, address(n)) for n in range(1, hosts + 1)]
        self.lower, self.born, self.timings = "", 0.0, {}

    @classmethod
    def open(cls, name="lab"):
        """The lab of that name that is up."""
        try:
            facts = json.loads((paths.lab_dir(name) / "lab.json").read_text())
        except FileNotFoundError as e:
            raise LabError(f"no lab named '{name}' is up", hint=f"lab up --name {name}") from e
        lab = cls(name, facts["hosts"], facts["members"], facts["keys"], facts["suite"],
                  facts["switches"], facts["dhetcd"])
        lab.lower, lab.born, lab.timings = facts["lower"], facts["born"], facts["timings"]
        return lab

    # -- life -------------------------------------------------------------------------------
    def up(self):
        preconditions.check()
        base = rootfs.base(self.suite)
        if self.dhetcd:
            compiler.build(self.suite, self.meson_options)
        with self.lock():
            if (self.dir / "lab.json").exists() and not self.replace:
                raise LabError(f"a lab named '{self.name}' is up already",
                               hint=f"lab down --name {self.name}")
            self.clear()
            try:
                self.create(base)
            except BaseException:
                if not self.keep:
                    self.save_logs("up")
                    self.clear()
                raise
        return self

    def create(self, base):
        self.born = time.time()
        self.dir.mkdir(parents=True)
        self.dir.chmod(0o711)  # hosts' users see it as the root of their own tree
        layers = [self.dir / "common"]
        if self.dhetcd:
            compiler.copy(self.dir / "install", self.suite, self.meson_options)
            layers.append(self.dir / "install")
        self.lower = ":".join(str(x) for x in [*layers, base])
        provision.common(self)
        for host in self.hosts:
            provision.host(self, host)
        self.mark("prepared")
        self.net.up()
        for host in self.hosts:
            host.start()
        self.all(lambda h: h.wait_booted())
        self.mark("booted")
        cluster.create(self, self.members_at_start, self.keys)
        self.mark("cluster")
        facts = {"hosts": self.count, "members": self.members_at_start, "keys": self.keys,
                 "suite": self.suite, "switches": self.switches, "dhetcd": self.dhetcd,
                 "lower": self.lower, "born": self.born, "timings": self.timings}
        paths.write(self.dir / "lab.json", json.dumps(facts, indent=2) + "\n")

    def mark(self, what):
        self.timings[what] = round(time.time() - self.born, 2)

    def down(self):
        """Ends everything and leaves nothing, also of a lab that never came up."""
        with self.lock(remove=True):
            self.clear()

    def clear(self):
        Writer(self).kill()
        cgroup.kill(cgroup.of(self.name))
        self.net.down()
        if self.dir.exists():
            shutil.rmtree(self.dir)

    def lock(self, remove=False):
        return paths.lock(paths.state() / f".{self.name}.lock", 120, f"the lab '{self.name}'",
                          remove)

    def save_logs(self, of=""):
        """The consoles and journals of a lab that is torn down after a failure, or of one of several failures."""
        kept = paths.state() / f"{self.name}.failed" / re.sub(r"[^\w.@-]+", "-", of)
        shutil.rmtree(kept, ignore_errors=True)
        for host in self.hosts:
            console, journal = host.dir / "console.log", host.upper / "var/log/journal"
            (kept / host.name).mkdir(parents=True, exist_ok=True)
            if console.exists():
                shutil.copy2(console, kept / host.name)
            if journal.exists():
                shutil.copytree(journal, kept / host.name / "journal", dirs_exist_ok=True)
        print(f"lab '{self.name}' failed: consoles and journals are kept in {kept}\n"
              f"  next: journalctl -D {kept}/dh1/journal", file=sys.stderr)

    def __enter__(self):
        return self.up()

    def __exit__(self, kind, value, trace):
        if kind and self.keep:
            print(f"lab '{self.name}' is left up: lab status --name {self.name}", file=sys.stderr)
            return
        if kind:
            self.save_logs()
        self.down()

    # -- hosts ------------------------------------------------------------------------------
    def host(self, name):
        """A host by name ('dh2'), number (2) or address."""
        for host in self.hosts:
            if name in (host.name, host.number, host.address):
                return host
        raise LabError(f"no host named '{name}' in the lab '{self.name}': use "
                       + ", ".join(h.name for h in self.hosts))

    def all(self, work):
        """work(host) for all hosts at once; the results in order."""
        with concurrent.futures.ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(work, self.hosts))

    def exec(self, host, argv, check=True, timeout=60, **kwargs):
        return self.host(host).exec(argv, check=check, timeout=timeout, **kwargs)

    def read(self, host, path):
        return self.host(host).read(path)

    def write(self, host, path, text, mode=0o644):
        self.host(host).write(path, text, mode)

    def cut_power(self, host):
        self.host(host).cut_power()

    def boot(self, host, wait=True):
        at = self.host(host)
        at.start()
        if wait:
            at.wait_booted()
        self.plug(at)

    def journal(self, host, *args, timeout=60):
        return self.exec(host, ["journalctl", "--no-pager", *args], timeout=timeout).stdout

    def fingerprint(self, host):
        return fingerprint.take(self.host(host))

    # -- network ----------------------------------------------------------------------------
    def cuts(self):
        path = self.dir / "cuts.json"
        return json.loads(path.read_text()) if path.exists() else {"links": [], "pairs": []}

    def save_cuts(self, cuts):
        paths.write(self.dir / "cuts.json", json.dumps(cuts))

    def cut_link(self, host, other=None):
        """Takes a host off the network, or drops only what it and the other exchange."""
        at, cuts = self.host(host), self.cuts()
        if other is None:
            cuts["links"] = sorted({*cuts["links"], at.name})
            self.net.link(at.name, "down")
        else:
            pair = sorted([at.address, self.host(other).address])
            if pair not in cuts["pairs"]:
                cuts["pairs"].append(pair)
            self.net.drop_between(cuts["pairs"])
        self.save_cuts(cuts)

    def mend_link(self, host, other=None):
        """Undoes every cut of a host, or only the one to the other."""
        at, cuts = self.host(host), self.cuts()
        gone = self.host(other).address if other is not None else None
        cuts["pairs"] = [p for p in cuts["pairs"]
                         if at.address not in p or gone and gone not in p]
        if other is None and at.name in cuts["links"]:
            cuts["links"].remove(at.name)
        self.net.drop_between(cuts["pairs"])
        if other is None and at.init_pid():
            self.net.link(at.name, "up")
        self.save_cuts(cuts)

    def break_connections(self, host):
        """As a long cut does, at once: all TCP connections between a host and others are gone on both ends. False where
        some are left."""
        at = self.host(host)
        left = self.net.destroy(at.network(), ["not", "dst", at.address, "not", "dst", "127.0.0.0/8"])
        for network in (f"--net={self.net.path}", *(h.network() for h in self.hosts if h is not at and h.init_pid())):
            left += self.net.destroy(network, ["dst", at.address])
        return not left

    def plug(self, at):
        """After a boot: the link is new, a cut of it stays."""
        if at.name in self.cuts()["links"]:
            self.net.link(at.name, "down")

    # -- vendor stand-ins -------------------------------------------------------------------
    def set_switch(self, host, **changes):
        """Changes switches of one host, or of all with host=None; None takes one out."""
        sw.checked({k: v for k, v in changes.items() if v is not None})
        self.edit_conf(host, changes)

    def break_script(self, host, script, mode):
        sw.check_break(script, mode)
        self.edit_conf(host, {f"break_{script}": mode})

    def mend(self, host, script=None):
        if script:
            sw.check_break(script, "fail")
        self.edit_conf(host, {f"break_{s}": None for s in ([script] if script else sw.SCRIPTS)})

    def edit_conf(self, host, changes):
        for at in self.hosts if host is None else [self.host(host)]:
            path = "/etc/dh-standin.conf"
            try:
                text = at.read(path)
            except FileNotFoundError:  # off, and never changed: the file is the shared layer's
                text = (self.dir / "common/etc/dh-standin.conf").read_text()
            at.write(path, sw.edit(text, changes))

    # -- etcd -------------------------------------------------------------------------------
    def members(self):
        return cluster.members(self)

    def etcdctl(self, host, *args, **kwargs):
        """Real etcdctl as root, run in a host against its own member."""
        return cluster.etcdctl(self, self.host(host), *args, **kwargs)

    def wait_healthy(self, count, timeout=60):
        """Until `count` voters have started and answer, with one leader."""
        def healthy():
            now = self.members()
            voters = [m for m in now["members"] if not m.get("isLearner") and m.get("name")]
            leaders = {s["Status"]["leader"] for s in now["status"]}
            return (len(voters) == len(now["members"]) == len(now["status"]) == count
                    and len(leaders) == 1 and now)
        return wait_until(f"{count} healthy voters", healthy, timeout,
                          hint=f"lab members --name {self.name}")

    def writer(self, **kwargs):
        """A client that writes all the time: start(), stop(), check(); also `with`."""
        return Writer(self, **kwargs)

    def status(self):
        links = self.net.links() if self.net.path.exists() else {}
        rows = []
        for h in self.hosts:
            pid, unit = h.init_pid(), "-"
            if pid:
                unit = h.exec(["systemctl", "is-active", "dh-etcd"], check=False).stdout.strip()
            rows.append({"host": h.name, "address": h.address, "init": pid, "dh-etcd": unit,
                         "link": {True: "up", False: "cut"}.get(links.get(h.name), "-")})
        return rows
