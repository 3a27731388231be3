# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two cached root file systems: `base` (a host) and `build` (a compiler)."""

import os
import shutil
import sys

from . import packages, paths
from .errors import LabError
from .run import run

IRISADMIN_ID = 2001
RECIPE = "4"  # raise it when finish_base() changes

MASKED = """
etcd.service getty@tty1.service console-getty.service apt-daily.timer apt-daily-upgrade.timer
dpkg-db-backup.timer fstrim.timer e2scrub_all.timer systemd-firstboot.service
systemd-networkd-wait-online.service sshd-keygen.service systemd-pstore.service
""".split()

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
MaxStartups 100:30:200
LoginGraceTime 30
"""

JOURNALD = """\
[Journal]
Storage=persistent
RateLimitIntervalSec=0
SystemMaxUse=200M
"""


def root(kind, suite, rebuild=False, say=print):
    """The path of a root file system, built now if it is not in the cache."""
    names = packages.lists(suite)[kind]
    where = paths.cache() / f"{kind}-{suite}-{packages.key(suite, names, RECIPE)}"
    if where.is_dir() and not rebuild:
        return where
    with paths.lock(paths.cache() / f"{kind}-{suite}.lock", 900, where):
        if where.is_dir() and rebuild:
            remove(where)
        if not where.is_dir():
            say(f"building the {suite} root file system '{kind}' ({len(names)} packages) …")
            build(kind, suite, names, where)
    return where


def build(kind, suite, names, where):
    fresh = where.with_name(where.name + ".new")
    log = where.with_name(where.name + ".log")
    if fresh.exists():
        shutil.rmtree(fresh)
    with open(log, "wb") as out:
        done = run(["mmdebstrap", "--variant=minbase", "--include=" + ",".join(names), suite,
                    str(fresh)], timeout=900, check=False, stdout=out, stderr=out)
    if done.returncode != 0:
        end = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise LabError(f"mmdebstrap could not build '{kind}' of {suite}: {' / '.join(end)}",
                       hint=f"cat {log}")
    if kind == "base":
        finish_base(fresh)
    paths.write(fresh / "etc/resolv.conf", "")
    os.rename(fresh, where)


def finish_base(at):
    """What every host of every lab has in common, and no package brings."""
    for unit in MASKED:
        link = at / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for wants in (at / "etc/systemd/system").glob("*.wants/*"):
        if wants.name in MASKED:
            wants.unlink()
    enable = at / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    enable.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    for generator in (at / "usr/lib/systemd/system-generators").iterdir():  # a container has nothing for them
        link = at / "etc/systemd/system-generators" / generator.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to("/dev/null")
    drop_lines(at / "etc/pam.d/common-session", "pam_systemd")  # stopping user@0.service may hang for 120 s
    drop_lines(at / "etc/pam.d/sshd", "pam_motd")  # it runs scripts for each connection
    for old in (at / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    paths.write(at / "etc/ssh/sshd_config.d/10-lab.conf", SSHD)
    paths.write(at / "etc/systemd/journald.conf.d/10-lab.conf", JOURNALD)
    (at / "var/log/journal").mkdir(exist_ok=True)
    admin = str(IRISADMIN_ID)
    run(["chroot", str(at), "groupadd", "--gid", admin, "irisadmin"])
    run(["chroot", str(at), "useradd", "--uid", admin, "--gid", admin, "--create-home",
         "--shell", "/bin/bash", "irisadmin"])
    (at / "etc/machine-id").unlink(missing_ok=True)
    (at / "etc/hostname").unlink(missing_ok=True)


def drop_lines(path, word):
    path.write_text("".join(x for x in path.read_text().splitlines(True) if word not in x))


def remove(where):
    """Removes a cached root, unless a lab stands on it."""
    for facts in paths.state().glob("*/lab.json"):
        if str(where) in facts.read_text(encoding="utf-8"):
            raise LabError(f"the lab '{facts.parent.name}' runs on {where}",
                           hint=f"lab down --name {facts.parent.name}")
    shutil.rmtree(where)


def base(suite="trixie", rebuild=False, say=lambda text: print(text, file=sys.stderr)):
    return root("base", suite, rebuild, say)
