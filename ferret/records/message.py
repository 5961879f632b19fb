"""The signalling message: one complete GTPv2-C, Diameter, SIP or S1AP message, with when, where and between whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ferret.protocols.summary import Identifier, Kind, Protocol


class Role(StrEnum):
    """What an NF is (TS 23.401 clause 4.4, TS 23.228 clause 4.6)."""

    UE = "UE"
    ENB = "eNB"
    MME = "MME"
    SGW = "SGW"
    PGW = "PGW"
    PCRF = "PCRF"
    HSS = "HSS"
    PCSCF = "P-CSCF"
    ICSCF = "I-CSCF"
    SCSCF = "S-CSCF"
    AF = "AF"  # speaks Rx but shows no SIP
    OCS = "OCS"
    REMOTE = "remote"  # a SIP party beyond this network
    UNKNOWN = "unknown"


class Interface(StrEnum):
    """A reference point (TS 23.002)."""

    S1_MME = "S1-MME"
    S11 = "S11"
    S5 = "S5/S8"
    GX = "Gx"
    RX = "Rx"
    GY = "Gy"
    S6A = "S6a"
    CX = "Cx"
    GM = "Gm"
    MW = "Mw"
    BASE = "Diameter base"  # CER, DWR, DPR: between neighbours, of no reference point
    UNKNOWN = "unknown"


class Endpoint(NamedTuple):
    """A transport address. `address` is in compressed text form (RFC 5952)."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class Node(NamedTuple):
    """One network function as a capture shows it. Two may share an address and differ by port."""

    role: Role
    address: str
    port: int = 0  # 0: the whole address is this NF's

    def __str__(self) -> str:
        return f"{self.role} {self.address}" + (f":{self.port}" if self.port else "")


class Flaw(StrEnum):
    """What is wrong with a message as captured. A message with a flaw is shown, never replayed."""

    CUT = "cut"  # the capture holds less of it than was on the wire (snaplen)
    HOLE_BEFORE = "hole before"  # octets or segments of its stream are missing just before it
    UNDECODABLE = "undecodable"  # complete, but not a message of its protocol


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """What an agent puts into the queue: a message that its NF sent or received, peeked at but not decoded."""

    protocol: Protocol
    captured_at_ns: int  # kernel timestamp, nanoseconds since the epoch
    source: Endpoint
    destination: Endpoint
    octets: bytes
    agent: str = ""  # the NF address that the agent stands beside
    number: int = 0  # counts up by one within the agent's run: what makes a hole visible
    transport: str = "udp"  # udp, tcp, sctp, none
    stream: int = -1  # SCTP stream identifier; -1 elsewhere
    stream_sequence: int = -1  # SCTP SSN (or MID); -1 elsewhere
    tunnel: tuple[Endpoint, ...] = ()  # GTP-U: outer source and destination, where it was found in a tunnel
    tunnel_teid: int = -1  # GTP-U TEID of that tunnel
    frame: int = 0  # number of the frame in a file (from 1) that completed it; 0 live
    flaws: tuple[Flaw, ...] = ()
    epoch: int = 0  # the agent's run: its start in ns, the last 8 bits which of its processes; 0: not known, a file


@dataclass(frozen=True, slots=True)
class SignallingMessage:
    """A message in its place: joined from every agent that saw it, in causal order, attributed to a subscriber."""

    index: int  # place in the ordered capture, from 1
    captured: CapturedMessage  # the sender's copy where there is one
    name: str
    kind: Kind
    interface: Interface
    from_nf: Node
    to_nf: Node
    transaction: str = ""
    identifiers: tuple[Identifier, ...] = ()
    accepted: bool | None = None
    state_transitions: int = 0
    answers: int = 0  # index of the request that this answers; 0: none
    agents: tuple[str, ...] = ()  # every agent that saw it
    retransmissions: int = 0  # how often it was seen again
    subscribers: tuple[str, ...] = ()  # IMSI, or another identity where no IMSI is known ("msisdn:…", "ip:…")
    services: tuple[str, ...] = field(default=())  # "attach", "pdn:ims", "registration", "volte", "sms", …

    @property
    def protocol(self) -> Protocol:
        """Of what protocol it is."""
        return self.captured.protocol

    @property
    def octets(self) -> bytes:
        """The message as it was on the wire."""
        return self.captured.octets
