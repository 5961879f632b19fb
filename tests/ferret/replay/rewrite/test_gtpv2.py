from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import FTeid, IeType, MessageType
from ferret.records.message import Interface, Node, Role
from ferret.replay.rewrite import Place, ReplayContext, rewrite
from ferret.replay.rewrite.gtpv2 import header_scope
from ferret.replay.translation import Domain, Pair, Translation, teid_scope

MME, SGW, PGW = Node(Role.MME, "172.22.0.2"), Node(Role.SGW, "172.22.0.3"), Node(Role.PGW, "172.22.0.4")
TO_SGW = Place(Interface.S11, MME, SGW)


def translation() -> Translation:
    made = Translation({"172.22.0.3": "127.0.0.3", "172.22.0.4": "127.0.0.4"})
    made.learn(
        [
            Pair(Domain.TEID, 0x77, 0x1077, teid_scope(11, "172.22.0.3"), teid_scope(11, "127.0.0.3")),
            Pair(Domain.TEID_U, 0x55, 0x1055, teid_scope(1, "172.22.0.6"), teid_scope(1, "127.0.0.3")),
            Pair(Domain.ADDRESS, "172.22.0.6", "127.0.0.3", "1", "1"),
        ]
    )
    return made


def rewritten(message: gtpv2.Message, place: Place = TO_SGW, context: ReplayContext | None = None) -> gtpv2.Message:
    made = rewrite(message, translation(), context or ReplayContext(), place)
    assert isinstance(made, gtpv2.Message)
    return made


def message(message_type: int, teid: int, sequence: int, *ies: gtpv2.Ie) -> gtpv2.Message:
    return gtpv2.Message(message_type, teid, sequence, ies)


def test_the_header_gets_the_teid_that_the_edge_nf_allocated() -> None:
    made = rewritten(message(MessageType.MODIFY_BEARER_REQUEST, 0x77, 9))
    assert (made.teid, made.sequence) == (0x1077, 9)


def test_a_teid_of_another_nf_stays() -> None:
    assert rewritten(message(MessageType.MODIFY_BEARER_REQUEST, 0x78, 9)).teid == 0x78
    assert rewritten(message(34, 0x77, 9), Place(Interface.S5, SGW, PGW)).teid == 0x77


def test_an_f_teid_of_the_edge_is_replaced_with_its_address_and_one_of_the_base_station_stays() -> None:
    edge, enb = FTeid(1, 0x55, "172.22.0.6"), FTeid(0, 0x55, "172.22.0.30")
    context = gtpv2.Ie(IeType.BEARER_CONTEXT, 0, (gtpv2.Ebi(6).ie(), enb.ie(0), edge.ie(1)))
    made = rewritten(message(MessageType.CREATE_BEARER_RESPONSE, 0x77, 9, context)).bearer_contexts[0]
    assert made.view(FTeid, 0) == enb
    assert made.view(FTeid, 1) == FTeid(1, 0x1055, "127.0.0.3")


def test_an_f_teid_without_a_teid_yet_names_the_edge_nf() -> None:
    made = rewritten(message(MessageType.CREATE_SESSION_REQUEST, 0, 1, FTeid(7, 0, "172.22.0.4").ie(1)))
    assert made.view(FTeid, 1) == FTeid(7, 0, "127.0.0.4")


def test_an_answer_gets_the_sequence_number_of_the_edges_own_request() -> None:
    context = ReplayContext()
    recorded = message(MessageType.CREATE_BEARER_REQUEST, 0x10, 3)
    context.remember(Place(Interface.S11, SGW, MME), recorded, recorded.with_header(0x99, 1234))
    # The MME's own request with the same number is another transaction.
    context.remember(TO_SGW, message(MessageType.CREATE_SESSION_REQUEST, 0, 3), message(32, 0, 77))
    made = rewritten(message(MessageType.CREATE_BEARER_RESPONSE, 0x77, 3), context=context)
    assert (made.teid, made.sequence) == (0x1077, 1234)


def test_a_malformed_f_teid_stays_as_it_is() -> None:
    broken = message(MessageType.MODIFY_BEARER_REQUEST, 0, 1, gtpv2.Ie(IeType.F_TEID, 0, b"\x8b\0"))
    assert rewritten(broken) is broken


def test_a_mapped_ue_address_is_asked_for() -> None:
    known = Translation()
    known.learn([Pair(Domain.UE_IP, "10.46.0.2", "10.99.0.2")])
    asked = message(MessageType.CREATE_SESSION_REQUEST, 0, 1, gtpv2.Paa(1, "10.46.0.2").ie())
    made = rewrite(asked, known, ReplayContext(), TO_SGW)
    assert isinstance(made, gtpv2.Message)
    assert made.view(gtpv2.Paa) == gtpv2.Paa(1, "10.99.0.2")


def test_the_owner_of_a_header_teid_is_known_by_interface_and_role() -> None:
    assert header_scope(Interface.S11, SGW) == "11/172.22.0.3"
    assert header_scope(Interface.S5, SGW) == "6/172.22.0.3"
    assert header_scope(Interface.S1_MME, MME) is None
