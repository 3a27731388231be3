# SPDX-License-Identifier: LGPL-2.1-or-later
"""As much gRPC as the lab needs to speak to etcd, whatever its version and logins.

An answer counts only when its message came. A refusal comes as trailers alone, whose compressed
text is not decoded here: it is `Refused`, and that suffices to try another endpoint.
"""

import socket
import ssl
import struct
import time

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX = 2**31 - 1


class Refused(OSError):
    """The server answered without a message: an error status."""


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, value):
    """A protobuf field: int, bytes or str."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def fields(message):
    """(number, value) of a message's varint and bytes fields."""
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = message[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        elif tag & 7 == 2:
            size = number()
            yield tag >> 3, message[at:at + size]
            at += size
        else:
            raise ValueError(f"protobuf wire type {tag & 7} is not expected here")


def tls_context(ca_pem, cert=None, key=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=ca_pem)
    context.set_alpn_protocols(["h2"])
    if cert:
        context.load_cert_chain(cert, key)
    return context


class Channel:
    """One HTTP/2 connection; calls go one after another."""

    def __init__(self, raw, context, address):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(raw, server_hostname=address)
        self.address, self.stream = address, -1
        self.window, self.first_window, self.unacknowledged = 65535, 65535, 0
        self.buffer = b""
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                          + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, MAX))
                          + frame(WINDOW, 0, 0, struct.pack(">I", MAX - 65535)))

    def close(self):
        self.sock.close()

    def call(self, method, message=b"", token=None, timeout=5):
        """The answer's message; Refused, or another OSError when the connection is lost."""
        deadline = time.monotonic() + timeout
        self.stream += 2
        headers = [(":method", "POST"), (":scheme", "https"), (":path", "/etcdserverpb." + method),
                   (":authority", self.address), ("content-type", "application/grpc"),
                   ("te", "trailers")] + ([("authorization", token)] if token else [])
        block = b"".join(b"\0" + string(k) + string(v) for k, v in headers)
        body = b"\0" + struct.pack(">I", len(message)) + message
        if len(body) > 60000:
            raise ValueError("message too large for one window")
        while self.window < len(body):
            self.handle(*self.receive(deadline))
        self.window -= len(body)
        parts = [body[i:i + 16384] for i in range(0, len(body), 16384)]
        self.sock.settimeout(max(0.01, deadline - time.monotonic()))
        self.sock.sendall(frame(HEADERS, END_HEADERS, self.stream, block) + b"".join(
            frame(DATA, END_STREAM if part is parts[-1] else 0, self.stream, part)
            for part in parts))
        return self.answer(deadline)

    def answer(self, deadline):
        got, ended = b"", False
        while not ended:
            kind, flags, stream, payload = self.receive(deadline)
            if stream == self.stream and kind in (DATA, HEADERS):
                got += payload if kind == DATA else b""
                ended = bool(flags & END_STREAM)
            elif stream == self.stream and kind == RESET:
                raise Refused("stream reset")
            self.handle(kind, flags, stream, payload)
        if len(got) < 5 or len(got) != 5 + struct.unpack(">I", got[1:5])[0]:
            raise Refused("the server answered with an error status")
        return got[5:]

    def handle(self, kind, flags, stream, payload):
        """What every frame means for the connection."""
        if kind == DATA:
            self.unacknowledged += len(payload)
            if self.unacknowledged > 2**20:
                self.sock.sendall(frame(WINDOW, 0, 0, struct.pack(">I", self.unacknowledged)))
                self.unacknowledged = 0
        elif kind == SETTINGS and not flags & ACK:
            self.sock.sendall(frame(SETTINGS, ACK, 0, b""))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == WINDOW and stream == 0:
            self.window += struct.unpack(">I", payload)[0]
        elif kind == GOAWAY:
            raise ConnectionResetError("the server is going away")

    def receive(self, deadline):
        head = self.read(9, deadline)
        size = int.from_bytes(head[:3], "big")
        stream = int.from_bytes(head[5:9], "big") & MAX
        return head[3], head[4], stream, self.read(size, deadline)

    def read(self, size, deadline):
        while len(self.buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self.sock.settimeout(left)
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionResetError("the connection was closed")
            self.buffer += more
        out, self.buffer = self.buffer[:size], self.buffer[size:]
        return out


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") \
        + payload


def string(text):
    """An HPACK string, not compressed."""
    raw = text.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    return b"\x7f" + varint(len(raw) - 127) + raw
