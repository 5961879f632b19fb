"""The frames that replayer and edge NF exchange over an NF's replay port, and their form as JSON.

The replay port is a WebSocket at `/replay` of each edge NF's HTTP service; every frame is one text message. The
replayer numbers what it asks for (`id`); the NF answers each with one `ack` of the same number, however often it
arrives (an NF executes an `id` of a recording once). Outputs follow when they are made, in any order with the acks.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeAlias

from ferret.errors import PeerViolationError

MAX_FRAME_OCTETS = 1 << 20
"""No frame is longer: the longest message (SIP over TCP) is 64 KiB, twice base64 and its parameters."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A new recording follows; what was expected of the one before is forgotten, its sessions stay."""

    KIND: ClassVar[str] = "begin"
    id: int
    subscriber: str  # IMSI
    members: tuple[str, ...] = ()  # the roles that are inside the edge in this replay
    translation: Mapping[str, object] = field(default_factory=dict)  # a snapshot: where only NF names differ


@dataclass(frozen=True, slots=True)
class Context:
    """What the NF takes over because no message of the recording can make it (`import_context`)."""

    KIND: ClassVar[str] = "context"
    id: int
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Execute this message as if `peer` had sent it."""

    KIND: ClassVar[str] = "deliver"
    id: int
    protocol: str
    interface: str
    peer_role: str
    peer_address: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """Compare your next output of this interface and name with this recorded message."""

    KIND: ClassVar[str] = "expect"
    id: int
    protocol: str
    interface: str
    peer_role: str
    name: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Settle:
    """How many messages have gone between members so far? (Equal sums mean that nothing is under way.)"""

    KIND: ClassVar[str] = "settle"
    id: int


@dataclass(frozen=True, slots=True)
class Moving:
    """From now on what the NF makes belongs to the reconfiguration and is really sent; or no longer."""

    KIND: ClassVar[str] = "moving"
    id: int
    begins: bool


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """MME: the bearers' next updates move base station and device. PGW: have the subscriber's bearers updated."""

    KIND: ClassVar[str] = "reconfigure"
    id: int
    subscriber: str
    downlink_count: int = 0  # NAS COUNT that the device expects next


@dataclass(frozen=True, slots=True)
class Serve:
    """The subscriber is here now: what this NF makes of his live signalling really leaves the edge.

    `calls`: Call-IDs of his SIP dialogs. `begins` False: he is here no longer.
    """

    KIND: ClassVar[str] = "serve"
    id: int
    subscriber: str
    begins: bool
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forget:
    """Let go everything that is held of this subscriber (`NetworkFunction.forget`); neighbours are told."""

    KIND: ClassVar[str] = "forget"
    id: int
    subscriber: str
    calls: tuple[str, ...] = ()  # Call-IDs of all his SIP


@dataclass(frozen=True, slots=True)
class Finish:
    """The recording is over: report what was expected and never made."""

    KIND: ClassVar[str] = "finish"
    id: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The frame `id` has been executed; `error` says in one line why it was refused ("" if it was not)."""

    KIND: ClassVar[str] = "ack"
    id: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class MadeOutput:
    """The NF made a message. `expected` is the id of the `Expect` that it answers, -1 if none asked for it."""

    KIND: ClassVar[str] = "output"
    expected: int
    protocol: str
    interface: str
    peer_role: str
    name: str
    octets: bytes
    differences: tuple[Mapping[str, object], ...] = ()
    pairs: tuple[tuple[str | int, ...], ...] = ()  # each the fields of a `translation.Pair`


@dataclass(frozen=True, slots=True)
class Noted:
    """Something happened inside the NF."""

    KIND: ClassVar[str] = "note"
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """Answer to `Settle`: messages sent to and received from other members since the start."""

    KIND: ClassVar[str] = "settled"
    id: int
    sent: int
    received: int


Command: TypeAlias = Begin | Context | Deliver | Expect | Settle | Moving | Reconfigure | Serve | Forget | Finish
Report: TypeAlias = Ack | MadeOutput | Noted | Settled
Frame: TypeAlias = Command | Report

_COMMANDS = (Begin, Context, Deliver, Expect, Settle, Moving, Reconfigure, Serve, Forget, Finish)
_KINDS: dict[str, type[Frame]] = {kind.KIND: kind for kind in (*_COMMANDS, Ack, MadeOutput, Noted, Settled)}

_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in _KINDS.values()}


def encode_frame(frame: Frame) -> str:
    """The frame as one line of JSON; octets are base64."""
    values = {name: getattr(frame, name) for name in _FIELDS[type(frame)]}
    if "octets" in values:
        values["octets"] = base64.b64encode(values["octets"]).decode("ascii")
    values["frame"] = frame.KIND
    return json.dumps(values, separators=(",", ":"), default=str)


def decode_frame(text: str) -> Frame:
    """Read a frame. Raises PeerViolationError for anything that is not one."""
    if len(text) > MAX_FRAME_OCTETS:
        raise PeerViolationError(f"replay port: a frame of {len(text)} octets is longer than {MAX_FRAME_OCTETS}")
    try:
        values = json.loads(text)
        kind = _KINDS[values.pop("frame")]
        if "octets" in values:
            values["octets"] = base64.b64decode(values["octets"], validate=True)
        if kind is Begin:
            values["members"] = tuple(values["members"])
        if kind in (Serve, Forget):
            values["calls"] = tuple(values["calls"])
        if kind is MadeOutput:
            values["differences"] = tuple(values["differences"])
            values["pairs"] = tuple(tuple(pair) for pair in values["pairs"])
        return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise PeerViolationError(f"replay port: not a frame: {type(error).__name__}: {error}") from error
