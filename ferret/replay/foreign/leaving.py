"""What a replay has opened at a target and the recording does not close: sessions that stand-ins close at the end.

A recording of a service often ends with the device still attached. Left as they are, its sessions would meet the next
replay: a PCRF binds an AF's request to the session that has the device's address, whosever it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import Ebi, FTeid, IeType, Indication, IndicationFlag, MessageType
from ferret.records.message import Interface, SignallingMessage
from ferret.replay.foreign.neighbours import CONTROL_PLANE
from ferret.replay.rewrite import Message

_TERMINATION: Final = 3  # CC-Request-Type (RFC 8506 clause 8.3)
_LOGOUT: Final = 1  # Termination-Cause (RFC 6733 clause 8.15)

_Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Open:
    recorded: SignallingMessage  # the request that opened it
    sent: Message
    teid: int = 0  # the target's


class OpenSessions:
    """The sessions of one target and one replay."""

    def __init__(self) -> None:
        self._open: dict[_Key, _Open] = {}

    def accepted(self, recorded: SignallingMessage, sent: Message, answer: Message) -> None:
        """The target has accepted a request. Never raises."""
        try:
            if isinstance(sent, gtpv2.Message) and isinstance(answer, gtpv2.Message):
                self._gtpv2(recorded, sent, answer)
            elif isinstance(sent, diameter.Message):
                self._diameter(recorded, sent)
        except DecodeError:
            return

    def closing(self) -> list[tuple[SignallingMessage, Message]]:
        """What closes them, each with a recorded message of its sender and receiver; AF sessions first."""
        found = sorted(self._open.values(), key=lambda one: one.recorded.interface is not Interface.RX)
        self._open.clear()
        return [(one.recorded, _closing(one)) for one in found]

    def _gtpv2(self, recorded: SignallingMessage, sent: gtpv2.Message, answer: gtpv2.Message) -> None:
        if sent.type == MessageType.CREATE_SESSION_REQUEST:
            kind = CONTROL_PLANE.get((recorded.interface, recorded.to_nf.role))
            tunnels = [FTeid.decode(ie.octets) for ie in answer.ies if ie.type == IeType.F_TEID]
            teid = next((tunnel.teid for tunnel in tunnels if tunnel.interface_type == kind), 0)
            self._open[str(recorded.interface), _ebi(sent)] = _Open(recorded, sent, teid)
        elif sent.type == MessageType.DELETE_SESSION_REQUEST:
            self._open.pop((str(recorded.interface), _ebi(sent)), None)

    def _diameter(self, recorded: SignallingMessage, sent: diameter.Message) -> None:
        key = ("session", sent.value_of(avp.SESSION_ID) or "")
        closes = sent.command == Command.SESSION_TERMINATION or sent.value_of(avp.CC_REQUEST_TYPE) == _TERMINATION
        if closes:
            self._open.pop(key, None)
        elif sent.command in (Command.AA, Command.CREDIT_CONTROL):
            self._open[key] = _Open(recorded, sent)  # the latest: its CC-Request-Number is the last one


def _closing(one: _Open) -> Message:
    if isinstance(one.sent, gtpv2.Message):
        # OI has the SGW tell the PGW (TS 29.274 clause 8.12).
        operation = Indication.of(IndicationFlag.OI) if one.recorded.interface is Interface.S11 else None
        return gtpv2.request(MessageType.DELETE_SESSION_REQUEST, one.teid, Ebi(int(_ebi(one.sent))), operation)
    if not isinstance(one.sent, diameter.Message):
        return one.sent
    asked = one.sent
    names = [asked.find(d) for d in (avp.SESSION_ID, avp.ORIGIN_HOST, avp.ORIGIN_REALM, avp.DESTINATION_REALM)]
    common = [*names, asked.find(avp.AUTH_APPLICATION_ID)]
    if asked.command == Command.AA:
        return diameter.request(Command.SESSION_TERMINATION, Application.RX, *common, avp.TERMINATION_CAUSE(_LOGOUT))
    number = (asked.value_of(avp.CC_REQUEST_NUMBER) or 0) + 1
    more = [avp.CC_REQUEST_TYPE(_TERMINATION), avp.CC_REQUEST_NUMBER(number)]
    return diameter.request(Command.CREDIT_CONTROL, Application.GX, *common, *more)


def _ebi(message: gtpv2.Message) -> str:
    """The default bearer's identity; of a Create Session Request the one of its Bearer Context."""
    for ie in message.ies:
        if ie.type == IeType.BEARER_CONTEXT:
            return str(gtpv2.ebi_of(ie))
    return str(gtpv2.ebi_of(message))
