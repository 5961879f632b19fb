"""What a Diameter node says of itself when it meets a peer: CER, CEA, DWR, DPR (RFC 6733 clauses 5.3 to 5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from ferret.errors import DecodeError
from ferret.protocols.diameter import avp
from ferret.protocols.diameter.build import answer, request
from ferret.protocols.diameter.constants import (
    VENDOR_3GPP,
    VENDOR_ETSI,
    Application,
    Command,
    ResultCode,
)
from ferret.protocols.diameter.tree import Avp, Message

_FIRST_VENDOR_SPECIFIC = 16777216  # RFC 6733 clause 11.3: identifiers from here on are vendors'


@dataclass(frozen=True, slots=True)
class Identity:
    """One Diameter node. `origin_state_id` 0 leaves Origin-State-Id out."""

    host: str
    realm: str
    addresses: tuple[str, ...]
    applications: tuple[int, ...]
    vendor_id: int = 0
    product_name: str = "ferret"
    supported_vendors: tuple[int, ...] = (VENDOR_3GPP, VENDOR_ETSI)
    origin_state_id: int = 0

    @property
    def origin(self) -> tuple[Avp, Avp]:
        """Origin-Host and Origin-Realm."""
        return avp.ORIGIN_HOST(self.host), avp.ORIGIN_REALM(self.realm)

    @property
    def state(self) -> Avp | None:
        """Origin-State-Id, if this node keeps one."""
        return avp.ORIGIN_STATE_ID(self.origin_state_id) if self.origin_state_id else None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a peer said in its CER or CEA."""

    host: str
    realm: str
    applications: frozenset[int]
    result: int | None = None  # of a CEA
    origin_state_id: int = 0  # 0: the peer does not say

    def common(self, applications: tuple[int, ...]) -> frozenset[int]:
        """The applications that both speak; a relay speaks all (RFC 6733 clause 2.4)."""
        if Application.RELAY in self.applications or Application.RELAY in applications:
            return frozenset(applications) | self.applications
        return self.applications.intersection(applications)


def _application(number: int) -> Avp:
    if number == Application.ACCOUNTING:
        return avp.ACCT_APPLICATION_ID(number)
    if number < _FIRST_VENDOR_SPECIFIC or number == Application.RELAY:
        return avp.AUTH_APPLICATION_ID(number)
    return avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), avp.AUTH_APPLICATION_ID(number))


def _capabilities(node: Identity) -> list[Avp | None]:
    return [
        *[avp.HOST_IP_ADDRESS(address) for address in node.addresses],
        avp.VENDOR_ID(node.vendor_id),
        avp.PRODUCT_NAME(node.product_name),
        node.state,
        *[avp.SUPPORTED_VENDOR_ID(vendor) for vendor in node.supported_vendors],
        *[_application(number) for number in node.applications],
    ]


def capabilities_request(node: Identity) -> Message:
    """CER (clause 5.3.1)."""
    return request(Command.CAPABILITIES_EXCHANGE, Application.BASE, *node.origin, *_capabilities(node))


def capabilities_answer(node: Identity, asked: Message, result: int) -> Message:
    """CEA (clause 5.3.2)."""
    return answer(asked, avp.RESULT_CODE(result), *node.origin, *_capabilities(node))


def watchdog_request(node: Identity) -> Message:
    """DWR (clause 5.5.1)."""
    return request(Command.DEVICE_WATCHDOG, Application.BASE, *node.origin, node.state)


def disconnect_request(node: Identity, cause: int) -> Message:
    """DPR (clause 5.4.1)."""
    return request(Command.DISCONNECT_PEER, Application.BASE, *node.origin, avp.DISCONNECT_CAUSE(cause))


def disconnect_cause_of(disconnect: Message) -> int | None:
    """Why the peer leaves, as its DPR has it; None where that cannot be read (clause 5.4.3)."""
    try:
        return disconnect.value_of(avp.DISCONNECT_CAUSE)
    except DecodeError:
        return None


def plain_answer(node: Identity, asked: Message, result: int = ResultCode.SUCCESS) -> Message:
    """DWA, DPA, or the refusal of any request: result and origin, with the E bit for protocol errors (3xxx)."""
    return answer(asked, avp.RESULT_CODE(result), *node.origin, error=3000 <= result < 4000)


def read_capabilities(message: Message) -> Capabilities:
    """What a CER or CEA says. Raises DecodeError when one of its AVPs cannot be read."""
    numbers = {*message.values_of(avp.AUTH_APPLICATION_ID), *message.values_of(avp.ACCT_APPLICATION_ID)}
    for group in message.all(avp.VENDOR_SPECIFIC_APPLICATION_ID):
        numbers.update(group.values_of(avp.AUTH_APPLICATION_ID), group.values_of(avp.ACCT_APPLICATION_ID))
    return Capabilities(
        host=message.value_of(avp.ORIGIN_HOST) or "",
        realm=message.value_of(avp.ORIGIN_REALM) or "",
        applications=frozenset(numbers),
        result=message.value_of(avp.RESULT_CODE),
        origin_state_id=message.value_of(avp.ORIGIN_STATE_ID) or 0,
    )
