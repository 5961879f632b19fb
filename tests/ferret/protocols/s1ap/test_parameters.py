"""The flat fields of S1AP messages and of the NAS inside."""

from __future__ import annotations

from ferret.protocols import nas, s1ap
from ferret.protocols.nas import Direction, SecurityHeader
from ferret.protocols.s1ap import Erab, ErabQos, Gbr, Tunnel

IDS = {"mme_ue_s1ap_id": 7, "enb_ue_s1ap_id": 9}


def fields(message: s1ap.Message) -> dict[str, str | int | None]:
    return dict(s1ap.parameters(message))


def test_a_bearer_is_marked_by_its_identity_and_read_to_its_nas_message() -> None:
    values = {"New EPS QoS": nas.EpsQos(1, 64, 64, 32, 32).encode(), "TFT": bytes.fromhex("213000023011")}
    plain = nas.build_esm(nas.MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST, ebi=7, pti=0, values=values)
    erab = Erab(
        7,
        ErabQos(1, 2, True, False, Gbr(64_000, 64_000, 32_000, 32_000)),
        nas_pdu=plain.octets,
        transport_information=Tunnel("192.0.2.6", 5),
    )
    found = fields(s1ap.erab_modify_request(**IDS, erabs=[erab]))
    item = "E-RABToBeModifiedListBearerModReq[7]/"
    assert found["header/Procedure Code"] == 6
    assert found[item + "e-RABLevelQoSParameters/gbrQosInformation/e-RAB-GuaranteedBitrateDL"] == 32_000
    assert found[item + "iE-Extensions/TransportInformation/transportLayerAddress"] == "192.0.2.6"
    assert found[item + "iE-Extensions/TransportInformation/uL-GTP-TEID"] == 5
    assert found[item + "NAS/Message type"] == "Modify EPS bearer context request"
    assert found[item + "NAS/New EPS QoS/Guaranteed bit rate for uplink"] == 32
    assert found[item + "NAS/TFT/Packet Filter[0]/Protocol identifier"] == 17
    assert not [path for path in found if "nAS-PDU" in path]


def test_a_cause_is_one_value() -> None:
    cause = s1ap.Cause("radioNetwork", "user-inactivity")
    found = fields(s1ap.ue_context_release_request(**IDS, cause=cause))
    assert found["Cause"] == "radioNetwork:user-inactivity"


def test_keys_show_only_whether_they_are_the_same() -> None:
    def setup(key: bytes) -> str | int | None:
        message = s1ap.initial_context_setup_request(
            **IDS, ambr=(1, 1), erabs=[Erab(5, ErabQos(9, 8), Tunnel("192.0.2.6", 1))], encryption_algorithms=0xE000,
            integrity_algorithms=0xE000, security_key=key,
        )  # fmt: skip
        return fields(message)["SecurityKey"]

    assert setup(b"\x41" * 32) == setup(b"\x41" * 32) != setup(b"\x42" * 32)
    assert str(setup(b"\x41" * 32)).startswith("sha256:")
    assert "4141" not in str(setup(b"\x41" * 32))


def test_the_security_header_comes_before_what_it_protects() -> None:
    device = nas.NasSecurityContext(bytes(32), 2, 2, downlink_count=3)
    plain = nas.build_emm(nas.MessageType.DETACH_ACCEPT, {})
    octets = device.protect(plain.octets, SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED, Direction.DOWNLINK)
    found = fields(s1ap.downlink_nas_transport(**IDS, nas_pdu=octets))
    assert (found["NAS/Security header type"], found["NAS/Sequence number"]) == (2, 3)
    assert len(str(found["NAS/Message authentication code"])) == 8
    assert found["NAS/ciphered"] == octets[6:].hex()


def test_nas_that_is_none_is_shown_as_it_is() -> None:
    assert fields(s1ap.downlink_nas_transport(**IDS, nas_pdu=b"\xff\x00"))["NAS/malformed"] == "ff00"
