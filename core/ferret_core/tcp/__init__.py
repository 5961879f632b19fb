"""TCP (RFC 9293) without a kernel: devices of the lab have it inside their bearers, and a PGW's SGi."""

from ferret_core.tcp.connection import Closed, Connection, Delivered, Happened, Lost, Opened
from ferret_core.tcp.segment import Flag, Segment, segment_of
from ferret_core.tcp.stack import TcpStack
from ferret_core.tcp.states import TcpState

__all__ = [
    "Closed",
    "Connection",
    "Delivered",
    "Flag",
    "Happened",
    "Lost",
    "Opened",
    "Segment",
    "TcpStack",
    "TcpState",
    "segment_of",
]
