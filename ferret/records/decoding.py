"""From captured octets to a decoded message with its summary, whichever the protocol.

`doors` is the one place that knows which package reads which protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.summary import Kind, Parameter, Peek, Protocol, Summary
from ferret.records.message import CapturedMessage, Flaw, Interface, Role

_TITLES = {
    Protocol.GTPV2: "GTPv2-C",
    Protocol.DIAMETER: "Diameter",
    Protocol.SIP: "SIP",
    Protocol.S1AP: "S1AP",
}


@dataclass(frozen=True, slots=True)
class Doors:
    """What every protocol package offers (`ferret.protocols.summary`)."""

    peek: Callable[[bytes], Peek | None]
    decode: Callable[[bytes], Any]
    summarise: Callable[[Any], Summary]
    parameters: Callable[[Any], list[Parameter]]


REMEMBERED = 2048
"""Decoded messages of each protocol that are remembered: recorder, plan, check and translation look at the same."""


def _remembering(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Messages are immutable, so the same octets need be decoded only once."""
    return lru_cache(maxsize=REMEMBERED)(decode)


_DOORS = {
    Protocol.GTPV2: Doors(gtpv2.peek, _remembering(gtpv2.decode), gtpv2.summarise, gtpv2.parameters),
    Protocol.DIAMETER: Doors(diameter.peek, _remembering(diameter.decode), diameter.summarise, diameter.parameters),
    Protocol.SIP: Doors(sip.peek, _remembering(sip.decode), sip.summarise, sip.parameters),
    Protocol.S1AP: Doors(s1ap.peek, _remembering(s1ap.decode), s1ap.summarise, s1ap.parameters),
}


def doors(protocol: Protocol) -> Doors:
    """How to read messages of `protocol`."""
    return _DOORS[protocol]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A captured message and what it says. `message` is None where it could not be decoded; `error` says why."""

    captured: CapturedMessage
    message: Any  # gtpv2.Message, diameter.Message, sip.Message or s1ap.Message
    summary: Summary
    error: str = ""


class Decoder:
    """Decodes captured messages; the same octets, seen by a second agent, only once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Protocol, bytes], tuple[Any, Summary, str]] = {}

    def decode(self, captured: CapturedMessage) -> Decoded:
        """Decode one. Never raises: what cannot be decoded gets Flaw.UNDECODABLE and a name that says so."""
        key = (captured.protocol, captured.octets)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _read(captured.protocol, captured.octets)
        message, summary, error = found
        if error and Flaw.UNDECODABLE not in captured.flaws:
            captured = replace(captured, flaws=(*captured.flaws, Flaw.UNDECODABLE))
        return Decoded(captured, message, summary, error)


def _read(protocol: Protocol, octets: bytes) -> tuple[Any, Summary, str]:
    way = _DOORS[protocol]
    try:
        message = way.decode(octets)
        return message, way.summarise(message), ""
    except DecodeError as error:
        name = f"{_TITLES[protocol]} that cannot be decoded"
        return None, Summary(name=name, kind=Kind.INDICATION, transaction=""), str(error)


_APPLICATION_INTERFACES = {
    "Gx": Interface.GX,
    "Rx": Interface.RX,
    "Gy": Interface.GY,
    "S6a": Interface.S6A,
    "Cx": Interface.CX,
    "": Interface.BASE,
}


def interface_of(decoded: Decoded, from_role: Role, to_role: Role) -> Interface:
    """The reference point (TS 23.002) that a message between NFs of these roles crosses."""
    match decoded.captured.protocol:
        case Protocol.S1AP:
            return Interface.S1_MME
        case Protocol.DIAMETER:
            if decoded.message is None:
                return Interface.UNKNOWN
            return _APPLICATION_INTERFACES.get(decoded.summary.application, Interface.UNKNOWN)
        case Protocol.SIP:
            return Interface.GM if Role.UE in (from_role, to_role) else Interface.MW
        case _:
            roles = {from_role, to_role}
            if Role.MME in roles:
                return Interface.S11
            return Interface.S5 if Role.PGW in roles else Interface.UNKNOWN
