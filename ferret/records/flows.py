"""The media flows that a message names: what leads from Rx over Gx to the bearer where identifiers do not.

A capture that begins in mid-session shows a Gx Session-Id and TEIDs that nobody has introduced. But the flows of an AAR
(TS 29.214 clause 5.3.8) come again in the charging rule of the RAR that it causes (TS 29.212) and in the traffic flow
template of the Create Bearer Request that this causes on S5 and S11 (TS 24.008 clause 10.5.6.12).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ferret.protocols.summary import Parameter

_IP_FILTER_RULE = re.compile(
    r"permit (?:in|out) \S+ from (\S+)(?: (\d+)(?:-\d+)?)? to (\S+)(?: (\d+)(?:-\d+)?)?", re.ASCII
)


class FlowEnd(NamedTuple):
    """One end of a media flow. Port 0: any."""

    address: str
    port: int


def flow_ends(parameters: list[Parameter]) -> frozenset[FlowEnd]:
    """The ends of every flow of a message, whichever protocol describes them."""
    return frozenset([*_described(parameters), *_filtered(parameters)])


def _described(parameters: list[Parameter]) -> Iterator[FlowEnd]:
    for path, value in parameters:
        if "Flow-Description" in path and isinstance(value, str):
            match = _IP_FILTER_RULE.match(value)
            if match:
                for address, port in ((match[1], match[2]), (match[3], match[4])):
                    if address not in ("any", "assigned"):
                        yield FlowEnd(address.partition("/")[0], int(port or 0))


def _filtered(parameters: list[Parameter]) -> Iterator[FlowEnd]:
    """Packet filters: "…/Packet Filter[0]/IPv4 remote address" and "…/Single remote port" belong together."""
    ends: dict[tuple[str, str], list[str]] = {}
    for path, value in parameters:
        head, _, component = path.rpartition("/")
        if "Packet Filter" not in head or value is None:
            continue
        for side in ("remote", "local"):
            if side in component:
                slot = 0 if "address" in component else 1
                ends.setdefault((head, side), ["", "0"])[slot] = str(value)
    for address, port in ends.values():
        digits = port.partition("-")[0]
        if address and digits.isdecimal():
            yield FlowEnd(address.partition("/")[0], int(digits))


def same_flows(one: frozenset[FlowEnd], other: frozenset[FlowEnd]) -> bool:
    """Whether one names nothing that the other does not: a packet filter may leave its own address out."""
    return bool(one and other) and (one <= other or other <= one)
