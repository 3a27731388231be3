# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which packages each of the lab's root file systems holds."""

import hashlib

from . import paths
from .errors import LabError
from .run import run

# What every host has, whatever the suite.
HOST = """
systemd systemd-sysv dbus polkitd openssh-server openssh-client etcd-server etcd-client openssl
tar gzip iproute2 procps curl ca-certificates sudo acl attr nftables
libjansson4 libyaml-0-2 libprotobuf-c1 libinih1 libacl1 libsystemd0 python3-apt
""".split()

# Suite: Debian version, and the names that changed between suites.
SUITES = {
    "trixie": ("13", ["libcurl4t64", "libarchive13t64", "libssl3t64"]),
    "bookworm": ("12", ["libcurl4", "libarchive13", "libssl3"]),
}


def lists(suite):
    """{'base': [...], 'build': [...]} for a suite."""
    if suite not in SUITES:
        raise LabError(f"no suite named '{suite}': use {' or '.join(SUITES)}")
    debian, libs = SUITES[suite]
    deps = run(["bash", str(paths.INSTALL_DEPS), "--list", "--debian", debian, "build"])
    return {"base": sorted(HOST + libs), "build": sorted(deps.stdout.split())}


def key(suite, packages, recipe):
    """Names a cached root file system: changes when what is in it would."""
    text = "\n".join([suite, *packages, recipe])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
