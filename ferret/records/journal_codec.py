"""Messages and recordings as the payloads of journal frames, and back, without loss.

A message is the length (4) of a JSON object with everything that the recorder found out, that object, and the captured
message in the queue's own format (`ferret.queue.codec`). A recording is a JSON object that names its messages by index.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ferret.errors import RecordError
from ferret.protocols.summary import Identifier, IdKind, Kind
from ferret.queue.codec import decode_captured, encode_captured
from ferret.records.holes import Hole
from ferret.records.message import Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry, Recording
from ferret.records.sip_legs import Boundary

_DAMAGED = (KeyError, ValueError, TypeError, AttributeError, IndexError)


def dump(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def load(octets: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises RecordError."""
    try:
        value = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{what} of a journal cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{what} of a journal is not an object")
    return value


def encode_message(message: SignallingMessage) -> bytes:
    """A message as octets."""
    about = {
        "index": message.index,
        "name": message.name,
        "kind": message.kind,
        "interface": message.interface,
        "from": list(message.from_nf),
        "to": list(message.to_nf),
        "transaction": message.transaction,
        "identifiers": [list(identifier) for identifier in message.identifiers],
        "accepted": message.accepted,
        "transitions": message.state_transitions,
        "answers": message.answers,
        "agents": list(message.agents),
        "retransmissions": message.retransmissions,
        "subscribers": list(message.subscribers),
        "services": list(message.services),
    }
    head = dump(about)
    return len(head).to_bytes(4, "big") + head + encode_captured(message.captured)


def decode_message(octets: bytes) -> SignallingMessage:
    """The message again. Raises RecordError."""
    length = int.from_bytes(octets[:4], "big")
    about = load(octets[4 : 4 + length], "a message")
    try:
        return SignallingMessage(
            index=int(about["index"]),
            captured=decode_captured(octets[4 + length :]),
            name=about["name"],
            kind=Kind(about["kind"]),
            interface=Interface(about["interface"]),
            from_nf=_node(about["from"]),
            to_nf=_node(about["to"]),
            transaction=about["transaction"],
            identifiers=tuple(Identifier(IdKind(kind), value) for kind, value in about["identifiers"]),
            accepted=about["accepted"],
            state_transitions=about["transitions"],
            answers=about["answers"],
            agents=tuple(about["agents"]),
            retransmissions=about["retransmissions"],
            subscribers=tuple(about["subscribers"]),
            services=tuple(about["services"]),
        )
    except _DAMAGED as error:
        raise RecordError(f"a message of a journal cannot be read: {error!r}") from error


def _node(parts: list[Any]) -> Node:
    role, address, port = parts
    return Node(Role(role), address, port)


def encode_recording(recording: Recording, about: Mapping[str, object]) -> bytes:
    """A recording without its messages, and `about` it."""
    return dump(
        {
            **about,
            "subscriber": recording.subscriber,
            "service": recording.service,
            "number": recording.number,
            "begin_ns": recording.begin_ns,
            "end_ns": recording.end_ns,
            "entries": [[message.index, boundary] for message, boundary in recording.entries],
            "context": [[message.index, boundary] for message, boundary in recording.context],
            "holes": [[hole.what, hole.after, hole.agent] for hole in recording.holes],
        }
    )


def decode_recording(about: Mapping[str, Any], messages: Mapping[int, SignallingMessage]) -> Recording:
    """The recording again, from its object and its messages by index. Raises RecordError."""
    try:
        return Recording(
            subscriber=about["subscriber"],
            service=about["service"],
            number=about["number"],
            entries=_entries(about["entries"], messages),
            context=_entries(about["context"], messages),
            holes=holes_of(about),
        )
    except _DAMAGED as error:
        raise RecordError(f"a recording of a journal cannot be read: {error!r}") from error


def holes_of(about: Mapping[str, Any]) -> tuple[Hole, ...]:
    """The holes of a recording's object."""
    return tuple(Hole(what, after, agent) for what, after, agent in about["holes"])


def _entries(pairs: list[list[Any]], messages: Mapping[int, SignallingMessage]) -> tuple[Entry, ...]:
    return tuple(Entry(messages[index], Boundary(boundary)) for index, boundary in pairs)
