# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vendor's manual procedure, steps 3 to 7, done to the letter on a lab's hosts."""

import re

from dhlab.run import wait_until

ILLUMON = "/usr/illumon/latest"
CLIENTS = "/etc/sysconfig/deephaven/etcd/client"
PACKAGE = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
CONFIG = "/etc/etcd/dh/latest/config.yaml"
AT = "/tmp/etcdconfig"


def etcdctl(lab, host, endpoints, *args):
    """sudo -u $DH_ADMIN_USER ETCDCTL_ENDPOINTS=… etcdctl.sh …"""
    given = ",".join(f"https://{h.address}:2379" for h in endpoints)
    return host.exec(["sudo", "-u", "irisadmin", f"ETCDCTL_ENDPOINTS={given}",
                      f"{ILLUMON}/bin/etcdctl.sh", *args]).stdout


def edit(host, key, value):
    host.exec(["sed", "-i", f"s|^{key}:.*|{key}: {value}|", CONFIG])


def generate(lab, nodes):
    """Step 3: a package for all nodes, with the passwords that the cluster has."""
    first = nodes[0]
    cluster_id = first.exec(["readlink", "/etc/etcd/dh/latest"]).stdout.strip().split("/")[-1]
    first.exec([f"{ILLUMON}/install/etcd/config_generator.sh", "--self-signed", "--servers",
                *[h.address for h in nodes], "--cluster-id", cluster_id, "--root-user-dhadmin"])
    first.exec(["mkdir", "-p", AT])
    first.exec(["cp", PACKAGE, AT])
    first.exec(["tar", "-C", AT, "-xf", f"{AT}/dh_etcd_config.tgz"])
    for user in first.exec(["ls", CLIENTS]).stdout.split():
        first.exec(["cp", "-f", f"{CLIENTS}/{user}/password", f"{AT}/dh-etcd/client/{user}/"])
    first.exec(["tar", "-C", AT, "-czf", f"{AT}/dh_etcd_config.tgz", "dh-etcd"])
    return first.path(f"{AT}/dh_etcd_config.tgz").read_bytes()


def deploy(nodes, package):
    """Step 4."""
    for number, host in enumerate(nodes, 1):
        host.write(f"{AT}/dh_etcd_config.tgz", package, 0o600)
        for action in (["unpackage-server", str(number)], ["unpackage-client"]):
            host.exec(["env", "-C", AT, f"{ILLUMON}/install/config_packager.sh", "etcd", *action])


def add(lab, members, new, number):
    """Steps 6 and 7: one node, as learner, then promoted."""
    some = [*members, new]
    listed = ",".join(f"etcd-{n}=https://{h.address}:2380" for n, h in enumerate(some, 1))
    for host in some:
        edit(host, "initial-cluster", listed)
    edit(new, "initial-cluster-state", "existing")
    for host in members:
        host.exec(["systemctl", "restart", "dh-etcd"])

    def added():
        return etcdctl(lab, members[0], members, "member", "add", f"etcd-{number}",
                       f"--peer-urls=https://{new.address}:2380", "--learner")
    said = wait_until("member add is taken", added, 20)
    member_id = re.search(r"Member +([0-9a-f]+) added", said).group(1)
    new.exec([f"{ILLUMON}/install/etcd/enable_dh_etcd_systemd.sh"], timeout=90)
    wait_until("the learner is promoted", lambda: etcdctl(
        lab, members[0], members, "member", "promote", member_id), 30, every=0.5)
    edit(new, "initial-cluster-state", "new")
    new.exec(["systemctl", "restart", "dh-etcd"])


def grow(lab, members, new):
    """From `members` to `members` + `new`, by the page."""
    members, new = [lab.host(m) for m in members], [lab.host(n) for n in new]
    deploy([*members, *new], generate(lab, [*members, *new]))
    for host in new:
        add(lab, members, host, len(members) + 1)
        members.append(host)
