"""What a PCRF keeps: Gx sessions (one per PDN connection), Rx sessions (one per AF session), and their rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network, ip_address

from ferret.protocols.diameter import Avp, Message, avp
from ferret.protocols.diameter.constants import SubscriptionIdType
from ferret.protocols.diameter.summary import apn as short_apn
from ferret_core.nf import Peer
from ferret_core.pcrf.policy import Policy
from ferret_core.pcrf.rule import Rule


class RxState(StrEnum):
    """An AF session at the server (RFC 6733 clause 8.1)."""

    OPEN = "Open"
    ABORTED = "Discon"  # ASR sent, STR awaited


@dataclass(slots=True)
class GxSession:
    """One IP-CAN session. `learnt`: what CCRs have said that AF sessions are told."""

    session_id: str
    peer: Peer
    host: str
    realm: str
    imsi: str = ""
    subscriber_ids: frozenset[tuple[int, str]] = frozenset()
    apn: str = ""
    addresses: tuple[str, ...] = ()  # IPv4 addresses and IPv6 prefixes of the UE
    learnt: dict[tuple[int, int], Avp] = field(default_factory=dict)  # IP-CAN-Type, RAT-Type, … by code and vendor
    rules: dict[str, Rule] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, object]:
        """By what policy is chosen."""
        return {"imsi": self.imsi, "apn": self.apn, "ue_ip": self.addresses}

    def has_address(self, address: str) -> bool:
        """Whether this is the UE's address: equal, or within its IPv6 prefix."""
        return any(_covers(own, address) for own in self.addresses)

    def learn(self, message: Message) -> None:
        """Take over what a CCR says of the IP-CAN session (TS 29.212 clause 4.5.1)."""
        for definition in (avp.IP_CAN_TYPE, avp.RAT_TYPE, avp.AN_GW_ADDRESS, avp.ACCESS_NETWORK_CHARGING_ADDRESS):
            found = message.find(definition)
            if found is not None:
                self.learnt[(definition.code, definition.vendor)] = found
        addresses = (*message.values_of(avp.FRAMED_IP_ADDRESS), *message.values_of(avp.FRAMED_IPV6_PREFIX))
        self.addresses = tuple(dict.fromkeys((*self.addresses, *addresses)))
        self.apn = short_apn(message.value_of(avp.CALLED_STATION_ID) or "") or self.apn
        ids = subscriber_ids(message)
        self.subscriber_ids |= ids
        for kind, value in ids:
            if kind == SubscriptionIdType.END_USER_IMSI:
                self.imsi = value


@dataclass(slots=True)
class Component:
    """One media component of an AF session: its rule's name, and how often the AF has changed it."""

    rule_name: str
    revision: int = 0


@dataclass(slots=True)
class RxSession:
    """One AF session."""

    session_id: str
    peer: Peer
    host: str
    realm: str
    gx_session_id: str
    state: RxState = RxState.OPEN
    components: dict[int, Component] = field(default_factory=dict)  # by Media-Component-Number
    specific_actions: frozenset[int] = frozenset()


def subscriber_ids(message: Message) -> frozenset[tuple[int, str]]:
    """Subscription-Id: type and data. Raises DecodeError."""
    return frozenset(
        (kind, data)
        for group in message.all(avp.SUBSCRIPTION_ID)
        if (kind := group.value_of(avp.SUBSCRIPTION_ID_TYPE)) is not None
        and (data := group.value_of(avp.SUBSCRIPTION_ID_DATA))
    )


def _covers(own: str, address: str) -> bool:
    """Equal, or of the same /64: that is what a PDN connection has in IPv6 (TS 23.401 clause 5.3.1.2.2)."""
    if own == address:
        return True
    try:
        bare = ip_address(address.partition("/")[0])
        return isinstance(bare, IPv6Address) and bare in IPv6Network(f"{own.partition('/')[0]}/64", strict=False)
    except ValueError:
        return False


@dataclass(slots=True)
class Waiting:
    """A request of ours under way. `answer` is kept until then for the AF, `peer`, under its handle `reply_to`."""

    gx_session_id: str = ""
    rx_session_id: str = ""
    answer: Message | None = None
    reply_to: int = 0
    peer: Peer | None = None


@dataclass(slots=True)
class PcrfState:
    """Everything that a PCRF knows."""

    host: str
    realm: str
    policy: Policy = field(default_factory=Policy)
    wait_for_raa: bool = False
    gx: dict[str, GxSession] = field(default_factory=dict)  # by Session-Id
    rx: dict[str, RxSession] = field(default_factory=dict)
    waiting: dict[int, Waiting] = field(default_factory=dict)  # by token
    tokens: int = 0
    origin_states: dict[str, int] = field(default_factory=dict)  # Origin-State-Id by Origin-Host
    rules_named: Counter[tuple[str, int]] = field(default_factory=Counter)  # by subscriber and component

    def token(self, waiting: Waiting) -> int:
        """A token for a request, under which its answer finds `waiting`."""
        self.tokens += 1
        self.waiting[self.tokens] = waiting
        return self.tokens
