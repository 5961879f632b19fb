"""What a GTPv2-C message is and to whom it belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ferret.errors import DecodeError
from ferret.protocols.gtpv2.codec import Ie, Message, kind_of
from ferret.protocols.gtpv2.constants import IeType, InterfaceType, MessageType
from ferret.protocols.gtpv2.names import ANSWERS
from ferret.protocols.gtpv2.single_values import Ebi, Imsi, Msisdn
from ferret.protocols.gtpv2.views import Apn, CauseIe, FTeid, Paa
from ferret.protocols.summary import Identifier, IdKind, Kind, Summary

USER_PLANE: frozenset[int] = frozenset(
    kind for kind in InterfaceType if kind.name.endswith("GTP_U") or kind.name.endswith("DATA_FORWARDING")
)
"""Interface types whose tunnels carry user packets (clause 8.22)."""

# State transitions at sender and receiver together (clause 7.6 for the transaction; TS 23.401 clause 5 for the rest).
# Any request opens a transaction at both, any answer closes it at both. An answer that accepts moves more:
_TRANSACTION = 2
_ACCEPTED: dict[int, int] = {
    MessageType.CREATE_SESSION_RESPONSE: 2,  # the PDN connection with its default bearer is active at both
    MessageType.DELETE_SESSION_RESPONSE: 2,  # and gone from both
    MessageType.CREATE_BEARER_RESPONSE: 2,  # the dedicated bearer is active at both
    MessageType.DELETE_BEARER_RESPONSE: 2,  # and gone from both
    MessageType.MODIFY_BEARER_RESPONSE: 1,  # the SGW's downlink leads to the eNB: connected
    MessageType.RELEASE_ACCESS_BEARERS_RESPONSE: 1,  # the SGW buffers downlink packets: idle
    MessageType.CREATE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE: 2,
    MessageType.DELETE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE: 2,
}


def summarise(message: Message) -> Summary:
    """Name, kind, transaction and identifiers of a message.

    The transaction is the type of its request and the sequence number: the same for request and answer, and different
    for two requests that both ends send under one number at the same time. An IE that is malformed identifies nobody.
    """
    kind = kind_of(message.type)
    cause = _first_cause(message) if kind is Kind.RESPONSE else None
    transitions = 0 if kind is Kind.INDICATION else _TRANSACTION
    if cause:
        transitions += _ACCEPTED.get(message.type, 0)
    identifiers = dict.fromkeys(_identifiers(message.ies))
    if message.teid:
        identifiers[Identifier(IdKind.HEADER_TEID, f"{message.teid:#010x}")] = None
    return Summary(
        name=message.name,
        kind=kind,
        transaction=f"{ANSWERS.get(message.type, message.type)}/{message.sequence:#08x}",
        identifiers=tuple(identifiers),
        accepted=cause,
        state_transitions=transitions,
    )


def _first_cause(message: Message) -> bool | None:
    """Whether an answer accepts; an Echo Response, which has no Cause, does. None where the Cause is unreadable."""
    try:
        cause = message.view(CauseIe)
    except DecodeError:
        return None
    if cause is None:
        return True if message.type == MessageType.ECHO_RESPONSE else None
    return cause.accepted


def _identifiers(ies: tuple[Ie, ...]) -> Iterator[Identifier]:
    for ie in ies:
        if isinstance(ie.value, tuple):
            yield from _identifiers(ie.value)
        elif (read := _READERS.get(ie.type)) is not None:
            try:
                yield from read(ie.value)
            except DecodeError:
                continue


def _imsi(value: bytes) -> Iterator[Identifier]:
    yield Identifier(IdKind.IMSI, Imsi.decode(value).digits)


def _msisdn(value: bytes) -> Iterator[Identifier]:
    digits = Msisdn.decode(value).digits
    if digits:
        yield Identifier(IdKind.MSISDN, digits)


def _apn(value: bytes) -> Iterator[Identifier]:
    yield Identifier(IdKind.APN, Apn.decode(value).network_identifier)


def _ebi(value: bytes) -> Iterator[Identifier]:
    ebi = Ebi.decode(value).value
    if ebi:
        yield Identifier(IdKind.EBI, str(ebi))


def _paa(value: bytes) -> Iterator[Identifier]:
    paa = Paa.decode(value)
    if paa.ipv4 and paa.ipv4 != "0.0.0.0":
        yield Identifier(IdKind.UE_IP, paa.ipv4)
    if paa.ipv6 and paa.ipv6 != "::":
        yield Identifier(IdKind.UE_IP, paa.ipv6)


def _f_teid(value: bytes) -> Iterator[Identifier]:
    tunnel = FTeid.decode(value)
    kind = IdKind.TEID_U if tunnel.interface_type in USER_PLANE else IdKind.TEID
    if tunnel.teid:
        for address in filter(None, (tunnel.ipv4, tunnel.ipv6)):
            yield Identifier(kind, f"{address}/{tunnel.teid:#010x}")


_READERS: dict[int, Callable[[bytes], Iterator[Identifier]]] = {
    IeType.IMSI: _imsi,
    IeType.MSISDN: _msisdn,
    IeType.APN: _apn,
    IeType.EBI: _ebi,
    IeType.PAA: _paa,
    IeType.F_TEID: _f_teid,
}
