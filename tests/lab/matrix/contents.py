# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hosts' files after a commit: as an undisturbed one leaves them, and as each host's own package has them."""

import hashlib
import io
import tarfile

PACKAGE = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
# Whose content the generator makes anew each time: its certificates, and with a new CA what trusts it.
CERTIFICATES = {"peer.crt", "peer.key", "server.crt", "server.key", PACKAGE.rsplit("/", 1)[-1]}
AUTHORITIES = {"ca.crt", "ca.key", "cacert.pem"}


def layout(lab, states):
    """{host: {path: facts}}: what is the same after each commit, which is all but times and what is made anew."""
    anew = CERTIFICATES | (AUTHORITIES if lab.switches["ca"] == "new" else set())

    def facts(path, entry):
        dropped = ("mtime_ns", "sha256", "size") if path.rsplit("/", 1)[-1] in anew else ("mtime_ns",)
        return {k: v for k, v in entry.items() if k not in dropped}
    return {name: {path: facts(path, entry) for path, entry in state["files"].items()} for name, state in states.items()}


def packages(lab):
    """The digests of the hosts' packages."""
    return {hashlib.sha256(h.path(PACKAGE).read_bytes()).hexdigest() for h in lab.hosts}


def below(top):
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def differs(have, wanted, where):
    return [f"{where}/{name}" for name in sorted(have.keys() | wanted.keys()) if have.get(name) != wanted.get(name)]


def of_package(host):
    """Paths of the host that are not what its package has for it."""
    with tarfile.open(fileobj=io.BytesIO(host.path(PACKAGE).read_bytes())) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}

    def part(name):
        return {path.removeprefix(name): data for path, data in files.items()
                if path.startswith(name) and not path.endswith("/.dhadmin")}
    server, client = "/etc/etcd/dh/latest", "/etc/sysconfig/deephaven/etcd/client"
    return (differs(below(host.path(server, follow=True)), part(f"dh-etcd/server/{host.number}/"), server)
            + differs(below(host.path(client)), part("dh-etcd/client/"), client))
