# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the vendor stand-ins leave open, and the ways in which they can break."""

import re

from .errors import LabError

# Name: (values, default, meaning). Every value None means free text.
SWITCHES = {
    "ca": (("new", "same"), "new", "config_generator.sh makes a new CA, or keeps its own"),
    "id_length": (("9", "8"), "9", "characters of the cluster ID"),
    "latest": (("relative", "absolute"), "relative", "kind of the link /etc/etcd/dh/latest"),
    "client_auth": (("password", "cert"), "password", "clients log in with passwords or with "
                                                      "certificates"),
    "root_client": (("members", "all", "none"), "members", "hosts that get the root client's "
                                                           "folder"),
    "generator_state": (("new", "existing"), "new", "initial-cluster-state that the generator "
                                                    "writes"),
    "data_dir": (("parent", "full", "none", "wrong-owner"), "parent",
                 "what unpackage-server makes below /var/lib/etcd/dh"),
}
SCRIPTS = ("config_generator", "config_packager.unpackage-server",
           "config_packager.unpackage-client", "enable_dh_etcd_systemd", "etcdctl",
           "master_install", "installer_jar")
MODES = ("fail", "hang", "slow", "stderr", "half", "half-fail", "half-hang")


def checked(given):
    """The switches with their defaults; an unknown name or value is refused."""
    for name, value in given.items():
        if name not in SWITCHES:
            raise LabError(f"no switch named '{name}': use {', '.join(SWITCHES)}")
        if str(value) not in SWITCHES[name][0]:
            raise LabError(f"{name} cannot be '{value}': use {' or '.join(SWITCHES[name][0])}")
    return {n: str(given.get(n, default)) for n, (_, default, _) in SWITCHES.items()}


def check_break(script, mode):
    if script not in SCRIPTS:
        raise LabError(f"no script named '{script}': use {', '.join(SCRIPTS)}")
    if mode not in MODES and not re.fullmatch(r"slow-\d+", mode):
        raise LabError(f"no mode named '{mode}': use {', '.join(MODES)}, slow-SECONDS")


def edit(text, changes):
    """The stand-ins' KEY=value file with keys set, or taken out where the value is None."""
    lines = [x for x in text.splitlines() if x.split("=")[0] not in changes]
    lines += [f"{k}={v}" for k, v in changes.items() if v is not None]
    return "\n".join(lines) + "\n"
