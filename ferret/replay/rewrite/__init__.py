"""Recorded messages that enter the edge set from outside, rewritten into those that the edge NFs must see.

    context.remember(place, recorded, edge)                      of every message that the edge made
    rewrite(message, translation, context, place)                of every stimulus, before it is delivered

What is not an identifier of the edge's stays octet for octet; with nothing to translate a message is the same object.
"""

from __future__ import annotations

from ferret.protocols.diameter import Message as DiameterMessage
from ferret.protocols.gtpv2 import Message as Gtpv2Message
from ferret.protocols.sip import Message as SipMessage
from ferret.replay.rewrite.context import Message, Place, ReplayContext, Sent
from ferret.replay.rewrite.diameter import rewrite as _rewrite_diameter
from ferret.replay.rewrite.gtpv2 import rewrite as _rewrite_gtpv2
from ferret.replay.rewrite.s1ap import released
from ferret.replay.rewrite.s1ap import rewrite as _rewrite_s1ap
from ferret.replay.rewrite.sip import rewrite as _rewrite_sip
from ferret.replay.translation import Translation

__all__ = ["Message", "Place", "ReplayContext", "Sent", "released", "rewrite"]


def rewrite(message: Message, translation: Translation, context: ReplayContext, place: Place) -> Message:
    """What the edge must see in place of the recorded `message`, which went from and to where `place` says."""
    if isinstance(message, Gtpv2Message):
        return _rewrite_gtpv2(message, translation, context, place)
    if isinstance(message, DiameterMessage):
        return _rewrite_diameter(message, translation, context, place)
    if isinstance(message, SipMessage):
        return _rewrite_sip(message, translation, context, place)
    return _rewrite_s1ap(message, translation, context, place)
