# SPDX-License-Identifier: LGPL-2.1-or-later
"""An etcd client that finds its way: certificates, passwords and members as they are now."""

import pathlib

from . import grpc
from .errors import LabError
from .grpc import field

CLIENT = "etc/sysconfig/deephaven/etcd/client/root"


class Client:
    """Speaks to whichever host of the lab takes its calls. `lab` gives hosts, net and dir."""

    def __init__(self, lab, auth=True, user="root"):
        self.lab, self.auth, self.user = lab, auth, user
        self.channel = self.token = None
        self.authorities, self.turn = [], 0

    def close(self):
        if self.channel:
            self.channel.close()
        self.channel = self.token = None

    def folders(self):
        """Root client folders: the hosts' own as they are now, then the one kept at creation."""
        found = [h.upper / CLIENT for h in self.lab.hosts] + [self.lab.dir / "creds"]
        return [f for f in found if (f / "password").is_file()]

    def trust(self):
        """Every CA ever seen on a host, so that old and new certificates are both accepted."""
        for host in self.lab.hosts:
            for path in [*host.upper.glob("etc/sysconfig/deephaven/etcd/client/*/cacert.pem"),
                         *host.upper.glob("etc/etcd/dh/*/ssl/ca.crt")]:
                try:
                    text = path.read_text()
                except OSError:
                    continue
                if "END CERTIFICATE" in text and text not in self.authorities:
                    self.authorities.append(text)
        kept = self.lab.dir / "creds/cacert.pem"
        if kept.exists() and kept.read_text() not in self.authorities:
            self.authorities.append(kept.read_text())
        return "".join(self.authorities)

    def connect(self, timeout=1.0, first=None):
        """Opens a channel to some host that takes calls, and logs in."""
        self.close()
        hosts = self.lab.hosts
        order = [hosts[(self.turn + i) % len(hosts)] for i in range(len(hosts))]
        errors = []
        for host in [first] if first else order:
            for folder in self.folders() or [None]:
                try:
                    self.connect_to(host, folder, timeout)
                    self.turn = hosts.index(host)
                    return host
                except (OSError, ValueError) as e:
                    errors.append(f"{host.name}: {e}")
                    self.close()
                    if isinstance(e, ConnectionRefusedError):
                        break
        self.turn += 1
        raise OSError("no member takes calls: " + "; ".join(dict.fromkeys(errors)))

    def connect_to(self, host, folder, timeout):
        cert, key = (folder / "cert.pem", folder / "key.pem") if folder else (None, None)
        if cert and not cert.exists():
            cert = key = None
        context = grpc.tls_context(self.trust(), cert, key)
        raw = self.lab.net.connect(host.address, 2379, timeout)
        raw.settimeout(timeout)
        try:
            self.channel = grpc.Channel(raw, context, host.address)
        except BaseException:
            raw.close()
            raise
        if self.auth:
            password = pathlib.Path(folder / "password").read_text().strip()
            ask = field(1, self.user) + field(2, password)
            answer = self.channel.call("Auth/Authenticate", ask, timeout=max(timeout, 2))
            self.token = dict(grpc.fields(answer))[2].decode()

    def call(self, method, message=b"", timeout=5):
        if not self.channel:
            self.connect()
        return self.channel.call(method, message, self.token, timeout)

    def put(self, key, value, timeout=5):
        return self.call("KV/Put", field(1, key) + field(2, value), timeout)

    def put_many(self, pairs, timeout=10):
        """One transaction of at most 120 puts."""
        operations = [field(2, field(2, field(1, k) + field(2, v))) for k, v in pairs]
        self.call("KV/Txn", b"".join(operations), timeout)

    def read_prefix(self, prefix, page=2000):
        """{key: value} of all keys that begin with prefix."""
        found, start = {}, prefix.encode()
        end = start[:-1] + bytes([start[-1] + 1])
        while True:
            answer = self.call("KV/Range", field(1, start) + field(2, end) + field(3, page),
                               timeout=20)
            rows, more = [], 0
            for number, value in grpc.fields(answer):
                if number == 2:
                    rows.append(dict(grpc.fields(value)))
                elif number == 3:
                    more = value
            for row in rows:
                found[row[1].decode()] = row.get(5, b"").decode()
            if not more:
                return found
            if not rows:
                raise LabError("etcd says there are more keys and sends none")
            start = rows[-1][1] + b"\0"
