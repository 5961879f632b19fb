"""What real MMEs and PCRFs sent, given to SGW and PGW: they say what the real SGW and PGW said.

Recorded messages from outside are the stimuli; TEIDs, Session-Ids and transactions are translated as they are learned.
Every message that the real SGW-C and SMF made has to be made again, equal in every parameter that is not allocated.
"""

from __future__ import annotations

import struct
import subprocess
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, avp
from ferret.protocols.gtpv2 import Ebi, FTeid, Ie, IeType, InterfaceType, MessageType
from ferret.protocols.summary import Kind, Parameter, Protocol
from ferret.records.message import CapturedMessage, Interface, Node, Role, SignallingMessage
from ferret_agents.capture.reader import CaptureReader
from ferret_core.nf import NetworkFunction, Note, Output, Peer, Received, Send
from ferret_core.pgw import Pgw
from ferret_core.pgw import recorded_profile as pgw_profile
from ferret_core.pgw.configuration import CCR_INITIAL, CCR_TERMINATION
from ferret_core.sgw import Sgw
from ferret_core.sgw import recorded_profile as sgw_profile

MME, SGW, PGW, SGW_U, PGW_U, PCRF = (f"172.22.0.{n}" for n in (2, 3, 4, 6, 7, 9))
ROLES = {MME: Role.MME, SGW: Role.SGW, PGW: Role.PGW, PCRF: Role.PCRF}


@dataclass
class Recorded:
    """One recorded message between MME, SGW, PGW and PCRF."""

    captured: CapturedMessage
    message: gtpv2.Message | diameter.Message
    name: str
    source: Role
    destination: Role

    @property
    def interface(self) -> Interface:
        if isinstance(self.message, diameter.Message):
            return Interface.GX
        return Interface.S11 if Role.MME in (self.source, self.destination) else Interface.S5

    @property
    def number(self) -> int:
        message = self.message
        return message.sequence if isinstance(message, gtpv2.Message) else message.hop_by_hop


def recorded(path: Path) -> Iterator[Recorded]:
    """S11, S5/S8 and Gx messages in order, each once."""
    seen = set()
    for captured in CaptureReader(path):
        source, destination = ROLES.get(captured.source.address), ROLES.get(captured.destination.address)
        key = (captured.source, captured.destination, captured.octets)
        if source is None or destination is None or key in seen:
            continue
        seen.add(key)
        if captured.protocol is Protocol.GTPV2:
            message: gtpv2.Message | diameter.Message = gtpv2.decode(captured.octets)
            name = gtpv2.summarise(message).name  # type: ignore[arg-type]
        elif captured.protocol is Protocol.DIAMETER:
            message = diameter.decode(captured.octets)
            name = diameter.summarise(message).name
            if message.application != Application.GX:
                continue
        else:
            continue
        yield Recorded(captured, message, name, source, destination)


@dataclass
class Bench:
    """SGW and PGW on a bench, fed with recorded messages."""

    sgw: Sgw
    pgw: Pgw
    made: dict[tuple[Interface, Role, Role, str], deque[Send]] = field(default_factory=dict)
    teids: dict[tuple[int, int], int] = field(default_factory=dict)  # recorded TEIDs, by interface type, to ours
    sessions: dict[str, str] = field(default_factory=dict)  # recorded Session-Ids to ours
    tokens: dict[tuple[Role, int], int] = field(default_factory=dict)  # recorded transactions to ours
    handles: dict[tuple[Role, int], int] = field(default_factory=dict)
    crossing: dict[int, int] = field(default_factory=dict)
    compared: Counter[str] = field(default_factory=Counter)
    last_handle: int = 1 << 20

    def run(self, nf: NetworkFunction, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Note):
                continue
            message = output.message
            assert isinstance(message, (gtpv2.Message, diameter.Message))
            self.made.setdefault((output.interface, nf.role, output.peer.role, name_of(message)), deque()).append(
                output
            )
            if output.interface is Interface.S5:
                self.cross(nf, output)

    def cross(self, nf: NetworkFunction, output: Send) -> None:
        other: NetworkFunction = self.pgw if nf is self.sgw else self.sgw
        if output.reply_to:
            handle = self.crossing.pop(output.reply_to)
        else:
            self.last_handle += 1
            handle = self.last_handle
            self.crossing[handle] = output.token
        event = Received(Interface.S5, Peer(nf.role, nf.address), output.message, handle)
        self.run(other, list(other.receive(event, 0.0)))

    def step(self, one: Recorded) -> None:
        if one.source in (Role.SGW, Role.PGW):
            self.compare(one)
        else:
            self.stimulate(one)

    def stimulate(self, one: Recorded) -> None:
        nf: NetworkFunction = self.sgw if one.destination is Role.SGW else self.pgw
        answers = (one.destination, one.number) in self.tokens and _is_answer(one.message)
        if answers:
            number = self.tokens.pop((one.destination, one.number))
        else:
            self.last_handle += 1
            number = self.handles[one.source, one.number] = self.last_handle
        message = self.translated(one)
        event = Received(one.interface, Peer(one.source, one.captured.source.address), message, number)
        self.run(nf, list(nf.receive(event, 0.0)))

    def translated(self, one: Recorded) -> gtpv2.Message | diameter.Message:
        message = one.message
        if isinstance(message, diameter.Message):
            session = message.value_of(avp.SESSION_ID) or ""
            return message.with_avp(avp.SESSION_ID(self.sessions[session]))
        teid = self.teids[_header_kind(one), message.teid] if message.teid else message.teid
        return replace(message, teid=teid, ies=tuple(map(self.ie, message.ies)))

    def ie(self, ie: Ie) -> Ie:
        if isinstance(ie.value, tuple):
            return replace(ie, value=tuple(map(self.ie, ie.value)))
        if ie.type == IeType.F_TEID:
            tunnel = FTeid.decode(ie.value)
            if tunnel.interface_type in OURS and tunnel.teid:
                return replace(tunnel, teid=self.teids[tunnel.interface_type, tunnel.teid]).ie(ie.instance)
        return ie

    def compare(self, one: Recorded) -> None:
        where = (one.captured.frame, one.name)
        if one.name == "Downlink Data Notification":
            self.packet_for_idle_ue(one)
        queue = self.made.get((one.interface, one.source, one.destination, one.name))
        assert queue, f"{where} was not made"
        send = queue.popleft()
        ours, theirs = _parameters(send.message), _parameters(one.message)
        assert set(ours) == set(theirs), where
        for path, value in theirs.items():
            kind = theirs.get(path.replace("/TEID", "/Interface Type"), _header_kind(one))
            self.check(path, value, ours[path], where, kind)
        if send.token:
            self.tokens[one.source, one.number] = send.token
        self.compared[one.name] += 1

    def learn(self, one: Recorded) -> None:
        """Compare without insisting on addresses: this bench has them elsewhere."""
        send = self.made[one.interface, one.source, one.destination, one.name].popleft()
        ours, theirs = _parameters(send.message), _parameters(one.message)
        for path, value in theirs.items():
            kind = theirs.get(path.replace("/TEID", "/Interface Type"), _header_kind(one))
            if path.endswith("/TEID") or path == "Session-Id":
                self.check(path, value, ours[path], path, kind)
        if send.token:
            self.tokens[one.source, one.number] = send.token

    def check(self, path: str, theirs: object, ours: object, where: object, kind: object = None) -> None:
        if path in ("header/Sequence Number", "header/Hop-by-Hop Identifier", "header/End-to-End Identifier"):
            return
        if path == "Session-Id":
            assert self.sessions.setdefault(str(theirs), str(ours)) == ours, (where, path)
        elif path.endswith("/TEID") and kind in OURS and theirs:
            assert isinstance(theirs, int) and isinstance(ours, int) and isinstance(kind, int)
            assert self.teids.setdefault((kind, theirs), ours) == ours, (where, path)
        else:
            assert ours == theirs, (where, path)

    def packet_for_idle_ue(self, one: Recorded) -> None:
        assert isinstance(one.message, gtpv2.Message)
        ebi = one.message.view(Ebi)
        ue = next(ue for ue in self.sgw.ues.values() if ue.mme.teid == one.message.teid)
        assert ebi is not None
        bearer = ue.bearer(ebi.value)
        assert bearer is not None
        self.run(self.sgw, list(self.sgw.downlink_arrived(bearer.s5u_teid, 0.0)))


OURS = (
    InterfaceType.S1_U_SGW_GTP_U,
    InterfaceType.S5_S8_SGW_GTP_U,
    InterfaceType.S5_S8_PGW_GTP_U,
    InterfaceType.S5_S8_SGW_GTP_C,
    InterfaceType.S5_S8_PGW_GTP_C,
    InterfaceType.S11_SGW_GTP_C,
)


def _header_kind(one: Recorded) -> int:
    """What the TEID in a header belongs to: it is the receiver's."""
    if one.destination is Role.PGW:
        return InterfaceType.S5_S8_PGW_GTP_C
    if one.destination is Role.MME:
        return InterfaceType.S11_MME_GTP_C
    return InterfaceType.S11_SGW_GTP_C if one.interface is Interface.S11 else InterfaceType.S5_S8_SGW_GTP_C


def name_of(message: gtpv2.Message | diameter.Message) -> str:
    return (gtpv2.summarise(message) if isinstance(message, gtpv2.Message) else diameter.summarise(message)).name


def _is_answer(message: gtpv2.Message | diameter.Message) -> bool:
    if isinstance(message, diameter.Message):
        return not message.is_request
    return message.type in gtpv2.ANSWERS


def _parameters(message: object) -> dict[str, object]:
    found: list[Parameter]
    if isinstance(message, gtpv2.Message):
        found = gtpv2.parameters(message)
    else:
        assert isinstance(message, diameter.Message)
        found = diameter.parameters(message)
    return {parameter.path: parameter.value for parameter in found}


def _signalling(messages: list[Recorded]) -> list[SignallingMessage]:
    """As a recording has them, as far as a profile is read from it."""
    listed: list[SignallingMessage] = []
    asked: dict[tuple[Role, Role, int], int] = {}
    for index, one in enumerate(messages, 1):
        ends = Node(one.source, one.captured.source.address), Node(one.destination, one.captured.destination.address)
        kind = Kind.RESPONSE if _is_answer(one.message) else Kind.REQUEST
        answers = asked.get((one.destination, one.source, one.number), 0) if kind is Kind.RESPONSE else 0
        if kind is Kind.REQUEST:
            asked[one.source, one.destination, one.number] = index
        listed.append(SignallingMessage(index, one.captured, one.name, kind, one.interface, *ends, answers=answers))
    return listed


def _configuration(messages: list[Recorded]) -> dict[str, object]:
    """What no message could let a PGW compute, as read from the recording; and its name, which is the edge's own."""
    return {**pgw_profile.profile_from_recording(_signalling(messages)), "origin_host": "smf.localdomain"}


def test_a_profile_is_what_the_recorded_network_does(capture: Callable[[str], Path]) -> None:
    messages = _signalling(list(recorded(capture("open5gs-volte.pcap"))))
    assert pgw_profile.profile_from_recording(messages) == {
        "paa": {"999700000000002": {"internet": "10.45.0.2", "ims": "10.46.0.2"}},
        "dns": ["10.45.0.1"],
        "pcscf": ["172.22.0.21"],
        "mtu": 1400,
        "feature_list": 11,
        "online_charging": False,
        "offline_charging": True,
        "tft_local_address": True,
        "create_bearer_instance": 1,
        "charging_id": True,
        "delete_session_pco": False,
        "ccr_initial": [name for name in CCR_INITIAL if name != "Framed-IPv6-Prefix"] + ["Framed-IPv6-Prefix"],
        "ccr_termination": list(CCR_TERMINATION),
        "gx_numbers": {"Network-Request-Support": 1},
        "kilobit": 1000,
        "first_precedence": 0,
        "round_bit_rates_up": False,
    }
    assert sgw_profile.profile_from_recording(messages) == {"echo_enb_f_teid": True, "tell_pgw_f_teid": True}


@pytest.mark.parametrize(
    "name",
    [
        "open5gs-attach.pcap",
        "open5gs-volte.pcap",
        "open5gs-idle-paging.pcap",
        "volte-call-full.pcap",
        "volte-multi-6.pcap",
    ],
)
def test_sgw_and_pgw_say_what_real_ones_said(name: str, capture: Callable[[str], Path]) -> None:
    messages = list(recorded(capture(name)))
    sgw = Sgw(address=SGW, random=Random(1), user_plane_address=SGW_U)
    pgw = Pgw(address=PGW, random=Random(2), user_plane_address=PGW_U)
    pgw.import_context(_configuration(messages), 0.0)
    bench = Bench(sgw, pgw)
    for one in messages:
        bench.step(one)
    made = {key: len(queue) for key, queue in bench.made.items() if queue}
    assert made == {}, "made, but never recorded"
    assert bench.compared[MESSAGE] == sum(one.name == MESSAGE for one in messages) > 0
    assert not any(sgw.leftovers().values()) and not any(pgw.leftovers().values())


@pytest.mark.tshark
def test_tshark_finds_nothing_wrong_with_what_they_say(capture: Callable[[str], Path], tmp_path: Path) -> None:
    messages = list(recorded(capture("open5gs-volte.pcap")))
    bench = Bench(Sgw(address=SGW, random=Random(1)), Pgw(address=PGW, random=Random(2)))
    bench.pgw.import_context(_configuration(messages), 0.0)
    octets: list[bytes] = []
    take = bench.run

    def run(nf: NetworkFunction, outputs: list[Output]) -> None:
        octets.extend(o.message.encode() for o in outputs if isinstance(o, Send) and o.interface is not Interface.GX)
        take(nf, outputs)

    bench.run = run  # type: ignore[method-assign]
    for one in messages:
        if one.source in (Role.SGW, Role.PGW):
            bench.learn(one)
        else:
            bench.stimulate(one)
    path = tmp_path / "made.pcap"
    path.write_bytes(_pcap(octets))
    command = ["tshark", "-r", str(path), "-T", "fields", "-e", "gtpv2.message_type", "-e", "_ws.malformed"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == len(octets) > 20
    assert [line.split("\t")[0] for line in lines] == [str(one[1]) for one in octets]
    assert not [line for line in lines if line.split("\t")[1]]


def _pcap(payloads: list[bytes]) -> bytes:
    """UDP datagrams on port 2123 as a capture file of link type raw IP."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for payload in payloads:
        udp = struct.pack("!HHHH", 2123, 2123, 8 + len(payload), 0) + payload
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4), bytes(4))
        out += struct.pack("<IIII", 0, 0, len(head + udp), len(head + udp)) + head + udp
    return out


MESSAGE = gtpv2.message_name(MessageType.CREATE_SESSION_RESPONSE)
