"""PCC rules as Gx writes them (TS 29.212 clauses 4.5.2 and 5.3)."""

from __future__ import annotations

from dataclasses import dataclass

from ferret.protocols.diameter import Avp, avp
from ferret.protocols.diameter.constants import FlowDirection, FlowStatus


@dataclass(frozen=True, slots=True)
class Arp:
    """Allocation-Retention-Priority (clause 5.3.32). 0 is enabled and 1 disabled, as the AVPs have it."""

    priority_level: int
    pre_emption_capability: int = 1
    pre_emption_vulnerability: int = 1

    def avp(self) -> Avp:
        """As an AVP."""
        return avp.ALLOCATION_RETENTION_PRIORITY(
            avp.PRIORITY_LEVEL(self.priority_level),
            avp.PRE_EMPTION_CAPABILITY(self.pre_emption_capability),
            avp.PRE_EMPTION_VULNERABILITY(self.pre_emption_vulnerability),
        )

    @classmethod
    def read(cls, group: Avp) -> Arp:
        """From an AVP; what it leaves out has the values of clauses 5.3.46 and 5.3.47. Raises DecodeError."""
        capability = group.value_of(avp.PRE_EMPTION_CAPABILITY)
        return cls(
            group.value_of(avp.PRIORITY_LEVEL) or 0,
            1 if capability is None else capability,
            group.value_of(avp.PRE_EMPTION_VULNERABILITY) or 0,
        )


@dataclass(frozen=True, slots=True)
class BitRates:
    """Authorised bit rates in bit/s. No guaranteed ones for a non-GBR QCI."""

    mbr_ul: int
    mbr_dl: int
    gbr_ul: int | None = None
    gbr_dl: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """One Flow-Information: an IPFilterRule "permit out …" and the direction that it stands for."""

    direction: FlowDirection
    description: str

    def avp(self) -> Avp:
        """As an AVP."""
        return avp.FLOW_INFORMATION(avp.FLOW_DESCRIPTION(self.description), avp.FLOW_DIRECTION(self.direction))


@dataclass(frozen=True, slots=True)
class Rule:
    """One PCC rule. `rates` None: the rule states none."""

    name: str
    flows: tuple[Flow, ...]
    qci: int
    arp: Arp
    rates: BitRates | None
    flow_status: int = FlowStatus.ENABLED
    precedence: int = 1

    def definition(self, installed: Rule | None) -> Avp:
        """Charging-Rule-Definition. An installed rule is sent its filters only if they have changed (clause 4.5.2)."""
        flows = () if installed is not None and installed.flows == self.flows else self.flows
        return avp.CHARGING_RULE_DEFINITION(
            avp.CHARGING_RULE_NAME(self.name),
            *[flow.avp() for flow in flows],
            avp.FLOW_STATUS(self.flow_status),
            self._qos(),
            avp.PRECEDENCE(self.precedence),
        )

    def _qos(self) -> Avp:
        rates = self.rates
        stated: tuple[Avp | None, ...] = ()
        if rates is not None:
            stated = (
                avp.MAX_REQUESTED_BANDWIDTH_UL(rates.mbr_ul),
                avp.MAX_REQUESTED_BANDWIDTH_DL(rates.mbr_dl),
                None if rates.gbr_ul is None else avp.GUARANTEED_BITRATE_UL(rates.gbr_ul),
                None if rates.gbr_dl is None else avp.GUARANTEED_BITRATE_DL(rates.gbr_dl),
            )
        return avp.QOS_INFORMATION(avp.QOS_CLASS_IDENTIFIER(self.qci), *stated, self.arp.avp())


def install(rules: list[tuple[Rule, Rule | None]]) -> list[Avp]:
    """A Charging-Rule-Install for each new or changed rule; with each, the rule that it replaces."""
    return [avp.CHARGING_RULE_INSTALL(rule.definition(installed)) for rule, installed in rules]


def remove(names: list[str]) -> Avp | None:
    """Charging-Rule-Remove, if there is anything to remove."""
    return avp.CHARGING_RULE_REMOVE(*[avp.CHARGING_RULE_NAME(name) for name in names]) if names else None
