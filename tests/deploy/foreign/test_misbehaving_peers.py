"""Foreign NFs that answer with TEID 0, late, twice or not at all, refuse, close, restart, or say what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import Application, Avp
from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_events import RequestReceived
from ferret.protocols.gtpv2 import Cause, Ie, Recovery
from ferret.protocols.sip.transactions import respond
from ferret.records.message import Role
from ferret.records.recording import Recording
from ferret.replay.foreign.acceptance import Fate, TargetFigures
from ferret.replay.rules import load_rules
from ferret.replay.verdict import Verdict
from ferret.transport.endpoint import Address
from ferret.transport.tcp import TcpConnection
from ferret.transport.udp import UdpTransport
from ferret_agents.pipeline import RecordedFile, private_queue, record_file
from ferret_deploy.foreign.diameter_line import DiameterTimes
from ferret_deploy.foreign.run import ForeignOptions, ForeignResult, replay_at_foreign
from tests.deploy.foreign.misbehaving import Answering, Pcrf, accepting, an_sgw, yes
from tests.deploy.foreign.running import ours, setting, theirs

pytestmark = [pytest.mark.mqueue]
DATA = Path(__file__).parents[2] / "data"
SGW, PCRF, PCSCF = theirs(Role.SGW), theirs(Role.PCRF), theirs(Role.PCSCF)


@pytest.fixture(scope="module")
def call() -> RecordedFile:
    return record_file(DATA / "open5gs-volte.pcap")


@pytest.fixture(scope="module")
def ims_call() -> RecordedFile:
    return record_file(DATA / "kamailio-ims-call.pcap")


def beginning(file: RecordedFile, until: str, times: int = 1) -> list[Recording]:
    """The attach, or the registration, up to the message of this name that comes the n-th time."""
    service = "attach" if file.path.name.startswith("open5gs") else "registration"
    recording = next(r for r in file.capture.recordings if r.service == service)
    end = [place for place, entry in enumerate(recording.entries) if entry.message.name == until][times - 1]
    return [replace(recording, entries=recording.entries[: end + 1])]


def replay_beside(
    file: RecordedFile,
    recordings: list[Recording],
    peer: AbstractAsyncContextManager[Any],
    *targets: str,
    **changes: Any,
) -> ForeignResult:
    """Replay in the event loop that the peer is in."""
    values: dict[str, Any] = {
        "t3": 0.15,
        "n3": 3,
        "patience": 0.15,
        "diameter": DiameterTimes(wait=2, tx=0.4),
        **changes,
    }

    async def both() -> ForeignResult:
        async with peer:
            with private_queue("test") as queue:
                options = ForeignOptions(load_rules(), setting(*targets), **values)
                return await replay_at_foreign(recordings, file.capture.messages, queue, options)

    return asyncio.run(both())


def at_sgw(call: RecordedFile, answering: Answering, recovery: int = 5) -> tuple[ForeignResult, TargetFigures]:
    recordings = beginning(call, "Create Session Response", 2)  # on S11
    result = replay_beside(call, recordings, an_sgw(SGW, answering, [recovery]), f"sgw={SGW}")
    return result, result.targets[0]


def fate_of(figures: TargetFigures, name: str) -> tuple[Fate, int, bool]:
    outcome = next(o for o in figures.outcomes.values() if o.name == name)
    return outcome.fate, outcome.result, outcome.accepted


# GTPv2-C


def test_an_error_answer_with_teid_0_belongs_to_its_request_by_peer_and_sequence(call: RecordedFile) -> None:
    def refuse(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        return [(0.0, gtpv2.refusal(asked, 0, Cause.CONDITIONAL_IE_MISSING).encode())]

    result, figures = at_sgw(call, refuse)
    assert fate_of(figures, "Create Session Request") == (Fate.ANSWERED, 103, False)
    assert figures.accepted == 0
    found = [d for m in result.replay.recordings[0].messages for d in m.differences]
    assert ("Cause/Cause", 16, 103) in [(d["parameter"], d["recorded"], d["edge"]) for d in found]


def test_an_answer_after_t3_is_taken_although_the_request_has_been_repeated(call: RecordedFile) -> None:
    def late(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        return [(0.2, accepting(asked).encode())] if times == 1 else []

    _, figures = at_sgw(call, late)
    assert fate_of(figures, "Create Session Request") == (Fate.ANSWERED, 16, True)


def test_an_answer_that_comes_twice_is_taken_once(call: RecordedFile) -> None:
    def twice(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        octets = accepting(asked).encode()
        return [(0.0, octets), (0.0, octets)]

    result, figures = at_sgw(call, twice)
    assert fate_of(figures, "Create Session Request") == (Fate.ANSWERED, 16, True)
    assert figures.events == ["discarded: Create Session Response answers nothing that was asked"]
    assert result.replay.recordings[0].added == []


def test_an_unknown_information_element_is_an_addition_of_low_risk(call: RecordedFile) -> None:
    def strange(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        return [(0.0, accepting(asked, Ie(250, 3, b"\x01\x02\x03")).encode())]

    result, figures = at_sgw(call, strange)
    assert fate_of(figures, "Create Session Request")[2]
    found = [d for m in result.replay.recordings[0].messages for d in m.differences if "250" in str(d["parameter"])]
    assert [d["risk"] for d in found] == ["low"]


def test_a_restart_counter_that_goes_up_is_told(call: RecordedFile) -> None:
    def restarted(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        return [(0.05, accepting(asked, Recovery(6).ie()).encode())]

    _, figures = at_sgw(call, restarted, recovery=5)
    assert figures.events == ["restarted: Recovery went from 5 to 6"]


def test_octets_that_are_no_message_cost_nothing_but_themselves(call: RecordedFile) -> None:
    def noisy(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        cut = accepting(asked).encode()[:20]
        return [(0.0, b"\x48\x21\xff"), (0.0, cut), (0.05, accepting(asked).encode())]

    _, figures = at_sgw(call, noisy)
    assert fate_of(figures, "Create Session Request") == (Fate.ANSWERED, 16, True)
    assert len([line for line in figures.events if line.startswith("discarded")]) == 2


def test_an_nf_that_never_says_anything_ends_the_replay(call: RecordedFile) -> None:
    result, figures = at_sgw(call, lambda asked, times: [])
    assert result.replay.verdict is Verdict.FAILED
    assert "Create Session Request: no answer to 3 attempts" in result.replay.recordings[0].abandoned
    assert fate_of(figures, "Create Session Request")[0] is Fate.UNANSWERED


def test_a_request_that_the_recording_does_not_have_is_answered_in_the_neighbour_s_place(call: RecordedFile) -> None:
    answered: list[gtpv2.Message] = []

    def asking(asked: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        if asked.type in gtpv2.ANSWERS:
            answered.append(asked)
            return []
        if asked.type != gtpv2.MessageType.CREATE_SESSION_REQUEST:
            return [(0.0, accepting(asked).encode())]
        notification = gtpv2.request(gtpv2.MessageType.DOWNLINK_DATA_NOTIFICATION, 0x11)
        unasked = replace(notification, sequence=0x4242)
        return [(0.0, accepting(asked).encode()), (0.0, unasked.encode()), (0.05, unasked.encode())]

    _, figures = at_sgw(call, asking)
    assert figures.stood_in == ["Downlink Data Notification (S11): of no session of this replay"]
    assert [(m.name, m.sequence, gtpv2.cause_of(m)) for m in answered] == [
        ("Downlink Data Notification Acknowledgement", 0x4242, 16)
    ] * 2  # the second time from the cache
    assert figures.repeated == 1


def test_a_session_that_the_recording_leaves_open_is_deleted_and_only_that_one(call: RecordedFile) -> None:
    asked: list[gtpv2.Message] = []

    def noting(message: gtpv2.Message, times: int) -> list[tuple[float, bytes]]:
        asked.append(message)
        return [(0.0, accepting(message).encode())]

    _, figures = at_sgw(call, noting)
    assert [message.name for message in asked] == ["Create Session Request", "Delete Session Request"]
    deleted = asked[-1]
    assert (deleted.teid, gtpv2.ebi_of(deleted)) == (0x77, 5)
    assert (figures.sent, figures.accepted) == (1, 1)


# Diameter


@asynccontextmanager
async def listening(pcrf: Pcrf) -> Any:
    await pcrf.listen()
    try:
        yield
    finally:
        pcrf.close()


@asynccontextmanager
async def connecting(pcrf: Pcrf, to: str) -> Any:
    task = asyncio.create_task(pcrf.connect(to))
    try:
        yield
    finally:
        await task
        pcrf.close()


def at_pcrf(
    call: RecordedFile,
    answer: Callable[[int, RequestReceived, DiameterPeer, TcpConnection], None],
    peer: AbstractAsyncContextManager[Any] | None = None,
    **of_pcrf: Any,
) -> tuple[ForeignResult, TargetFigures]:
    recordings = [r for r in call.capture.recordings if r.service == "volte"]
    entries = [e for e in recordings[0].everything if e.message.index <= 35]  # both CCR-Initial
    recording = replace(recordings[0], context=(), entries=tuple(entries))
    around = peer or listening(Pcrf(PCRF, answer, **of_pcrf))
    result = replay_beside(call, [recording], around, f"pcrf={PCRF}")
    return result, result.targets[0]


def plain(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
    peer.send_answer(event.transaction, yes(event.message))


def test_a_pcrf_may_connect_to_us_instead(call: RecordedFile) -> None:
    pcrf = Pcrf(PCRF, plain, applications=(Application.GX,))
    _, figures = at_pcrf(call, plain, connecting(pcrf, ours(Role.PGW)))
    assert (figures.sent, figures.accepted, figures.identity) == (2, 2, "pcrf.example")


def test_a_peer_that_refuses_capabilities_ends_it_before_it_begins(call: RecordedFile) -> None:
    with pytest.raises(ConfigError, match="Result-Code 5010"):
        at_pcrf(call, plain, applications=(Application.CX,))


def test_a_peer_that_closes_in_mid_message_is_connected_to_again(call: RecordedFile) -> None:
    def cut(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        if number == 1:
            socket.write(yes(event.message).encode()[:30])
            socket.close()
        else:
            peer.send_answer(event.transaction, yes(event.message))

    result, figures = at_pcrf(call, cut)
    assert [o.fate for o in figures.outcomes.values()] == [Fate.UNANSWERED, Fate.ANSWERED]
    assert any(line.startswith("connection closed in mid-message") for line in figures.events)
    assert result.replay.verdict is Verdict.FAILED


def test_an_unknown_avp_is_an_addition_of_low_risk(call: RecordedFile) -> None:
    def strange(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        unknown = Avp(4711, 99999, 0x80, b"\x00\x01\x02")
        peer.send_answer(event.transaction, yes(event.message, unknown))

    result, figures = at_pcrf(call, strange)
    assert figures.accepted == 2
    found = [d for m in result.replay.recordings[0].messages for d in m.differences if "4711" in str(d["parameter"])]
    assert found
    assert {d["risk"] for d in found} == {"low"}


def test_another_origin_state_id_is_told_as_a_restart(call: RecordedFile) -> None:
    def restarted(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        state = diameter.avp.ORIGIN_STATE_ID(100 + number // 2)
        peer.send_answer(event.transaction, yes(event.message, state))

    _, figures = at_pcrf(call, restarted, state_id=100)
    assert figures.events == ["restarted: Origin-State-Id went from 100 to 101"]


def test_a_diameter_answer_that_comes_twice_or_too_late_is_discarded(call: RecordedFile) -> None:
    def late(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        octets = yes(event.message).with_identifiers(event.message.hop_by_hop, event.message.end_to_end).encode()
        if number == 1:
            socket.write(octets)
            socket.write(octets)
        else:
            asyncio.get_running_loop().call_later(0.5, socket.write, octets)

    _, figures = at_pcrf(call, late)
    assert [o.fate for o in figures.outcomes.values()] == [Fate.ANSWERED, Fate.UNANSWERED]
    assert [line for line in figures.events if "nobody waits for" in line]


def test_a_diameter_answer_with_a_malformed_avp_costs_nothing_but_itself(call: RecordedFile) -> None:
    def malformed(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        bad = Avp(diameter.avp.ORIGIN_STATE_ID.code, 0, 0x40, b"\x01")  # an Unsigned32 of one octet
        peer.send_answer(event.transaction, yes(event.message, *([bad] if number == 1 else [])))

    _, figures = at_pcrf(call, malformed)
    assert [o.fate for o in figures.outcomes.values()] == [Fate.ANSWERED, Fate.ANSWERED]
    assert figures.accepted == 2


def test_sessions_that_the_recording_leaves_open_are_closed_at_the_end(call: RecordedFile) -> None:
    asked: list[tuple[str, int | None, int | None]] = []

    def noting(number: int, event: RequestReceived, peer: DiameterPeer, socket: TcpConnection) -> None:
        message, avp = event.message, diameter.avp
        session, kind = message.value_of(avp.SESSION_ID) or "", message.value_of(avp.CC_REQUEST_TYPE)
        asked.append((session, kind, message.value_of(avp.CC_REQUEST_NUMBER)))
        peer.send_answer(event.transaction, yes(message))

    _, figures = at_pcrf(call, noting)
    sessions = list(dict.fromkeys(session for session, _, _ in asked))
    assert [kind for _, kind, _ in asked] == [1, 1, 3, 3]
    assert [session for session, _, _ in asked] == sessions * 2
    assert [number for _, _, number in asked] == [0, 0, 1, 1]
    assert (figures.sent, figures.accepted) == (2, 2)  # closing is no part of the replay


# SIP


@asynccontextmanager
async def a_pcscf(answering: Callable[[sip.Message], list[tuple[float, bytes]]]) -> Any:
    def received(octets: bytes, source: Address) -> None:
        for after, answer in answering(sip.decode(octets)):
            asyncio.get_running_loop().call_later(after, socket.send, answer, source)

    socket = await UdpTransport.bind(PCSCF, 5060, received)
    try:
        yield
    finally:
        socket.close()


def at_pcscf(
    ims_call: RecordedFile, answering: Callable[[sip.Message], list[tuple[float, bytes]]]
) -> tuple[ForeignResult, TargetFigures]:
    recordings = beginning(ims_call, "401 (REGISTER)", 3)
    result = replay_beside(ims_call, recordings, a_pcscf(answering), f"pcscf={PCSCF}")
    return result, result.targets[0]


def test_a_sip_answer_with_a_strange_header_twice_is_taken_once(ims_call: RecordedFile) -> None:
    def strange(asked: sip.Message) -> list[tuple[float, bytes]]:
        if not asked.is_request:
            return []
        challenge = respond(asked, 401, "Unauthorized", to_tag="x", headers=(("X-Strange", "1;2,3"),)).encode()
        return [(0.0, challenge), (0.02, challenge)]

    result, figures = at_pcscf(ims_call, strange)
    assert fate_of(figures, "REGISTER") == (Fate.ANSWERED, 401, True)
    assert figures.repeated == 1
    added = [
        d for m in result.replay.recordings[0].messages for d in m.differences if "X-Strange" in str(d["parameter"])
    ]
    assert {d["risk"] for d in added} == {"low"}


def test_a_sip_message_without_via_costs_nothing_but_itself(ims_call: RecordedFile) -> None:
    def broken(asked: sip.Message) -> list[tuple[float, bytes]]:
        if not asked.is_request:
            return []
        challenge = respond(asked, 401, "Unauthorized", to_tag="x")
        strange = sip.request("NOTIFY", "sip:x@y", [("CSeq", "x"), ("Via", ";;;")])
        octets = [challenge.remove("Via").encode(), strange.encode(), b"SIP/2.0 20", challenge.encode()]
        return [(0.01 * place, one) for place, one in enumerate(octets)]

    _, figures = at_pcscf(ims_call, broken)
    assert fate_of(figures, "REGISTER") == (Fate.ANSWERED, 401, True)
    assert [line for line in figures.events if line.startswith("discarded")]


def test_a_refusal_is_an_answer_that_is_not_accepted(ims_call: RecordedFile) -> None:
    def refuse(asked: sip.Message) -> list[tuple[float, bytes]]:
        return [(0.0, respond(asked, 503, "Service Unavailable", to_tag="x").encode())] if asked.is_request else []

    result, figures = at_pcscf(ims_call, refuse)
    assert fate_of(figures, "REGISTER") == (Fate.ANSWERED, 503, False)
    assert result.replay.verdict is Verdict.FAILED  # the recorded I-CSCF's answer could not be given: nobody asked it
