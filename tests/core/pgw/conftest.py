"""A small network around an SGW and a PGW: the test plays MME and PCRF, messages in between travel by themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random

import pytest

from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.gtpv2 import (
    Ambr,
    Apn,
    ApnRestriction,
    BearerQos,
    Cause,
    CauseIe,
    Ebi,
    FTeid,
    Imsi,
    Indication,
    IndicationFlag,
    InterfaceType,
    MessageType,
    Msisdn,
    Paa,
    PdnTypeIe,
    RatTypeIe,
    SelectionModeIe,
    ServingNetwork,
    UeTimeZone,
    bearer_context,
)
from ferret.records.message import Interface, Role
from ferret_core.nf import Failed, Input, NetworkFunction, Note, Output, Peer, Received, Send
from ferret_core.pgw import Pgw
from ferret_core.sgw import Sgw

IMSI = "999700000000020"
MME, SGW, PGW, PCRF = "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.9"
ENB = "192.0.2.30"


class Core:
    """SGW and PGW with S5/S8 between them. What they send to the MME and the PCRF piles up in `out`."""

    def __init__(self, seed: int = 1) -> None:
        self.sgw = Sgw(address=SGW, random=Random(seed))
        self.pgw = Pgw(address=PGW, random=Random(seed + 1))
        self.out: deque[Send] = deque()
        self.notes: list[Note] = []
        self.silent: set[str] = set()  # names of messages on S5/S8 that get lost
        self._handles = 1000
        self._tokens: dict[tuple[Role, int], int] = {}
        self._pgw_to_sgw = True

    def handle(self) -> int:
        self._handles += 1
        return self._handles

    def deliver(self, nf: NetworkFunction, event: Input, now: float = 0.0) -> None:
        self.take(nf, nf.receive(event, now))

    def take(self, nf: NetworkFunction, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Note):
                self.notes.append(output)
            elif output.interface is Interface.S5:
                self._cross(nf, output)
            else:
                self.out.append(output)

    def _cross(self, nf: NetworkFunction, output: Send) -> None:
        other: NetworkFunction = self.pgw if nf is self.sgw else self.sgw
        assert isinstance(output.message, gtpv2.Message)
        if output.message.name in self.silent:
            if output.token:
                self.deliver(nf, Failed(Interface.S5, output.peer, output.token, "no answer"))
            return
        handle = self.handle()
        if output.reply_to:
            token = self._tokens.pop((other.role, output.reply_to))
            self.deliver(other, Received(Interface.S5, Peer(nf.role, nf.address), output.message, token))
        else:
            self._tokens[nf.role, handle] = output.token
            self.deliver(other, Received(Interface.S5, Peer(nf.role, nf.address), output.message, handle))

    def failed(self, send: Send) -> Failed:
        return Failed(send.interface, send.peer, send.token, "no answer")

    def next(self, name: str) -> Send:
        """The next message to MME or PCRF, which has to be of this name."""
        send = self.out.popleft()
        assert name_of(send.message) == name, f"{name_of(send.message)} where {name} is expected"
        return send

    # The MME's part

    def from_mme(self, message: gtpv2.Message, answers: Send | None = None) -> None:
        handle = self.handle() if answers is None else answers.token
        self.deliver(self.sgw, Received(Interface.S11, Peer(Role.MME, MME), message, handle))

    def mme_silent(self, unanswered: Send) -> None:
        self.deliver(self.sgw, Failed(Interface.S11, unanswered.peer, unanswered.token, "no answer"))

    # The PCRF's part

    def from_pcrf(self, message: diameter.Message, answers: Send | None = None) -> None:
        handle = self.handle() if answers is None else answers.token
        self.deliver(self.pgw, Received(Interface.GX, Peer(Role.PCRF, PCRF), message, handle))

    def pcrf_says(self, result: int = 2001, *more: diameter.Avp) -> Send:
        """Answer the CCR that is next."""
        send = self.out.popleft()
        assert isinstance(send.message, diameter.Message) and send.message.command == Command.CREDIT_CONTROL
        answer = diameter.answer(send.message, avp.RESULT_CODE(result), avp.ORIGIN_HOST("pcrf.example"), *more)
        self.from_pcrf(answer, send)
        return send

    # Whole procedures

    def attach(self, apn: str = "internet", ebi: int = 5, teid: int = 0, **changes: object) -> Send:
        self.from_mme(create_session(apn, ebi, teid, **changes))
        self.pcrf_says()
        return self.next("Create Session Response")

    def session_id(self) -> str:
        return next(reversed(list(self.pgw.sessions.values()))).gx_session_id

    def rar(self, *avps: diameter.Avp) -> diameter.Message:
        head = (avp.SESSION_ID(self.session_id()), avp.ORIGIN_HOST("pcrf.example"))
        return diameter.request(Command.RE_AUTH, Application.GX, *head, *avps)

    def rule(self, *avps: diameter.Avp) -> None:
        """A RAR with these AVPs, and the RAA to it."""
        self.from_pcrf(self.rar(*avps))
        answer = self.next("RAA").message
        assert isinstance(answer, diameter.Message) and answer.value_of(avp.RESULT_CODE) == 2001

    def accept_bearer(self, ebi: int = 6) -> Send:
        """Answer the Create Bearer Request that is next as an MME does once the UE has agreed."""
        send = self.next("Create Bearer Request")
        assert isinstance(send.message, gtpv2.Message)
        ours = send.message.bearer_contexts[0].view(FTeid, 0)
        assert ours is not None
        context = bearer_context(
            FTeid(InterfaceType.S1_U_ENB_GTP_U, 0x2000 + ebi, ENB).ie(0),
            ours.ie(1),
            CauseIe(Cause.REQUEST_ACCEPTED),
            ebi=ebi,
        )
        self.from_mme(gtpv2.answer(send.message, s11_teid(self), CauseIe(Cause.REQUEST_ACCEPTED), context), send)
        return send


def name_of(message: object) -> str:
    if isinstance(message, gtpv2.Message):
        return message.name
    assert isinstance(message, diameter.Message)
    return diameter.summarise(message).name.partition("-")[0]


def s11_teid(core: Core) -> int:
    return next(iter(core.sgw.ues))


def create_session(
    name: str = "internet", ebi: int = 5, teid: int = 0, paa: Paa | None = None, **leave_out: object
) -> gtpv2.Message:
    parts: dict[str, gtpv2.Part] = {
        "imsi": Imsi(IMSI),
        "msisdn": Msisdn("491700000020"),
        "serving_network": ServingNetwork("99970"),
        "rat_type": RatTypeIe(6),
        "sender": FTeid(InterfaceType.S11_MME_GTP_C, 0x184, MME).ie(0),
        "pgw": FTeid(InterfaceType.S5_S8_PGW_GTP_C, 0, PGW).ie(1),
        "apn": Apn(name),
        "selection_mode": SelectionModeIe(0),
        "pdn_type": PdnTypeIe((paa or Paa(1)).pdn_type),
        "paa": paa or Paa(1, "0.0.0.0"),
        "restriction": ApnRestriction(0),
        "ambr": Ambr(1_000_000, 1_000_000),
        "context": bearer_context(BearerQos(9, 8), ebi=ebi),
        "time_zone": UeTimeZone(4, 0),
    }
    parts.update(leave_out)  # type: ignore[arg-type]
    return gtpv2.request(MessageType.CREATE_SESSION_REQUEST, teid, *parts.values())


def delete_session(teid: int, ebi: int = 5) -> gtpv2.Message:
    return gtpv2.request(MessageType.DELETE_SESSION_REQUEST, teid, Ebi(ebi), Indication.of(IndicationFlag.OI))


def charging_rule(
    name: str = "voice", port: int = 50000, rate: int | None = 82000, *, qci: int = 1, flows: bool = True
) -> diameter.Avp:
    """Charging-Rule-Install with one rule of two flows."""
    flow = f"permit out 17 from 198.51.100.7 {port} to 10.45.0.2 {port + 1}"
    information = [
        avp.FLOW_INFORMATION(avp.FLOW_DIRECTION(direction), avp.FLOW_DESCRIPTION(flow)) for direction in (1, 2)
    ]
    arp = avp.ALLOCATION_RETENTION_PRIORITY(
        avp.PRIORITY_LEVEL(1), avp.PRE_EMPTION_CAPABILITY(1), avp.PRE_EMPTION_VULNERABILITY(1)
    )
    rates = (
        []
        if rate is None
        else [
            avp.MAX_REQUESTED_BANDWIDTH_UL(rate),
            avp.MAX_REQUESTED_BANDWIDTH_DL(rate),
            avp.GUARANTEED_BITRATE_UL(rate),
            avp.GUARANTEED_BITRATE_DL(rate),
        ]
    )
    return avp.CHARGING_RULE_INSTALL(
        avp.CHARGING_RULE_DEFINITION(
            avp.CHARGING_RULE_NAME(name),
            *(information if flows else []),
            avp.QOS_INFORMATION(avp.QOS_CLASS_IDENTIFIER(qci), arp, *rates),
            avp.PRECEDENCE(1),
        )
    )


def rule_removal(name: str = "voice") -> diameter.Avp:
    return avp.CHARGING_RULE_REMOVE(avp.CHARGING_RULE_NAME(name))


class Toolbox:
    """What the tests of this folder share; they cannot import one another."""

    Core = Core
    IMSI, MME, SGW, PGW, PCRF, ENB = IMSI, MME, SGW, PGW, PCRF, ENB
    create_session = staticmethod(create_session)
    delete_session = staticmethod(delete_session)
    charging_rule = staticmethod(charging_rule)
    rule_removal = staticmethod(rule_removal)
    s11_teid = staticmethod(s11_teid)
    name_of = staticmethod(name_of)


@pytest.fixture
def tools() -> type[Toolbox]:
    return Toolbox


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def make_core() -> Callable[[], Core]:
    return Core
