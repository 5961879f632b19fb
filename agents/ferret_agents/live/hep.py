"""HEP3: signalling for HOMER, as capture agents send it (HEP3 network protocol specification, rev. 36).

A packet is "HEP3", its length (2), and chunks: vendor (2), type (2), length with this head (2), value. SIP is protocol
type 1. Diameter is type 56, its AVPs as JSON, as HOMER wants to show them. GTPv2-C and S1AP have no type of their own:
they go as octets under the one that the configuration says. The collector may be down or slow: that is its affair.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferret.errors import ConfigError, DecodeError, RecordError
from ferret.protocols import diameter, sip
from ferret.protocols.summary import Protocol
from ferret.queue import decode_captured
from ferret.records.message import CapturedMessage
from ferret_agents.live.background import Background

SIP_TYPE, DIAMETER_TYPE = 1, 56
OTHER_TYPE: Final = 100
"""HOMER keeps what is of this type as text or octets, and asks no questions."""
_CHUNK = struct.Struct(">HHH")
_HEAD = struct.Struct(">4sH")
_LONGEST: Final = 0xFFFF
_NUMBERS: Final = {"udp": 17, "tcp": 6, "sctp": 132}
_SESSION_ID: Final = 263
_MOST_WAITING: Final = 10_000
_CONNECT_WITHIN: Final = 2.0  # seconds
_RETRY: Final = 5.0  # seconds between two attempts to connect


@dataclass(frozen=True, slots=True)
class HepConfig:
    """Where to, and as whom."""

    host: str
    port: int
    transport: str = "udp"  # or tcp
    capture_id: int = 2001
    key: str = ""
    other_type: int = OTHER_TYPE  # protocol type of GTPv2-C and S1AP
    name: str = "ferret"


def encode(message: CapturedMessage, config: HepConfig) -> bytes:
    """A message as a HEP3 packet. Raises RecordError for one that is too long for it."""
    source = ipaddress.ip_address(message.source.address)
    destination = ipaddress.ip_address(message.destination.address)
    is_ipv4 = source.version == 4
    seconds, nanoseconds = divmod(message.captured_at_ns, 1_000_000_000)
    kind, payload, correlation = _payload(message, config.other_type)
    chunks = [
        (1, struct.pack(">B", socket.AF_INET if is_ipv4 else 10)),
        (2, struct.pack(">B", _NUMBERS.get(message.transport, 0))),
        (3 if is_ipv4 else 5, source.packed),
        (4 if is_ipv4 else 6, destination.packed),
        (7, struct.pack(">H", message.source.port)),
        (8, struct.pack(">H", message.destination.port)),
        (9, struct.pack(">I", seconds & 0xFFFFFFFF)),
        (10, struct.pack(">I", nanoseconds // 1000)),
        (11, struct.pack(">B", kind)),
        (12, struct.pack(">I", config.capture_id)),
        (19, (message.agent or config.name).encode()),
    ]
    if config.key:
        chunks.append((14, config.key.encode()))
    if correlation:
        chunks.append((17, correlation))
    chunks.append((15, payload))
    body = b"".join(_CHUNK.pack(0, number, 6 + len(value)) + value for number, value in chunks if len(value) < 0xFFF0)
    if _HEAD.size + len(body) > _LONGEST or len(payload) >= 0xFFF0:
        raise RecordError(f"a message of {len(message.octets)} octets is too long for a HEP packet")
    return _HEAD.pack(b"HEP3", _HEAD.size + len(body)) + body


def _payload(message: CapturedMessage, other_type: int) -> tuple[int, bytes, bytes]:
    """Protocol type, payload, and what belongs together."""
    octets = message.octets
    if message.protocol is Protocol.SIP:
        seen = sip.peek(octets)
        return SIP_TYPE, octets, seen.correlation.partition(" ")[0].encode("latin-1") if seen is not None else b""
    if message.protocol is Protocol.DIAMETER:
        return DIAMETER_TYPE, _diameter(octets), _session_id(octets)
    return other_type, octets, b""


def _diameter(octets: bytes) -> bytes:
    try:
        message = diameter.decode(octets)
        name = diameter.summarise(message).name
        avps = dict(diameter.parameters(message))
    except DecodeError as error:
        return json.dumps({"undecodable": str(error), "octets": octets.hex()}).encode()
    return json.dumps({"command": name, "avps": avps}, ensure_ascii=True).encode()


def _session_id(octets: bytes) -> bytes:
    """The Session-Id, which is the first AVP where there is one (RFC 6733 clause 8.8)."""
    if len(octets) < 28 or int.from_bytes(octets[20:24], "big") != _SESSION_ID:
        return b""
    return octets[28 : 20 + int.from_bytes(octets[25:28], "big")]


class HepExporter:
    """Sends what an agent has captured to a collector, never keeping the agent waiting."""

    def __init__(self, config: HepConfig) -> None:
        """Raises ConfigError where the host has no address."""
        self._config = config
        self._socket: socket.socket | None = None
        self._tried_at = float("-inf")
        kind = socket.SOCK_STREAM if config.transport == "tcp" else socket.SOCK_DGRAM
        try:
            found = socket.getaddrinfo(config.host, config.port, type=kind)
        except OSError as error:
            raise ConfigError(f"HEP: {config.host}: {error.strerror or error}") from None
        self._family, self._address = found[0][0], found[0][4]
        self.work: Background[bytes] = Background("hep", self._send, most=_MOST_WAITING)

    def offer(self, messages: Sequence[bytes]) -> None:
        """Messages in the queue's format."""
        self.work.offer(messages)

    def _send(self, messages: Sequence[bytes]) -> int:
        """In the thread: how many have been sent. Raises OSError where none could be."""
        sent = 0
        for octets in messages:
            with contextlib.suppress(RecordError, ValueError):
                packet = encode(decode_captured(octets), self._config)
                try:
                    self._connected().sendall(packet)
                    sent += 1
                except OSError:
                    self._disconnect()
                    if self._config.transport == "tcp" and not sent:
                        raise
        return sent

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        is_tcp = self._config.transport == "tcp"
        if is_tcp and time.monotonic() - self._tried_at < _RETRY:
            raise ConnectionRefusedError(111, "the collector could not be reached a moment ago")
        self._tried_at = time.monotonic()
        sock = socket.socket(self._family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
        try:
            sock.settimeout(_CONNECT_WITHIN)
            sock.connect(self._address)
        except OSError:
            sock.close()
            raise
        self._socket = sock
        return sock

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Send what waits, for a moment, and let go."""
        self.work.close(1.0)
        self._disconnect()
