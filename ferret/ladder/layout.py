"""Which lanes a ladder has and what stands in its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    at_edge: bool = False
    detail: str = ""  # parameters, for a page where they can be opened


@dataclass(frozen=True, slots=True)
class Ladder:
    """Lanes by title, and the rows between them."""

    title: str
    lanes: tuple[str, ...]
    rows: tuple[Row, ...]


def ladder_of(
    title: str,
    messages: Iterable[SignallingMessage],
    details: dict[int, str] | None = None,
    edge: frozenset[str] = frozenset(),
) -> Ladder:
    """The ladder of these messages, which are in order. `details` adds text to a row by the message's index.

    `edge`: addresses of edge NFs, whose lanes lie between base station and core and are called MME_e and so on.
    """
    listed = list(messages)
    nodes = _nodes(listed, edge)
    lanes = {node: place for place, node in enumerate(nodes)}
    start = min((m.captured.captured_at_ns for m in listed), default=0)
    rows = tuple(
        replace(
            _row(message, lanes, start, (details or {}).get(message.index, "")),
            at_edge=not edge.isdisjoint((message.from_nf.address, message.to_nf.address)),
        )
        for message in listed
    )
    return Ladder(title, tuple(_title(node, nodes, edge) for node in nodes), rows)


def _nodes(messages: Iterable[SignallingMessage], edge: frozenset[str]) -> list[Node]:
    found = dict.fromkeys(node for m in messages for node in (m.from_nf, m.to_nf))

    def place(node: Node) -> tuple[bool, int, str, int]:
        behind = node.address not in edge and node.role not in (Role.UE, Role.ENB)
        return (behind, _LANE_ORDER.index(node.role), node.address, node.port)

    return sorted(found, key=place)


def _title(node: Node, nodes: list[Node], edge: frozenset[str]) -> str:
    """The role; with the address where several lanes have it."""
    at_edge = node.address in edge
    alike = sum(1 for other in nodes if other.role is node.role and (other.address in edge) == at_edge)
    if alike == 1 and node.role is not Role.UNKNOWN:
        return f"{node.role}_e" if at_edge else str(node.role)
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
