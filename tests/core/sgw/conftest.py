"""An SGW with the test as its MME and its PGW."""

from __future__ import annotations

from random import Random

import pytest

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import (
    Ambr,
    Apn,
    BearerQos,
    Cause,
    CauseIe,
    ChargingId,
    FTeid,
    Imsi,
    InterfaceType,
    Message,
    MessageType,
    Paa,
    Recovery,
    bearer_context,
)
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Input, Note, Peer, Received, Send
from ferret_core.sgw import Sgw

MME, SGW, PGW, ENB = "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.30"


class Bench:
    """The SGW, what it has sent, and short ways of speaking to it."""

    MME, SGW, PGW, ENB = MME, SGW, PGW, ENB

    def __init__(self) -> None:
        self.sgw = Sgw(address=SGW, random=Random(1), user_plane_address="192.0.2.33")
        self.sent: list[Send] = []
        self.notes: list[str] = []
        self._handle = 100

    def give(self, event: Input) -> None:
        for output in self.sgw.receive(event, 0.0):
            if isinstance(output, Note):
                self.notes.append(output.event)
            else:
                self.sent.append(output)

    def s11(self, message: Message, answers: Send | None = None) -> None:
        self._handle += 1
        self.give(Received(Interface.S11, Peer(Role.MME, MME), message, answers.token if answers else self._handle))

    def s5(self, message: Message, answers: Send | None = None) -> None:
        self._handle += 1
        self.give(Received(Interface.S5, Peer(Role.PGW, PGW), message, answers.token if answers else self._handle))

    def silence(self, unanswered: Send) -> None:
        self.give(Failed(unanswered.interface, unanswered.peer, unanswered.token, "no answer"))

    def next(self, name: str) -> tuple[Send, Message]:
        send = self.sent.pop(0)
        assert isinstance(send.message, Message)
        assert send.message.name == name
        return send, send.message

    def attach(self, ebi: int = 5, teid: int = 0) -> tuple[int, int]:
        """Make a PDN connection; its S11 and S5/S8-C TEIDs at the SGW."""
        self.s11(
            gtpv2.request(
                MessageType.CREATE_SESSION_REQUEST,
                teid,
                Imsi("001010000000001"),
                FTeid(InterfaceType.S11_MME_GTP_C, 0x100, MME).ie(0),
                FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0, PGW).ie(1),
                Apn("internet"),
                Ambr(1, 1),
                Recovery(3),
                bearer_context(BearerQos(9, 8), ebi=ebi),
            )
        )
        send, request = self.next("Create Session Request")
        assert request.find(gtpv2.IeType.F_TEID, 1) is None and request.find(gtpv2.IeType.RECOVERY) is None
        ours = request.view(FTeid)
        assert ours is not None
        self.s5(
            gtpv2.answer(
                request,
                ours.teid,
                CauseIe(Cause.REQUEST_ACCEPTED),
                FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0x400 + ebi, PGW).ie(1),
                Paa(1, "10.0.0.2"),
                bearer_context(
                    FTeid(InterfaceType.S5_S8_PGW_GTP_U, 0x500 + ebi, PGW).ie(2),
                    CauseIe(Cause.REQUEST_ACCEPTED),
                    ChargingId(1),
                    ebi=ebi,
                ),
            ),
            send,
        )
        _, response = self.next("Create Session Response")
        control = response.view(FTeid)
        assert control is not None and response.teid == 0x100
        return control.teid, ours.teid

    def connect(self, s11_teid: int, *ebis: int, more: tuple[gtpv2.Part, ...] = ()) -> None:
        """Modify Bearer Request with an eNB tunnel for each bearer."""
        contexts = [
            bearer_context(FTeid(InterfaceType.S1_U_ENB_GTP_U, 0x600 + ebi, ENB).ie(0), ebi=ebi) for ebi in ebis
        ]
        self.s11(gtpv2.request(MessageType.MODIFY_BEARER_REQUEST, s11_teid, *more, *contexts))


@pytest.fixture
def bench() -> Bench:
    return Bench()
