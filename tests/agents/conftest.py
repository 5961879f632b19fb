"""What the agents' tests share: sample messages, scapy to craft packets with, and a dissector to feed them to."""

from __future__ import annotations

import functools
import struct
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from ferret.records.message import CapturedMessage
from ferret_agents.capture.dissect import Dissector
from ferret_agents.capture.files import Record
from ferret_agents.capture.ledger import Ledger

ETHERNET = 1


@dataclass(frozen=True)
class Outcome:
    """What came of some frames."""

    messages: list[CapturedMessage]
    ledger: Ledger

    @property
    def octets(self) -> list[bytes]:
        """The messages' octets."""
        return [message.octets for message in self.messages]

    @property
    def accounted(self) -> bool:
        """Whether every frame has exactly one fate."""
        ledger = self.ledger
        return not ledger.pending and ledger.frames == ledger.used + ledger.damaged + sum(ledger.ignored.values())


Frame = Any  # octets, or (octets, wire length), or a scapy packet; or one of these with a time: see `Feed`
Feed = Callable[..., Outcome]


@pytest.fixture
def dissect() -> Feed:
    """Feeds frames to a dissector: `dissect(frames, link_type=1, times=None, cut=0)`.

    `times` are seconds, one per frame; `cut` octets are taken off the end of each frame as a snaplen would.
    """

    def feed(
        frames: Iterable[Frame], link_type: int = ETHERNET, times: Iterable[float] | None = None, cut: int = 0
    ) -> Outcome:
        dissector = Dissector()
        moments = iter(times) if times is not None else None
        messages: list[CapturedMessage] = []
        for number, frame in enumerate(frames, start=1):
            octets = bytes(frame)
            at_ns = round((next(moments) if moments is not None else number * 0.001) * 1e9) + 1_000_000_000
            kept = octets[: len(octets) - cut] if cut else octets
            messages += dissector.feed(Record(number, at_ns, link_type, kept, len(octets)))
        messages += dissector.flush()
        return Outcome(messages, dissector.ledger)

    return feed


@pytest.fixture(scope="session")
def scapy() -> Any:
    """scapy.all and its SCTP and GTP layers. It imports ciphers that cryptography deprecates: warnings are off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scapy.all as scapy_all
        import scapy.contrib.gtp as gtp
        import scapy.layers.sctp as sctp
    layers = {**vars(scapy_all), **vars(sctp), **vars(gtp)}
    # Without addresses, scapy would look for them by ARP and wait for an answer.
    layers["Ether"] = functools.partial(layers["Ether"], src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    return SimpleNamespace(**{name: value for name, value in layers.items() if not name.startswith("_")})


def _diameter(command: int, application: int, number: int, request: bool, size: int = 0) -> bytes:
    host = b"peer.example.org"
    avp = struct.pack(">II", 264, 0x40000000 | 8 + len(host)) + host
    if size:
        avp += struct.pack(">II", 25, 0x40000000 | 8 + size) + b"c" * size + b"\0" * (-size % 4)
    header = struct.pack(
        ">IIIII", 1 << 24 | 20 + len(avp), (0x80 if request else 0) << 24 | command, application, number, number
    )
    return header + avp


def _sip(method: str, number: int, body: bytes = b"") -> bytes:
    head = (
        f"{method} sip:bob@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{number}\r\n"
        f"From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.org>\r\nCall-ID: call-{number}@192.0.2.1\r\n"
        f"CSeq: {number} {method}\r\nMax-Forwards: 70\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture(scope="session")
def sample() -> SimpleNamespace:
    """Messages to put into packets: `gtpv2`, `s1ap` octets; `diameter(...)`, `sip(...)` make them."""
    return SimpleNamespace(
        gtpv2=bytes.fromhex("400100090000010003000100ff"),  # Echo Request, sequence 1, Recovery 255
        s1ap=bytes.fromhex(  # S1SetupRequest
            "0011002e000004003b00080099f90700000020003c400b0400766f6c74652d656e62004000070000004099f9070089400140"
        ),
        s1ap_answer=bytes.fromhex(  # S1SetupResponse
            "20110029000003003d400e05806f70656e3567732d6d6d65300069000b000099f90700000002000100574001ff"
        ),
        diameter=_diameter,
        sip=_sip,
    )
