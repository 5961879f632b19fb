"""An edge NF: the core's NF logic, its wires to the other members, and the replay port's service around it.

What the NF makes goes to another member over a real socket, or is caught at the border; either way it is compared with
what the recording holds. What really leaves the edge is the reconfiguration and, once a subscriber is served here, what
belongs to his device and his calls (`ferret_edge.served`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from time import monotonic

import structlog

from ferret.errors import FerretError, LocalMisuseError, ProtocolError
from ferret.protocols import gtpv2, sip
from ferret.protocols.gtpv2 import Ebi
from ferret.protocols.summary import Kind, Protocol
from ferret.records.decoding import doors
from ferret.records.message import Interface, Role
from ferret.replay.port import (
    Ack,
    Begin,
    Command,
    Context,
    Deliver,
    Expect,
    Finish,
    Forget,
    Moving,
    Noted,
    Reconfigure,
    Report,
    Serve,
    Settle,
    Settled,
)
from ferret.replay.rules import Rules
from ferret.replay.translation import Translation
from ferret_core.driver.links.link import Link
from ferret_core.mme import Mme
from ferret_core.nf import Input, Message, NetworkFunction, Note, Output, Peer, Received, Send
from ferret_core.pgw import Pgw
from ferret_core.sgw import Sgw
from ferret_edge.border import Border
from ferret_edge.matching import Expected, Made, Match, OutputMatcher, shape_of
from ferret_edge.metrics import EdgeMetrics
from ferret_edge.protocols import name_of, protocol_of
from ferret_edge.reporting import compared, matched, unasked
from ferret_edge.served import Served

log = structlog.get_logger(__name__)

Reported = Callable[[Report], None]
DOWNLINK_DATA_NOTIFICATION = "Downlink Data Notification"


class EdgeNode:
    """One edge NF. `wire` says whether a message is for another member (True) or crosses the border."""

    def __init__(
        self,
        nf: NetworkFunction,
        *,
        rules: Rules,
        members: frozenset[Role],
        wire: Callable[[Send], bool],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.nf = nf
        self.members = members
        self.links: dict[Interface, Link] = {}
        self.metrics_of_nf = EdgeMetrics(str(nf.role))
        self._wire = wire
        self._clock = clock
        self._border = Border()
        self._served = Served(nf)
        self._matcher = OutputMatcher(rules)
        self._report: Reported = _nobody
        self._subscriber = ""
        self._executed: set[int] = set()
        self._numbers = count(1)
        self._moving = False
        self._sent = 0
        self._received = 0
        self.tap: Callable[[Input | Send], None] | None = None  # told what passes between this NF and other members
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Open every link."""
        for link in dict.fromkeys(self.links.values()):
            await link.start()

    async def stop(self) -> None:
        """Close every link."""
        if self._timer is not None:
            self._timer.cancel()
        for link in dict.fromkeys(self.links.values()):
            await link.stop()

    # The replay port's service.

    def execute(self, command: Command, report: Reported) -> None:
        """Execute a command once; a repeated one is only acknowledged again."""
        self._report = report
        if command.id in self._executed and not isinstance(command, (Begin, Settle)):
            self.metrics_of_nf.repeated()
            report(Ack(command.id))
            return
        self._dispatch(command)
        self._executed.add(command.id)
        if not isinstance(command, Settle):
            report(Ack(command.id))

    def _dispatch(self, command: Command) -> None:
        match command:
            case Begin():
                self._begin(command)
            case Context():
                self._emit(self.nf.import_context(command.values, self._clock()))
            case Deliver():
                self._deliver(command)
            case Expect():
                self._expect(command)
            case Settle():
                self._report(Settled(command.id, self._sent, self._received))
            case Moving():
                self._moving = command.begins
            case Reconfigure():
                self._reconfigure(command)
            case Serve(subscriber=subscriber, begins=begins, calls=calls):
                self._served.change(subscriber, frozenset(calls) if begins else None)
            case Forget(subscriber=subscriber, calls=calls):
                self._emit(self.nf.forget(subscriber, calls, self._clock()))
            case Finish():
                self._finish()

    def health(self) -> dict[str, object]:
        """For `/healthz`."""
        return {"status": "ok", "nf": str(self.nf.role), "address": self.nf.address, **self.nf.leftovers()}

    def metrics(self) -> str:
        """For `/metrics`."""
        for kind, number in self.nf.leftovers().items():
            self.metrics_of_nf.held(kind, number)
        return self.metrics_of_nf.text()

    def _begin(self, command: Begin) -> None:
        self._subscriber = command.subscriber
        self.members = frozenset(map(Role, command.members)) if command.members else self.members
        self._matcher.begin(Translation.restore(command.translation) if command.translation else None)
        self._executed.clear()
        self._moving = False

    def _deliver(self, command: Deliver) -> None:
        interface, peer = Interface(command.interface), Peer(Role(command.peer_role), command.peer_address)
        self.metrics_of_nf.delivered(command.interface)
        try:
            way = doors(Protocol(command.protocol))
            message = way.decode(command.octets)
            is_answer = way.summarise(message).kind is Kind.RESPONSE
            event = self._border.arrived(interface, peer, message, is_answer)
            self._run(event)
        except FerretError as error:
            self.metrics_of_nf.refused()
            self._report(Noted("stimulus_refused", {"id": command.id, "reason": str(error)}))

    def _expect(self, command: Expect) -> None:
        protocol = Protocol(command.protocol)
        way = doors(protocol)
        wanted = compared(way.parameters(way.decode(command.octets)))
        shape = shape_of(protocol, command.interface, command.name, wanted)
        match = self._matcher.expect(Expected(command.id, shape, wanted))
        if match is not None:
            self._report_match(match)
        elif isinstance(self.nf, Sgw) and command.name == DOWNLINK_DATA_NOTIFICATION:
            self._downlink_packet(self.nf, command)

    def _downlink_packet(self, sgw: Sgw, command: Expect) -> None:
        """What makes an SGW notify is a user's packet (TS 23.401 clause 5.3.4.3), which no signalling shows."""
        view = gtpv2.decode(command.octets).view(Ebi)
        if view is not None:
            self._emit(sgw.downlink_for(self._subscriber, view.value, self._clock()))

    def _reconfigure(self, command: Reconfigure) -> None:
        match self.nf:
            case Mme() as mme:
                self._emit(mme.expect_move(command.subscriber, self._clock(), downlink_count=command.downlink_count))
            case Pgw() as pgw:
                self._emit(pgw.move(command.subscriber, self._clock()))
            case _:
                raise LocalMisuseError(f"MME and PGW reconfigure, not the {self.nf.role}")

    def _finish(self) -> None:
        for made in self._matcher.unasked():
            self._report(unasked(made))

    # What other members and real base stations send.

    def arrived(self, event: Input) -> None:
        """Another member has sent something."""
        self._received += 1
        if self.tap is not None:
            self.tap(event)
        self._guarded(event, live=False)

    def arrived_live(self, event: Input) -> None:
        """A real base station has sent something; what follows goes back to it."""
        self._guarded(event, live=True)

    def arrived_sip(self, event: Input) -> None:
        """SIP of another member, or of a device or remote party that is served here: nobody else is listened to."""
        if isinstance(event, Received) and event.peer.role not in self.members:
            if not self._served.concerns(event.message):
                self.metrics_of_nf.refused()
                log.warning("sip_from_stranger", nf=str(self.nf.role), peer=event.peer.address)
                return
            self._guarded(event, live=False)
        else:
            self.arrived(event)

    def _guarded(self, event: Input, *, live: bool) -> None:
        """A member's bad message costs that message, never the NF."""
        try:
            self._run(event, live=live)
        except ProtocolError as error:
            self.metrics_of_nf.refused()
            log.warning("message_refused", nf=str(self.nf.role), reason=str(error))
            self._report(Noted("message_refused", {"reason": str(error)}))

    def _run(self, event: Input, *, live: bool = False) -> None:
        self._emit(self.nf.receive(event, self._clock()), live=live)

    # What the NF makes.

    def _emit(self, outputs: Sequence[Output] | Iterable[Output], *, live: bool = False) -> None:
        for output in outputs:
            if isinstance(output, Note):
                self._noted(output)
            elif self._is_live(output, live):
                self.metrics_of_nf.output("live")
                self.links[output.interface].send(output)
                self._tell_end(output)
            elif self._wire(output):
                self._sent += 1
                if self.tap is not None:
                    self.tap(output)
                if not (self._moving or self._served.concerns(output.message)):
                    self._check(output, output.message)
                self.metrics_of_nf.output("sent")
                self.links[output.interface].send(output)
            else:
                self.metrics_of_nf.output("caught")
                self._check(output, self._border.caught(output))
        self._set_timer()

    def _is_live(self, output: Send, live: bool) -> bool:
        """Whether a message really crosses the border."""
        if output.interface is Interface.S1_MME:
            return live or self._moving or self._served.concerns(output.message)
        if output.interface not in (Interface.GM, Interface.MW) or self._wire(output):
            return False
        return output.interface in self.links and self._served.concerns(output.message)

    def _tell_end(self, output: Send) -> None:
        """A call that is served here has ended: its BYE is answered."""
        message = output.message
        if isinstance(message, sip.Message) and not message.is_request and message.first("CSeq").endswith("BYE"):
            self._report(Noted("served_call_ended", {"call": message.first("Call-ID")}))

    def _noted(self, note: Note) -> None:
        log.debug(note.event, edge_nf=str(self.nf.role), about=dict(note.fields))
        self._report(Noted(note.event, note.fields))

    def _check(self, output: Send, message: Message) -> None:
        protocol = protocol_of(message)
        found = compared(doors(protocol).parameters(message))
        shape = shape_of(protocol, str(output.interface), name_of(message), found)
        made = Made(next(self._numbers), shape, str(output.peer.role), message.encode(), found)
        match = self._matcher.produced(made)
        if match is not None:
            self._report_match(match)

    def _report_match(self, match: Match) -> None:
        for difference in match.result.differences:
            self.metrics_of_nf.difference(str(difference.risk))
        self._report(matched(match))

    # Timers.

    def _set_timer(self) -> None:
        deadline = self.nf.deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, deadline - self._clock()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._emit(self.nf.wake(self._clock()))


def _nobody(_: Report) -> None:
    """No replayer is connected yet."""
