"""SIP stimuli, against an edge that is the recorded network under other names: what comes out must be its messages."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferret.protocols import sip
from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Interface, Node, Role
from ferret.replay.rewrite import Place, ReplayContext, rewrite
from ferret.replay.rewrite.fields import tag_of, with_tag, with_values
from ferret.replay.rewrite.sip_memory import aligned
from ferret.replay.translation import Domain, Pair, Translation
from ferret_agents.capture.reader import messages

MEMBERS = {"172.22.0.20": "127.0.0.20", "172.22.0.21": "127.0.0.121"}  # S-CSCF, P-CSCF; the I-CSCF stays outside
UE, PCSCF = Node(Role.UE, "10.46.0.2"), Node(Role.PCSCF, "172.22.0.21")
PLACE = Place(Interface.GM, UE, PCSCF)
CHECKED = ("Via", "Route", "Record-Route", "Path", "To", "From", "Call-ID", "CSeq")


class RenamedEdge:
    """Makes of each recorded message the one that an edge with other addresses and branches would have sent."""

    def __init__(self, recorded: list[sip.Message]) -> None:
        self.names = dict(MEMBERS)
        for message in recorded:
            for via in map(sip.parse_via, message.values("Via")):
                if via.host in MEMBERS:
                    self.names[via.branch] = f"z9hG4bKedge{len(self.names)}q"
        longest_first = sorted(self.names, key=len, reverse=True)
        self.pattern = re.compile("|".join(rf"{re.escape(name)}(?![0-9])" for name in longest_first))

    def __call__(self, message: sip.Message) -> sip.Message:
        text = message.encode().decode("utf-8", "surrogateescape")
        text = self.pattern.sub(lambda match: self.names[match[0]], text)
        return sip.decode(text.encode("utf-8", "surrogateescape"))


def recorded(path: Path) -> Iterator[tuple[CapturedMessage, sip.Message]]:
    for captured in messages(path):
        if captured.protocol is Protocol.SIP and not captured.flaws:
            yield captured, sip.decode(captured.octets)


@pytest.mark.parametrize("name", ["kamailio-ims-call.pcap", "volte-call-full.pcap", "volte-multi-6.pcap"])
def test_every_stimulus_becomes_what_the_outside_would_have_sent_to_the_edge(
    capture: Callable[[str], Path], name: str
) -> None:
    found = list(recorded(capture(name)))
    edge_of = RenamedEdge([message for _, message in found])
    context, translation = ReplayContext(), Translation(MEMBERS)
    stimuli = 0
    for captured, message in found:
        place = Place(
            Interface.MW, *(Node(Role.UNKNOWN, end.address) for end in (captured.source, captured.destination))
        )
        if captured.source.address in MEMBERS:
            context.remember(place, message, edge_of(message))
        elif captured.destination.address in MEMBERS:
            made = rewrite(message, translation, context, place)
            assert isinstance(made, sip.Message)
            wanted = edge_of(message)
            assert made.request_uri == wanted.request_uri
            for field in CHECKED:
                assert made.values(field) == wanted.values(field), (captured.frame, field)
            assert made.values("Authorization") == message.values("Authorization")  # the digest covers its URI
            assert made.body == message.body
            stimuli += 1
    assert stimuli > 50


def request(method: str = "INVITE", **headers: str) -> sip.Message:
    fields = {
        "Via": "SIP/2.0/UDP 10.46.0.2:5060;branch=z9hG4bK-ue",
        "From": "<sip:a@ims.example>;tag=ue1",
        "To": "<sip:b@ims.example>",
        "Call-ID": "call1",
        "CSeq": f"7 {method}",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return sip.request(method, "sip:b@ims.example", fields.items())


def response(to: sip.Message, status: int = 200, **headers: str) -> sip.Message:
    fields = {name: ", ".join(to.values(name)) for name in ("Via", "From", "To", "Call-ID", "CSeq")}
    return sip.response(status, "OK", (fields | {n.replace("_", "-"): v for n, v in headers.items()}).items())


def rewritten(message: sip.Message, translation: Translation, context: ReplayContext) -> sip.Message:
    made = rewrite(message, translation, context, PLACE)
    assert isinstance(made, sip.Message)
    return made


def test_a_response_to_a_request_that_the_edge_made_by_itself_carries_that_requests_identifiers() -> None:
    context = ReplayContext()
    to = "<sip:b@x>;tag=t"
    asked = request("NOTIFY", Via="SIP/2.0/UDP 172.22.0.21;branch=z9hG4bKp", To=to, From="<sip:s@x>;tag=s1")
    edge = request(
        "NOTIFY",
        Via="SIP/2.0/TCP 127.0.0.121;branch=z9hG4bKe",
        To=to,
        From="<sip:s@x>;tag=edge",
        CSeq="41 NOTIFY",
    )
    context.remember(PLACE.reverse, asked, edge)
    made = rewritten(response(asked), Translation(), context)
    for field in ("Via", "From", "To", "CSeq", "Call-ID"):
        assert made.values(field) == edge.values(field)


def test_the_answering_partys_tag_stays() -> None:
    context = ReplayContext()
    asked = request(Call_ID="call1")
    context.remember(PLACE.reverse, asked, request(To="<sip:edge-b@ims.example>"))
    made = rewritten(response(asked, To="<sip:b@ims.example>;tag=ue2"), Translation(), context)
    assert made.first("To") == "<sip:edge-b@ims.example>;tag=ue2"


def test_in_dialog_requests_take_the_routes_tags_and_target_that_the_edge_gave() -> None:
    context, translation = ReplayContext(), Translation()
    asked = request("SUBSCRIBE")
    routes = "<sip:mo@172.22.0.20;lr=on;ftag=1>, <sip:mo@172.22.0.21;lr=on;ftag=1>"
    edge_routes = "<sip:127.0.0.21;lr>"
    old = response(asked, To="<sip:b@x>;tag=core", Contact="<sip:scscf@172.22.0.20:6060>", Record_Route=routes)
    new = response(asked, To="<sip:b@x>;tag=edge", Contact="<sip:127.0.0.20>", Record_Route=edge_routes)
    context.remember(PLACE.reverse, old, new)
    translation.learn([Pair(Domain.TAG, "core", "edge")])
    again = request(
        "SUBSCRIBE",
        To="<sip:b@x>;tag=core",
        Route="<sip:mo@172.22.0.21;lr=on;ftag=1>, <sip:mo@172.22.0.20;lr=on;ftag=1>",
    ).with_request_uri("sip:scscf@172.22.0.20:6060")
    made = rewritten(again, translation, context)
    assert made.request_uri == "sip:127.0.0.20"
    assert made.values("Route") == ("<sip:127.0.0.21;lr>",)
    assert made.first("To") == "<sip:b@x>;tag=edge"
    assert made.values("Via") == again.values("Via")


def test_a_new_challenge_is_answered_with_its_nonce() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.NONCE, "oldnonce==", "newnonce==")])
    asked = request("REGISTER", Authorization='Digest username="a", nonce="oldnonce==", cnonce="oldnonce==", nc=1')
    made = rewritten(asked, translation, ReplayContext())
    assert made.first("Authorization") == 'Digest username="a", nonce="newnonce==", cnonce="oldnonce==", nc=1'


def test_the_security_agreement_that_the_edge_offered_is_verified() -> None:
    context = ReplayContext()
    offer = "ipsec-3gpp;alg=hmac-sha-1-96;spi-c={};spi-s=2;port-c=3;port-s=4"
    asked = request("REGISTER")
    context.remember(
        PLACE.reverse,
        response(asked, 401, Security_Server=offer.format(11)),
        response(asked, 401, Security_Server=offer.format(99)),
    )
    made = rewritten(request("REGISTER", Security_Verify=offer.format(11)), Translation(), context)
    assert made.first("Security-Verify") == offer.format(99)


def test_charging_and_mapped_media_addresses_are_translated() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.ICID, "icid-1", "icid-9"), Pair(Domain.UE_IP, "10.46.0.2", "10.99.0.100")])
    body = b"v=0\r\no=- 1 1 IN IP4 10.46.0.2\r\ns=-\r\nc=IN IP4 10.46.0.2\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n"
    asked = request(P_Charging_Vector='icid-value="icid-1";orig-ioi=a').with_body(body, "application/sdp")
    made = rewritten(asked, translation, ReplayContext())
    assert made.first("P-Charging-Vector") == 'icid-value="icid-9";orig-ioi=a'
    assert made.body == body.replace(b"10.46.0.2", b"10.99.0.100")
    assert made.flaws == ()


def test_a_ues_own_via_is_not_taken_for_the_one_that_a_proxy_completed() -> None:
    context = ReplayContext()
    via = "SIP/2.0/UDP 10.46.0.2:5060;branch=z9hG4bK-ue"
    proxied = request(Via=f"SIP/2.0/UDP 172.22.0.21;branch=z9hG4bKp, {via};received=10.46.0.2")
    edge = request(Via=f"SIP/2.0/UDP 127.0.0.21;branch=z9hG4bKe, {via};rport=5060;received=10.46.0.2")
    context.remember(PLACE, proxied, edge)
    ack = request("ACK", Via=via)
    assert rewritten(ack, Translation(), context) is ack


def test_lines_in_which_nothing_changes_keep_their_octets() -> None:
    octets = b"BYE sip:a SIP/2.0\r\nv:  one ,\r\n two\r\nVIA:three\r\nX: y\r\n\r\n"
    message = sip.decode(octets)
    assert with_values(message, "Via", ("one", "two", "three")) is message
    assert b"v:  one ,\r\n two\r\nVIA: four\r\n" in with_values(message, "Via", ("one", "two", "four")).encode()
    assert with_values(message, "Via", ("five",)).values("Via") == ("five",)
    assert with_values(message, "Via", ()).values("Via") == ()
    assert with_values(message, "Route", ("<sip:r>",)).values("Route") == ("<sip:r>",)


@pytest.mark.parametrize(
    ("value", "tag", "expected"),
    [
        ("<sip:a@b;tag=uri>;tag=x;y=z", "n", "<sip:a@b;tag=uri>;tag=n;y=z"),
        ("<sip:a@b>", "n", "<sip:a@b>;tag=n"),
        ("sip:a@b;tag=x", "n", "sip:a@b;tag=n"),
        ('"tag=q" <sip:a@b>; TAG = x', "n", '"tag=q" <sip:a@b>; TAG = n'),
        ("<sip:a@b>;tag=x", "", "<sip:a@b>"),
    ],
)
def test_a_tag_is_exchanged_in_its_place(value: str, tag: str, expected: str) -> None:
    assert with_tag(value, tag) == expected
    assert tag_of(expected) == tag


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ("ab", "xy", ["ax", "by"]),
        ("abc", "xy", ["ax", "cy"]),
        ("ab", "xyz", ["ax", "bz"]),
        ("a", "xy", ["ax"]),
        ("", "x", []),
    ],
)
def test_stacks_fit_at_the_top_and_from_the_bottom(old: str, new: str, pairs: list[str]) -> None:
    assert ["".join(pair) for pair in aligned(old, new)] == pairs
