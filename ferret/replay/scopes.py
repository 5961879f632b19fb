"""Whose the identifiers of a message are, where the message itself does not say: the named scopes of `compare`.

| name        | of              | owner                                                                        |
| ----------- | --------------- | ---------------------------------------------------------------------------- |
| receiver    | GTPv2-C TEID    | the receiver, with the type of the F-TEID that it gave (TS 29.274 clause 8.22) |
| initiator   | GTPv2-C sequence | the node that began the transaction (clause 7.6), with its peer              |
| connection  | Diameter hop-by-hop, end-to-end | the requester, with its peer (RFC 6733 clause 3)             |
"""

from __future__ import annotations

from ferret.protocols.summary import Kind
from ferret.replay.rewrite.context import Place
from ferret.replay.rewrite.gtpv2 import header_scope


def scopes_of(recorded: Place, edge: Place, kind: Kind) -> dict[str, tuple[str, str]]:
    """The scopes of a message of that kind that went at `recorded`, and whose counterpart goes at `edge`."""
    both = (recorded, edge)
    asked = [place.reverse if kind is Kind.RESPONSE else place for place in both]
    pair = [f"{place.sender}|{place.receiver}" for place in asked]
    found = {
        "initiator": (pair[0], pair[1]),
        "connection": (pair[0], pair[1]),
    }
    receiver, edge_receiver = (header_scope(place.interface, place.receiver) for place in both)
    if receiver is not None and edge_receiver is not None:
        found["receiver"] = (receiver, edge_receiver)
    return found
