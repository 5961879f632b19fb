"""The MME against what a recorded MME (Open5GS) sent for the same stimuli, parameter by parameter."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest

from ferret.protocols import diameter, gtpv2, nas, s1ap
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.summary import Kind, Protocol, Summary
from ferret.records.message import CapturedMessage, Interface, Node, Role, SignallingMessage
from ferret_agents.capture.reader import CaptureReader
from ferret_core.mme import Mme, profile_from_recording
from ferret_core.mme.recorded_profile import _Reader
from ferret_core.nf import Output, Peer, Received, Send

MME = "172.22.0.2"
CAPTURES = [
    "open5gs-attach.pcap",
    "open5gs-volte.pcap",
    "volte-call-full.pcap",
    "volte-multi-6.pcap",
    "open5gs-idle-paging.pcap",
]
Decoded: TypeAlias = "s1ap.Message | gtpv2.Message | diameter.Message"
DOORS: dict[Protocol, Any] = {Protocol.S1AP: s1ap, Protocol.GTPV2: gtpv2, Protocol.DIAMETER: diameter}
INTERFACES = {Protocol.S1AP: Interface.S1_MME, Protocol.GTPV2: Interface.S11, Protocol.DIAMETER: Interface.S6A}
PEERS = {Protocol.S1AP: Role.ENB, Protocol.GTPV2: Role.SGW, Protocol.DIAMETER: Role.HSS}
# What an MME allocates or what time and content of other fields make: present, but not the same.
ALLOCATED = (
    "header/TEID", "header/Sequence Number", "header/Hop-by-Hop Identifier", "header/End-to-End Identifier",
    "Session-Id", "MME-UE-S1AP-ID", "mME-UE-S1AP-ID", "M-TMSI", "m-TMSI", "F-TEID[0]/TEID",
    "Message authentication code", "Universal time and local time zone",
)  # fmt: skip


@dataclass
class Recorded:
    """One recorded message of S1-MME, S6a or S11."""

    captured: CapturedMessage
    message: Any
    summary: Summary

    @property
    def sent(self) -> bool:
        return self.captured.source.address == MME


def recording(path: Path) -> Iterator[Recorded]:
    for captured in CaptureReader(path):
        ends = (captured.source.address, captured.destination.address)
        doors = DOORS.get(captured.protocol)
        if doors is None or MME not in ends:
            continue
        message = doors.decode(captured.octets)
        summary = doors.summarise(message)
        echo = captured.protocol is Protocol.GTPV2 and message.type in (1, 2)
        if not echo and (captured.protocol is not Protocol.DIAMETER or summary.application == "S6a"):
            yield Recorded(captured, message, summary)


def signalling(number: int, one: Recorded) -> SignallingMessage:
    protocol = one.captured.protocol
    mme, other = Node(Role.MME, MME), Node(PEERS[protocol], one.captured.destination.address)
    ends = (mme, other) if one.sent else (other, mme)
    return SignallingMessage(number, one.captured, one.summary.name, one.summary.kind, INTERFACES[protocol], *ends)


@dataclass
class Replay:
    """Feeds recorded stimuli to an MME, translated, and compares what it makes with what was recorded."""

    mme: Mme
    made: list[Send] = field(default_factory=list)
    everything: list[Any] = field(default_factory=list)
    differences: list[tuple[Any, ...]] = field(default_factory=list)
    compared: int = 0
    same_mac: int = 0
    s1ap_ids: dict[int, int] = field(default_factory=dict)
    teids: dict[int, int] = field(default_factory=dict)
    tmsis: dict[bytes, bytes] = field(default_factory=dict)
    tokens: dict[tuple[str, int], int] = field(default_factory=dict)

    def take(self, outputs: Any) -> None:
        sent = [one for one in outputs if isinstance(one, Send)]
        self.made += sent
        self.everything += [one.message for one in sent]

    def run(self, messages: list[Recorded]) -> None:
        start = messages[0].captured.captured_at_ns
        for one in messages:
            now = (one.captured.captured_at_ns - start) / 1e9
            deadline = self.mme.deadline()
            if deadline is not None and deadline <= now:
                self.take(self.mme.wake(now))
            if one.sent:
                self.compare(one)
            else:
                self.take(self.mme.receive(self.stimulus(one), now))

    def compare(self, one: Recorded) -> None:
        doors = DOORS[one.captured.protocol]
        made = next((out for out in self.made if self.is_same(one, out)), None)
        if made is None:
            self.differences.append((one.captured.frame, one.summary.name, "not made"))
            return
        self.made.remove(made)
        self.compared += 1
        recorded, own = dict(doors.parameters(one.message)), dict(doors.parameters(made.message))
        for path in recorded.keys() | own.keys():
            same = path in recorded and path in own and path.endswith(ALLOCATED)
            if not same and recorded.get(path, "absent") != own.get(path, "absent"):
                found = (recorded.get(path, "absent"), own.get(path, "absent"))
                self.differences.append((one.captured.frame, one.summary.name, path, *found))
        self.learn(one, made)

    def is_same(self, one: Recorded, made: Send) -> bool:
        if type(made.message) is not type(one.message):
            return False
        if DOORS[one.captured.protocol].summarise(made.message).name != one.summary.name:
            return False
        if not isinstance(made.message, s1ap.Message):
            return True
        enb = made.message.enb_ue_s1ap_id
        return made.peer.address == one.captured.destination.address and enb == one.message.enb_ue_s1ap_id

    def learn(self, one: Recorded, made: Send) -> None:
        message = one.message
        if isinstance(message, s1ap.Message) and isinstance(made.message, s1ap.Message):
            if message.mme_ue_s1ap_id is not None:
                self.s1ap_ids[message.mme_ue_s1ap_id] = made.message.mme_ue_s1ap_id or 0
            for recorded, own in zip(message.nas_pdus(), made.message.nas_pdus(), strict=True):
                self.learn_nas(nas.decode(recorded), nas.decode(own))
        elif isinstance(message, gtpv2.Message) and isinstance(made.message, gtpv2.Message):
            if one.summary.kind is Kind.REQUEST:
                self.tokens["gtp", message.sequence] = made.token
            recorded_end, own_end = (sent.find(IeType.F_TEID) for sent in (message, made.message))
            if recorded_end and own_end:
                own_teid = gtpv2.FTeid.decode(own_end.octets).teid
                self.teids[gtpv2.FTeid.decode(recorded_end.octets).teid] = own_teid
        else:
            self.tokens["diameter", message.hop_by_hop] = made.token

    def learn_nas(self, recorded: nas.Message, own: nas.Message) -> None:
        if recorded.plain is None or own.plain is None:
            return
        for one, other in zip(recorded.plain.fields, own.plain.fields, strict=True):
            if one.name == "GUTI":
                self.tmsis[one.octets[-4:]] = other.octets[-4:]
        if recorded.payload == own.payload and recorded.mac:
            assert recorded.mac == own.mac, f"{recorded.name}: same content, key and count, another MAC"
            self.same_mac += 1

    def stimulus(self, one: Recorded) -> Received:
        message, peer = one.message, Peer(PEERS[one.captured.protocol], one.captured.source.address)
        if isinstance(message, s1ap.Message):
            return Received(Interface.S1_MME, peer, self.translated(message))
        if isinstance(message, gtpv2.Message):
            message = message.with_header(self.teids[message.teid or 0], message.sequence)
            answered = self.tokens.get(("gtp", message.sequence), 0)
            token = answered if one.summary.kind is Kind.RESPONSE else message.sequence
            return Received(Interface.S11, peer, message, token)
        return Received(Interface.S6A, peer, message, self.tokens["diameter", message.hop_by_hop])

    def translated(self, message: s1ap.Message) -> s1ap.Message:
        values: dict[int, Any] = {}
        if message.ie(s1ap.IeId.MME_UE_S1AP_ID) is not None:
            values[s1ap.IeId.MME_UE_S1AP_ID] = self.s1ap_ids[message.mme_ue_s1ap_id or 0]
        s_tmsi = message.ie(s1ap.IeId.S_TMSI)
        if s_tmsi is not None:
            values[s1ap.IeId.S_TMSI] = {**s_tmsi, "m-TMSI": self.tmsis[s_tmsi["m-TMSI"]]}
        return message.replacing(values) if values else message


def prepared(messages: list[Recorded]) -> Mme:
    """An MME with the operator's configuration of the recorded one."""
    mme = Mme(address=MME, random=Random(7))
    own = [signalling(number, one) for number, one in enumerate(messages, 1)]
    mme.import_context({**profile_from_recording(own), "pgw_address": "172.22.0.4"}, 0.0)
    return mme


@pytest.mark.parametrize("name", CAPTURES)
def test_it_sends_what_the_recorded_mme_sent(name: str, capture: Callable[[str], Path]) -> None:
    messages = list(recording(capture(name)))
    replay = Replay(prepared(messages))
    replay.run(messages)
    assert not replay.differences, "\n".join(map(str, replay.differences[:30]))
    assert not replay.made, [str(one)[:200] for one in replay.made]
    assert replay.compared == sum(one.sent for one in messages)
    assert replay.same_mac > 0
    assert not any(replay.mme.leftovers().values())


def test_the_configuration_names_no_identifier_or_key(capture: Callable[[str], Path]) -> None:
    messages = list(recording(capture("volte-call-full.pcap")))
    own = [signalling(number, one) for number, one in enumerate(messages, 1)]
    profile = profile_from_recording(own)
    assert profile["mme_name"] == "open5gs-mme0"
    assert profile["integrity_preference"][0] == 2
    assert "999700000000020" not in str(profile)
    assert not [key for key in profile if "tmsi" in key or "key" in key or "cause" in key]


def as_pcap(messages: Iterable[s1ap.Message]) -> bytes:
    """A capture of these S1AP messages, each an SCTP packet without IP (LINKTYPE_SCTP)."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 248)]
    for number, message in enumerate(messages):
        chunk = struct.pack("!BBHIHHI", 0, 3, 16 + len(message.octets), number, 0, number, 18) + message.octets
        packet = struct.pack("!HHII", 36412, 36412, 1, 0) + chunk + bytes(-len(chunk) % 4)
        out.append(struct.pack("<IIII", number, 0, len(packet), len(packet)) + packet)
    return b"".join(out)


@pytest.mark.tshark
def test_tshark_finds_nothing_malformed_in_what_it_sends(capture: Callable[[str], Path], tmp_path: Path) -> None:
    messages = list(recording(capture("volte-call-full.pcap")))
    mme = prepared(messages)
    replay = Replay(mme)
    replay.run([one for one in messages if "UEContextRelease" not in one.summary.name])
    sent = [one for one in replay.everything if isinstance(one, s1ap.Message)]
    moved = taken_over_and_moved()
    path = tmp_path / "sent.pcap"
    path.write_bytes(as_pcap([*sent, moved]))
    fields = ["-e", "s1ap.procedureCode", "-e", "_ws.malformed", "-e", "s1ap.uL_GTP_TEID"]
    command = ["tshark", "-r", str(path), "-T", "fields", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    assert len(rows) == len(sent) + 1 > 20
    assert all(row[0] and not row[1] for row in rows)
    assert rows[-1][2] == "00000105"


def taken_over_and_moved() -> s1ap.Message:
    """The E-RAB MODIFY REQUEST of a reconfiguration."""
    mme = Mme(address=MME, random=Random(1))
    bearer = {"ebi": 5, "apn": "ims", "qci": 5, "paa": "10.1.0.5"}
    context = {"imsi": "001010000000001", "enb": "192.0.2.30", "k_asme": bytes(32).hex(), "bearers": [bearer]}
    (asked,) = [one for one in mme.import_context({"ue_contexts": [context]}, 0.0) if isinstance(one, Send)]
    tunnel = gtpv2.f_teid(gtpv2.InterfaceType.S1_U_SGW_GTP_U, 0x105, "192.0.2.6")
    answer = gtpv2.answer(
        asked.message,
        0,
        gtpv2.CauseIe(gtpv2.Cause.REQUEST_ACCEPTED),
        gtpv2.f_teid(gtpv2.InterfaceType.S11_SGW_GTP_C, 1, "192.0.2.3"),
        gtpv2.bearer_context(tunnel, ebi=5),
    )
    mme.receive(Received(Interface.S11, asked.peer, answer, asked.token), 0.0)
    (moved,) = [one for one in mme.reconfigure("001010000000001", 0.0) if isinstance(one, Send)]
    return moved.message  # type: ignore[return-value]


def outputs_of(mme: Mme, messages: list[Recorded]) -> list[Output]:
    """Everything that is made for the stimuli as recorded, without translation."""
    made: list[Output] = []
    replay = Replay(mme)
    for one in messages:
        if not one.sent and isinstance(one.message, s1ap.Message) and one.message.ie(0) is None:
            made += mme.receive(replay.stimulus(one), 0.0)
    return made


def test_the_same_random_numbers_make_the_same_messages(capture: Callable[[str], Path]) -> None:
    messages = list(recording(capture("open5gs-attach.pcap")))
    assert outputs_of(prepared(messages), messages) == outputs_of(prepared(messages), messages)


def test_ciphered_octets_that_read_like_emm_information_by_chance_are_no_habit_of_the_mme() -> None:
    plain = nas.decode(bytes.fromhex("270000000005526161aabb")).plain
    assert plain is not None
    assert plain.type == nas.MessageType.EMM_INFORMATION
    reader = _Reader()
    reader._nas(plain, None)  # type: ignore[arg-type]
    assert "emm_information" not in reader.profile
