from collections.abc import Callable
from pathlib import Path

from ferret.protocols import s1ap
from ferret.protocols.s1ap import Cause, IeId, Tunnel
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Node, Role
from ferret.replay.rewrite import Place, ReplayContext, released, rewrite
from ferret.replay.translation import Domain, Pair, Translation, teid_scope
from ferret_agents.capture.reader import messages

MME = "172.22.0.2"
PLACE = Place(Interface.S1_MME, Node(Role.ENB, "172.22.0.30"), Node(Role.MME, MME))


def rewritten(message: s1ap.Message, translation: Translation) -> s1ap.Message:
    made = rewrite(message, translation, ReplayContext(), PLACE)
    assert isinstance(made, s1ap.Message)
    return made


def ids(mme: int = 77, enb: int = 88) -> Translation:
    made = Translation()
    made.learn([Pair(Domain.MME_UE_S1AP_ID, 1, mme), Pair(Domain.ENB_UE_S1AP_ID, 1, enb)])
    return made


def test_in_every_message_of_a_base_station_only_the_ids_change(capture: Callable[[str], Path]) -> None:
    seen = set()
    for captured in messages(capture("volte-call-full.pcap")):
        if captured.protocol is not Protocol.S1AP or captured.destination.address != MME:
            continue
        old = s1ap.decode(captured.octets)
        new = rewritten(old, ids())
        if old.mme_ue_s1ap_id == 1:
            assert new.mme_ue_s1ap_id == 77
        if old.enb_ue_s1ap_id == 1:
            assert new.enb_ue_s1ap_id == 88
        for before, after in zip(old.ies, new.ies, strict=True):
            if before.id not in (IeId.MME_UE_S1AP_ID, IeId.ENB_UE_S1AP_ID):
                assert before == after
        assert s1ap.decode(new.encode()) == new
        seen.add(old.name)
    assert {"UplinkNASTransport", "InitialContextSetupResponse", "E-RABSetupResponse"} <= seen


def test_ids_inside_other_parts_change_too() -> None:
    command = s1ap.ue_context_release_command(mme_ue_s1ap_id=1, enb_ue_s1ap_id=1, cause=Cause("nas", "detach"))
    made = rewritten(command, ids())
    assert (made.mme_ue_s1ap_id, made.enb_ue_s1ap_id) == (77, 88)


def test_the_s_tmsi_of_a_returning_device_is_the_edges(capture: Callable[[str], Path]) -> None:
    found = [
        s1ap.decode(captured.octets)
        for captured in messages(capture("open5gs-idle-paging.pcap"))
        if captured.protocol is Protocol.S1AP
    ]
    old = next(m for m in found if m.name == "InitialUEMessage" and m.ie(IeId.S_TMSI))
    tmsi = int.from_bytes(old.ie(IeId.S_TMSI)["m-TMSI"], "big")
    translation = Translation()
    translation.learn([Pair(Domain.M_TMSI, tmsi, 0x01020304)])
    new = rewritten(old, translation)
    assert new.ie(IeId.S_TMSI)["m-TMSI"] == b"\x01\x02\x03\x04"
    assert new.nas_pdu == old.nas_pdu  # integrity protected: stays


def test_tunnel_ends_change_only_where_the_edge_allocated_them(capture: Callable[[str], Path]) -> None:
    old = next(
        message
        for captured in messages(capture("volte-call-full.pcap"))
        if captured.protocol is Protocol.S1AP
        and (message := s1ap.decode(captured.octets)).name == "InitialContextSetupResponse"
    )
    (item,) = old.items(IeId.ERAB_SETUP_LIST_CTXT_SU_RES)
    end = Tunnel.of(item["transportLayerAddress"], item["gTP-TEID"])
    assert rewritten(old, Translation({end.address: "127.0.0.99"})) is old
    known = Translation({end.address: "127.0.0.99"})
    known.learn([Pair(Domain.TEID_U, end.teid, 5, teid_scope(0, end.address), teid_scope(0, "127.0.0.99"))])
    (item,) = rewritten(old, known).items(IeId.ERAB_SETUP_LIST_CTXT_SU_RES)
    assert Tunnel.of(item["transportLayerAddress"], item["gTP-TEID"]) == Tunnel("127.0.0.99", 5)


def test_a_released_connection_frees_its_ids() -> None:
    assert released(s1ap.ue_context_release_complete(mme_ue_s1ap_id=3, enb_ue_s1ap_id=4)) == [
        (Domain.MME_UE_S1AP_ID, 3),
        (Domain.ENB_UE_S1AP_ID, 4),
    ]
    assert (
        released(s1ap.ue_context_release_command(mme_ue_s1ap_id=3, enb_ue_s1ap_id=4, cause=Cause("nas", "detach")))
        == []
    )
