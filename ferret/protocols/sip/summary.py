"""What a SIP message is and to whom it belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from ferret.errors import DecodeError
from ferret.protocols.sip import digest
from ferret.protocols.sip.message import Message
from ferret.protocols.sip.syntax import Uri, parse_name_addr, parse_params, parse_uri, parse_via, split_semicolons
from ferret.protocols.summary import Identifier, IdKind, Kind, Summary

# Home network domain name of TS 23.003 clause 13.2; the IMPI made from an IMSI is of clause 13.3.
_HOME_DOMAIN = re.compile(r"(?:^|\.)mnc(\d{3})\.mcc(\d{3})\.", re.ASCII)
_SEPARATORS = str.maketrans("", "", "-.()")  # visual separators (RFC 3966 clause 3)
_NUMBER = re.compile(r"\+?(\d{5,15})\Z", re.ASCII)

# State transitions at sender and receiver together: of the transactions (RFC 3261 clause 17, RFC 6026), of the
# dialog (clause 12, RFC 6665) and of the registration (RFC 3680). The key is a method, or a class of answer to one.
_TRANSITIONS = {
    "INVITE": 2,  # Calling; Proceeding
    "100 INVITE": 1,  # Proceeding at the client
    "1xx INVITE": 3,  # Proceeding at the client; early dialog at both
    "2xx INVITE": 4,  # Accepted and confirmed dialog at both
    "no INVITE": 2,  # Completed at both
    "ACK": 1,  # Confirmed at the server
    "BYE": 4,  # Trying and terminated dialog at both
    "2xx REGISTER": 3,  # Completed at both; the registration active, or terminated
    "2xx SUBSCRIBE": 4,  # Completed and subscribed at both
}
_REQUEST_TRANSITIONS = 2  # Trying at both
_ANSWER_TRANSITIONS = 2  # Proceeding, or Completed, at both


def summarise(message: Message) -> Summary:
    """Name, kind, transaction and identifiers of a message."""
    method = message.method
    call_id = message.first("Call-ID")
    if message.is_request:
        name, kind, accepted = method, Kind.INDICATION if method == "ACK" else Kind.REQUEST, None
    else:
        status = message.status
        name, kind = f"{status} ({method})" if method else str(status), Kind.RESPONSE
        accepted = None if status < 200 else status < 300
    cseq = message.first("CSeq").split()
    branch = parse_via(message.first("Via")).branch
    transaction = " ".join((call_id, *cseq[:2], branch)) if call_id and cseq else ""
    return Summary(
        name=name,
        kind=kind,
        transaction=transaction,
        identifiers=tuple(dict.fromkeys(_identifiers(message, call_id))),
        accepted=accepted,
        state_transitions=_transitions(message, method),
    )


def _transitions(message: Message, method: str) -> int:
    if message.is_request:
        return _TRANSITIONS.get(method, _REQUEST_TRANSITIONS)
    status = message.status
    group = "100" if status == 100 else "1xx" if status < 200 else "2xx" if status < 300 else "no"
    return _TRANSITIONS.get(f"{group} {method}", _ANSWER_TRANSITIONS)


def _identifiers(message: Message, call_id: str) -> Iterator[Identifier]:
    if call_id:
        yield Identifier(IdKind.CALL_ID, call_id)
    icid = charging_id(message)
    if icid:
        yield Identifier(IdKind.ICID, icid)
    for name in ("From", "To", "P-Asserted-Identity", "P-Preferred-Identity"):
        for value in message.values(name):
            yield from _identities(parse_uri(parse_name_addr(value).uri))
    for value in message.values("Authorization"):
        yield from _private_identity(value)
    for value in message.values("Contact"):
        yield from _ue_address(parse_uri(parse_name_addr(value).uri), message)


def charging_id(message: Message) -> str:
    """The icid-value of P-Charging-Vector (RFC 7315 clause 4.6); "" where there is none."""
    for param in parse_params(split_semicolons(message.first("P-Charging-Vector"))):
        if param.name.lower() == "icid-value":
            return (param.value or "").strip('"')
    return ""


def _identities(uri: Uri) -> Iterator[Identifier]:
    if uri.scheme not in ("sip", "sips", "tel") or not (uri.user or uri.host):
        return
    yield Identifier(IdKind.IMPU, uri.identity)
    imsi = imsi_of(uri.user, uri.host)
    number = _NUMBER.match(uri.user.translate(_SEPARATORS))
    if imsi:
        yield Identifier(IdKind.IMSI, imsi)
    elif number:
        yield Identifier(IdKind.MSISDN, number[1])


def imsi_of(user: str, host: str) -> str:
    """The IMSI that a user part is, if the domain beside it is that IMSI's home network; else ""."""
    if len(user) not in (14, 15) or not (user.isascii() and user.isdigit()):
        return ""
    domain = _HOME_DOMAIN.search(host)
    if domain is None:
        return ""
    mnc, mcc = domain[1], domain[2]
    plmns = (mcc + mnc, mcc + mnc[1:]) if mnc[0] == "0" else (mcc + mnc,)
    return user if user.startswith(plmns) else ""


def _private_identity(value: str) -> Iterator[Identifier]:
    try:
        _, params = digest.parse(value)
    except DecodeError:
        return
    impi = params.get("username", "")
    if impi:
        yield Identifier(IdKind.IMPI, impi)
        user, _, host = impi.partition("@")
        imsi = imsi_of(user, host.lower())
        if imsi:
            yield Identifier(IdKind.IMSI, imsi)


def _ue_address(uri: Uri, message: Message) -> Iterator[Identifier]:
    """A literal address in a Contact is a UE's; an NF's own Contact has no user part."""
    if uri.host and (uri.user or message.method == "REGISTER"):
        try:
            yield Identifier(IdKind.UE_IP, ip_address(uri.host.strip("[]")).compressed)
        except ValueError:
            return
