# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a lab's hosts find on their disks at the first boot, written before it."""

import hashlib
import shutil

from . import net, paths
from .run import run

VERSION = "1.20250101.001"


def common(lab):
    """The layer that all hosts of a lab share: vendor tree, ssh, names."""
    top = lab.dir / "common"
    vendor_tree(top)
    keys = lab.dir / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    keygen(keys / "id_ed25519", f"dhetcd lab {lab.name}")
    private = (keys / "id_ed25519").read_bytes()
    public = (keys / "id_ed25519.pub").read_text()
    paths.write(top / "etc/dhetcd/ssh/id_ed25519", private, 0o600)
    paths.write(top / "etc/dhetcd/ssh/id_ed25519.pub", public)
    (top / "etc/dhetcd/ssh").chmod(0o700)
    paths.write(top / "root/.ssh/authorized_keys", public, 0o600)
    (top / "root").chmod(0o700)
    (top / "root/.ssh").chmod(0o700)
    known = []
    for host in lab.hosts:
        keygen(keys / host.name, host.name)
        key = " ".join((keys / f"{host.name}.pub").read_text().split()[:2])
        known.append(f"{host.name},{host.address} {key}\n")
    paths.write(top / "etc/ssh/ssh_known_hosts", "".join(known))
    paths.write(lab.dir / "known_hosts", "".join(known))
    names = "".join(f"{h.address} {h.name}\n" for h in lab.hosts)
    paths.write(top / "etc/hosts",
                f"127.0.0.1 localhost\n::1 localhost\n{net.BRIDGE_ADDRESS} lab\n{names}")
    paths.write(top / "etc/dh-standin.conf",
                "".join(f"{k}={v}\n" for k, v in sorted(lab.switches.items())))
    paths.write(top / "opt/deephaven/installer/cluster.cnf", cluster_cnf(lab.hosts))


def vendor_tree(top):
    tree = top / "usr/illumon" / VERSION
    shutil.copytree(paths.VENDOR, tree, ignore=shutil.ignore_patterns("installer"))
    (top / "usr/illumon/latest").symlink_to(VERSION)
    installer = top / "opt/deephaven/installer"
    shutil.copytree(paths.VENDOR / "installer", installer, ignore=shutil.ignore_patterns("java"))
    paths.write(installer / f"Installer-{VERSION}.jar", "stand-in of the installer\n")
    (top / "usr/local/bin").mkdir(parents=True)
    shutil.copy2(paths.VENDOR / "installer/java", top / "usr/local/bin/java")
    for each in [top, *top.rglob("*")]:  # whatever the checkout's owner and umask were
        if not each.is_symlink():
            shutil.chown(each, "root", "root")
            each.chmod(0o755 if each.is_dir() or each.stat().st_mode & 0o100 else 0o644)


def keygen(path, comment):
    if not path.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def host(lab, at):
    """The layer of one host."""
    at.upper.mkdir(parents=True)
    machine_id = hashlib.sha256(f"{lab.name}/{at.name}/{lab.born}".encode()).hexdigest()[:32]
    paths.write(at.upper / "etc/machine-id", machine_id + "\n", 0o444)
    paths.write(at.upper / "etc/hostname", at.name + "\n")
    keys = lab.dir / "keys"
    paths.write(at.upper / "etc/ssh/ssh_host_ed25519_key", (keys / at.name).read_bytes(), 0o600)
    paths.write(at.upper / "etc/ssh/ssh_host_ed25519_key.pub",
                (keys / f"{at.name}.pub").read_bytes())
    paths.write(at.upper / "etc/systemd/network/10-host0.network",
                f"[Match]\nName=host0\n\n[Network]\nAddress={at.address}/24\n"
                "LinkLocalAddressing=no\nIPv6AcceptRA=no\nLLDP=no\nEmitLLDP=no\n")


def cluster_cnf(hosts, generated=False):
    """cluster.cnf as an operator wrote it, and what the installer's jar adds to it."""
    text = ["# cluster.cnf of the lab", "DH_CLUSTER_NAME=lab", "DH_LOCAL_DIR=/opt/deephaven",
            'DH_REMOTE_DIR="/opt/deephaven/installer"', f"DH_VERSION={VERSION}"]
    for h in hosts:
        text += ["", f"#{'Infra' if h.number == 1 else f'Query{h.number - 1}'}",
                 f"DH_NODE_{h.number}_ADDRESS={h.address}",
                 f"DH_NODE_{h.number}_ROLE_INFRA={'true' if h.number == 1 else 'false'}",
                 f"DH_NODE_{h.number}_ROLE_ETCD=true",
                 f"DH_NODE_{h.number}_ROLE_QUERY={'false' if h.number == 1 else 'true'}"]
    if generated:
        text += ["", f"DH_NODE_COUNT={len(hosts)}"]
        text += [f'DH_NODE_{h.number}_FQDN="{h.name}"' for h in hosts]
    return "\n".join(text) + "\n"
