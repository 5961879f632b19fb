"""The replay port of a foreign NF: what an edge NF's replay port is to the replayer, a stand-in's conversation is here.

A message for the target is sent to it in the name of the neighbour that sent the recorded one. What the target sends is
matched with what the recording has of it, compared by the same rules, and teaches the translation. A delivered message
is acknowledged to the replayer when it has been sent, since the target may answer only after other messages (an SGW
asks the PGW first); whether the target took it is in `figures`, and the run puts that into the result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from ferret.errors import DecodeError, ProtocolError
from ferret.protocols import diameter, gtpv2, s1ap, sip
from ferret.protocols.gtpv2 import FTeid
from ferret.protocols.summary import Kind, Protocol
from ferret.records.decoding import doors
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.foreign.acceptance import (
    Fate,
    Outcome,
    TargetFigures,
    accepts,
    is_request,
    recorded_results,
    result_of,
)
from ferret.replay.foreign.identifiers import DiameterName, unnamed
from ferret.replay.foreign.leaving import OpenSessions
from ferret.replay.foreign.nas import readable_recording
from ferret.replay.foreign.neighbours import CONTROL_PLANE
from ferret.replay.foreign.plan import begins_late
from ferret.replay.foreign.targets import Target
from ferret.replay.foreign.translator import ForeignTranslator
from ferret.replay.foreign.unasked import diameter_answer, gtpv2_answer, sip_answer
from ferret.replay.plan import Part, Plan, PlannedMessage, is_progress
from ferret.replay.port import (
    Ack,
    Begin,
    Command,
    Deliver,
    Expect,
    Finish,
    Noted,
    Report,
    Settle,
    Settled,
)
from ferret.replay.rewrite import Message
from ferret.replay.rules import Rules
from ferret_deploy.foreign.line import Answered, Asked, Heard, Line, Remarked, Repeated, Unanswered
from ferret_edge.matching import Expected, Made, Match, OutputMatcher, Shape, shape_of
from ferret_edge.protocols import name_of, protocol_of
from ferret_edge.reporting import compared, matched, unasked

LATE = "the recording begins after its sessions were set up: with --edge all FERRET's MME sets them up first"
_ERROR_INDICATION = "ErrorIndication"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one replay's ports share. `patience`: seconds without news after which a target makes nothing more."""

    plan: Plan
    translator: ForeignTranslator
    rules: Rules
    names: Mapping[Role, DiameterName]
    clock: Callable[[], float]
    patience: float = 2.0


class ForeignPort:
    """One target's port. `reported` gets what the replayer is told, `lost` the news that the target is silent."""

    def __init__(
        self,
        target: Target,
        lines: Mapping[Protocol, Line],
        around: Surroundings,
        reported: Callable[[Report], None],
        lost: Callable[[str], None],
        *,
        first_token: int = 0,
    ) -> None:
        """`first_token`: below it are those of earlier recordings' ports, whose late answers are none of this one's."""
        self.figures = TargetFigures(target)
        self._target = target
        self._lines = lines
        self._around = around
        self._reported = reported
        self._lost = lost
        self._first_token = first_token
        self._steps = [step for step in around.plan.steps if step.part is not Part.SKIPPED]
        messages = [step.message for step in around.plan.steps]
        self._deciphered = readable_recording(messages) if target.role is Role.MME else {}
        self._by_index = {step.message.index: number for number, step in enumerate(self._steps)}
        self._wanted = self._shapes()
        self._recorded = recorded_results(messages)
        self._answered_by_plan = {s.message.answers for s in self._steps if s.part.delivered and s.message.answers}
        self._matcher = OutputMatcher(around.rules)
        self._numbers = count(1)
        self._open: dict[int, Asked] = {}  # the target's requests, by the number of what it made
        self._waiting: dict[int, float] = {}  # expected messages that have not come, since when
        self._teids: dict[Interface, int] = {}  # the target's for this session
        self._asking: dict[int, tuple[SignallingMessage, Message]] = {}  # what was sent, by number
        self._sessions = OpenSessions()
        self._leaving: set[int] = set()  # tokens of what closes sessions and is not answered yet
        self._over = False  # the recording has been replayed: what comes now is of no interest
        self._gone = asyncio.Event()
        self._news = around.clock()
        self._spoke = any(line.describe() for line in lines.values())  # capabilities were exchanged
        self._from_edge = 0  # messages that edge NFs have sent to the target ...
        self._to_edge = 0  # ... and received from it
        self._of_edge: dict[tuple[Role, int], Outcome] = {}  # requests of edge NFs, by token
        if begins_late(around.plan, target.role) and Role.MME not in around.plan.members:
            self.figures.events.append(LATE)
        for line in lines.values():
            line.hearing = self.hear

    async def send(self, command: Command) -> None:
        """What the replayer wants."""
        match command:
            case Begin():
                self._matcher.begin(self._around.translator.translation)
            case Deliver():
                self._deliver(command)
            case Expect():
                self._expect(command)
            case Settle():
                more = 1 if self._under_way() else 0
                self._reported(Settled(command.id, self._to_edge + more, self._from_edge))
                return
            case Finish():
                for made in self._matcher.unasked():
                    self._reported(unasked(made))
        self._reported(Ack(command.id))

    def _shapes(self) -> Counter[Shape]:
        """How often the target is to make what."""
        wanted: Counter[Shape] = Counter()
        for step in self._steps:
            if step.part.expected and step.nf is self._target.role:
                recorded = self._readable(step)
                found = doors(step.message.protocol).parameters(recorded)
                wanted[shape_of(step.message.protocol, str(step.message.interface), name_of(recorded), found)] += 1
        return wanted

    def _readable(self, step: PlannedMessage) -> Message:
        """A recorded message; of an MME, with NAS deciphered where there are keys."""
        known = self._deciphered.get(step.message.index)
        if known is not None:
            return known
        decoded: Message = doors(step.message.protocol).decode(step.message.octets)
        return decoded

    def _under_way(self) -> bool:
        """Whether more may come: the answer to an open request, or what has only just been waited for.

        What did not come in time is no more waited for, whatever else comes later.
        """
        latest = self._around.clock() - self._around.patience
        self._waiting = {
            number: since
            for number, since in self._waiting.items()
            if max(since, self._news) > latest or self._is_asked(number)
        }
        return bool(self._waiting)

    def _is_asked(self, number: int) -> bool:
        """Whether an expected message is the answer to a request that is open."""
        asked = self._by_index.get(self._steps[number].message.answers)
        outcome = self.figures.outcomes.get(asked) if asked is not None else None
        return outcome is not None and outcome.fate is Fate.SENT

    # To the target.

    def _deliver(self, command: Deliver) -> None:
        if command.id in self.figures.outcomes:
            return  # the protocol repeats what has to be repeated
        step = self._steps[command.id]
        message = doors(step.message.protocol).decode(command.octets)
        self.figures.outcomes[command.id] = outcome = Outcome(step.message.name, Fate.SENT)
        self._news = self._around.clock()
        line = self._lines.get(step.message.protocol)
        token = self._first_token + command.id
        if line is None:
            self._unanswered(Unanswered(token, f"no {step.message.protocol} with this target", unsent=True))
        elif step.message.kind is Kind.RESPONSE and step.message.protocol is not Protocol.S1AP:
            self._answer(command.id, line, step, message, outcome)
        else:
            if step.message.kind is Kind.INDICATION or step.message.protocol is Protocol.S1AP:
                outcome.fate, outcome.accepted = Fate.TAKEN, True
            self._asking[command.id] = step.message, message
            self._ask(line, step.message, message, token)

    def _ask(self, line: Line, recorded: SignallingMessage, message: Message, token: int) -> None:
        line.ask(recorded, message, token, self._around.translator.destination(recorded, self._target.address))

    async def leave(self) -> None:
        """Close the sessions that the recording leaves open at the target; what comes of it is of no interest."""
        self._over = True
        closing = self._sessions.closing()
        first = self._first_token + len(self._steps)
        self._leaving = set(range(first, first + len(closing)))
        for token, (recorded, message) in enumerate(closing, first):
            line = self._lines.get(recorded.protocol)
            if line is not None:
                self._ask(line, recorded, message, token)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._around.patience):
                while self._leaving:
                    self._gone.clear()
                    await self._gone.wait()

    def _answer(self, number: int, line: Line, step: PlannedMessage, message: Message, outcome: Outcome) -> None:
        interface, neighbour = step.message.interface, step.message.from_nf.role
        matched_by = _matched_by(message)
        if line.answer(interface, neighbour, message, matched_by):
            outcome.fate, outcome.accepted = Fate.TAKEN, True
            done = [n for n, asked in self._open.items() if (asked.interface, asked.number) == (interface, matched_by)]
            for one in done:
                del self._open[one]
            return
        outcome.fate, outcome.reason = Fate.UNASKED, "the target has not asked for it"
        self._reported(Noted("stimulus_refused", {"id": number, "reason": outcome.reason}))

    def _expect(self, command: Expect) -> None:
        protocol = Protocol(command.protocol)
        recorded = self._readable(self._steps[command.id])
        wanted = compared(doors(protocol).parameters(recorded))
        shape = shape_of(protocol, command.interface, name_of(recorded), wanted)
        match = self._matcher.expect(Expected(command.id, shape, wanted))
        if match is None:
            self._waiting[command.id] = self._around.clock()
        else:
            self._matched(match)

    # Between edge NFs and the target.

    def edge_sent(self, role: Role, message: Message, token: int) -> None:
        """An edge NF has sent the target something; `token`: 0 for what nothing answers by a token."""
        self._from_edge += 1
        self._news = self._around.clock()
        self._spoke = True  # the edge NF's own protocol engine says when nothing comes back
        if token:
            outcome = self._of_edge[role, token] = Outcome(name_of(message), Fate.SENT)
            self.figures.outcomes[-len(self._of_edge)] = outcome

    def edge_received(self, interface: Interface, role: Role, message: Message, token: int) -> None:
        """The target has sent an edge NF something; `token`: of the request that it answers."""
        self._to_edge += 1
        outcome = self._of_edge.get((role, token)) if not is_request(message) else None
        if outcome is not None and outcome.fate is Fate.SENT:
            outcome.fate, outcome.result = Fate.ANSWERED, result_of(message)
            outcome.accepted = accepts(message, outcome.result)
            outcome.reason = "" if outcome.accepted else f"refused with {outcome.result}"
        try:
            self._made(interface, role, message, for_edge=True)
        except ProtocolError as error:
            self.figures.events.append(f"discarded: {error}")

    def edge_failed(self, role: Role, token: int, reason: str) -> None:
        """A request of an edge NF has not been answered."""
        outcome = self._of_edge.get((role, token))
        if outcome is not None:
            outcome.fate, outcome.reason = Fate.UNANSWERED, reason

    # From the target.

    def hear(self, heard: Heard) -> None:
        """A line has brought something. A message that cannot be used costs that message, never the replay."""
        try:
            self._hear(heard)
        except ProtocolError as error:
            self.figures.events.append(f"discarded: {error}")
        self._reported(Noted("foreign_nf_spoke"))

    def _hear(self, heard: Heard) -> None:
        match heard:
            case Asked():
                self._asked(heard)
            case Answered():
                self._answered(heard)
            case Unanswered():
                self._unanswered(heard)
            case Remarked(what=what):
                self.figures.events += [] if self._over else [what]
            case Repeated():
                self.figures.repeated += 1

    def _asked(self, heard: Asked) -> None:
        if self._over or (
            is_request(heard.message)
            and not self._around.translator.is_ours(heard.interface, heard.neighbour, heard.message)
        ):
            self._stand_in(heard, "of no session of this replay")
            return
        self._learn_teid(heard.interface, heard.message)
        foreseen = self._made(heard.interface, heard.neighbour, heard.message)
        if isinstance(heard.message, s1ap.Message):
            self._watch_errors(heard.message)
            if not foreseen:
                self._identify(heard.message)
        elif not foreseen and is_request(heard.message):
            self._stand_in(heard, "not in the recording")

    def _answered(self, heard: Answered) -> None:
        if heard.token in self._leaving:
            self._left(heard.token)
            return
        self._learn_teid(heard.interface, heard.message)
        outcome = self.figures.outcomes.get(heard.token - self._first_token)
        if outcome is None:
            self.figures.events.append(f"{name_of(heard.message)} to an earlier recording's request")
            return
        if not (isinstance(heard.message, sip.Message) and heard.message.status < 200 and outcome.result >= 200):
            self._judge(outcome, heard)
        self._made(heard.interface, heard.neighbour, heard.message)

    def _judge(self, outcome: Outcome, heard: Answered) -> None:
        outcome.fate, outcome.result = Fate.ANSWERED, result_of(heard.message)
        recorded = self._recorded.get(self._steps[heard.token - self._first_token].message.index, 0)
        outcome.accepted = accepts(heard.message, outcome.result) or (recorded > 0 and outcome.result == recorded)
        if not outcome.accepted:
            outcome.reason = f"refused with {outcome.result}"
        elif heard.token - self._first_token in self._asking:
            request, sent = self._asking[heard.token - self._first_token]
            self._sessions.accepted(request, sent, heard.message)

    def _left(self, token: int) -> None:
        self._leaving.discard(token)
        self._gone.set()

    def _unanswered(self, heard: Unanswered) -> None:
        if heard.token in self._leaving:
            self._left(heard.token)
            return
        outcome = self.figures.outcomes.get(heard.token - self._first_token)
        if outcome is None or outcome.fate is Fate.ANSWERED:
            return  # provisionally: the target has shown that it has the request
        outcome.fate = Fate.UNSENT if heard.unsent else Fate.UNANSWERED
        outcome.accepted, outcome.reason = False, heard.reason
        if not self._spoke and not heard.unsent:
            self._lost(f"{self._target}: {outcome.name}: {heard.reason}, and nothing else ever came from there")

    def _made(self, interface: Interface, neighbour: Role, message: Message, *, for_edge: bool = False) -> bool:
        """The target has made a message; returns whether the recording has one more like it."""
        self._spoke = True
        self._news = self._around.clock()
        protocol = protocol_of(message)
        octets = message.encode()
        if isinstance(message, s1ap.Message) and self._around.translator.nas is not None:
            message = self._around.translator.nas.heard(message)
        name = name_of(message)
        if is_progress(protocol, name):
            return True
        found = compared(doors(protocol).parameters(message))
        shape = shape_of(protocol, str(interface), name, found)
        made = Made(next(self._numbers), shape, str(neighbour), octets, found)
        foreseen = self._wanted[shape] > 0
        if foreseen:
            self._wanted[shape] -= 1
        if foreseen and is_request(message) and not for_edge:
            self._open[made.number] = Asked(interface, neighbour, message, _matched_by(message))
        match = self._matcher.produced(made)
        if match is not None:
            self._matched(match)
        return foreseen

    def _matched(self, match: Match) -> None:
        self._waiting.pop(match.expected.id, None)
        self._reported(matched(match))
        asked = self._open.get(match.made.number)
        step = self._steps[match.expected.id]
        if asked is not None and step.message.index not in self._answered_by_plan:
            self._stand_in(asked, "its answer is not in the recording")

    # What the recording does not have.

    def _stand_in(self, asked: Asked, why: str) -> None:
        """Answer in the neighbour's place."""
        line = self._lines.get(protocol_of(asked.message))
        answer = self._own_answer(asked)
        if line is None or answer is None:
            return
        try:
            if line.answer(asked.interface, asked.neighbour, answer, asked.number) and not self._over:
                self.figures.stood_in.append(f"{name_of(asked.message)} ({asked.interface}): {why}")
        except ProtocolError as error:
            self.figures.events.append(f"{name_of(asked.message)} could not be answered: {error}")

    def _identify(self, asked: s1ap.Message) -> None:
        """Answer an IDENTITY REQUEST in the device's place."""
        device, line = self._around.translator.nas, self._lines.get(Protocol.S1AP)
        if device is None or line is None or device.base_station is None:
            return
        answer = device.identity_response(asked, self._around.plan.subscriber)
        if answer is not None:
            line.ask(device.base_station, answer, self._first_token - 1, "")
            self.figures.stood_in.append("DownlinkNASTransport (Identity request): not in the recording")

    def _own_answer(self, asked: Asked) -> Message | None:
        message = asked.message
        if isinstance(message, gtpv2.Message):
            return gtpv2_answer(message, self._teids.get(asked.interface, 0)) if asked.number else None
        if isinstance(message, diameter.Message):
            return diameter_answer(message, self._around.names.get(asked.neighbour) or unnamed(asked.neighbour))
        if isinstance(message, sip.Message):
            return sip_answer(message, "ferret")
        return None

    def _learn_teid(self, interface: Interface, message: Message) -> None:
        """A control-plane F-TEID of the target: where an answer that the recording does not have has to go."""
        kind = CONTROL_PLANE.get((interface, self._target.role))
        for ie in message.ies if isinstance(message, gtpv2.Message) else ():
            if ie.type == gtpv2.IeType.F_TEID:
                try:
                    tunnel = FTeid.decode(ie.octets)
                except DecodeError:
                    continue
                if tunnel.interface_type == kind:
                    self._teids[interface] = tunnel.teid

    def _watch_errors(self, message: s1ap.Message) -> None:
        """An error indication is about the last message that the MME was sent (TS 36.413 clause 8.7.2)."""
        if not message.name.startswith(_ERROR_INDICATION):
            return
        sent = [outcome for outcome in self.figures.outcomes.values() if outcome.sent]
        if sent:
            sent[-1].accepted, sent[-1].reason = False, "an error indication followed"


def _matched_by(message: Message) -> int:
    if isinstance(message, gtpv2.Message):
        return message.sequence
    return message.hop_by_hop if isinstance(message, diameter.Message) else 0
