"""SIP topologies of other shapes than Kamailio's: parts missing, parts joined, parties beyond."""

from __future__ import annotations

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Role
from ferret_agents.roles import Network, find_network

UE, OTHER_UE = Endpoint("10.46.0.2", 5060), Endpoint("10.46.0.3", 5060)
P, I, S = Endpoint("10.0.0.21", 5060), Endpoint("10.0.0.19", 5060), Endpoint("10.0.0.20", 5060)  # noqa: E741
REMOTE = Endpoint("203.0.113.9", 5060)


def request(
    method: str,
    way: list[Endpoint],
    number: int = 1,
    *,
    tag: str = "",
    uri: str = "sip:b@ims.example",
    device: bool = True,
) -> list[CapturedMessage]:
    """A request at every hop of its way, each hop adding its Via."""
    messages = []
    for hop in range(len(way) - 1):
        vias = "".join(
            f"Via: SIP/2.0/UDP {one.address}:{one.port};branch=z9hG4bK{number}{one.address}\r\n"
            for one in reversed(way[: hop + 1])
        )
        octets = (
            f"{method} {uri} SIP/2.0\r\n{vias}From: <sip:a@ims.example>;tag=f\r\nTo: <sip:b@ims.example>{tag}\r\n"
            f"Call-ID: {number}@{way[0].address}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:a@{way[0].address}:{way[0].port}>\r\n"
            + ("P-Access-Network-Info: 3GPP-E-UTRAN-FDD\r\n" if device and not hop else "")
            + "Content-Length: 0\r\n\r\n"
        ).encode()
        messages.append(CapturedMessage(Protocol.SIP, 0, way[hop], way[hop + 1], octets))
    return messages


def roles(network: Network, *ends: Endpoint) -> list[Role]:
    return [network.resolve(end).role for end in ends]


def test_an_s_cscf_that_takes_registers_itself_is_no_i_cscf() -> None:
    network = find_network(request("REGISTER", [UE, P, S]) + request("INVITE", [UE, P, S, S, P, OTHER_UE], 2))
    assert roles(network, UE, P, S) == [Role.UE, Role.PCSCF, Role.SCSCF]


def test_beside_the_p_cscf_alone_i_and_s_cscf_are_told_apart_by_what_they_take() -> None:
    seen = [m for m in request("REGISTER", [UE, P, I, S]) if P in (m.source, m.destination)]
    seen += [m for m in request("INVITE", [UE, P, S, I, S, P, OTHER_UE], 2) if P in (m.source, m.destination)]
    network = find_network(seen)
    assert roles(network, UE, P, I, S) == [Role.UE, Role.PCSCF, Role.ICSCF, Role.SCSCF]


def test_without_the_device_s_side_the_p_cscf_is_still_found() -> None:
    network = find_network(request("REGISTER", [UE, P, I, S])[1:])
    assert roles(network, P, I, S) == [Role.PCSCF, Role.ICSCF, Role.SCSCF]


def test_a_call_to_another_network_ends_at_a_remote_party() -> None:
    messages = request("REGISTER", [UE, P, I, S]) + request("INVITE", [UE, P, S, REMOTE], 2)
    messages += request("ACK", [UE, P, S, REMOTE], 2, tag=";tag=t") + request(
        "BYE", [REMOTE, S, P, UE], 3, tag=";tag=t", device=False
    )
    assert roles(find_network(messages), REMOTE, S) == [Role.REMOTE, Role.SCSCF]


def test_a_device_that_only_gets_calls_is_a_device() -> None:
    way = [UE, P, S, S, P, OTHER_UE]
    network = find_network(request("INVITE", way, uri=f"sip:b@{OTHER_UE.address}:5060"))
    assert roles(network, OTHER_UE) == [Role.UE]


def test_a_client_port_belongs_to_the_server_that_its_via_names() -> None:
    client = Endpoint(S.address, 41234)
    invite = request("INVITE", [UE, P, S, P, OTHER_UE])
    moved = [
        CapturedMessage(
            Protocol.SIP, 0, client if m.source == S else m.source, m.destination, m.octets, transport="tcp"
        )
        for m in invite
    ]
    network = find_network(moved + request("REGISTER", [UE, P, I, S], 2))
    assert network.resolve(client) == network.resolve(S)
    assert network.resolve(S).role is Role.SCSCF


def test_plain_sip_of_no_ims_stays_unknown() -> None:
    one, other = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5062)
    network = find_network(request("OPTIONS", [one, other], device=False))
    assert roles(network, one, other) == [Role.UNKNOWN, Role.UNKNOWN]
    assert network.nodes == ()
