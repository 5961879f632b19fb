"""Answers to Protocol Configuration Options (TS 24.008 clause 10.5.6.3, TS 29.061 clause 11.2.1.3).

What a UE asks for and the operator has configured is answered, in the order in which it was asked; the rest is passed
over in silence, as the clause allows.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeAlias

from ferret.errors import DecodeError
from ferret.protocols.gtpv2 import Ipcp, Pco, PcoContainer, PcoId, PcoIe
from ferret.protocols.gtpv2.pco import IPCP_ACK, IPCP_PRIMARY_DNS, IPCP_REQUEST, IPCP_SECONDARY_DNS
from ferret_core.pgw.configuration import PgwConfiguration
from ferret_core.pgw.context import Session

Answerer: TypeAlias = Callable[[PgwConfiguration, PcoContainer], list[PcoContainer]]

_CHAP_RESPONSE, _CHAP_SUCCESS = 2, 3  # RFC 1994 clause 4
_PAP_REQUEST, _PAP_ACK = 1, 2  # RFC 1334 clause 2.2


def answered(asked: Pco, configuration: PgwConfiguration) -> Pco:
    """The options for the UE."""
    containers: list[PcoContainer] = []
    for container in asked.containers:
        answerer = _ANSWERERS.get(container.identifier)
        if answerer is not None:
            containers += answerer(configuration, container)
    return Pco(tuple(containers), asked.head)


def of_session(session: Session, configuration: PgwConfiguration) -> PcoIe | None:
    """The options for the UE of a PDN connection; None where it asked for nothing."""
    return None if session.pco is None else PcoIe(answered(session.pco, configuration))


def _addresses(identifier: PcoId, addresses: tuple[str, ...], version: int) -> list[PcoContainer]:
    parsed = [ip_address(one) for one in addresses]
    return [PcoContainer(identifier, one.packed) for one in parsed if one.version == version]


def _link_mtu(configuration: PgwConfiguration, asked: PcoContainer) -> list[PcoContainer]:
    if not configuration.mtu:
        return []
    return [PcoContainer(PcoId.IPV4_LINK_MTU, configuration.mtu.to_bytes(2, "big"))]


def _ipcp(configuration: PgwConfiguration, asked: PcoContainer) -> list[PcoContainer]:
    """Configure-Ack with the DNS servers that were asked for and are configured (RFC 1877)."""
    try:
        packet = Ipcp.decode(asked.content)
    except DecodeError:
        return []
    servers = [one.packed for text in configuration.dns if (one := ip_address(text)).version == 4]
    if packet.code != IPCP_REQUEST or not servers:
        return []
    wanted = {kind for kind, _ in packet.options}
    known = tuple(zip((IPCP_PRIMARY_DNS, IPCP_SECONDARY_DNS), servers, strict=False))
    options = tuple((kind, server) for kind, server in known if kind in wanted)
    return [PcoContainer(PcoId.IPCP, Ipcp(IPCP_ACK, packet.identifier, options).encode())]


def _chap(configuration: PgwConfiguration, asked: PcoContainer) -> list[PcoContainer]:
    """Success to a response: who the user is was settled by AKA."""
    if len(asked.content) < 4 or asked.content[0] != _CHAP_RESPONSE:
        return []
    return [PcoContainer(PcoId.CHAP, bytes((_CHAP_SUCCESS, asked.content[1], 0, 4)))]


def _pap(configuration: PgwConfiguration, asked: PcoContainer) -> list[PcoContainer]:
    """Authenticate-Ack without a message, for the same reason."""
    if len(asked.content) < 4 or asked.content[0] != _PAP_REQUEST:
        return []
    return [PcoContainer(PcoId.PAP, bytes((_PAP_ACK, asked.content[1], 0, 5, 0)))]


_ANSWERERS: dict[int, Answerer] = {
    PcoId.DNS_SERVER_IPV4_ADDRESS: lambda c, asked: _addresses(PcoId.DNS_SERVER_IPV4_ADDRESS, c.dns, 4),
    PcoId.DNS_SERVER_IPV6_ADDRESS: lambda c, asked: _addresses(PcoId.DNS_SERVER_IPV6_ADDRESS, c.dns, 6),
    PcoId.P_CSCF_IPV4_ADDRESS: lambda c, asked: _addresses(PcoId.P_CSCF_IPV4_ADDRESS, c.pcscf, 4),
    PcoId.P_CSCF_IPV6_ADDRESS: lambda c, asked: _addresses(PcoId.P_CSCF_IPV6_ADDRESS, c.pcscf, 6),
    PcoId.IPV4_LINK_MTU: _link_mtu,
    PcoId.IPCP: _ipcp,
    PcoId.CHAP: _chap,
    PcoId.PAP: _pap,
}
