"""What S1AP messages are called, and what they are correlated by."""

from __future__ import annotations

import pytest

from ferret.protocols import nas, s1ap
from ferret.protocols.s1ap import Erab, ErabQos, Tunnel
from ferret.protocols.summary import Identifier, IdKind, Kind

IDS = {"mme_ue_s1ap_id": 7, "enb_ue_s1ap_id": 9}
CAUSE = s1ap.Cause("nas", "detach")
DEFAULT = nas.build_esm(
    nas.MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST,
    ebi=6,
    pti=1,
    values={
        "EPS QoS": nas.EpsQos(5).encode(),
        "Access point name": nas.encode_apn("IMS.mnc070.mcc999.gprs"),
        "PDN address": nas.PdnAddress(1, "10.46.0.2").encode(),
    },
)
SETUP = s1ap.erab_setup_request(
    **IDS, erabs=[Erab(6, ErabQos(5, 1), Tunnel("192.0.2.6", 0x265), nas_pdu=DEFAULT.octets)]
)


def test_a_request_is_named_with_the_nas_message_that_it_carries() -> None:
    summary = s1ap.summarise(SETUP)
    assert summary.name == "E-RABSetupRequest (Activate default EPS bearer context request)"
    assert (summary.kind, summary.transaction, summary.accepted) == (Kind.REQUEST, "5:7", None)
    assert summary.state_transitions == 3


def test_tunnels_addresses_bearers_and_networks_are_identifiers() -> None:
    identifiers = set(s1ap.summarise(SETUP).identifiers)
    assert identifiers == {
        Identifier(IdKind.MME_UE_S1AP_ID, "7"),
        Identifier(IdKind.ENB_UE_S1AP_ID, "9"),
        Identifier(IdKind.EBI, "6"),
        Identifier(IdKind.TEID_U, "192.0.2.6/0x00000265"),
        Identifier(IdKind.UE_IP, "10.46.0.2"),
        Identifier(IdKind.APN, "ims"),
    }


def test_an_answer_has_the_transaction_of_its_request() -> None:
    answer = s1ap.summarise(s1ap.erab_setup_response(**IDS, erabs=[Erab(6, tunnel=Tunnel("192.0.2.30", 1))]))
    assert answer.transaction == s1ap.summarise(SETUP).transaction
    assert (answer.kind, answer.accepted) == (Kind.RESPONSE, True)
    command = s1ap.ue_context_release_command(**IDS, cause=CAUSE)
    complete = s1ap.ue_context_release_complete(**IDS)
    assert s1ap.summarise(command).transaction == s1ap.summarise(complete).transaction


@pytest.mark.parametrize(
    "refusal",
    [
        s1ap.erab_setup_response(**IDS, failed=[Erab(6, cause=CAUSE)]),
        s1ap.initial_context_setup_failure(**IDS, cause=CAUSE),
        s1ap.s1_setup_failure(cause=CAUSE),
        s1ap.downlink_nas_transport(
            **IDS, nas_pdu=nas.build_emm(nas.MessageType.ATTACH_REJECT, {"EMM cause": 8}).octets
        ),
    ],
)
def test_refusals_are_told_whatever_layer_they_come_from(refusal: s1ap.Message) -> None:
    assert s1ap.summarise(refusal).accepted is False


def test_paging_leads_to_its_subscriber() -> None:
    message = s1ap.paging(ue_identity_index=1, mme_code=1, m_tmsi=0xC00001ED, tais=[s1ap.Tai("99970", 1)])
    assert Identifier(IdKind.M_TMSI, "0xc00001ed") in s1ap.summarise(message).identifiers


def test_a_device_is_known_by_imsi_or_by_its_temporary_identity() -> None:
    for identity, expected in (
        (nas.MobileIdentity(1, "999700000000001").encode(), Identifier(IdKind.IMSI, "999700000000001")),
        (nas.Guti("99970", 2, 1, 0xC0000001).encode(), Identifier(IdKind.M_TMSI, "0xc0000001")),
    ):
        plain = nas.build_emm(nas.MessageType.IDENTITY_RESPONSE, {"Mobile identity": identity})
        message = s1ap.downlink_nas_transport(**IDS, nas_pdu=plain.octets)
        assert expected in s1ap.summarise(message).identifiers


def test_nas_that_cannot_be_read_does_not_hide_the_message() -> None:
    message = s1ap.downlink_nas_transport(**IDS, nas_pdu=b"\xff\x00")
    assert s1ap.summarise(message).name == "DownlinkNASTransport"
