"""CSCFs against recorded ones: each alone, hop by hop, and both wired together with only the border's messages.

Identifiers that the NF allocates (branches, tags of its own, ICID, Record-Route) are learned from the pairs and put
into what it receives next; everything else has to be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ferret.protocols import diameter, sip
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Node, Role, SignallingMessage
from ferret_agents.pipeline import record_file
from ferret_core import pcscf, scscf
from ferret_core.nf import NetworkFunction, Peer, Received, Send
from ferret_core.sip_profile import names_from_recording

# Not computable: the recorded AF rounds its own clock; an NF's internal names in a document.
VOLATILE = ("Session-Timeout", "reginfo/")


@lru_cache(maxsize=8)
def recorded(path: Path) -> tuple[SignallingMessage, ...]:
    return record_file(path).capture.messages


def address_of(node: Node) -> str:
    return f"{node.address}:{node.port}" if node.port else node.address


def configured(role: Role, messages: Sequence[SignallingMessage]) -> tuple[NetworkFunction, Node]:
    """An NF in the place of the recorded one, with that one's habits."""
    module = pcscf if role is Role.PCSCF else scscf
    node = next(m.from_nf for m in messages if m.from_nf.role is role and m.protocol is Protocol.SIP)
    kind: Callable[..., NetworkFunction] = pcscf.Pcscf if role is Role.PCSCF else scscf.Scscf
    nf = kind(address=address_of(node), random=Random(1))
    nodes = {n for m in messages if m.protocol is Protocol.SIP for n in (m.from_nf, m.to_nf)}
    context: dict[str, object] = {
        "profile": module.profile_from_recording(messages),
        "names": {name: address_of(one) for name, one in names_from_recording(messages).items()},
        "peers": {address_of(one): str(one.role) for one in nodes if one.role not in (Role.UE, Role.UNKNOWN)},
        **module.context_from_recording(messages),
    }
    assert nf.import_context(context, 0.0) == []
    return nf, node


def address_of_sip(node: Node) -> str:
    return f"{node.address}:{node.port or 5060}"


class Hops:
    """Feeds NFs and pairs what they send with what was recorded. Several are wired to each other."""

    def __init__(self, messages: Sequence[SignallingMessage], *roles: Role) -> None:
        self.messages = messages
        pairs = [configured(role, messages) for role in roles]
        self.nfs = {address_of_sip(node): (nf, node) for nf, node in pairs}
        self.nodes = [node for _, node in pairs]
        self.wired = len(roles) > 1
        self.known: dict[bytes, bytes] = {}
        self.tokens: dict[tuple[int, str | None], int] = {}
        self.expected: list[SignallingMessage] = []
        self.made: list[tuple[Node, Send]] = []
        self.compared: list[str] = []
        self.differences: list[str] = []

    def run(self) -> None:
        for message in self.messages:
            if message.from_nf in self.nodes and self._is_compared(message):
                self.expected.append(message)
                self._pair()
            if message.to_nf in self.nodes and not (self.wired and message.from_nf in self.nodes):
                self._deliver(message)
                self._pair()

    def _is_compared(self, message: SignallingMessage) -> bool:
        if message.protocol is Protocol.SIP:
            return "OPTIONS" not in message.name
        return message.interface in (Interface.RX, Interface.CX) and diameter.decode(message.octets).is_request

    def _deliver(self, message: SignallingMessage) -> None:
        now = message.captured.captured_at_ns / 1e9
        peer = Peer(message.from_nf.role, str(message.captured.source))
        nf, node = next(pair for pair in self.nfs.values() if pair[1] == message.to_nf)
        if message.protocol is Protocol.SIP:
            event = Received(message.interface, peer, sip.decode(self._ours(message.octets)))
        else:
            decoded = diameter.decode(message.octets)
            token = self.tokens.get((decoded.command, decoded.value_of(diameter.avp.SESSION_ID)))
            if token is None:
                return
            event = Received(message.interface, peer, decoded, token)
        self._run(nf, node, event, now)

    def _run(self, nf: NetworkFunction, node: Node, event: Received, now: float) -> None:
        for one in nf.receive(event, now):
            if isinstance(one, Send):
                self.made.append((node, one))
                target = self.nfs.get(one.peer.address) if self.wired else None
                if target is not None:
                    sender = Peer(node.role, address_of_sip(node))
                    self._run(*target, Received(one.interface, sender, one.message), now)

    def _ours(self, octets: bytes) -> bytes:
        for theirs, ours in self.known.items():
            octets = octets.replace(theirs, ours)
        return octets

    def _pair(self) -> None:
        for message in list(self.expected):
            made = next((one for one in self.made if self._belongs(message, *one)), None)
            if made is not None:
                self.expected.remove(message)
                self.made.remove(made)
                self._compare(message, made[1])

    def _belongs(self, message: SignallingMessage, node: Node, made: Send) -> bool:
        if (
            node != message.from_nf
            or made.interface is not message.interface
            or made.peer.role is not message.to_nf.role
        ):
            return False
        if isinstance(made.message, diameter.Message):
            return diameter.decode(message.octets).command == made.message.command
        if not isinstance(made.message, sip.Message):
            return False
        theirs, ours = sip.decode(message.octets), made.message
        return (
            sip.summarise(ours).name == message.name
            and ours.first("Call-ID") == theirs.first("Call-ID")
            and ours.first("CSeq").split() == theirs.first("CSeq").split()
            and len(ours.values("Via")) == len(theirs.values("Via"))
            and made.peer.address == str(message.captured.destination)
        )

    def _compare(self, message: SignallingMessage, made: Send) -> None:
        self.compared.append(message.name)
        if isinstance(made.message, diameter.Message):
            theirs = diameter.decode(message.octets)
            self.tokens[theirs.command, theirs.value_of(diameter.avp.SESSION_ID)] = made.token
            before, after = diameter.parameters(theirs), diameter.parameters(made.message)
        else:
            assert isinstance(made.message, sip.Message)
            self._learn(sip.decode(message.octets), made.message)
            before = sip.parameters(sip.decode(self._ours(message.octets)))
            after = sip.parameters(made.message)
        one, other = dict(before), dict(after)
        for path in sorted(one.keys() | other.keys()):
            if path.startswith(("header/", *VOLATILE)) or path == "Session-Id":
                continue
            if path == "Content-Length" and any("reginfo/" in known for known in one):
                continue
            if one.get(path, "absent") != other.get(path, "absent"):
                values = f"{one.get(path, 'absent')!r}, made {other.get(path, 'absent')!r}"
                self.differences.append(f"{message.index} {message.name}: {path} recorded {values}")

    def _learn(self, theirs: sip.Message, ours: sip.Message) -> None:
        for old, new in self._allocated(theirs, ours):
            if old and new and old != new:
                self.known.setdefault(old.encode(), new.encode())

    def _allocated(self, theirs: sip.Message, ours: sip.Message) -> Iterator[tuple[str, str]]:
        if theirs.is_request:
            yield sip.parse_via(theirs.first("Via")).branch, sip.parse_via(ours.first("Via")).branch
            for old, new in zip(theirs.values("Record-Route"), ours.values("Record-Route"), strict=False):
                yield sip.parse_name_addr(old).uri, sip.parse_name_addr(new).uri
        yield sip.charging_id(theirs), sip.charging_id(ours)
        for name in ("From", "To"):
            old_tag = sip.parse_name_addr(theirs.first(name)).param("tag") or ""
            yield old_tag, sip.parse_name_addr(ours.first(name)).param("tag") or ""


CASES = [
    ("volte-call-full.pcap", Role.PCSCF, 74),
    ("volte-call-full.pcap", Role.SCSCF, 64),
    ("volte-multi-6.pcap", Role.PCSCF, 146),
    ("kamailio-ims-call.pcap", Role.PCSCF, 76),
    ("kamailio-ims-call.pcap", Role.SCSCF, 72),
]


@pytest.mark.parametrize(("name", "role", "number"), CASES)
def test_a_cscf_sends_what_the_recorded_one_sent(
    capture: Callable[[str], Path], name: str, role: Role, number: int
) -> None:
    hops = Hops(recorded(capture(name)), role)
    hops.run()
    assert hops.differences == []
    assert [f"{one.index} {one.name}" for one in hops.expected] == []
    assert [sip_or_diameter(one) for _, one in hops.made] == []
    assert len(hops.compared) == number
    for nf, _ in hops.nfs.values():
        assert set(nf.leftovers().values()) == {0}


@pytest.mark.parametrize(("name", "number"), [("volte-call-full.pcap", 138), ("kamailio-ims-call.pcap", 148)])
def test_both_cscfs_together_need_only_what_comes_from_outside(
    capture: Callable[[str], Path], name: str, number: int
) -> None:
    """UEs, I-CSCF, HSS and PCRF are the recorded ones; P-CSCF and S-CSCF are ours and speak with each other."""
    hops = Hops(recorded(capture(name)), Role.PCSCF, Role.SCSCF)
    hops.run()
    assert hops.differences == []
    assert [f"{one.index} {one.name}" for one in hops.expected] == []
    assert [sip_or_diameter(one) for _, one in hops.made] == []
    assert len(hops.compared) == number


def sip_or_diameter(made: Send) -> str:
    return sip.summarise(made.message).name if isinstance(made.message, sip.Message) else str(made.message)


def test_a_registration_that_the_recorded_registrar_challenged_twice_is_the_only_difference(
    capture: Callable[[str], Path],
) -> None:
    """In this capture Kamailio challenges a REGISTER again although its response is right; ours accepts it."""
    hops = Hops(recorded(capture("volte-multi-6.pcap")), Role.SCSCF)
    hops.run()
    assert hops.differences == []
    assert [one.name for one in hops.expected] == ["401 (REGISTER)", "200 (REGISTER)"]
    assert len(hops.compared) == 128


@pytest.mark.parametrize("role", [Role.PCSCF, Role.SCSCF])
def test_captures_of_other_networks_are_followed_without_a_failure(all_captures: list[Path], role: Role) -> None:
    for path in all_captures:
        if "-neg-" in path.name or "derived" in path.name:
            continue
        messages = recorded(path)
        if any(m.from_nf.role is role and m.protocol is Protocol.SIP for m in messages):
            hops = Hops(messages, role)
            hops.run()


def test_a_profile_holds_nothing_that_an_nf_allocated(capture: Callable[[str], Path]) -> None:
    messages = recorded(capture("volte-call-full.pcap"))
    for module in (pcscf, scscf):
        text = str(module.profile_from_recording(messages))
        for message in messages:
            if message.protocol is Protocol.SIP:
                decoded = sip.decode(message.octets)
                for secret in allocated_in(decoded):
                    assert secret not in text


def allocated_in(message: sip.Message) -> Iterator[str]:
    yield message.first("Call-ID")
    for value in message.values("Via"):
        yield sip.parse_via(value).branch
    for name in ("From", "To"):
        tag: Any = sip.parse_name_addr(message.first(name)).param("tag")
        if tag:
            yield tag
    if sip.charging_id(message):
        yield sip.charging_id(message)
    for value in message.values("Record-Route"):
        did = sip.parse_uri(sip.parse_name_addr(value).uri).param("did")
        if did:
            yield did
