"""Downlink Data Notification: a packet has come for an idle UE (TS 23.401 clause 5.3.4.3, TS 29.274 clause 7.2.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import Arp, Ebi, Message, MessageType
from ferret.records.message import Interface
from ferret_core.gtp_control import cause_of
from ferret_core.nf import Note, Output, Received
from ferret_core.sgw.context import Bearer, PdnConnection, Waiting

if TYPE_CHECKING:
    from ferret_core.sgw.nf import Sgw


def arrived(sgw: Sgw, teid: int, now: float) -> list[Output]:
    """Tell the MME, once until it answers or connects the UE. A tunnel that leads somewhere needs no telling."""
    found = sgw.downlink.get(teid)
    if found is None:
        return []
    connection, bearer = found
    return [] if bearer.enb is not None or connection.ue.notified else _notify(sgw, connection, bearer)


def _notify(sgw: Sgw, connection: PdnConnection, bearer: Bearer) -> list[Output]:
    ue = connection.ue
    ue.notified = True
    arp = Arp(bearer.qos.priority_level, bearer.qos.pci, bearer.qos.pvi)
    message = gtpv2.request(MessageType.DOWNLINK_DATA_NOTIFICATION, ue.mme.teid, Ebi(bearer.ebi), arp)
    return [sgw.ask(Interface.S11, sgw.to_mme(ue), message, Waiting(acknowledged, connection))]


def acknowledged(sgw: Sgw, waiting: Waiting, message: Message | None, now: float) -> list[Output]:
    """The MME pages, or refuses; a refusal or silence lets the next packet ask again."""
    cause = None if message is None else cause_of(message)
    if cause is not None and cause.accepted:
        return []
    waiting.connection.ue.notified = False
    value = None if cause is None else int(cause.value)
    return [Note("downlink_data_notification_refused", {"apn": waiting.connection.apn, "cause": value})]


def failed(sgw: Sgw, event: Received, now: float) -> list[Output]:
    """The MME could not page the UE (clause 7.2.11.3): the next packet may ask again."""
    ue = sgw.ue_of(event)
    ue.notified = False
    return [Note("paging_failed", {"nf": "SGW"})]
