"""PCC rules as Gx brings them (TS 29.212 clauses 5.3.2 to 5.3.7), and packet filters made from their flows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, Message, avp
from ferret.protocols.gtpv2.tft import Component, Direction, address, port, protocol

MAX_FILTERS_PER_FLOW = 15
"""Ours: a flow with lists of ports becomes one packet filter for each pair of ports; a TFT holds 15 filters."""

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}


class Flow(NamedTuple):
    """One service data flow: its direction (TS 29.212 clause 5.3.65) and its IPFilterRule."""

    direction: int
    description: str


@dataclass(frozen=True, slots=True)
class RuleQos:
    """Authorised QoS of a rule (clause 5.3.16). Bit rates in bit/s; None where the PCRF said nothing of it."""

    qci: int | None = None
    priority_level: int | None = None
    pci: int = 1
    pvi: int = 1
    mbr_uplink: int | None = None
    mbr_downlink: int | None = None
    gbr_uplink: int | None = None
    gbr_downlink: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One PCC rule. In a change, `flows` and `qos` may be missing: what is not said stays as it was."""

    name: str
    flows: tuple[Flow, ...] = ()
    qos: RuleQos | None = None
    precedence: int | None = None
    flow_status: int | None = None

    def changed_by(self, change: Rule) -> Rule:
        """This rule after a Charging-Rule-Install under the same name (clause 4.5.2.1)."""
        flows = self.flows + tuple(flow for flow in change.flows if flow not in self.flows)
        qos = change.qos if self.qos is None else self.qos if change.qos is None else _merged(self.qos, change.qos)
        return replace(
            self,
            flows=flows,
            qos=qos,
            precedence=self.precedence if change.precedence is None else change.precedence,
            flow_status=self.flow_status if change.flow_status is None else change.flow_status,
        )


def _merged(old: RuleQos, new: RuleQos) -> RuleQos:
    return RuleQos(
        new.qci or old.qci,
        new.priority_level or old.priority_level,
        new.pci,
        new.pvi,
        *(
            was if now is None else now
            for was, now in (
                (old.mbr_uplink, new.mbr_uplink),
                (old.mbr_downlink, new.mbr_downlink),
                (old.gbr_uplink, new.gbr_uplink),
                (old.gbr_downlink, new.gbr_downlink),
            )
        ),
    )


def installed(message: Message) -> list[Rule]:
    """The rules that a CCA or RAR installs or changes, in order. Raises DecodeError.

    A rule that is only named is one that this PGW would have to have been configured with: it comes without flows.
    """
    rules = []
    for install in message.all(avp.CHARGING_RULE_INSTALL):
        rules += [_rule(definition) for definition in install.all(avp.CHARGING_RULE_DEFINITION)]
        rules += [Rule(name) for name in install.values_of(avp.CHARGING_RULE_NAME)]
    return rules


def removed(message: Message) -> list[str]:
    """The names of the rules that a CCA or RAR removes. Raises DecodeError."""
    return [
        name for remove in message.all(avp.CHARGING_RULE_REMOVE) for name in remove.values_of(avp.CHARGING_RULE_NAME)
    ]


def _rule(definition: Avp) -> Rule:
    name = definition.value_of(avp.CHARGING_RULE_NAME)
    if name is None:
        raise DecodeError("Charging-Rule-Definition without Charging-Rule-Name")
    qos = definition.find(avp.QOS_INFORMATION)
    return Rule(
        name,
        tuple(_flow(information) for information in definition.all(avp.FLOW_INFORMATION)),
        None if qos is None else _qos(qos),
        definition.value_of(avp.PRECEDENCE),
        definition.value_of(avp.FLOW_STATUS),
    )


def _flow(information: Avp) -> Flow:
    description = information.value_of(avp.FLOW_DESCRIPTION)
    if description is None:
        raise DecodeError("Flow-Information without Flow-Description")
    direction = _within(information.value_of(avp.FLOW_DIRECTION), Direction.BIDIRECTIONAL, "Flow-Direction")
    return Flow(direction or 0, description)


def _qos(information: Avp) -> RuleQos:
    return RuleQos(
        _within(information.value_of(avp.QOS_CLASS_IDENTIFIER), 255, "QoS-Class-Identifier"),
        *arp_of(information.find(avp.ALLOCATION_RETENTION_PRIORITY)),
        information.value_of(avp.MAX_REQUESTED_BANDWIDTH_UL),
        information.value_of(avp.MAX_REQUESTED_BANDWIDTH_DL),
        information.value_of(avp.GUARANTEED_BITRATE_UL),
        information.value_of(avp.GUARANTEED_BITRATE_DL),
    )


def arp_of(arp: Avp | None) -> tuple[int | None, int, int]:
    """Priority level, capability and vulnerability of an Allocation-Retention-Priority (clauses 5.3.32, 5.3.45 to 47).

    Raises DecodeError where a number does not fit the bits that GTP has for it.
    """
    level = None if arp is None else _within(arp.value_of(avp.PRIORITY_LEVEL), 15, "Priority-Level")
    capability = None if arp is None else _within(arp.value_of(avp.PRE_EMPTION_CAPABILITY), 1, "Pre-emption-Capability")
    vulnerability = (
        None if arp is None else _within(arp.value_of(avp.PRE_EMPTION_VULNERABILITY), 1, "Pre-emption-Vulnerability")
    )
    return level, 1 if capability is None else capability, vulnerability or 0  # by default disabled, and enabled


def _within(value: int | None, highest: int, name: str) -> int | None:
    if value is not None and value > highest:
        raise DecodeError(f"{name} {value} is above {highest}")
    return value


class FilterContents(NamedTuple):
    """A packet filter without its identifier and precedence."""

    direction: int
    components: tuple[Component, ...]


def filters_of(flow: Flow, *, local_address: bool, ue_addresses: Container[str] = ()) -> list[FilterContents]:
    """The packet filters of a flow (TS 29.212 clause 5.4.2). Raises DecodeError where the flow is no IPFilterRule.

    An "out" rule runs from the network to the UE whatever direction the flow is used in; a filter for the uplink names
    the UE's end first. `local_address` false leaves the UE's own address out. Some PCRFs write a rule the wrong way
    round: where only one end is the UE's (`ue_addresses`), that one is the local end whatever the rule says.
    """
    words = flow.description.split()
    if len(words) < 7 or words[0] != "permit" or words[1] not in ("in", "out") or words[3] != "from":
        raise DecodeError(f"{flow.description!r} is no Flow-Description")
    try:
        to = words.index("to", 5)
    except ValueError as error:
        raise DecodeError(f"{flow.description!r} goes nowhere") from error
    outward = words[1] == "out"
    uplink = flow.direction == Direction.UPLINK or (flow.direction == 0 and not outward)
    from_network = outward
    if to + 1 < len(words) and (words[4] in ue_addresses) != (words[to + 1] in ue_addresses):
        from_network = words[4] not in ue_addresses
    source = _end(words[4:to], remote=from_network, hidden=not from_network and not local_address)
    destination = _end(words[to + 1 :], remote=not from_network, hidden=from_network and not local_address)
    first, second = (source, destination) if from_network != uplink else (destination, source)
    head = _protocol(words[2])
    direction = flow.direction or (Direction.UPLINK if uplink else Direction.DOWNLINK)
    return [
        FilterContents(direction, (*head, *first.network, *second.network, *ports))
        for ports in _port_pairs(first.ports, second.ports)
    ]


class _End(NamedTuple):
    network: tuple[Component, ...]
    ports: tuple[Component, ...]


def _protocol(word: str) -> tuple[Component, ...]:
    if word in ("ip", "0"):
        return ()
    try:
        return (protocol(_PROTOCOLS[word] if word in _PROTOCOLS else int(word)),)
    except ValueError as error:
        raise DecodeError(f"{word!r} is no IP protocol") from error


def _end(words: Sequence[str], *, remote: bool, hidden: bool) -> _End:
    """One end of an IPFilterRule: address and ports (RFC 6733 clause 4.3.1). `hidden`: its address is left out."""
    if not words:
        raise DecodeError("an end of the flow is missing")
    try:
        network = () if words[0] in ("any", "assigned") or hidden else (address(words[0], remote=remote),)
        text = words[1] if len(words) > 1 and words[1][0].isdigit() else ""
        ports = tuple(_port(one, remote=remote) for one in text.split(",") if one)
    except ValueError as error:
        raise DecodeError(f"{' '.join(words)!r} is no address with ports") from error
    return _End(network, ports)


def _port(text: str, *, remote: bool) -> Component:
    first, mark, last = text.partition("-")
    numbers = int(first), int(last) if mark else int(first)
    if not 0 <= numbers[0] <= numbers[1] <= 0xFFFF:
        raise ValueError(f"{text!r} is no port")
    return port(*numbers, remote=remote)


def _port_pairs(first: Iterable[Component], second: Iterable[Component]) -> Iterator[tuple[Component, ...]]:
    pairs = list(product(tuple(first) or (None,), tuple(second) or (None,)))
    if len(pairs) > MAX_FILTERS_PER_FLOW:
        raise DecodeError(f"{len(pairs)} pairs of ports are more than a bearer has filters")
    return (tuple(part for part in pair if part is not None) for pair in pairs)
