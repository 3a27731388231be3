# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line: `lab VERB …`. Each verb is one small function."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from . import compile as compiler, fingerprint, paths, preconditions, rootfs, switches as sw
from .errors import CannotRun, LabError
from .host import ENVIRONMENT
from .lab import Lab

EPILOG = f"""\
switches of `up --switch NAME=VALUE` (the default is the first):
{chr(10).join(f"  {n:<16} {'|'.join(v):<30} {t}" for n, (v, _, t) in sw.SWITCHES.items())}

scripts for `break`: {', '.join(sw.SCRIPTS)}
modes for `break`:   {', '.join(sw.MODES)}

files: $DHETCD_LAB_CACHE (/var/cache/dhetcd-lab) root file systems and builds
       $DHETCD_LAB_DIR   (/var/lib/dhetcd-lab)   one directory for each lab that is up
exit codes: 0 done; 1 failed; 2 wrong usage; 77 the lab cannot run here; exec: the command's own
"""


def show(value):
    print(json.dumps(value, indent=2))


def do_check(_):
    preconditions.check()
    print("the lab can run here")


def do_base(args):
    print(rootfs.base(args.suite, args.rebuild))
    if args.build_too:
        print(rootfs.root("build", args.suite, args.rebuild))


def do_build(args):
    preconditions.check()
    print(compiler.build(args.suite, args.meson_option))


def do_up(args):
    try:
        switches = dict(x.split("=", 1) for x in args.switch)
    except ValueError as e:
        raise LabError("--switch needs NAME=VALUE", hint="lab up --help") from e
    began = time.monotonic()
    lab = Lab(args.name, args.hosts, args.members, args.keys, args.suite, switches,
              not args.without_dhetcd, args.meson_option, args.keep, args.replace)
    lab.up()
    print(f"lab '{args.name}' is up in {time.monotonic() - began:.1f} s {lab.timings}: "
          + ", ".join(f"{h.name} {h.address}" for h in lab.hosts))


def do_down(args):
    names = [args.name]
    if args.all:
        names = sorted(p.name for p in paths.state().glob("*")
                       if p.is_dir() and not p.name.endswith(".failed") and p.name[0] != ".")
    for name in names:
        Lab(name).down()


def do_status(args):
    lab = Lab.open(args.name)
    rows = lab.status()
    if args.json:
        show(rows)
        return
    print(f"lab {lab.name} ({lab.suite}), up since {time.ctime(lab.born)}, {lab.dir}")
    for r in rows:
        print(f"  {r['host']:<6} {r['address']:<14} {'running' if r['init'] else 'off':<8} "
              f"link {r['link']:<4} dh-etcd {r['dh-etcd']}")


def do_exec(args):
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise LabError("no command given", hint="lab exec dh1 -- systemctl status dh-etcd")
    host = Lab.open(args.name).host(args.host)
    argv = host.enter(command, args.timeout)
    sys.exit(subprocess.run(argv, env=ENVIRONMENT, check=False).returncode)


def do_shell(args):
    host = Lab.open(args.name).host(args.host)
    argv = host.enter(["/bin/bash", "-l"])
    env = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    sys.exit(subprocess.run(argv, env=env, check=False).returncode)


def do_journal(args):
    host = Lab.open(args.name).host(args.host)
    if host.init_pid():
        argv = host.enter(["journalctl", "--no-pager", *args.args])
    else:
        argv = ["journalctl", "--no-pager", "-D", str(host.upper / "var/log/journal"), *args.args]
    sys.exit(subprocess.run(argv, env=ENVIRONMENT, check=False).returncode)


def do_fingerprint(args):
    if not args.diff:
        if not args.host:
            raise LabError("no host given", hint="lab fingerprint dh1")
        show(Lab.open(args.name).fingerprint(args.host))
        return
    a, b = (json.load(open(x, encoding="utf-8")) for x in args.diff)
    lines = fingerprint.diff(a, b)
    print("\n".join(lines) or "no difference")
    sys.exit(1 if lines else 0)


def do_writer(args):
    writer = Lab.open(args.name).writer(name=args.writer, rate=args.rate)
    if args.action == "start":
        writer.start()
    elif args.action == "stop":
        writer.stop()
        show(writer.stats())
    else:
        show(writer.check())


def do_members(args):
    show(Lab.open(args.name).members())


def do_switch(args):
    try:
        changes = dict(x.split("=", 1) for x in args.switch)
    except ValueError as e:
        raise LabError("switches are NAME=VALUE", hint="lab switch dh1 ca=same") from e
    Lab.open(args.name).set_switch(None if args.host == "all" else args.host, **changes)


def simple(method, *names):
    """A verb that is one method of the lab with some of the arguments."""
    return lambda args: getattr(Lab.open(args.name), method)(*[getattr(args, n) for n in names])


def parser():
    top = argparse.ArgumentParser(
        prog="lab", description="Real systemd, sshd and etcd hosts on this machine, with stand-ins "
        "of the vendor's scripts, to test dhetcd on.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = top.add_subparsers(metavar="VERB", required=True)

    def verb(name, work, text, *positional, lab=True):
        one = verbs.add_parser(name, help=text, description=text)
        one.set_defaults(work=work)
        if lab:
            one.add_argument("--name", default="lab", help="which lab (default: lab)")
        for each in positional:
            one.add_argument(each)
        return one

    def suite(one):
        one.add_argument("--suite", default="trixie", help="trixie (default) or bookworm")
        return one

    def meson(one):
        one.add_argument("--meson-option", action="append", default=[], metavar="-DNAME=VALUE")

    verb("check", do_check, "say whether the lab can run here", lab=False)
    one = suite(verb("base", do_base, "build and cache the hosts' root file system", lab=False))
    one.add_argument("--rebuild", action="store_true", help="even if it is in the cache")
    one.add_argument("--build-too", action="store_true", help="the compiler's root as well")
    meson(suite(verb("build", do_build, "compile this tree for the hosts", lab=False)))
    one = suite(verb("up", do_up, "boot hosts and make a cluster"))
    one.add_argument("--hosts", type=int, default=3)
    one.add_argument("--members", type=int, default=1, help="how many hosts are etcd members")
    one.add_argument("--keys", type=int, default=3000, help="how many keys etcd holds")
    one.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE")
    one.add_argument("--without-dhetcd", action="store_true", help="do not build and install it")
    one.add_argument("--replace", action="store_true", help="end the one of that name first")
    one.add_argument("--keep", action="store_true", help="leave everything if it fails")
    meson(one)
    one = verb("down", do_down, "end a lab and leave nothing of it")
    one.add_argument("--all", action="store_true", help="every lab of this machine")
    one = verb("status", do_status, "show the hosts of a lab")
    one.add_argument("--json", action="store_true")
    one = verb("exec", do_exec, "run a command in a host, with its exit code", "host")
    one.add_argument("--timeout", type=int, help="seconds; exit 124 after them")
    one.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD")
    verb("shell", do_shell, "open a shell in a host", "host")
    verb("cut-power", simple("cut_power", "host"), "end all processes of a host at once", "host")
    verb("boot", simple("boot", "host"), "boot a host again, on its own disk", "host")
    for name, method, text in (("cut-link", "cut_link", "take a host off the network"),
                               ("mend-link", "mend_link", "bring it back")):
        one = verb(name, simple(method, "host", "other"), text, "host")
        one.add_argument("--from", dest="other", metavar="OTHER", help="only between these two")
    one = verb("journal", do_journal, "journalctl of a host, running or off", "host")
    one.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS")
    verb("break", simple("break_script", "host", "script", "mode"),
         "make a vendor script fail in a host", "host", "script", "mode")
    one = verb("mend", simple("mend", "host", "script"), "make vendor scripts work again", "host")
    one.add_argument("script", nargs="?")
    one = verb("switch", do_switch, "change switches of a running host, or of 'all'", "host")
    one.add_argument("switch", nargs="+", metavar="NAME=VALUE")
    one = verb("fingerprint", do_fingerprint, "what a rollback must bring back, as JSON")
    one.add_argument("host", nargs="?")
    one.add_argument("--diff", nargs=2, metavar=("A.json", "B.json"))
    verb("members", do_members, "member list and endpoint status as JSON")
    one = verb("writer", do_writer, "a client that writes all the time")
    one.add_argument("action", choices=("start", "stop", "check"))
    one.add_argument("--writer", default="writer", help="its name, for several at once")
    one.add_argument("--rate", type=float, default=0, help="writes a second (default: all it can)")
    return top


def main(argv=None):
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `up` cleans up
    try:
        args.work(args)
    except CannotRun as e:
        print(f"lab: {e}", file=sys.stderr)
        return 77
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
