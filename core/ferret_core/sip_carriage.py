"""How a request goes to the next hop, and what our Via and the last hop's say of it (RFC 3261 clause 18)."""

from __future__ import annotations

from dataclasses import dataclass

from ferret.protocols import sip
from ferret.records.message import Role
from ferret_core.nf import Peer


@dataclass(frozen=True, slots=True)
class Carriage:
    """How a request goes to a peer. `by_size`: over TCP all the same where it is long."""

    transport: str  # "UDP" or "TCP"
    by_size: bool = False


def shown_transport(transport: str) -> str:
    """The URI parameter of a transport; "" for UDP, which is what a SIP URI means without one (RFC 3263 clause 4.1)."""
    return f";transport={transport.lower()}" if transport not in ("UDP", "") else ""


def sized(request: sip.Message, carriage: Carriage, limit: int) -> sip.Message:
    """A request that is longer than `limit` octets says so in our Via (RFC 3261 clause 18.1.1), if that counts."""
    if not carriage.by_size or len(request.encode()) <= limit:
        return request
    return request.replace_first_value("Via", request.first("Via").replace("/UDP", "/TCP", 1))


def with_source(request: sip.Message, peer: Peer, *, asks_port: bool = False) -> sip.Message:
    """received and rport in the topmost Via (clause 18.2.1, RFC 3581 clause 4).

    `asks_port`: write rport for a UE that did not ask for it.
    """
    via = sip.parse_via(request.first("Via"))
    host, _, port = peer.address.rpartition(":")
    if not host:
        host, port = peer.address, ""
    asked = via.param("rport") is not None
    params = [one for one in via.params if one.name.lower() not in ("received", "rport")]
    if host and (asked or via.host.strip("[]") != host.strip("[]")) and peer.role is Role.UE:
        params.insert(0, sip.Param("received", host.strip("[]")))
    if port and (asked or (asks_port and peer.role is Role.UE)):
        params.append(sip.Param("rport", port))
    if tuple(params) == via.params:
        return request
    sent_by = request.first("Via").split(";", 1)[0].rstrip()
    return request.replace_first_value("Via", sent_by + sip.format_params(tuple(params)))
