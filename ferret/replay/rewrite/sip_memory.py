"""What the edge put into SIP messages in place of what the recorded NFs had put there: Via, routes, contacts, SPIs.

A UE learns such values from the message that reaches it and gives them back later; as the recorded UE was given the
recorded ones, its messages hold those and must be given the edge's instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferret.protocols import sip

_LEARNT_ROUTES = ("Record-Route", "Path", "Service-Route", "Contact")
_ECHOED = {"Security-Server": "Security-Verify"}  # RFC 3329 clause 2.3: the client repeats what it was sent


class SipMemory:
    """Recorded values and the edge's, as learnt from pairs of messages. The newest holds."""

    __slots__ = ("_echoes", "_route_sets", "_uris", "_vias")

    def __init__(self) -> None:
        self._vias: dict[str, str] = {}
        self._uris: dict[str, str] = {}
        self._route_sets: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._echoes: dict[tuple[str, str], str] = {}

    def learn(self, recorded: sip.Message, edge: sip.Message) -> None:
        """Take over what the edge's message has in place of the recorded one's."""
        for old, new in aligned(recorded.values("Via"), edge.values("Via")):
            branch = sip.parse_via(old).branch
            if branch and _hop(old) != _hop(new):  # a UE's own Via may have gained a received parameter on its way
                self._vias[branch] = new
        for name in _LEARNT_ROUTES:
            for old, new in aligned(recorded.values(name), edge.values(name)):
                self._uris[route_key(old)] = sip.parse_name_addr(new).uri
        for name, echo in _ECHOED.items():
            for old, new in aligned(recorded.values(name), edge.values(name)):
                self._echoes[echo, old] = new
        self._learn_routes(recorded, edge)

    def via(self, value: str) -> str:
        """The edge's Via in place of a recorded one of an NF that it stands in for; the same for any other."""
        return self._vias.get(sip.parse_via(value).branch, value)

    def uri(self, uri: str) -> str | None:
        """The edge's URI in place of a recorded Record-Route, Path, Service-Route or Contact URI."""
        return self._uris.get(uri)

    def route_set(self, values: Sequence[str]) -> tuple[int, tuple[str, ...]] | None:
        """Where in recorded Route values a route set begins that a message gave, and the edge's in its place."""
        keys = tuple(route_key(value) for value in values)
        for start in range(len(keys)):
            found = self._route_sets.get(keys[start:])
            if found is not None:
                return start, found
        return None

    def echoed(self, name: str, value: str) -> str:
        """What the edge sent where the recorded NF had sent `value`, which field `name` now repeats."""
        return self._echoes.get((name, value), value)

    def _learn_routes(self, recorded: sip.Message, edge: sip.Message) -> None:
        """Route sets as a UE takes them (RFC 3261 clauses 12.1.1 and 12.1.2, RFC 3608 clause 5)."""
        for name in ("Record-Route", "Service-Route"):
            old, new = recorded.values(name), edge.values(name)
            if not old or not new:
                continue
            if name == "Record-Route" and not recorded.is_request:
                old, new = old[::-1], new[::-1]
            self._route_sets[tuple(route_key(value) for value in old)] = tuple(new)


def _hop(value: str) -> tuple[str, str, int, str]:
    via = sip.parse_via(value)
    return via.transport, via.host, via.port, via.branch


def route_key(value: str) -> str:
    """What tells one route from another: its URI with all parameters."""
    return sip.parse_name_addr(value).uri


def aligned(recorded: Sequence[str], edge: Sequence[str]) -> list[tuple[str, str]]:
    """Which value of one stack is which of the other: the topmost is the sender's own, the rest fit from the bottom."""
    if not recorded or not edge:
        return []
    below = min(len(recorded), len(edge)) - 1
    pairs = [(recorded[0], edge[0])]
    if below:
        pairs += list(zip(recorded[-below:], edge[-below:], strict=True))
    return pairs
