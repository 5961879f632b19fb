"""From the AF's media component to filters and bit rates (TS 29.213 clause 6.3, TS 29.214 clause 5.3).

Pure functions: what they cannot know, because it is the operator's choice, is an argument.
"""

from __future__ import annotations

import re
from enum import StrEnum

from ferret.errors import DecodeError
from ferret.protocols.diameter import Avp, avp
from ferret.protocols.diameter.constants import FlowDirection, FlowStatus, FlowUsage, MediaType
from ferret_core.pcrf.rule import BitRates, Flow

# TS 29.213 table 6.3.1 leaves the choice among classes of equal kind to the operator; this is GSMA IR.92's.
QCI_BY_MEDIA_TYPE = {
    MediaType.AUDIO: 1,
    MediaType.VIDEO: 2,
    MediaType.DATA: 6,
    MediaType.APPLICATION: 6,
    MediaType.CONTROL: 5,
    MediaType.TEXT: 6,
    MediaType.MESSAGE: 6,
}
QCI_OTHERWISE = 9
GBR_QCIS = frozenset((1, 2, 3, 4, 65, 66, 67, 75))  # TS 23.203 table 6.1.7


class Counting(StrEnum):
    """What the requested bandwidth is counted for when a media component has several flows.

    The specification counts it once per sub-component (Flow-Number); Open5GS counts it once per filter, so that an AF
    that lists RTP and RTCP in one sub-component is authorised twice what it asked for.
    """

    PER_SUB_COMPONENT = "sub-component"
    PER_FILTER = "flow-description"


_FILTER = re.compile(r"(permit|deny) (in|out) (\S+) from (\S+)( [\d,-]+)? to (\S+)( [\d,-]+)?( .*)?")


def as_seen_from_network(description: str) -> str:
    """A filter "permit in … from UE to remote" as "permit out … from remote to UE" (TS 29.212 clause 5.3.53).

    Raises DecodeError when it is no IPFilterRule.
    """
    match = _FILTER.fullmatch(description.strip())
    if match is None:
        raise DecodeError(f"no IPFilterRule: {description!r}")
    action, _, protocol, source, source_port, target, target_port, rest = match.groups(default="")
    return f"{action} out {protocol} from {target}{target_port} to {source}{source_port}{rest}"


def _is_uplink(description: str) -> bool:
    match = _FILTER.fullmatch(description.strip())
    if match is None:
        raise DecodeError(f"no IPFilterRule: {description!r}")
    return match[2] == "in"


def flows_of(component: Avp, *, reverse_uplink: bool = True) -> tuple[Flow, ...]:
    """The filters of a Media-Component-Description in its order. Raises DecodeError.

    `reverse_uplink` False keeps source and destination of uplink filters as the AF wrote them, as some PCRFs do.
    """
    flows = []
    for sub_component in component.all(avp.MEDIA_SUB_COMPONENT):
        for description in sub_component.values_of(avp.FLOW_DESCRIPTION):
            if not _is_uplink(description):
                flows.append(Flow(FlowDirection.DOWNLINK, description))
            elif reverse_uplink:
                flows.append(Flow(FlowDirection.UPLINK, as_seen_from_network(description)))
            else:
                flows.append(Flow(FlowDirection.UPLINK, description.replace(" in ", " out ", 1)))
    return tuple(flows)


def qci_of(component: Avp) -> int:
    """The QoS class for the kind of media."""
    media_type = component.value_of(avp.MEDIA_TYPE)
    known = media_type is not None and media_type in QCI_BY_MEDIA_TYPE
    return QCI_BY_MEDIA_TYPE[MediaType(media_type)] if known and media_type is not None else QCI_OTHERWISE


def flow_status_of(component: Avp) -> int:
    """Flow-Status; ENABLED where the AF does not say (TS 29.214 clause 5.3.11)."""
    status = component.value_of(avp.FLOW_STATUS)
    return FlowStatus.ENABLED if status is None else status


def _rtcp_rate(component: Avp, media_rate: int) -> int:
    """Table 6.3.1: RS + RR if both are given, else 5 % of the media's or the one given if that is more."""
    receivers, senders = component.value_of(avp.RR_BANDWIDTH), component.value_of(avp.RS_BANDWIDTH)
    if receivers is not None and senders is not None:
        return receivers + senders
    return max(media_rate * 5 // 100, receivers or 0, senders or 0)


def rates_of(component: Avp, counting: Counting, *, guaranteed: bool) -> BitRates | None:
    """The authorised bit rates of a media component (table 6.3.1). None: the AF asks for no bandwidth.

    Raises DecodeError.
    """
    requested = component.value_of(avp.MAX_REQUESTED_BANDWIDTH_UL), component.value_of(avp.MAX_REQUESTED_BANDWIDTH_DL)
    if requested == (None, None):
        return None
    least = component.value_of(avp.MIN_REQUESTED_BANDWIDTH_UL), component.value_of(avp.MIN_REQUESTED_BANDWIDTH_DL)
    maximum, minimum = [0, 0], [0, 0]
    for sub_component in component.all(avp.MEDIA_SUB_COMPONENT):
        is_rtcp = sub_component.value_of(avp.FLOW_USAGE) == FlowUsage.RTCP
        for direction, count in enumerate(_count(sub_component, counting)):
            media_rate = requested[direction] or 0
            maximum[direction] += count * (_rtcp_rate(component, media_rate) if is_rtcp else media_rate)
            minimum[direction] += 0 if is_rtcp else count * (least[direction] or 0)
    if not guaranteed:
        return BitRates(maximum[0], maximum[1])
    return BitRates(maximum[0], maximum[1], minimum[0] or maximum[0], minimum[1] or maximum[1])


def _count(sub_component: Avp, counting: Counting) -> tuple[int, int]:
    """How often the bandwidth is counted uplink and downlink."""
    uplinks = [_is_uplink(text) for text in sub_component.values_of(avp.FLOW_DESCRIPTION)]
    up, down = sum(uplinks), len(uplinks) - sum(uplinks)
    return (up, down) if counting is Counting.PER_FILTER else (min(up, 1), min(down, 1))
