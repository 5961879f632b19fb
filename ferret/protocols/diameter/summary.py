"""What a Diameter message is and whose: name, transaction, identifiers, outcome, state transitions.

Nothing here raises: a message whose AVPs cannot be read simply says less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from ferret.errors import DecodeError
from ferret.protocols.diameter import avp
from ferret.protocols.diameter.constants import Application, CcRequestType, Command, SubscriptionIdType
from ferret.protocols.diameter.definition import AvpDefinition
from ferret.protocols.diameter.dictionary import APPLICATION_NAMES, COMMAND_NAMES, PEER_COMMANDS
from ferret.protocols.diameter.tree import Avp, Message
from ferret.protocols.summary import Identifier, IdKind, Kind, Summary

_CC_REQUEST_TYPES: Final = {
    CcRequestType.INITIAL: "Initial",
    CcRequestType.UPDATE: "Update",
    CcRequestType.TERMINATION: "Termination",
    CcRequestType.EVENT: "Event",
}

# State transitions at sender and receiver together, when all goes well. Peers: RFC 6733 clause 5.6. Sessions of Rx:
# RFC 6733 clause 8.1 (stateful). Credit control and Gx: RFC 8506 clause 7. S6a and Cx keep no session; what changes is
# the subscriber's registration at HSS and MME or S-CSCF (TS 29.272 clause 5.2, TS 29.228 clause 6).
STATE_TRANSITIONS: Final[dict[str, int]] = {
    "CER": 2,  # Wait-Conn-Ack -> Wait-I-CEA; Closed -> R-Open
    "CEA": 1,  # Wait-I-CEA -> I-Open
    "DPR": 2,  # Open -> Closing on both sides
    "DPA": 1,  # Closing -> Closed
    "CCR-Initial": 2,  # Idle -> PendingI; Idle -> Open
    "CCA-Initial": 1,  # PendingI -> Open
    "CCR-Update": 1,  # Open -> PendingU
    "CCA-Update": 1,  # PendingU -> Open
    "CCR-Termination": 2,  # Open -> PendingT; Open -> Idle
    "CCA-Termination": 1,  # PendingT -> Idle
    "CCR-Event": 1,  # Idle -> PendingE
    "CCA-Event": 1,  # PendingE -> Idle
    "AAR": 2,  # Idle -> Pending; Idle -> Open (none when it updates an open session)
    "AAA": 1,  # Pending -> Open
    "STR": 2,  # Open -> Discon; Open -> Idle
    "STA": 1,  # Discon -> Idle
    "ASR": 1,  # Open -> Discon
    "ASA": 1,  # Discon -> Idle
    "ULR": 1,  # HSS: not registered -> registered
    "ULA": 1,  # MME: not registered -> registered
    "CLR": 1,  # MME: registered -> deleted
    "PUR": 1,  # HSS: registered -> purged
    "MAR": 1,  # HSS: authentication pending
    "SAR": 1,  # HSS: registration state
    "SAA": 1,  # S-CSCF: registration state
    "RTR": 1,  # S-CSCF: registered -> not registered
}
_UPDATE_REQUEST = 1  # Rx-Request-Type (TS 29.214 clause 5.3.31)


def _value(message: Message | Avp, definition: AvpDefinition[int]) -> int | None:
    try:
        return message.value_of(definition)
    except DecodeError:
        return None


def name_of_message(message: Message) -> str:
    """ "AAR", "CCR-Initial", "DWA"; "command 999 request" where the command is not known."""
    names = COMMAND_NAMES.get(message.command)
    if names is None:
        return f"command {message.command} {'request' if message.is_request else 'answer'}"
    name = names[0] if message.is_request else names[1]
    if message.command == Command.CREDIT_CONTROL:
        kind = _CC_REQUEST_TYPES.get(CcRequestType(number)) if (number := _cc_request_type(message)) else None
        return f"{name}-{kind}" if kind else name
    return name


def _cc_request_type(message: Message) -> int:
    number = _value(message, avp.CC_REQUEST_TYPE)
    return number if number in _CC_REQUEST_TYPES else 0


def application_of(message: Message) -> str:
    """ "Gx", "Rx", "S6a"…, "" for the base protocol, "application 1234" where it is not known."""
    if message.command in PEER_COMMANDS:
        return ""
    return APPLICATION_NAMES.get(message.application, f"application {message.application}")


def result_of(message: Message) -> int | None:
    """Result-Code or, without one, Experimental-Result-Code (RFC 6733 clause 7.6); None without either."""
    result = _value(message, avp.RESULT_CODE)
    if result is not None:
        return result
    experimental = message.find(avp.EXPERIMENTAL_RESULT)
    return None if experimental is None else _value(experimental, avp.EXPERIMENTAL_RESULT_CODE)


def accepted(message: Message) -> bool | None:
    """Whether an answer says yes: 2xxx. None for a request, for 1xxx (more is to come) and where nothing is said."""
    if message.is_request:
        return None
    if message.is_error:
        return False
    result = result_of(message)
    if result is None or 1000 <= result < 2000:
        return None
    return 2000 <= result < 3000


def _transitions(name: str, message: Message, outcome: bool | None) -> int:
    if outcome is False or (name == "AAR" and _value(message, avp.RX_REQUEST_TYPE) == _UPDATE_REQUEST):
        return 0
    return STATE_TRANSITIONS.get(name, 0)


def summarise(message: Message) -> Summary:
    """What the message is. `transaction` is the hop-by-hop identifier."""
    name = name_of_message(message)
    outcome = accepted(message)
    return Summary(
        name=name,
        kind=Kind.REQUEST if message.is_request else Kind.RESPONSE,
        transaction=f"0x{message.hop_by_hop:08x}",
        identifiers=tuple(dict.fromkeys(_identifiers(message))),
        application=application_of(message),
        accepted=outcome,
        state_transitions=_transitions(name, message, outcome),
    )


# --- identifiers


_OPERATOR_IDENTIFIER = re.compile(r"\.mnc\d{2,3}\.mcc\d{3}(\.gprs)?$")
_IMSI = re.compile(r"\d{6,15}")
_IMPI_FROM_IMSI = re.compile(r"(\d{14,15})@ims\.mnc(\d{3})\.mcc(\d{3})\.3gppnetwork\.org")


def apn(text: str) -> str:
    """An APN in lower case without the operator identifier (TS 23.003 clause 9.1)."""
    return _OPERATOR_IDENTIFIER.sub("", text.lower())


def public_identity(text: str) -> str:
    """A SIP or tel URI without angle brackets and parameters."""
    return text.strip().strip("<>").partition(";")[0]


def imsi_of_private_identity(text: str) -> str:
    """The IMSI that an IMPI was made from (TS 23.003 clause 13.3); "" where it was not."""
    match = _IMPI_FROM_IMSI.fullmatch(text)
    if match is None:
        return ""
    imsi, mnc, mcc = match.groups()
    return imsi if imsi.startswith((mcc + mnc, mcc + mnc[1:])) else ""


def tbcd(octets: bytes) -> str:
    """Digits of a TBCD string (TS 29.002 clause 17.7.8); "" when it is none. The nibble 0xf is filler."""
    digits = "".join(f"{octet & 0xF:x}{octet >> 4:x}" for octet in octets).rstrip("f")
    return digits if digits.isdecimal() else ""


def _private_identity(text: str) -> list[Identifier]:
    imsi = imsi_of_private_identity(text)
    return [Identifier(IdKind.IMPI, text), *([Identifier(IdKind.IMSI, imsi)] if imsi else [])]


def _user_name(message: Message, text: str) -> list[Identifier]:
    if _IMSI.fullmatch(text) and message.application not in (Application.CX, Application.RX):
        return [Identifier(IdKind.IMSI, text)]
    return _private_identity(text) if "@" in text else []


def _subscription_id(group: Avp) -> list[Identifier]:
    kind = group.value_of(avp.SUBSCRIPTION_ID_TYPE)
    data = group.value_of(avp.SUBSCRIPTION_ID_DATA) or ""
    if kind == SubscriptionIdType.END_USER_E164:
        return [Identifier(IdKind.MSISDN, data.removeprefix("tel:").lstrip("+"))]
    if kind == SubscriptionIdType.END_USER_IMSI:
        return [Identifier(IdKind.IMSI, data)]
    if kind == SubscriptionIdType.END_USER_SIP_URI:
        return [Identifier(IdKind.IMPU, public_identity(data))]
    return _private_identity(data) if "@" in data else []


def _prefix(text: str) -> str:
    return text.removesuffix("/128")


_Reading = Callable[[Message, Avp], list[Identifier]]


def _simple(kind: IdKind, definition: AvpDefinition[str], shape: Callable[[str], str] = str) -> _Reading:
    return lambda message, one: [Identifier(kind, shape(definition.read(one)))]


_READINGS: Final[dict[tuple[int, int], _Reading]] = {
    (definition.code, definition.vendor): reading
    for definition, reading in (
        (avp.SESSION_ID, _simple(IdKind.SESSION_ID, avp.SESSION_ID)),
        (avp.USER_NAME, lambda message, one: _user_name(message, avp.USER_NAME.read(one))),
        (avp.SUBSCRIPTION_ID, lambda message, one: _subscription_id(one)),
        (avp.MSISDN, lambda message, one: [Identifier(IdKind.MSISDN, tbcd(one.octets))]),
        (avp.TGPP_IMSI, _simple(IdKind.IMSI, avp.TGPP_IMSI)),
        (avp.PUBLIC_IDENTITY, _simple(IdKind.IMPU, avp.PUBLIC_IDENTITY, public_identity)),
        (avp.FRAMED_IP_ADDRESS, _simple(IdKind.UE_IP, avp.FRAMED_IP_ADDRESS)),
        (avp.FRAMED_IPV6_PREFIX, _simple(IdKind.UE_IP, avp.FRAMED_IPV6_PREFIX, _prefix)),
        (avp.PDP_ADDRESS, _simple(IdKind.UE_IP, avp.PDP_ADDRESS)),
        (avp.SERVED_PARTY_IP_ADDRESS, _simple(IdKind.UE_IP, avp.SERVED_PARTY_IP_ADDRESS)),
        (avp.CALLED_STATION_ID, _simple(IdKind.APN, avp.CALLED_STATION_ID, apn)),
        (avp.IMS_CHARGING_IDENTIFIER, _simple(IdKind.ICID, avp.IMS_CHARGING_IDENTIFIER)),
        (avp.AF_CHARGING_IDENTIFIER, _simple(IdKind.ICID, avp.AF_CHARGING_IDENTIFIER)),
        (avp.USER_SESSION_ID, _simple(IdKind.CALL_ID, avp.USER_SESSION_ID)),
    )
}


def _walk(avps: tuple[Avp, ...]) -> Iterator[Avp]:
    for one in avps:
        yield one
        if isinstance(one.value, tuple):
            yield from _walk(one.value)


def _identifiers(message: Message) -> Iterator[Identifier]:
    for one in _walk(message.avps):
        reading = _READINGS.get((one.code, one.vendor))
        if reading is None:
            continue
        try:
            found = reading(message, one)
        except DecodeError:
            continue
        yield from (identifier for identifier in found if identifier.value)
