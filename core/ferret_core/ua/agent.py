"""A SIP user agent, sans-IO: a device's, with registration (TS 24.229 clause 5.1), or that of a remote party without.

agent.call("sip:491701@ims.example", now)          # orders and datagrams return events
events = agent.receive_datagram(octets, "192.0.2.1:5060", now)
for octets, destination in agent.datagrams(): ...   # to be sent now; over TCP, `agent.to_send()`
wake at agent.deadline()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from ferret.errors import LocalMisuseError, PeerViolationError, ProtocolError
from ferret.protocols import sip
from ferret.protocols.sip.transactions import COOKIE, Repeated, TransactionLayer, Unacknowledged, Unanswered
from ferret_core.enb.usim import Usim
from ferret_core.sip_timers import Timers, earliest
from ferret_core.ua import call_table, incoming, outgoing
from ferret_core.ua.call import Call
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.dialog import tag_of
from ferret_core.ua.events import UaEvent
from ferret_core.ua.registration import ALLOW, Registration
from ferret_core.ua.registration_watch import RegistrationWatch
from ferret_core.ua.session_description import Place
from ferret_core.ua.short_message import ShortMessages
from ferret_core.ua.states import CallEvent, CallState, RegistrationEvent, RegistrationState, WatchEvent

__all__ = ["UserAgent", "call_table"]

_REQUESTS: Final = {
    "ACK": CallEvent.ACK,
    "BYE": CallEvent.BYE,
    "CANCEL": CallEvent.CANCEL,
    "INVITE": CallEvent.INVITE,
    "PRACK": CallEvent.PRACK,
    "UPDATE": CallEvent.UPDATE,
}
_ANSWERS: Final = {
    "BYE": CallEvent.BYE_ANSWERED,
    "PRACK": CallEvent.PRACK_ANSWERED,
    "UPDATE": CallEvent.UPDATE_ANSWERED,
}


@dataclass(slots=True)
class _Repetition:
    """An answer that is sent until it is acknowledged (RFC 3261 clause 13.3.1.4, RFC 3262 clause 3)."""

    message: sip.Message
    destination: str
    interval: float
    until: float


class UserAgent:
    """One user agent. `usim`: of a device that registers."""

    def __init__(self, configuration: UaConfiguration, random: Random, *, usim: Usim | None = None) -> None:
        self.configuration = configuration
        self.registration = Registration(self, usim)
        self.watch = RegistrationWatch(self)
        self.messages = ShortMessages(self)
        self.calls: dict[str, Call] = {}  # by Call-ID
        self.ignored = 0  # datagrams that nothing could be made of
        self._random = random
        self._layer = TransactionLayer(timings=configuration.timings)
        self._timers: Timers[tuple[str, str]] = Timers()
        self._repetitions: dict[str, _Repetition] = {}
        self._events: list[UaEvent] = []

    # ---- orders

    def register(self, now: float) -> list[UaEvent]:
        """Register, or refresh the registration. Raises LocalMisuseError while that is under way."""
        self.registration.happen(RegistrationEvent.REGISTER, now)
        return self._told()

    def deregister(self, now: float) -> list[UaEvent]:
        """Leave. Raises LocalMisuseError for one who is not registered."""
        self.registration.happen(RegistrationEvent.DEREGISTER, now)
        return self._told()

    def call(self, peer: str, now: float, *, offers: bool = True) -> str:
        """Call a SIP or tel URI; the name of the call, which events carry. Without `offers`, the other party offers."""
        name = f"{self.token()}@{self.configuration.host}"
        call = self.calls[name] = Call(self, name, self._place(), peer)
        call.offers = offers
        outgoing.begin(call, now)
        return name

    def answer(self, call: str, now: float) -> list[UaEvent]:
        """Pick up. Raises LocalMisuseError for a call that does not ring here."""
        return self._order(call, CallEvent.ANSWER, now)

    def reject(self, call: str, now: float, status: int = 486, reason: str = "Busy Here") -> list[UaEvent]:
        """Do not pick up."""
        if call in self.calls:
            self.calls[call].refusal = (status, reason)
        return self._order(call, CallEvent.HANG_UP, now)

    def hold(self, call: str, now: float) -> list[UaEvent]:
        """Put on hold. Raises LocalMisuseError for a call that is not established, or is just being changed."""
        return self._order(call, CallEvent.HOLD, now)

    def resume(self, call: str, now: float, *, place: Place | None = None) -> list[UaEvent]:
        """Go on after a hold, or move our media: `place` is where they are received from now on."""
        known = self.calls.get(call)
        if known is None or known.state is not CallState.ESTABLISHED:
            raise LocalMisuseError(f"resuming a call that is {known.state if known else 'not there'}")
        known.place_before, known.place = known.place, place or known.place
        return self._order(call, CallEvent.RESUME, now)

    def reroute(self, call: str, routes: tuple[str, ...]) -> None:
        """Send what follows inside a call along these Route values: other proxies have its dialog now.

        Raises LocalMisuseError for a call without a dialog.
        """
        dialog = self.calls[call].dialog if call in self.calls else None
        if dialog is None:
            raise LocalMisuseError("rerouting a call without a dialog")
        dialog.routes = routes

    def hang_up(self, call: str, now: float) -> list[UaEvent]:
        """End a call, whatever its state."""
        return self._order(call, CallEvent.HANG_UP, now)

    def resources_ready(self, call: str, now: float) -> list[UaEvent]:
        """The bearer for a call's media is there (see `ResourcesWanted`)."""
        return self._order(call, CallEvent.RESOURCES_READY, now)

    def message(self, peer: str, text: str, now: float) -> str:
        """Send a short message to a SIP or tel URI; its name. Raises LocalMisuseError for one that is too long."""
        return self.messages.send(peer, text, now)

    def _order(self, name: str, event: CallEvent, now: float) -> list[UaEvent]:
        call = self.calls.get(name)
        if call is None or not call.happen(event, None, "", now):
            raise LocalMisuseError(f"{event} of a call that is {call.state if call else 'not there'}")
        return self._told()

    # ---- the network

    def receive_datagram(self, octets: bytes, source: str, now: float) -> list[UaEvent]:
        """A datagram from "host:port". Whatever it holds, nothing is raised; what is unfit is counted in `ignored`."""
        try:
            for happened in self._layer.receive(sip.decode(octets), source, now):
                self._happened(happened, now)
        except ProtocolError:
            self.ignored += 1
        return self._told()

    def receive_message(self, message: sip.Message, source: str, now: float) -> list[UaEvent]:
        """A message of a TCP connection with "host:port"; as a datagram otherwise."""
        try:
            for happened in self._layer.receive(message, source, now, reliable=True):
                self._happened(happened, now)
        except ProtocolError:
            self.ignored += 1
        return self._told()

    def datagrams(self) -> list[tuple[bytes, str]]:
        """What is to be sent now, with "host:port" of each, where everything goes in datagrams."""
        return [(message.encode(), destination) for message, destination in self.to_send()]

    def to_send(self) -> list[tuple[sip.Message, str]]:
        """What is to be sent now, with "host:port" of each; each is given out once.

        The topmost Via says over which transport (RFC 3261 clauses 18.1.1 and 18.2.2).
        """
        return self._layer.to_send()

    def not_sent(self, message: sip.Message, destination: str, now: float) -> list[UaEvent]:
        """There is no connection for a message. A request is tried in a datagram, unless we only speak TCP."""
        if not message.is_request:
            return []
        if self.configuration.transport == "UDP":
            via = message.first("Via").replace("/TCP", "/UDP", 1)
            self._layer.retry(message.replace_first_value("Via", via), destination, now)
        elif message.method != "ACK":
            answer = sip.respond(message, 503, "Service Unavailable", to_tag="lost")
            return self.receive_message(answer, destination, now)
        return self._told()

    def connection_lost(self, now: float) -> list[UaEvent]:
        """The connection that we registered over has ended: register over a new one (RFC 5626 clause 4.2.2, 4.5)."""
        if self.configuration.transport == "TCP" and self.registration.state is RegistrationState.REGISTERED:
            self.registration.happen(RegistrationEvent.REGISTER, now)
        return self._told()

    def deadline(self) -> float | None:
        """When `wake` wants to be called at the latest; None: no timer runs."""
        return earliest(self._layer.deadline(), self._timers.deadline())

    def wake(self, now: float) -> list[UaEvent]:
        """Run the timers that are due."""
        for happened in self._layer.wake(now):
            self._happened(happened, now)
        for kind, name in self._timers.due(now):
            if kind == "register":
                self.registration.happen(RegistrationEvent.DUE, now)
            elif kind == "watch":
                self.watch.happen(WatchEvent.DUE, now)
            elif kind == "ring" and name in self.calls:
                self.calls[name].happen(CallEvent.RANG_TOO_LONG, None, "", now)
            elif kind == "repeat":
                self._repeat_again(name, now)
        return self._told()

    def leftovers(self) -> Mapping[str, int]:
        """Calls and registration that are held."""
        return {"calls": len(self.calls), "registrations": int(self.registration.is_registered)}

    def _happened(self, happened: object, now: float) -> None:
        match happened:
            case sip.Arrived(message=message, source=source) if message.is_request:
                self._asked(message, source, now)
            case sip.Arrived(message=message, source=source, stray=False):
                self._answered(message, source, now)
            case Repeated(message=message):
                call = self.calls.get(message.first("Call-ID"))
                if call is not None and call.ack is not None and call.dialog is not None:
                    self.send(call.ack, call.dialog.next_hop(), now)
            case Unanswered(answer=answer, destination=destination):
                self._answered(answer, destination, now)
            case Unacknowledged():
                pass  # a refusal that nobody acknowledged is over all the same

    def _answered(self, answer: sip.Message, source: str, now: float) -> None:
        method, status = answer.method, answer.status
        if method == "REGISTER":
            self.registration.answered(answer, now)
            return
        if method == "SUBSCRIBE" and self.watch.is_mine(answer):
            if status >= 200:
                self.watch.happen(WatchEvent.ACCEPTED if status < 300 else WatchEvent.REFUSED, now, answer)
            return
        if method == "MESSAGE":
            self.messages.answered(answer)
            return
        call = self.calls.get(answer.first("Call-ID"))
        if call is None:
            return
        if method == "INVITE":
            call.trying = True
            if status == 100 and call.state is not CallState.CANCELLING:
                return
            event = CallEvent.PROVISIONAL if status < 180 or 180 < status < 200 else CallEvent.FAILURE
            event = CallEvent.RINGING if status == 180 else CallEvent.SUCCESS if 200 <= status < 300 else event
            call.happen(event, answer, source, now)
        elif status >= 200 and method in _ANSWERS:
            call.happen(_ANSWERS[method], answer, source, now)

    def _asked(self, request: sip.Message, source: str, now: float) -> None:
        if request.method == "REGISTER" or any(not request.has(n) for n in ("Via", "From", "To", "Call-ID", "CSeq")):
            self._refuse(request, source, 400, "Bad Request", now)
            return
        call = self.calls.get(request.first("Call-ID"))
        in_dialog = bool(tag_of(request.first("To")))
        if request.method == "INVITE" and not in_dialog:
            self._called(request, source, call, now)
        elif request.method == "OPTIONS":
            self._send_answer(request, source, 200, "OK", now, (("Allow", ALLOW),))
        elif request.method == "MESSAGE":
            self._send_answer(request, source, *self.messages.received(request), now)
        elif request.method == "NOTIFY" and self.watch.is_mine(request):
            self._send_answer(request, source, 200, "OK", now)
            self.watch.notified(request, now)
        elif request.method not in _REQUESTS:
            self._refuse(request, source, 405, "Method Not Allowed", now, (("Allow", ALLOW),))
        elif call is None or not self._is_of(call, request):
            self._refuse(request, source, 481, "Call/Transaction Does Not Exist", now)
        elif not call.happen(_REQUESTS[request.method], request, source, now):
            self._refuse(request, source, 500, "Server Internal Error", now)
            raise PeerViolationError(f"{request.method} in a call that is {call.state}")

    def _is_of(self, call: Call, request: sip.Message) -> bool:
        if request.method == "CANCEL":
            asked = call.asked.request if call.asked is not None else None
            branch = sip.parse_via(request.first("Via")).branch
            return asked is not None and sip.parse_via(asked.first("Via")).branch == branch
        return call.dialog is not None and call.dialog.takes(request)

    def _called(self, request: sip.Message, source: str, known: Call | None, now: float) -> None:
        """An INVITE that begins a call."""
        name, peer = request.first("Call-ID"), sip.parse_name_addr(request.first("From")).uri
        if known is not None:
            self._refuse(request, source, 482, "Loop Detected", now)
        elif len(self.calls) >= self.configuration.max_calls:
            self._refuse(request, source, 486, "Busy Here", now)
        else:
            asserted = sip.parse_name_addr(request.first("P-Asserted-Identity")).uri
            call = self.calls[name] = Call(self, name, self._place(), asserted or peer)
            incoming.begin(call, request, source, now)

    def _refuse(
        self,
        request: sip.Message,
        source: str,
        status: int,
        reason: str,
        now: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        if request.method != "ACK":
            self._send_answer(request, source, status, reason, now, headers)

    def _send_answer(
        self,
        request: sip.Message,
        source: str,
        status: int,
        reason: str,
        now: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        answer = sip.respond(request, status, reason, to_tag=self.token(32), headers=headers)
        self._layer.send(answer, source, now)

    # ---- what calls and the registration need

    def token(self, bits: int = 64) -> str:
        """Something that nobody guesses, in hexadecimal."""
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"

    def via(self) -> str:
        """A Via with a branch of its own."""
        own = self.configuration
        return f"SIP/2.0/{own.transport} {own.address};branch={COOKIE}{self.token(96)};rport"

    def send(self, message: sip.Message, destination: str, now: float) -> sip.Message:
        """Send a message; as it is sent: a long request over TCP (RFC 3261 clause 18.1.1)."""
        limit = self.configuration.stream_above
        via = message.first("Via")
        own = message.is_request and message.method not in ("ACK", "CANCEL")  # these go the way of their INVITE
        if own and limit and "/UDP " in via and len(message.encode()) > limit:
            message = message.replace_first_value("Via", via.replace("/UDP", "/TCP", 1))
        self._layer.send(message, destination, now, reliable=sip.parse_via(message.first("Via")).transport == "TCP")
        return message

    def tell(self, event: UaEvent) -> None:
        """Tell whoever we work for."""
        self._events.append(event)

    def initial_routes(self) -> tuple[str, ...]:
        """P-CSCF and Service-Route of a registered device (TS 24.229 clause 5.1.2A.1.1)."""
        if not self.registration.service_route:
            return ()
        transport = ";transport=tcp" if self.configuration.transport == "TCP" else ""
        return (f"<sip:{self.configuration.proxy}{transport};lr>", *self.registration.service_route)

    def own_identity(self) -> str:
        """The registrar's default public identity, or our own where we do not register."""
        identities = [one for one in self.registration.identities if one.startswith("sip")]
        return identities[0] if identities else self.configuration.identity

    def forget(self, call: Call) -> None:
        """The call is over."""
        self.calls.pop(call.name, None)

    def repeat(self, call: Call, message: sip.Message | None, destination: str, now: float) -> None:
        """Send an answer again and again until it is acknowledged; None: it has been."""
        self._timers.cancel(("repeat", call.name))
        self._repetitions.pop(call.name, None)
        if message is not None:
            timings = self.configuration.timings
            self._repetitions[call.name] = _Repetition(message, destination, timings.t1, now + timings.long)
            self._timers.set(("repeat", call.name), now + timings.t1)

    def ring_until(self, call: Call, when: float | None) -> None:
        """When a call has rung too long; None: it does not ring."""
        if when is None:
            self._timers.cancel(("ring", call.name))
        else:
            self._timers.set(("ring", call.name), when)

    def taken_away(self, now: float) -> None:
        """The network has deregistered us."""
        self.registration.happen(RegistrationEvent.TAKEN_AWAY, now)

    def registered(self, now: float, *, is_registered: bool) -> None:
        """Our registration has begun, been refreshed, or ended."""
        if not is_registered:
            self.watch.happen(WatchEvent.LEFT, now)
        elif self.configuration.watches_registration:
            self.watch.happen(WatchEvent.REGISTERED, now)

    def watch_again_at(self, when: float | None) -> None:
        """When the subscription to our registration wants to be refreshed; None: it does not."""
        if when is None:
            self._timers.cancel(("watch", ""))
        else:
            self._timers.set(("watch", ""), when)

    def refresh_at(self, when: float | None) -> None:
        """When the registration wants to be refreshed; None: it does not."""
        if when is None:
            self._timers.cancel(("register", ""))
        else:
            self._timers.set(("register", ""), when)

    def _repeat_again(self, name: str, now: float) -> None:
        one, call = self._repetitions.get(name), self.calls.get(name)
        if one is None or call is None:
            return
        if now >= one.until:
            del self._repetitions[name]
            call.happen(CallEvent.UNACKNOWLEDGED, None, "", now)
            return
        self._layer.send(one.message, one.destination, now)
        final = one.message.status >= 200
        one.interval = min(2 * one.interval, self.configuration.timings.t2) if final else 2 * one.interval
        self._timers.set(("repeat", name), min(now + one.interval, one.until))

    def _place(self) -> Place:
        """A media port that no other call has."""
        taken = {call.place.port for call in self.calls.values()}
        port = self.configuration.media_port
        while port in taken:
            port += 2
        return Place(self.configuration.host, port)

    def _told(self) -> list[UaEvent]:
        events, self._events = self._events, []
        return events
