"""Attach, with authentication and security (TS 23.401 clause 5.3.2, TS 24.301 clause 5.5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferret.protocols import diameter, nas, s1ap
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import Cause
from ferret.protocols.nas import SecurityHeader
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Output, Peer

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld

IMSI = "001010000000001"
HSS = Peer(Role.HSS)
K_ASME, RAND = bytes(range(32)), b"\x11" * 16
M = nas.MessageType


def test_attach_authenticates_secures_locates_and_sets_up(attached: NewWorld) -> None:
    world = attached()
    order = [world.name_of(one) for one in world.sent]
    assert order == [
        "S1SetupResponse",
        "AIR",
        "DownlinkNASTransport (Authentication request)",
        "DownlinkNASTransport (Security mode command)",
        "ULR",
        "Create Session Request",
        "InitialContextSetupRequest (Attach accept)",
        "Modify Bearer Request",
    ]
    assert world.noted("attached") == {"imsi": IMSI}


def test_the_base_station_gets_the_key_that_the_device_derives(attached: NewWorld) -> None:
    world = attached()
    setup = world.last("InitialContextSetupRequest (Attach accept)").message
    assert isinstance(setup, s1ap.Message)
    key = nas.derive_k_enb(K_ASME, 0)
    assert setup.ie("SecurityKey") == (int.from_bytes(key, "big"), 256)


def test_a_wrong_response_is_refused_and_the_connection_released(new_world: NewWorld) -> None:
    world = new_world()
    world.set_up()
    world.attach_request()
    world.vector()
    wrong = nas.build_emm(M.AUTHENTICATION_RESPONSE, {"Authentication response parameter": b"\x00" * 8})
    world.uplink(wrong, SecurityHeader.PLAIN)
    assert world.last("DownlinkNASTransport (Authentication reject)")
    command = world.last("UEContextReleaseCommand").message
    assert isinstance(command, s1ap.Message)
    assert command.ie("Cause") == ("nas", "authentication-failure")
    world.enb(s1ap.ue_context_release_complete(mme_ue_s1ap_id=1, enb_ue_s1ap_id=5))
    assert not any(world.mme.leftovers().values())


def test_a_device_out_of_step_is_resynchronised_once(new_world: NewWorld) -> None:
    world = new_world()
    world.set_up()
    world.attach_request()
    world.vector()
    failure = nas.build_emm(
        M.AUTHENTICATION_FAILURE, {"EMM cause": 21, "Authentication failure parameter": b"\x44" * 14}
    )
    world.uplink(failure, SecurityHeader.PLAIN)
    again = world.last("AIR").message
    assert isinstance(again, diameter.Message)
    asked = again.find(avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO)
    assert asked is not None and asked.value_of(avp.RE_SYNCHRONIZATION_INFO) == RAND + b"\x44" * 14
    world.vector()
    world.uplink(failure, SecurityHeader.PLAIN)
    assert world.last("DownlinkNASTransport (Authentication reject)")


def test_a_device_that_the_hss_does_not_know_is_rejected(new_world: NewWorld) -> None:
    world = new_world()
    world.set_up()
    world.attach_request()
    asked = world.last("AIR")
    refused = avp.EXPERIMENTAL_RESULT(avp.VENDOR_ID(10415), avp.EXPERIMENTAL_RESULT_CODE(5001))
    world.give(Interface.S6A, HSS, diameter.answer(asked.message, refused), asked.token)
    (octets,) = world.last("DownlinkNASTransport (Attach reject)").message.nas_pdus()  # type: ignore[union-attr]
    plain = nas.decode(octets).plain
    assert plain is not None and plain.number("EMM cause") == 8


def test_an_hss_that_does_not_answer_is_a_network_failure(new_world: NewWorld) -> None:
    world = new_world()
    world.set_up()
    world.attach_request()
    token = world.last("AIR").token
    world.take(world.mme.receive(Failed(Interface.S6A, HSS, token, "Tx expired"), 9.0))
    assert world.noted("attach_rejected")["cause"] == 17


def test_a_session_that_is_refused_rejects_the_attach_with_an_esm_cause(new_world: NewWorld) -> None:
    world = new_world()
    world.secure()
    world.subscription()
    world.session(cause=Cause.MISSING_OR_UNKNOWN_APN)
    plain = world.downlink(world.last("DownlinkNASTransport (Attach reject)"))
    assert plain.number("EMM cause") == 19
    assert plain.esm is not None and plain.esm.number("ESM cause") == 27
    assert world.mme.leftovers()["pdn_connections"] == 0


@pytest.mark.parametrize("apn", ["", "*"])
def test_a_device_that_names_no_apn_is_refused_where_its_default_has_no_name(new_world: NewWorld, apn: str) -> None:
    world = new_world()
    world.secure()
    world.subscription((apn,))
    assert not any("Create Session" in name for name in map(world.name_of, world.sent))
    plain = world.downlink(world.last("DownlinkNASTransport (Attach reject)"))
    assert plain.esm is not None and plain.esm.number("ESM cause") == 27
    assert not any(world.mme.leftovers()[kind] for kind in ("pdn_connections", "bearers"))


def test_nas_that_fails_its_integrity_check_is_discarded(attached: NewWorld) -> None:
    world = attached()
    world.device = nas.NasSecurityContext(bytes(32), 2, 0, uplink_count=world.device.uplink_count)
    before = len(world.sent)
    values: dict[str, bytes | int] = {"Request type": 1, "PDN type": 1}
    world.uplink(nas.build_esm(M.PDN_CONNECTIVITY_REQUEST, ebi=0, pti=2, values=values))
    assert len(world.sent) == before
    assert world.noted("nas_integrity_failed")["message"] == "PDN connectivity request"


def test_outputs_are_the_same_for_the_same_random_numbers(attached: NewWorld) -> None:
    def run() -> list[Output]:
        world = attached()
        return [*world.sent, *world.notes]

    assert run() == run()
