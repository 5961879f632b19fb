"""The P-CSCF (TS 24.229 clause 5.2): a stateful proxy between UEs (Gm) and the IMS (Mw) that asks for QoS on Rx."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from ferret.protocols import diameter, sip
from ferret.records.message import Interface, Role
from ferret_core import rx
from ferret_core.cscf import Cscf
from ferret_core.nf import Output, Peer, Received
from ferret_core.pcscf import in_dialog, media, originating, registration, signalling_flow, terminating
from ferret_core.pcscf.policy import DEFAULT
from ferret_core.pcscf.registration import Registration
from ferret_core.sip_carriage import Carriage
from ferret_core.sip_names import DEFAULT_PORT, split_address, with_port
from ferret_core.sip_policy import Way
from ferret_core.sip_proxy import Branch, Context
from ferret_core.sip_timers import Timers, earliest

DEFAULT_EXPIRES = 600000  # seconds (TS 24.229 clause 5.1.1.2.1)
_WITHOUT_DIALOG = frozenset({408, 481})  # to a request inside a dialog: there is none any more (RFC 3261 12.2.1.2)
_TRANSPORTS = {"UDP": 1, "TCP": 2, "TLS": 3}


class Pcscf(Cscf):
    """One P-CSCF.

    `import_context` takes

    - "profile": what `profile_from_recording` gives: {"sip": changes of `Policy`, "visited_network_id": text of
      P-Visited-Network-ID, "integrity_protected": whether that parameter is written, "keeps_keys":
      whether CK and IK are kept from the UE, "rx": the AF's own part of Rx
      messages, or None where it speaks no Rx, "rx_identity": {"originating"/"terminating": which URI names the
      subscriber on Rx: "from", "to", "request_uri" or "asserted"}, "rx_registration": the form of
      an Rx session for signalling (`SignallingForm`), or None};
    - "names": {host or "host:port" in a URI: transport address "host:port"};
    - "peers": {transport address: role};
    - "registrations": [{"impi", "impus", "contact", "ue_address", "service_route", "transport": "UDP" or "TCP"}] of
      UEs that registered before;
    - "dialogs": [{"call_id", "ue_address", "originating", "identities"}] of calls that were set up before.
    """

    role = Role.PCSCF
    context_keys = frozenset({"registrations", "dialogs"})
    profile_keys = frozenset(
        {"visited_network_id", "integrity_protected", "keeps_keys", "rx", "rx_identity", "rx_registration"}
    )

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random, policy=DEFAULT)
        self.registrations: dict[str, Registration] = {}  # by the UE's transport address
        self._flows: dict[registration.ContactKey, str] = {}  # transport address by contact, of UEs on connections
        self._registered: Timers[str] = Timers()
        self.legs: dict[tuple[str, str], media.Leg] = {}  # by Call-ID and the UE's host
        self.signalling: dict[str, media.Leg] = {}  # Rx sessions for signalling, by the UE's transport address
        self.held: dict[int, media.Held] = {}  # by token of the Rx request
        self.visited_network = ""
        self.integrity_protected = True
        self.keeps_keys = True
        self.rx: rx.RxProfile | None = rx.RxProfile()
        self.rx_identity: Mapping[str, str] = {"originating": "asserted", "terminating": "to"}
        self.rx_registration: signalling_flow.SignallingForm | None = None
        self.token = 0
        self.relay_port = 0
        self.sessions = 0
        self._session = random.getrandbits(32)

    def _asked_on_diameter(self, event: Received, request: diameter.Message, now: float) -> list[Output]:
        return media.asked(self, event, request)

    def _answered_on_diameter(
        self, token: int, answer: diameter.Message | None, reason: str, now: float
    ) -> list[Output]:
        return media.answer_arrived(self, token, answer, reason, now)

    def _take_profile(self, profile: Mapping[str, Any]) -> None:
        self.visited_network = profile.get("visited_network_id", self.visited_network)
        self.integrity_protected = profile.get("integrity_protected", self.integrity_protected)
        self.keeps_keys = profile.get("keeps_keys", self.keeps_keys)
        self.rx_identity = {**self.rx_identity, **profile.get("rx_identity", {})}
        if "rx_registration" in profile:
            self.rx_registration = signalling_flow.form_of(profile["rx_registration"])
        if "rx" in profile:
            self.rx = None if profile["rx"] is None else rx.profile_of(profile["rx"])

    def _take_context(self, context: Mapping[str, Any], now: float) -> None:
        for one in context.get("registrations", ()):
            ue = with_port(str(one["ue_address"]))
            registration = Registration(
                impi=str(one.get("impi", "")),
                impus=tuple(one["impus"]),
                contact=str(one.get("contact", "")),
                ue=ue,
                service_route=tuple(one.get("service_route", ())),
                transport=str(one.get("transport", "UDP")),
            )
            self.register(registration, now + float(one.get("expires", DEFAULT_EXPIRES)))
        for one in context.get("dialogs", ()):
            host = with_port(str(one["ue_address"])).rpartition(":")[0]
            leg = media.Leg(str(one["call_id"]), host, bool(one["originating"]), dict(one.get("identities", {})))
            self.legs[leg.call_id, host] = leg

    def leftovers(self) -> Mapping[str, int]:
        """Registrations, call legs and SIP messages that wait for the PCRF."""
        sessions = sum(1 for leg in (*self.legs.values(), *self.signalling.values()) if leg.session_id)
        return {
            "registrations": len(self.registrations),
            "dialogs": len(self.legs),
            "rx_sessions": sessions,
            "held": len(self.held),
        }

    def wake(self, now: float) -> Sequence[Output]:
        """Timers of calls; registrations that have run out."""
        outputs: list[Output] = []
        for ue in self._registered.due(now):
            self.deregister(ue)
            outputs += signalling_flow.end(self, ue)
        return [*outputs, *super().wake(now)]

    def deadline(self) -> float | None:
        """The next timer of a call or a registration."""
        return earliest(super().deadline(), self._registered.deadline())

    def forget(self, subscriber: str, calls: Collection[str], now: float) -> Sequence[Output]:
        """End the Rx sessions of the user whose private identity is derived from this IMSI (TS 23.003 clause 13.3)."""
        outputs: list[Output] = []
        for token in [token for token, one in self.held.items() if one.leg.call_id in frozenset(calls)]:
            del self.held[token]
        for ue in [ue for ue, one in self.registrations.items() if one.impi.partition("@")[0] == subscriber]:
            self.deregister(ue)
            outputs += signalling_flow.end(self, ue)
        for call_id in calls:
            outputs += self.end_call(call_id)
        return [*outputs, *super().forget(subscriber, calls, now)]

    def end_call(self, call_id: str) -> Sequence[Output]:
        """A call has ended where this P-CSCF did not hear of it: end its Rx sessions."""
        legs = [leg for leg in self.legs.values() if leg.call_id == call_id]
        return [output for leg in legs for output in media.release(self, leg)]

    def register(self, registered: Registration, until: float) -> None:
        """A UE is registered until then. A new connection takes the place of the one before (RFC 5626 clause 5.2)."""
        key = registration.contact_key(registered.contact)
        before = self._flows.get(key, registered.ue)
        if before != registered.ue:
            self.deregister(before)
            if before in self.signalling:
                self.signalling[registered.ue] = self.signalling.pop(before)
        if registered.transport == "TCP":
            self._flows[key] = registered.ue
        self.registrations[registered.ue] = registered
        self._registered.set(registered.ue, until)

    def deregister(self, ue: str) -> None:
        """A UE is registered no more."""
        known = self.registrations.pop(ue, None)
        self._registered.cancel(ue)
        key = registration.contact_key(known.contact) if known is not None else None
        if key is not None and self._flows.get(key) == ue:
            del self._flows[key]

    def registration_of(self, ue: str, request: sip.Message) -> Registration | None:
        """The registration of the UE that sends a request, from whichever of its ports (RFC 3261 clause 18.1.1)."""
        known = self.registrations.get(ue)
        if known is not None:
            return known
        via, host = sip.parse_via(request.first("Via")), split_address(ue)[0]
        found = self.registrations.get(with_port(f"{host}:{via.port or DEFAULT_PORT}"))
        if found is None and via.transport == "TCP":
            flow = next((one for one in self._flows.values() if split_address(one)[0] == host), "")
            found = self.registrations.get(flow)
        return found

    def follow_flow(self, context: Context) -> None:
        """A UE that registered over one connection and now sends over another is reached over that (RFC 5626 5.3)."""
        ue = context.peer.address
        if ue in self.registrations or sip.parse_via(context.request.first("Via")).transport != "TCP":
            return
        known = self.registration_of(ue, context.request)
        until = self._registered.time_of(known.ue) if known is not None else None
        if known is not None and known.transport == "TCP" and until is not None:
            self.register(replace(known, ue=ue), until)

    def address_of_ue(self, request: sip.Message) -> str:
        """Where a request for a UE goes: over the connection that its contact registered on (RFC 5626 clause 5.3)."""
        if not request.first("Route"):
            flow = self._flows.get(registration.contact_key(request.request_uri))
            if flow is not None:
                return flow
        return self._next_hop(request)

    # ---- what the proxy asks

    def _way_of(self, event: Received, request: sip.Message) -> Way:
        from_ue = event.interface is Interface.GM or event.peer.role is Role.UE
        if request.method == "REGISTER":
            return Way.REGISTER
        if sip.parse_name_addr(request.first("To")).param("tag") is not None:
            return Way.IN_DIALOG_FROM_UE if from_ue else Way.IN_DIALOG_TO_UE
        return Way.ORIGINATING if from_ue else Way.TERMINATING

    def _route(self, context: Context, now: float) -> list[Output]:
        context.ue = context.peer.address
        if context.way in (Way.ORIGINATING, Way.IN_DIALOG_FROM_UE):
            self.follow_flow(context)
        return _ROUTES[context.way](self, context, now)

    def _answered(self, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output] | None:
        if context.way is Way.REGISTER:
            return registration.answered(self, context, branch, answer, now)
        if context.way in (Way.TERMINATING, Way.IN_DIALOG_TO_UE):
            answer = self._with_alias(answer, branch.peer)
        return media.answered(self, context, branch, answer, now)

    def _over(self, context: Context) -> list[Output]:
        if context.way in (Way.IN_DIALOG_FROM_UE, Way.IN_DIALOG_TO_UE):
            finals = {branch.final.status for branch in context.branches.values() if branch.final is not None}
            if not finals & _WITHOUT_DIALOG:
                return []
        elif context.method != "INVITE" or context.way not in (Way.ORIGINATING, Way.TERMINATING):
            return []
        leg = media.leg_of(self, context)
        return [] if leg is None else media.release(self, leg)

    def _peer_of(self, address: str, context: Context | None) -> tuple[Interface, Peer]:
        role = self.names.role_of(address)
        to_ue = context is not None and context.way in (Way.TERMINATING, Way.IN_DIALOG_TO_UE)
        if role is None and (to_ue or address in self.registrations or context is None):
            return Interface.GM, Peer(Role.UE, address)
        if role is None:
            role = Role.ICSCF if context is not None and context.way is Way.REGISTER else Role.SCSCF
        return (Interface.GM if role is Role.UE else Interface.MW), Peer(role, address)

    def _way_out(self, interface: Interface, peer: Peer) -> Carriage:
        if interface is not Interface.GM:
            return super()._way_out(interface, peer)
        known = self.registrations.get(peer.address)
        return Carriage(known.transport if known is not None else "UDP")

    def _values(self, context: Context) -> dict[str, str]:
        return {
            "address": self.address,
            "host": split_address(self.address)[0],
            "spi_c": str(self.random.randrange(256, 1 << 32)),
            "spi_s": str(self.random.randrange(256, 1 << 32)),
            "visited_network": self.visited_network,
            "icid": self._icid(context),
            "identity": originating.asserted_identity(self, context.request, context.peer.address),
        }

    # ---- small things

    def _icid(self, context: Context) -> str:
        icid = context.notes.setdefault("icid", f"{self.random.getrandbits(128):032X}")
        return str(icid)

    def _rx_session_id(self) -> str:
        """A Session-Id (RFC 6733 clause 8.8)."""
        self.sessions += 1
        host = self.rx.origin_host if self.rx is not None else self.address
        return f"{host};{self._session};{self.sessions}"

    def _with_alias(self, message: sip.Message, peer: Peer) -> sip.Message:
        """The UE's Contact with the address it really sends from, where the operator does so."""
        value = message.first("Contact")
        if not self.policy.contact_alias or "<" not in value or ";alias=" in value:
            return message
        transport = _TRANSPORTS.get(sip.parse_via(message.first("Via")).transport, 1) if message.is_request else 1
        host, _, port = peer.address.rpartition(":")
        head, close, tail = value.partition(">")
        return message.replace_first_value("Contact", f"{head};alias={host}~{port}~{transport}{close}{tail}")

    def _without_alias(self, request: sip.Message) -> sip.Message:
        """A Request-URI as the UE wrote its Contact."""
        head, found, tail = request.request_uri.partition(";alias=")
        if not found:
            return request
        return request.with_request_uri(head + "".join(f";{part}" for part in tail.split(";")[1:]))


_ROUTES: dict[Way, Callable[[Pcscf, Context, float], list[Output]]] = {
    Way.REGISTER: registration.route,
    Way.ORIGINATING: originating.route,
    Way.TERMINATING: terminating.route,
    Way.IN_DIALOG_FROM_UE: in_dialog.route,
    Way.IN_DIALOG_TO_UE: in_dialog.route,
}
