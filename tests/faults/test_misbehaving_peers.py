"""Peers that answer with TEID 0, late, twice, not at all or with what nobody knows, that refuse, break off or restart.

Whatever a peer does, a device is attached or told that it is not, and nothing is left of one that has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Avp, avp
from ferret.protocols.diameter.constants import AvpFlag
from ferret.protocols.gtpv2 import Cause, CauseIe, Message, Recovery
from ferret.protocols.gtpv2.codec import Ie
from ferret.records.message import Role
from ferret_core.enb.ue import EmmState
from tests.faults.simulated_core import Packet, SimulatedCore, Spoiler, untouched

T3: Final = 3.0  # seconds, GTPv2-C
GIVEN_UP: Final = 20.0  # seconds after which nobody waits for GTPv2-C or Diameter any more


@pytest.fixture
def core() -> SimulatedCore:
    return SimulatedCore()


def _gtpv2(source: Role, name: str, change: Callable[[Message], Sequence[tuple[float, bytes]]]) -> Spoiler:
    """Do something to a GTPv2-C message that an NF sends."""

    def spoil(packet: Packet) -> Sequence[tuple[float, bytes]]:
        if packet.protocol == "GTPv2-C" and packet.source is source:
            message = gtpv2.decode(packet.octets)
            if message.name == name:
                return change(message)
        return untouched(packet)

    return spoil


def _diameter(source: Role, name: str, change: Callable[[Any], Sequence[tuple[float, bytes]]]) -> Spoiler:
    """Do something to a Diameter message that an NF sends."""

    def spoil(packet: Packet) -> Sequence[tuple[float, bytes]]:
        if packet.protocol == "Diameter" and packet.source is source:
            message = diameter.decode(packet.octets)
            if diameter.summarise(message).name == name:
                return change(message)
        return untouched(packet)

    return spoil


def _works_again(core: SimulatedCore, *, pcrf_believes: bool = False) -> None:
    """With peers that behave again a device attaches and detaches, and then nothing is left of anybody.

    `pcrf_believes`: its answer did not arrive as it was sent, so it has a session that nobody else knows of; that goes
    when the PGW gives the address to somebody else.
    """
    core.spoil = untouched
    device = core.device()
    assert core.attach(device)
    core.detach(device)
    assert device.state is EmmState.DEREGISTERED
    assert core.leftovers() == ({"PCRF": {"gx_sessions": 1}} if pcrf_believes else {})


# ---- TEID 0


@pytest.mark.parametrize("source", [Role.PGW, Role.SGW])
@pytest.mark.parametrize("cause", [Cause.CONTEXT_NOT_FOUND, Cause.CONDITIONAL_IE_MISSING, Cause.SYSTEM_FAILURE])
def test_a_refusal_with_teid_0_is_of_the_request_with_its_sequence_number(
    core: SimulatedCore, source: Role, cause: Cause
) -> None:
    def refuse(message: Message) -> Sequence[tuple[float, bytes]]:
        return [(0.0, replace(message, teid=0, ies=(CauseIe(cause).ie(),)).encode())]

    core.spoil = _gtpv2(source, "Create Session Response", refuse)
    device = core.device()
    assert not core.attach(device)
    assert (Role.ENB, "ue_rejected") in core.notes
    assert core.seen.count("MME Create Session Request") == 1
    assert set(core.leftovers()) <= {str(Role.PGW), str(Role.PCRF), str(Role.SGW)}  # who has answered believes it
    _works_again(core)


def test_a_session_that_the_peer_no_longer_knows_is_deleted_all_the_same(core: SimulatedCore) -> None:
    def not_found(message: Message) -> Sequence[tuple[float, bytes]]:
        return [(0.0, replace(message, teid=0, ies=(CauseIe(Cause.CONTEXT_NOT_FOUND).ie(),)).encode())]

    device = core.device()
    assert core.attach(device)
    core.spoil = _gtpv2(Role.PGW, "Delete Session Response", not_found)
    core.detach(device)
    assert core.leftovers() == {}


# ---- late, twice, never


def test_an_answer_that_is_late_answers_the_repeated_request_too(core: SimulatedCore) -> None:
    core.spoil = _gtpv2(Role.PGW, "Create Session Response", lambda message: [(T3 + 1.0, message.encode())])
    device = core.device()
    assert core.attach(device, seconds=2 * T3)
    assert core.seen.count("SGW Create Session Request") == 2
    assert core.seen.count("PGW CCR-Initial") == 1  # the repetition was answered from the cache
    core.spoil = untouched
    core.run(GIVEN_UP)  # the second copy of the answer comes, and is one too many
    core.detach(device)
    assert core.leftovers() == {}


def test_an_answer_that_comes_when_nobody_waits_any_more_does_no_harm(core: SimulatedCore) -> None:
    core.spoil = _gtpv2(Role.PGW, "Create Session Response", lambda message: [(GIVEN_UP, message.encode())])
    device = core.device()
    assert not core.attach(device, seconds=GIVEN_UP - 1.0)
    assert (Role.ENB, "ue_rejected") in core.notes
    core.run(2 * GIVEN_UP)
    _works_again(core)


@pytest.mark.parametrize("protocol", ["GTPv2-C", "Diameter"])
def test_every_message_twice_is_as_good_as_once(core: SimulatedCore, protocol: str) -> None:
    def twice(packet: Packet) -> Sequence[tuple[float, bytes]]:
        return [(0.0, packet.octets), (0.01, packet.octets)] if packet.protocol == protocol else untouched(packet)

    core.spoil = twice
    device = core.device()
    assert core.attach(device)
    sessions = {who: held.get("sessions", held.get("gx_sessions")) for who, held in core.leftovers().items()}
    assert (sessions["PGW"], sessions["PCRF"]) == (1, 1)
    core.detach(device)
    assert core.leftovers() == {}


@pytest.mark.parametrize("lost", range(1, 4))
def test_messages_that_are_lost_are_sent_again(core: SimulatedCore, lost: int) -> None:
    """Of each GTPv2-C message only copy number `lost` arrives."""
    gone: dict[bytes, int] = {}

    def lose(packet: Packet) -> Sequence[tuple[float, bytes]]:
        gone[packet.octets] = gone.get(packet.octets, 0) + 1
        is_lost = packet.protocol == "GTPv2-C" and gone[packet.octets] < lost
        return [] if is_lost else untouched(packet)

    core.spoil = lose
    device = core.device()
    if core.attach(device, seconds=4 * GIVEN_UP):
        core.detach(device, seconds=4 * GIVEN_UP)
    else:
        assert lost > 1  # an SGW that has to ask twice may answer when the MME has given up
    _works_again(core)


@pytest.mark.parametrize(
    "source,name",
    [
        (Role.PGW, "Create Session Response"),
        (Role.SGW, "Create Session Response"),
        (Role.SGW, "Modify Bearer Response"),
        (Role.PGW, "Delete Session Response"),
        (Role.SGW, "Delete Session Response"),
    ],
)
def test_a_gateway_that_never_answers_costs_this_device_alone(core: SimulatedCore, source: Role, name: str) -> None:
    core.spoil = _gtpv2(source, name, lambda message: [])
    device = core.device()
    if core.attach(device, seconds=2 * GIVEN_UP):
        core.detach(device, seconds=2 * GIVEN_UP)
    core.run(GIVEN_UP)
    _works_again(core)


@pytest.mark.parametrize(
    "source,name", [(Role.HSS, "AIA"), (Role.HSS, "ULA"), (Role.PCRF, "CCA-Initial"), (Role.PCRF, "CCA-Termination")]
)
def test_a_diameter_peer_that_never_answers_costs_this_device_alone(
    core: SimulatedCore, source: Role, name: str
) -> None:
    core.spoil = _diameter(source, name, lambda message: [])
    device = core.device()
    if core.attach(device, seconds=2 * GIVEN_UP):
        core.detach(device, seconds=2 * GIVEN_UP)
    _works_again(core, pcrf_believes=name == "CCA-Initial")


# ---- refuses


@pytest.mark.parametrize("cause", [one for one in Cause if 64 <= one < 120])
def test_whatever_a_pgw_refuses_with_the_device_is_told(core: SimulatedCore, cause: Cause) -> None:
    def refuse(message: Message) -> Sequence[tuple[float, bytes]]:
        return [(0.0, replace(message, ies=(CauseIe(cause).ie(),)).encode())]

    core.spoil = _gtpv2(Role.PGW, "Create Session Response", refuse)
    assert not core.attach(core.device())
    assert (Role.ENB, "ue_rejected") in core.notes
    _works_again(core)


@pytest.mark.parametrize(
    "source,name", [(Role.HSS, "AIA"), (Role.HSS, "ULA"), (Role.PCRF, "CCA-Initial"), (Role.PCRF, "CCA-Termination")]
)
@pytest.mark.parametrize("result", [3002, 3004, 3007, 4002, 5001, 5003, 5012, 9999])
def test_whatever_a_diameter_peer_refuses_with_is_borne(
    core: SimulatedCore, source: Role, name: str, result: int
) -> None:
    def refuse(message: Any) -> Sequence[tuple[float, bytes]]:
        kept = [one for one in message.avps if one.code in (avp.SESSION_ID.code, avp.ORIGIN_HOST.code, 296, 416, 415)]
        flags = message.flags | 0x20 if 3000 <= result < 4000 else message.flags
        return [(0.0, replace(message, flags=flags, avps=(*kept, avp.RESULT_CODE(result))).encode())]

    core.spoil = _diameter(source, name, refuse)
    device = core.device()
    if core.attach(device):
        core.detach(device)
    else:
        assert (Role.ENB, "ue_rejected") in core.notes
    _works_again(core, pcrf_believes=name == "CCA-Initial")


# ---- breaks off in mid-message


@pytest.mark.parametrize(
    "client,server,name",
    [(Role.MME, Role.HSS, "AIA"), (Role.MME, Role.HSS, "ULA"), (Role.PGW, Role.PCRF, "CCA-Initial")],
)
@pytest.mark.parametrize("kept", [1, 19, 20, 41])
def test_a_connection_that_breaks_off_in_mid_message_costs_what_was_under_way(
    core: SimulatedCore, client: Role, server: Role, name: str, kept: int
) -> None:
    core.spoil = _diameter(server, name, lambda message: [(0.0, message.encode()[:kept])])
    device = core.device()
    core.attach(device, seconds=0.5)
    core.cut(client, server)
    core.run(1.0)
    assert device.state is not EmmState.REGISTERED
    core.spoil = untouched
    core.connect(client, server)
    core.run(1.0)
    _works_again(core, pcrf_believes=server is Role.PCRF)


# ---- what nobody knows


def _with_unknown_ies(octets: bytes) -> bytes:
    message = gtpv2.decode(octets)
    unknown = (Ie(200, 0, b"?"), Ie(254, 3, b"\x12\x34"), Ie(255, 0, b"\0\x01private"))
    ies = tuple(
        replace(one, value=(*one.value, unknown[0])) if isinstance(one.value, tuple) else one for one in message.ies
    )
    return replace(message, ies=(unknown[1], *ies, *unknown)).encode()


def _with_unknown_avps(octets: bytes) -> bytes:
    message = diameter.decode(octets)
    unknown = (
        Avp(99999, 0, 0, b"base"),
        Avp(4711, 65535, AvpFlag.VENDOR, b"vendor"),
        Avp(avp.RESULT_CODE.code, 65535, AvpFlag.VENDOR, b"\0\0\x13\x89"),  # another vendor's, with a known code
    )
    avps = tuple(
        replace(one, value=(*one.value, unknown[0]), padding=None) if isinstance(one.value, tuple) else one
        for one in message.avps
    )
    return replace(message, avps=(*avps, *unknown)).encode()


def test_elements_that_nobody_knows_are_passed_over(core: SimulatedCore) -> None:
    """TS 29.274 clause 7.7.9, RFC 6733 clause 4.1: without the M bit."""

    def add(packet: Packet) -> Sequence[tuple[float, bytes]]:
        change = {"GTPv2-C": _with_unknown_ies, "Diameter": _with_unknown_avps}[packet.protocol]
        return [(0.0, change(packet.octets))]

    core.spoil = add
    device = core.device()
    assert core.attach(device)
    core.detach(device)
    assert core.leftovers() == {}
    assert core.refused == []


# ---- restarts


def test_an_sgw_that_has_restarted_makes_the_mme_call_its_devices_back(core: SimulatedCore) -> None:
    """TS 23.007 clause 14A: what it had is lost; the devices attach anew."""
    device = core.device()
    assert core.attach(device)
    core.echo(Role.MME, Role.SGW)
    core.run(1.0)
    core.start(Role.SGW)
    core.echo(Role.MME, Role.SGW)
    core.run(1.0)
    assert device.state is EmmState.DEREGISTERED
    assert "MME" not in core.leftovers()
    _works_again(core)


def test_an_mme_that_has_restarted_leaves_nothing_at_the_gateways(core: SimulatedCore) -> None:
    device = core.device()
    assert core.attach(device)
    core.echo(Role.SGW, Role.MME)
    core.run(1.0)
    core.start(Role.MME)
    core.echo(Role.SGW, Role.MME)
    core.run(1.0)
    assert set(core.leftovers()) <= {"eNB"}


def test_a_pgw_that_has_restarted_is_noticed_by_its_origin_state_id(core: SimulatedCore) -> None:
    """RFC 6733 clause 8.16: sessions of before are no more."""
    state = 1

    def tell(message: Any) -> Sequence[tuple[float, bytes]]:
        return [(0.0, replace(message, avps=(*message.avps, avp.ORIGIN_STATE_ID(state))).encode())]

    core.spoil = _diameter(Role.PGW, "CCR-Initial", tell)
    assert core.attach(core.device(0))
    assert core.leftovers()["PCRF"] == {"gx_sessions": 1}
    core.start(Role.PGW)
    state = 2
    assert core.attach(core.device(1))
    assert core.leftovers()["PCRF"] == {"gx_sessions": 1}


def test_an_old_restart_counter_that_comes_late_is_no_restart(core: SimulatedCore) -> None:
    """TS 23.007 clause 18: a smaller value is a message that was overtaken."""
    device = core.device()
    assert core.attach(device)
    core.start(Role.HSS)  # somebody else's restart does not count
    core.endpoints[Role.SGW].restart_counter = 7
    core.echo(Role.MME, Role.SGW)
    core.run(1.0)
    assert Recovery(7).value == 7
    core.endpoints[Role.SGW].restart_counter = 6
    core.echo(Role.MME, Role.SGW)
    core.run(1.0)
    assert device.state is EmmState.REGISTERED
