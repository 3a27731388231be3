# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the first cluster on the vendor's scripts, and asks it who its members are."""

import concurrent.futures
import json
import shutil

from .client import CLIENT, Client
from .errors import LabError
from .grpc import field
from .provision import cluster_cnf
from .run import wait_until

ILLUMON = "/usr/illumon/latest"
CONFIG = "/etc/etcd/dh/latest/config.yaml"
CHEAP = "bcrypt-cost: 4\n"  # by default etcd spends 0.06 s on each login, a fifth of what labs compute
PACKAGE = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
READ, READWRITE = 0, 2
ACCOUNTS = {"schema": ("/schema/", READWRITE), "schema-ro": ("/schema/", READ),
            "datarouting-ro": ("/datarouting/", READ),
            "datarouting-rw": ("/datarouting/", READWRITE),
            "acl-ro": ("/acl/", READ), "acl-rw": ("/acl/", READWRITE)}


def create(lab, members, keys):
    """A cluster of the first `members` hosts, with accounts and keys in it."""
    chosen = lab.hosts[:members]
    dh1 = chosen[0]
    dh1.exec([f"{ILLUMON}/install/etcd/config_generator.sh", "--self-signed", "--servers",
              *[h.address for h in chosen], "--root-user-dhadmin"])
    package = dh1.path(PACKAGE).read_bytes()
    with concurrent.futures.ThreadPoolExecutor(len(lab.hosts)) as pool:
        list(pool.map(lambda h: deploy(lab, h, h in chosen, package), lab.hosts))
        config = dh1.path(CONFIG)
        deployed = config.read_text()
        config.write_text(deployed + CHEAP)  # of the passwords that this member will be given
        list(pool.map(lambda h: h.exec(
            [f"{ILLUMON}/install/etcd/enable_dh_etcd_systemd.sh"], timeout=90), chosen))
    keep_credentials(lab, dh1, package)
    fill(lab, keys)
    config.write_text(deployed)


def deploy(lab, host, member, package):
    """What the vendor's installer leaves: everything on members, little on the others."""
    if member:
        at = "/root/etcdconfig"
        host.write(f"{at}/dh_etcd_config.tgz", package, 0o600)
        packager = f"{ILLUMON}/install/config_packager.sh"
        for action in (["unpackage-server", str(host.number)], ["unpackage-client"]):
            host.exec(["env", "-C", at, packager, "etcd", *action])
        shutil.rmtree(host.path(at))
        cnf = cluster_cnf([h for h in lab.hosts if h.number <= lab.members_at_start], True)
        host.write("/etc/sysconfig/deephaven/cluster.cnf", cnf)
    elif lab.switches.get("root_client") == "all":
        at = "/root/etcdconfig"
        host.write(f"{at}/dh_etcd_config.tgz", package, 0o600)
        host.exec(["env", "-C", at, f"{ILLUMON}/install/config_packager.sh", "etcd",
                   "unpackage-client"])
        shutil.rmtree(host.path(at))


def keep_credentials(lab, dh1, package):
    """A copy of the root client for the lab itself: root_client=none hides it on hosts."""
    at = "/root/kept"
    dh1.write(f"{at}/p.tgz", package, 0o600)
    dh1.exec(["tar", "-xzf", f"{at}/p.tgz", "-C", at])
    shutil.copytree(dh1.path(f"{at}/dh-etcd/client/root"), lab.dir / "creds")
    clients = dh1.path(f"{at}/dh-etcd/client")
    secrets = {c.name: (c / "password").read_text().strip() for c in clients.iterdir()}
    (lab.dir / "passwords.json").write_text(json.dumps(secrets))
    (lab.dir / "passwords.json").chmod(0o600)
    shutil.rmtree(dh1.path(at))


def fill(lab, keys):
    """Accounts with the passwords of the package, some thousands of keys, then auth on."""
    passwords = json.loads((lab.dir / "passwords.json").read_text())
    client = Client(lab, auth=False)
    wait_until("a member takes calls", lambda: client.connect(first=lab.hosts[0]), 30,
               lab.hosts[0].name, "lab journal dh1 -u dh-etcd")
    rows = [(f"/{('schema', 'datarouting', 'acl')[n % 3]}/key-{n:06d}", f"value {n} " + "x" * 100)
            for n in range(keys)]
    for at in range(0, len(rows), 120):
        client.put_many(rows[at:at + 120])
    client.call("Auth/RoleAdd", field(1, "root"))
    client.call("Auth/UserAdd", field(1, "root") + field(2, passwords["root"]))
    client.call("Auth/UserGrantRole", field(1, "root") + field(2, "root"))
    for name, (prefix, kind) in ACCOUNTS.items():
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = field(1, kind) + field(2, prefix) + field(3, end)
        client.call("Auth/RoleAdd", field(1, name))
        client.call("Auth/RoleGrantPermission", field(1, name) + field(2, permission))
        client.call("Auth/UserAdd", field(1, name) + field(2, passwords[name]))
        client.call("Auth/UserGrantRole", field(1, name) + field(2, name))
    client.call("Auth/AuthEnable")
    client.close()


def etcdctl(lab, host, *args, endpoints=None, password=None, check=True, timeout=20, **kwargs):
    """The real etcdctl as root, run in a host, with the credentials that work there now, or that password."""
    client = host.path(CLIENT)
    at = "/" + CLIENT
    if not (client / "password").is_file():
        at = "/run/dhlab-creds"
        for each in (lab.dir / "creds").iterdir():
            host.write(f"{at}/{each.name}", each.read_bytes(), 0o600)
        client = host.path(at)
    env = {"ETCDCTL_API": "3", "ETCDCTL_CACERT": f"{at}/cacert.pem",
           "ETCDCTL_ENDPOINTS": endpoints or f"https://{host.address}:2379"}
    if (client / "cert.pem").is_file():
        env |= {"ETCDCTL_CERT": f"{at}/cert.pem", "ETCDCTL_KEY": f"{at}/key.pem"}
    else:
        env["ETCDCTL_USER"] = f"root:{password or (client / 'password').read_text().strip()}"
    return host.exec(["/usr/bin/etcdctl", *args], env=env, check=check, timeout=timeout, **kwargs)


def members(lab):
    """{'members': [...], 'status': [...], 'errors': [...]} as real etcdctl gives them."""
    errors = []
    for host in lab.hosts:
        if not host.init_pid() or not host.reachable(2379):
            continue
        listed = etcdctl(lab, host, "member", "list", "-w", "json", check=False)
        if listed.returncode != 0:
            errors.append(f"{host.name}: {listed.stderr.strip().splitlines()[-1:]}")
            continue
        rows = json.loads(listed.stdout)["members"]
        status = []
        for row in rows:
            row["id_hex"] = format(row["ID"], "x")
            for url in row.get("clientURLs", []):
                one = etcdctl(lab, host, "endpoint", "status", "-w", "json", endpoints=url,
                              check=False)
                if one.returncode == 0:
                    status += json.loads(one.stdout)
                else:
                    errors.append(f"{url}: {one.stderr.strip().splitlines()[-1:]}")
        return {"members": rows, "status": status, "errors": errors}
    raise LabError("no host gives the member list" + "".join(f"\n  {e}" for e in errors),
                   hint=f"lab status --name {lab.name}")
