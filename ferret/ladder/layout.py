"""Which lanes a ladder has and what stands in its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ferret.records.message import Node, Role, SignallingMessage

# From the device to the subscription data, as the standards draw it (TS 23.401 figure 4.2.1-1, TS 23.228 figure 4.0).
_LANE_ORDER = (
    Role.UE,
    Role.ENB,
    Role.MME,
    Role.SGW,
    Role.PGW,
    Role.PCRF,
    Role.AF,
    Role.PCSCF,
    Role.ICSCF,
    Role.SCSCF,
    Role.HSS,
    Role.OCS,
    Role.REMOTE,
    Role.UNKNOWN,
)
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One message: from one lane to another (lane numbers from 0), `at` seconds after the ladder's first."""

    index: int
    at: float
    source: int
    target: int
    name: str
    interface: str
    is_answer: bool
    refused: bool
    note: str = ""
    detail: str = ""  # parameters, for a page where they can be opened


@dataclass(frozen=True, slots=True)
class Ladder:
    """Lanes by title, and the rows between them."""

    title: str
    lanes: tuple[str, ...]
    rows: tuple[Row, ...]


def ladder_of(title: str, messages: Iterable[SignallingMessage], details: dict[int, str] | None = None) -> Ladder:
    """The ladder of these messages, which are in order. `details` adds text to a row by the message's index."""
    listed = list(messages)
    nodes = _nodes(listed)
    lanes = {node: place for place, node in enumerate(nodes)}
    start = min((m.captured.captured_at_ns for m in listed), default=0)
    rows = tuple(_row(message, lanes, start, (details or {}).get(message.index, "")) for message in listed)
    return Ladder(title, tuple(_title(node, nodes) for node in nodes), rows)


def _nodes(messages: Iterable[SignallingMessage]) -> list[Node]:
    found = dict.fromkeys(node for m in messages for node in (m.from_nf, m.to_nf))
    return sorted(found, key=lambda node: (_LANE_ORDER.index(node.role), node.address, node.port))


def _title(node: Node, nodes: list[Node]) -> str:
    """The role; with the address where several lanes have it."""
    alike = sum(1 for other in nodes if other.role is node.role)
    if alike == 1 and node.role is not Role.UNKNOWN:
        return str(node.role)
    return f"{node.role} {node.address}" + (f":{node.port}" if node.port else "")


def _row(message: SignallingMessage, lanes: dict[Node, int], start: int, detail: str) -> Row:
    note = f"×{message.retransmissions + 1}" if message.retransmissions else ""
    if message.captured.flaws:
        note = " ".join([note, *message.captured.flaws]).strip()
    return Row(
        index=message.index,
        at=(message.captured.captured_at_ns - start) / _NS_PER_S,
        source=lanes[message.from_nf],
        target=lanes[message.to_nf],
        name=message.name,
        interface=str(message.interface),
        is_answer=message.kind.value == "response",
        refused=message.accepted is False,
        note=note,
        detail=detail,
    )
