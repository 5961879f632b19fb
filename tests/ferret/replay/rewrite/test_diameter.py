from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Command, avp
from ferret.records.message import Interface, Node, Role
from ferret.replay.rewrite import Place, ReplayContext, rewrite
from ferret.replay.translation import Domain, Pair, Translation

MME, HSS = Node(Role.MME, "172.22.0.2"), Node(Role.HSS, "172.22.0.8")
AF, PCRF = Node(Role.AF, "172.22.0.21"), Node(Role.PCRF, "172.22.0.9")


def translation() -> Translation:
    made = Translation({"pcrf.localdomain": "pcrf.edge", "localdomain": "edge", "172.22.0.9": "127.0.0.9"})
    made.learn([Pair(Domain.UE_IP, "10.46.0.2", "10.99.0.7"), Pair(Domain.SESSION_ID, "pgw;1;2", "edge;3;4")])
    return made


def rewritten(message: diameter.Message, place: Place, context: ReplayContext | None = None) -> diameter.Message:
    made = rewrite(message, translation(), context or ReplayContext(), place)
    assert isinstance(made, diameter.Message)
    return made


def test_an_answer_becomes_the_answer_to_the_edges_own_request() -> None:
    recorded = diameter.request(Command.AUTHENTICATION_INFORMATION, Application.S6A, avp.SESSION_ID("mme;1;1"))
    recorded = recorded.with_identifiers(5, 6)
    edge = diameter.request(Command.AUTHENTICATION_INFORMATION, Application.S6A, avp.SESSION_ID("edge-mme;9;9"))
    edge = edge.with_identifiers(50, 60)
    context = ReplayContext()
    context.remember(Place(Interface.S6A, MME, HSS), recorded, edge)
    odd = diameter.Avp(9999, 0, 0, b"abc", b"\xff")
    answer = diameter.Message(
        recorded.command,
        recorded.application,
        0x40,
        5,
        6,
        (avp.SESSION_ID("mme;1;1"), avp.RESULT_CODE(2001), avp.ORIGIN_HOST("hss.localdomain"), odd),
    )
    made = rewritten(answer, Place(Interface.S6A, HSS, MME), context)
    assert (made.hop_by_hop, made.end_to_end) == (50, 60)
    assert made.value_of(avp.SESSION_ID) == "edge-mme;9;9"
    assert made.avps[1:] == answer.avps[1:]
    assert diameter.decode(made.encode()) == made


def test_another_peers_answer_with_the_same_identifier_is_not_taken_for_it() -> None:
    recorded = diameter.request(Command.AUTHENTICATION_INFORMATION, Application.S6A).with_identifiers(5, 6)
    context = ReplayContext()
    context.remember(Place(Interface.S6A, MME, HSS), recorded, recorded.with_identifiers(50, 60))
    answer = diameter.Message(recorded.command, recorded.application, 0x40, 5, 6)
    assert rewritten(answer, Place(Interface.S6A, HSS, AF), context) is answer


def test_a_request_from_outside_names_the_edge_and_its_session_and_the_ues_address() -> None:
    asked = diameter.request(
        Command.AA,
        Application.RX,
        avp.SESSION_ID("af;1;2"),
        avp.ORIGIN_HOST("af.localdomain"),
        avp.DESTINATION_REALM("localdomain"),
        avp.DESTINATION_HOST("pcrf.localdomain"),
        avp.FRAMED_IP_ADDRESS("10.46.0.2"),
        avp.MEDIA_COMPONENT_DESCRIPTION(
            avp.MEDIA_COMPONENT_NUMBER(1),
            avp.MEDIA_SUB_COMPONENT(
                avp.FLOW_NUMBER(1), avp.FLOW_DESCRIPTION("permit in 17 from 10.46.0.2 49120 to 172.22.0.40 5")
            ),
        ),
    )
    made = rewritten(asked, Place(Interface.RX, AF, PCRF))
    assert made.value_of(avp.SESSION_ID) == "af;1;2"
    assert made.value_of(avp.ORIGIN_HOST) == "af.localdomain"
    assert made.value_of(avp.DESTINATION_HOST) == "pcrf.edge"
    assert made.value_of(avp.DESTINATION_REALM) == "edge"
    assert made.value_of(avp.FRAMED_IP_ADDRESS) == "10.99.0.7"
    media = made.find(avp.MEDIA_COMPONENT_DESCRIPTION)
    assert media is not None
    assert b"from 10.99.0.7 49120 to 172.22.0.40 5" in media.octets


def test_a_session_that_the_edge_opened_is_known_by_the_edges_name() -> None:
    asked = diameter.request(Command.RE_AUTH, Application.GX, avp.SESSION_ID("pgw;1;2"))
    assert rewritten(asked, Place(Interface.GX, PCRF, AF)).value_of(avp.SESSION_ID) == "edge;3;4"


def test_an_ipv6_prefix_keeps_its_length() -> None:
    known = Translation()
    known.learn([Pair(Domain.UE_IP, "2001:db8::", "2001:db8:1::")])
    asked = diameter.request(Command.AA, Application.RX, avp.FRAMED_IPV6_PREFIX("2001:db8::/64"))
    made = rewrite(asked, known, ReplayContext(), Place(Interface.RX, AF, PCRF))
    assert isinstance(made, diameter.Message)
    assert made.value_of(avp.FRAMED_IPV6_PREFIX) == "2001:db8:1::/64"
