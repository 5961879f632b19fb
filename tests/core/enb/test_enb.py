"""The emulated base station's S1AP and GTP-U (TS 36.413, TS 29.281)."""

import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError, DecodeError, LocalMisuseError, ProtocolError
from ferret.protocols import gtpu, nas, s1ap
from ferret.protocols.nas import Direction, EpsQos, MessageType, NasSecurityContext, SecurityHeader, build_esm
from ferret.protocols.s1ap import Erab, ErabQos, ServedGummeis, Tunnel
from ferret.protocols.s1ap.constants import CAUSE_NAS_NORMAL_RELEASE
from ferret.records.message import Interface, Role
from ferret_core.enb import Enb, ImportedBearer, ImportedUe, Reply, S1State, Ue
from ferret_core.nf import Note, Output, Peer, PeerLost, Received, Send

MME = Peer(Role.MME, "127.0.9.2")
IMSI = "001010000000001"
IDS = {"mme_ue_s1ap_id": 10, "enb_ue_s1ap_id": 1}
ENB_END, SGW_END, NEW_END = Tunnel("127.0.9.30", 0x11), Tunnel("172.22.0.6", 0x22), Tunnel("127.0.9.3", 0x33)
QOS = ErabQos(1, 2)


def security() -> NasSecurityContext:
    return NasSecurityContext(bytes(range(32)), 2, 0, 1, 7, 30)


def base_station(*, keys: bool = True, mme_id: int | None = 10) -> Enb:
    enb = Enb(address="127.0.9.30", random=Random(1), mme=MME.address)
    enb.set_up()
    gummeis = [ServedGummeis(("00101",), (1,), (1,))]
    give(enb, s1ap.s1_setup_response(name="mme", gummeis=gummeis, relative_capacity=255))
    bearers = (
        ImportedBearer(5, ENB_END, SGW_END, address="10.45.0.2"),
        ImportedBearer(6, Tunnel("127.0.9.30", 0x12), SGW_END._replace(teid=0x23), linked_ebi=5, qci=1),
    )
    enb.take_over(ImportedUe(IMSI, 1, mme_id, security() if keys else None, bearers, m_tmsi=0xABCD, mme_code=1))
    return enb


def give(enb: Enb, message: s1ap.Message) -> tuple[list[s1ap.Message], list[Note]]:
    outputs: list[Output] = list(enb.receive(Received(Interface.S1_MME, MME, s1ap.decode(message.encode())), 0.0))
    sent = [s1ap.decode(one.message.encode()) for one in outputs if isinstance(one, Send)]
    return sent, [one for one in outputs if isinstance(one, Note)]


def modify(ebi: int = 5) -> bytes:
    kind = MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST
    return build_esm(kind, ebi=ebi, pti=0, values={"New EPS QoS": EpsQos(9).encode()}).octets


def protected(network: NasSecurityContext, plain: bytes) -> bytes:
    return network.protect(plain, SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED, Direction.DOWNLINK)


def test_it_says_that_it_is_emulated_when_it_sets_up_s1() -> None:
    enb = Enb(address="127.0.9.30", random=Random(1), mme=MME.address)
    (output,) = enb.set_up()
    assert isinstance(output, Send)
    assert output.message.ie(s1ap.IeId.ENB_NAME) == "FERRET emulated eNB"  # type: ignore[union-attr]
    assert enb.state is S1State.SETTING_UP
    with pytest.raises(LocalMisuseError):
        enb.set_up()


def test_a_refused_setup_leaves_s1_down_and_may_be_tried_again() -> None:
    enb = Enb(address="127.0.9.30", random=Random(1), mme=MME.address)
    enb.set_up()
    _, notes = give(enb, s1ap.s1_setup_failure(cause=s1ap.Cause("misc", "unknown-PLMN"), time_to_wait="v1s"))
    assert notes[0].event == "s1_setup_refused"
    assert notes[0].fields["time_to_wait"] == "v1s"
    assert enb.set_up()


def test_transport_information_moves_the_uplink_and_the_device_accepts() -> None:
    enb, network = base_station(), security()
    before = enb.uplink(enb.ue(IMSI), 5, b"packet")
    assert before == (gtpu.wrap(0x22, b"packet"), ("172.22.0.6", 2152))
    erabs = [
        Erab(5, QOS, nas_pdu=protected(network, modify(5)), transport_information=NEW_END),
        Erab(6, QOS, nas_pdu=protected(network, modify(6)), transport_information=NEW_END._replace(teid=0x34)),
    ]
    sent, notes = give(enb, s1ap.erab_modify_request(**IDS, erabs=erabs))
    assert [message.name for message in sent] == ["E-RABModifyResponse", "UplinkNASTransport", "UplinkNASTransport"]
    done = [item["e-RAB-ID"] for item in sent[0].items(s1ap.IeId.ERAB_MODIFY_LIST_BEARER_MOD_RES)]
    assert done == [5, 6]
    assert [note.event for note in notes] == ["erab_uplink_moved", "erab_uplink_moved"]
    for message, ebi in zip(sent[1:], (5, 6), strict=True):
        plain, verified = nas.verify(message.nas_pdu or b"", network, Direction.UPLINK)
        assert verified
        assert plain is not None
        assert (plain.name, plain.ebi) == ("Modify EPS bearer context accept", ebi)
    assert enb.uplink(enb.ue(IMSI), 5, b"packet") == (gtpu.wrap(0x33, b"packet"), ("127.0.9.3", 2152))
    assert enb.uplink(enb.ue(IMSI), 6, b"packet") == (gtpu.wrap(0x34, b"packet"), ("127.0.9.3", 2152))


def test_a_second_mme_moves_the_same_device_and_the_first_one_moves_it_back() -> None:
    enb, network = base_station(), security()
    other = enb.towards("127.0.9.99")
    other.set_up()
    gummeis = [ServedGummeis(("00101",), (1,), (2,))]
    give(other, s1ap.s1_setup_response(name="edge", gummeis=gummeis, relative_capacity=255))
    enb.share(IMSI, other, 77)
    ids = {"mme_ue_s1ap_id": 77, "enb_ue_s1ap_id": 1}
    there = [Erab(5, QOS, nas_pdu=protected(network, modify(5)), transport_information=NEW_END)]
    sent, _ = give(other, s1ap.erab_modify_request(**ids, erabs=there))
    assert [message.name for message in sent] == ["E-RABModifyResponse", "UplinkNASTransport"]
    assert {message.mme_ue_s1ap_id for message in sent} == {77}
    assert enb.uplink_ends(IMSI)[5] == NEW_END
    assert enb.uplink(enb.ue(IMSI), 5, b"packet")[1] == (NEW_END.address, 2152)
    # The first MME goes on with the COUNT at which the second one ended: it is one device.
    back = [Erab(5, QOS, nas_pdu=protected(network, modify(5)), transport_information=SGW_END)]
    sent, _ = give(enb, s1ap.erab_modify_request(**IDS, erabs=back))
    assert [message.name for message in sent] == ["E-RABModifyResponse", "UplinkNASTransport"]
    assert enb.uplink_ends(IMSI)[5] == SGW_END
    other.unshare(IMSI)
    sent, _ = give(other, s1ap.erab_modify_request(**ids, erabs=there))
    assert [message.name for message in sent] == ["ErrorIndication"]
    assert enb.uplink_ends(IMSI)[5] == SGW_END


def test_without_transport_information_the_uplink_stays() -> None:
    enb = base_station(keys=False)
    sent, notes = give(enb, s1ap.erab_modify_request(**IDS, erabs=[Erab(6, QOS, nas_pdu=modify(6))]))
    assert [message.name for message in sent] == ["E-RABModifyResponse", "UplinkNASTransport"]
    assert [note.event for note in notes] == ["nas_not_verified"]
    assert enb.uplink(enb.ue(IMSI), 6, b"")[1] == ("172.22.0.6", 2152)


def test_a_modification_with_a_wrong_mac_is_answered_by_the_base_station_only() -> None:
    enb = base_station()
    other = NasSecurityContext(bytes(32), 2, 0, 1, 7, 30)
    erab = Erab(5, QOS, nas_pdu=protected(other, modify(5)), transport_information=NEW_END)
    sent, notes = give(enb, s1ap.erab_modify_request(**IDS, erabs=[erab]))
    assert [message.name for message in sent] == ["E-RABModifyResponse"]
    assert "nas_message_discarded" in [note.event for note in notes]


def test_an_unknown_erab_fails_and_its_nas_message_is_not_delivered() -> None:
    enb = base_station(keys=False)
    erabs = [Erab(9, QOS, nas_pdu=modify(9), transport_information=NEW_END), Erab(5, QOS, nas_pdu=modify(5))]
    sent, _ = give(enb, s1ap.erab_modify_request(**IDS, erabs=erabs))
    failed = [Erab.of(item) for item in sent[0].items(s1ap.IeId.ERAB_FAILED_TO_MODIFY_LIST)]
    assert [(one.ebi, one.cause) for one in failed] == [(9, s1ap.Cause("radioNetwork", "unknown-E-RAB-ID"))]
    assert len(sent) == 2


def test_an_unknown_device_is_answered_with_an_error_indication() -> None:
    enb = base_station()
    for ids, cause in (
        ({"mme_ue_s1ap_id": 10, "enb_ue_s1ap_id": 99}, "unknown-enb-ue-s1ap-id"),
        ({"mme_ue_s1ap_id": 11, "enb_ue_s1ap_id": 1}, "unknown-pair-ue-s1ap-id"),
    ):
        sent, _ = give(enb, s1ap.downlink_nas_transport(**ids, nas_pdu=modify()))
        assert [message.name for message in sent] == ["ErrorIndication"]
        assert sent[0].ie(s1ap.IeId.CAUSE) == ("radioNetwork", cause)


def test_a_device_without_an_mme_id_takes_the_first_that_comes() -> None:
    enb = base_station(keys=False, mme_id=None)
    sent, _ = give(enb, s1ap.downlink_nas_transport(mme_ue_s1ap_id=77, enb_ue_s1ap_id=1, nas_pdu=modify()))
    assert sent[0].mme_ue_s1ap_id == 77


def test_erabs_are_set_up_used_and_released() -> None:
    enb = base_station(keys=False)
    activate = build_esm(
        MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST,
        ebi=7,
        pti=0,
        values={"Linked EPS bearer identity": 5, "EPS QoS": EpsQos(1).encode(), "TFT": b"\x20"},
    ).octets
    erabs = [Erab(7, QOS, SGW_END, activate), Erab(5, QOS, SGW_END, modify(5))]
    sent, _ = give(enb, s1ap.erab_setup_request(**IDS, erabs=erabs))
    (done,) = (Erab.of(item) for item in sent[0].items(s1ap.IeId.ERAB_SETUP_LIST_BEARER_SU_RES))
    (failed,) = (Erab.of(item) for item in sent[0].items(s1ap.IeId.ERAB_FAILED_TO_SETUP_LIST_BEARER_SU_RES))
    assert done.tunnel is not None
    assert failed.ebi == 5
    assert len(sent) == 2
    ue, ebi, packet = enb.downlink(gtpu.wrap(done.tunnel.teid, b"down"))  # type: ignore[misc]
    assert (ue, ebi, packet) == (enb.ue(IMSI), 7, b"down")
    deactivate = build_esm(
        MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST, ebi=7, pti=0, values={"ESM cause": 36}
    ).octets
    gone = [Erab(7, cause=CAUSE_NAS_NORMAL_RELEASE), Erab(12, cause=CAUSE_NAS_NORMAL_RELEASE)]
    sent, _ = give(enb, s1ap.erab_release_command(**IDS, erabs=gone, nas_pdu=deactivate))
    assert [message.name for message in sent] == ["E-RABReleaseResponse", "UplinkNASTransport"]
    assert isinstance(enb.downlink(gtpu.wrap(done.tunnel.teid, b"late")), Reply)
    with pytest.raises(LocalMisuseError):
        enb.uplink(enb.ue(IMSI), 7, b"late")


def test_echo_is_answered_an_unknown_teid_reported_and_rubbish_counted() -> None:
    enb = base_station()
    echo = enb.downlink(gtpu.echo_request(5))
    assert isinstance(echo, Reply)
    assert gtpu.decode(echo.octets).type == gtpu.GtpuType.ECHO_RESPONSE
    indication = enb.downlink(gtpu.wrap(0x99, b"x"))
    assert isinstance(indication, Reply)
    assert gtpu.error_indication(gtpu.decode(indication.octets)).teid == 0x99
    assert enb.downlink(b"rubbish") is None
    assert enb.tunnels.discarded == 2


def test_context_release_makes_the_device_idle_and_paging_brings_it_back() -> None:
    enb = base_station()
    command = s1ap.ue_context_release_command(**IDS, cause=CAUSE_NAS_NORMAL_RELEASE)
    sent, _ = give(enb, command)
    assert [message.name for message in sent] == ["UEContextReleaseComplete"]
    assert enb.leftovers() == {"connections": 0, "erabs": 0}
    assert sorted(enb.ue(IMSI).esm.bearers) == [5, 6]
    tai = nas.Tai("00101", 1)
    sent, _ = give(enb, s1ap.paging(ue_identity_index=1, mme_code=1, m_tmsi=0xABCD, tais=[tai]))
    assert [message.name for message in sent] == ["InitialUEMessage"]
    assert sent[0].ie(s1ap.IeId.S_TMSI)["m-TMSI"] == b"\x00\x00\xab\xcd"
    assert security().unprotect(nas.decode(sent[0].nas_pdu or b""), Direction.UPLINK) == (None, True)
    new = {"mme_ue_s1ap_id": 20, "enb_ue_s1ap_id": sent[0].enb_ue_s1ap_id or 0}
    request = s1ap.initial_context_setup_request(
        **new,
        ambr=(1000, 1000),
        erabs=[Erab(5, QOS, NEW_END), Erab(6, QOS, NEW_END)],
        encryption_algorithms=0,
        integrity_algorithms=0,
        security_key=bytes(32),
    )
    sent, _ = give(enb, request)
    assert [message.name for message in sent] == ["InitialContextSetupResponse", "UECapabilityInfoIndication"]
    assert enb.leftovers() == {"connections": 1, "erabs": 2}
    assert enb.release(enb.ue(IMSI))
    sent, notes = give(enb, s1ap.paging(ue_identity_index=1, mme_code=1, m_tmsi=0xABCD, tais=[tai]))
    assert (sent, [note.event for note in notes]) == ([], ["paging_ignored"])


def test_a_reset_makes_the_devices_idle() -> None:
    for connections in ((), [(10, 1)], [(10, None)], [(None, 1)]):
        enb = base_station()
        message = s1ap.reset(cause=s1ap.Cause("misc", "om-intervention"), connections=connections)
        sent, _ = give(enb, message)
        assert [one.name for one in sent] == ["ResetAcknowledge"]
        assert enb.leftovers() == {"connections": 0, "erabs": 0}


def test_without_its_mme_a_base_station_has_idle_devices_that_wait() -> None:
    enb = base_station()
    enb.receive(PeerLost(Interface.S1_MME, MME, "gone"), 0.0)
    assert enb.leftovers() == {"connections": 0, "erabs": 0}
    device = enb.ue(IMSI)  # it is still registered
    for order in (enb.request_service, enb.attach):
        with pytest.raises(LocalMisuseError, match="S1 is down"):
            order(device)
    enb.set_up()
    gummeis = [ServedGummeis(("00101",), (1,), (1,))]
    give(enb, s1ap.s1_setup_response(name="mme", gummeis=gummeis, relative_capacity=255))
    assert isinstance(enb.request_service(device)[0], Send)


def test_a_device_that_is_shared_stays_with_its_own_mme_when_the_other_is_lost() -> None:
    enb = base_station()
    other = enb.towards("127.0.9.99")
    enb.share(IMSI, other, 77)
    other.receive(PeerLost(Interface.S1_MME, Peer(Role.MME, "127.0.9.99"), "gone"), 0.0)
    assert enb.leftovers() == {"connections": 1, "erabs": 2}
    assert other.leftovers()["connections"] == 0


def test_the_loss_of_the_mme_brings_s1_down_and_messages_out_of_place_are_violations() -> None:
    enb = base_station()
    (note,) = enb.receive(PeerLost(Interface.S1_MME, MME, "gone"), 0.0)
    assert isinstance(note, Note)
    assert enb.state is S1State.DOWN
    with pytest.raises(ProtocolError, match="while S1 is down"):
        give(enb, s1ap.downlink_nas_transport(**IDS, nas_pdu=modify()))
    with pytest.raises(ProtocolError, match="UplinkNASTransport"):
        fresh = base_station()
        uplink = s1ap.uplink_nas_transport(**IDS, nas_pdu=b"", ecgi=s1ap.Ecgi("00101", 1), tai=nas.Tai("00101", 1))
        give(fresh, uplink)


def test_context_is_imported_and_faults_in_it_are_named() -> None:
    enb = Enb(address="127.0.9.30", random=Random(1))
    bearer = {"ebi": 5, "enb_address": "127.0.9.30", "enb_teid": 1, "sgw_address": "172.22.0.6", "sgw_teid": 2}
    keys = {"k_asme": "00" * 32, "integrity": 2, "ciphering": 0, "uplink_count": 3, "downlink_count": 4}
    ue: dict[str, object] = {"imsi": IMSI, "enb_ue_s1ap_id": 4, "security": keys, "bearers": [bearer]}
    (note,) = enb.import_context({"ues": [ue]}, 0.0)
    assert isinstance(note, Note)
    assert note.fields["keys_known"] is True
    assert enb.leftovers() == {"connections": 1, "erabs": 1}
    faults: list[dict[str, object]] = [
        {"users": []},
        {"ues": 5},
        {"ues": ["x"]},
        {"ues": [{**ue, "colour": 1}]},
        {"ues": [{**ue, "enb_ue_s1ap_id": "one"}]},
        {"ues": [{"imsi": IMSI}]},
        {"ues": [{**ue, "security": {**keys, "k_asme": "xyz"}}]},
        {"ues": [{**ue, "bearers": 7}]},
    ]
    for fault in faults:
        with pytest.raises(ConfigError, match="eNB context"):
            enb.import_context(fault, 0.0)


def test_what_is_taken_over_again_replaces_what_was_there() -> None:
    enb = base_station()
    bearer = ImportedBearer(5, ENB_END, NEW_END, address="10.45.0.2")
    enb.take_over(ImportedUe(IMSI, 2, 20, None, (bearer,)))
    assert enb.leftovers() == {"connections": 1, "erabs": 1}
    enb.take_over(ImportedUe("001010000000002", 2, 21, None, (bearer,)))
    assert enb.leftovers() == {"connections": 1, "erabs": 1}
    enb.take_over(ImportedUe("001010000000003", 3, 22, None, (bearer,)))
    assert enb.leftovers() == {"connections": 2, "erabs": 1}
    with pytest.raises(LocalMisuseError):
        enb.uplink(enb.ue("001010000000002"), 5, b"its tunnel has gone")


def test_a_new_device_attaches_over_s1() -> None:
    enb = base_station()
    ue = Ue("001010000000002")
    (output,) = enb.attach(ue, "internet")
    assert isinstance(output, Send)
    message = s1ap.decode(output.message.encode())
    assert (message.name, message.enb_ue_s1ap_id) == ("InitialUEMessage", 2)
    assert nas.decode(message.nas_pdu or b"").name == "Attach request"
    with pytest.raises(LocalMisuseError):
        enb.release(ue)


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_message_is_a_violation_and_nothing_else(data: st.DataObject) -> None:
    erabs = [Erab(5, QOS, nas_pdu=modify(5), transport_information=NEW_END)]
    messages = [
        s1ap.erab_modify_request(**IDS, erabs=erabs),
        s1ap.erab_setup_request(**IDS, erabs=[Erab(7, QOS, SGW_END, modify(7))]),
        s1ap.erab_release_command(**IDS, erabs=[Erab(5, cause=CAUSE_NAS_NORMAL_RELEASE)], nas_pdu=modify()),
        s1ap.paging(ue_identity_index=1, mme_code=1, m_tmsi=1, tais=[nas.Tai("00101", 1)]),
        s1ap.reset(cause=CAUSE_NAS_NORMAL_RELEASE, connections=[(10, 1)]),
    ]
    octets = bytearray(data.draw(st.sampled_from(messages)).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = s1ap.decode(bytes(octets))
    except DecodeError:
        return
    with contextlib.suppress(ProtocolError):
        base_station(keys=False).receive(Received(Interface.S1_MME, MME, message), 0.0)
