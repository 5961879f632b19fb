"""Recorded messages as a foreign NF must see them: what its stand-in neighbours call their own is told it, and is new.

Identifiers that the target allocated are translated as for an edge NF. Besides, what the stand-ins allocate is theirs:
F-TEIDs lead to their addresses; TEID, Session-Id, Call-ID and Via branch are new in every replay, so that a target
which still holds an earlier one does not take this one for a repetition, nor is the earlier one taken for this;
Origin-Host and -Realm are those of the capabilities exchange; Recovery is that of the Echo Response (TS 23.007 clause
18).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import FTeid, IeType, Recovery
from ferret.protocols.summary import Protocol
from ferret.records.decoding import doors
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.foreign.identifiers import DiameterName
from ferret.replay.foreign.nas import DeviceNas
from ferret.replay.foreign.neighbours import CONTROL_PLANE, OWNERS
from ferret.replay.foreign.targets import ForeignSetting
from ferret.replay.rewrite import Message
from ferret.replay.rewrite.fields import with_each_value, with_values
from ferret.replay.translation import Domain, Pair, Translation, teid_scope
from ferret.replay.translator import StimulusTranslator

_OWN_ROUTES: Final = ("Contact", "Record-Route", "Path", "Service-Route")
_SECURITY_AGREEMENT: Final = "sec-agree"  # RFC 3329
_OPTION_TAGS: Final = ("Require", "Proxy-Require", "Supported")
_ROUTE_RECORD: Final = 282  # RFC 6733 clause 6.7.1: where the recorded request had passed


class ForeignTranslator(StimulusTranslator):
    """The translation of one replay at foreign NFs. `hosts`: see `identifiers.host_map`."""

    def __init__(
        self,
        hosts: Mapping[str, str],
        setting: ForeignSetting,
        names: Mapping[Role, DiameterName],
        *,
        beyond: Mapping[str, str],
        own: frozenset[Role] = frozenset(),
        restart_counter: int = 0,
        random: Random,
    ) -> None:
        """`beyond`: the hosts as seen from the other party's half.

        `own`: the roles that have neither a target nor a stand-in, since an edge NF is there.
        """
        super().__init__(hosts)
        self.nas: DeviceNas | None = None
        self._beyond = Translation(beyond)
        self._setting = setting
        self._names = names
        self._own = own
        self._theirs = setting.roles | own
        self._restart_counter = restart_counter
        self._run = f"{random.getrandbits(32):08x}"
        self._mask = random.getrandbits(31) + 1  # what makes a stand-in's TEID out of a recorded one
        self._sessions = random.getrandbits(31)

    def stimulus(self, message: SignallingMessage) -> tuple[bytes, str]:
        """The octets to send, and the recorded address of whom they come from.

        An edge NF's stimuli are as in any replay: its border is where the recorded NFs are.
        """
        if message.to_nf.role in self._own:
            return self._for_edge(message)
        decoded = doors(message.protocol).decode(message.octets)
        self._announce(message, decoded)
        octets, peer = super().stimulus(message)
        made = doors(message.protocol).decode(octets)
        dressed = self._dressed(message, made)
        return (octets if dressed is made else dressed.encode()), peer

    def _for_edge(self, message: SignallingMessage) -> tuple[bytes, str]:
        """As in any replay, but a device that registers at a target has the stand-in's Contact everywhere."""
        octets, peer = super().stimulus(message)
        if message.protocol is not Protocol.SIP:
            return octets, peer
        made = sip.decode(octets)
        return with_each_value(made, "Contact", self._beyond.text).encode(), peer

    def protect_with(self, device: DeviceNas) -> None:
        """Have the device's NAS messages protected as a target MME wants them."""
        self.nas = device
        self.uplink_nas = device.uplink

    def met(self, recorded: DiameterName | None, now: DiameterName) -> None:
        """A target has said who it is; `recorded`: who the recorded NF in its place was."""
        if recorded is not None:
            self.translation.learn(
                [
                    Pair(Domain.ORIGIN_HOST, recorded.host, now.host),
                    Pair(Domain.ORIGIN_REALM, recorded.realm, now.realm),
                ]
            )

    def destination(self, message: SignallingMessage, address: str) -> str:
        """Where the target wants a GTPv2-C message of this interface: an SGW may have an address for each of its two.

        `address`: where it is if it has said nothing else.
        """
        kind = CONTROL_PLANE.get((message.interface, message.to_nf.role))
        if kind is None:
            return address
        found = self.translation.learnt(Domain.ADDRESS, message.to_nf.address, str(kind))
        return address if found is None else str(found)

    def is_ours(self, interface: Interface, neighbour: Role, asked: Message) -> bool:
        """Whether a request of a target is about a session of this replay, not one that it still holds of another."""
        if isinstance(asked, gtpv2.Message):
            kind = CONTROL_PLANE.get((interface, neighbour))
            if kind is None or not asked.teid:
                return True
            here = teid_scope(kind, self._setting.stand_ins.address(neighbour))
            return self.translation.recorded(Domain.TEID, asked.teid, here) is not None
        if isinstance(asked, diameter.Message) and Role.PCRF in self._setting.roles and neighbour is not Role.PCRF:
            session = asked.value_of(avp.SESSION_ID)
            return not session or self.translation.recorded(Domain.SESSION_ID, session) is not None
        return True

    # What the stand-ins allocate.

    def _announce(self, message: SignallingMessage, decoded: Message) -> None:
        if isinstance(decoded, gtpv2.Message):
            self.translation.learn(self._tunnels(decoded.ies, Domain.TEID))
        elif isinstance(decoded, diameter.Message):
            self._announce_session(message, decoded)
        elif isinstance(decoded, sip.Message):
            self._announce_sip(decoded)

    def _tunnels(self, ies: tuple[gtpv2.Ie, ...], domain: Domain) -> Iterator[Pair]:
        """The F-TEIDs of stand-ins: new TEIDs, at the stand-ins' addresses."""
        for ie in ies:
            if isinstance(ie.value, tuple):
                yield from self._tunnels(ie.value, Domain.TEID_U)
            elif ie.type == IeType.F_TEID:
                yield from self._tunnel(ie, domain)

    def _tunnel(self, ie: gtpv2.Ie, domain: Domain) -> Iterator[Pair]:
        try:
            tunnel = FTeid.decode(ie.octets)
        except DecodeError:
            return
        kind, address = tunnel.interface_type, tunnel.address
        owner = OWNERS.get(kind)
        if owner is None or not address:
            return
        if owner in self._theirs:
            if owner in self._setting.roles and self.translation.learnt(Domain.ADDRESS, address, str(kind)) is None:
                here = self._setting.target(owner).address
                yield Pair(Domain.ADDRESS, address, here, str(kind), str(kind))
            return
        here = self._setting.stand_ins.address(owner)
        yield Pair(Domain.ADDRESS, address, here, str(kind), str(kind))
        scopes = teid_scope(kind, address), teid_scope(kind, here)
        if tunnel.teid:
            yield Pair(domain, tunnel.teid, (tunnel.teid ^ self._mask) or self._mask, *scopes)

    def _announce_session(self, message: SignallingMessage, decoded: diameter.Message) -> None:
        session = decoded.value_of(avp.SESSION_ID)
        if not decoded.is_request or not session or self.translation.edge(Domain.SESSION_ID, session) is not None:
            return
        self._sessions = (self._sessions + 1) & 0xFFFFFFFF
        name = self._names.get(message.from_nf.role)
        host = name.host if name is not None else session.partition(";")[0]
        new = f"{host};{int(self._run, 16)};{self._sessions}"  # RFC 6733 clause 8.8
        self.translation.learn([Pair(Domain.SESSION_ID, session, new)])

    def _announce_sip(self, decoded: sip.Message) -> None:
        translation = self.translation
        call = decoded.first("Call-ID")
        if call and translation.edge(Domain.CALL_ID, call) is None:
            translation.learn([Pair(Domain.CALL_ID, call, f"{self._run}-{call}")])
        if not decoded.is_request:
            return
        for value in decoded.values("Via"):
            branch = sip.parse_via(value).branch
            known = self._context.sip.via(value) != value or translation.edge(Domain.BRANCH, branch) is not None
            if branch and not known:
                translation.learn([Pair(Domain.BRANCH, branch, f"{branch}.{self._run}")])

    # What the stand-ins say of themselves.

    def _dressed(self, message: SignallingMessage, made: Message) -> Message:
        if isinstance(made, gtpv2.Message):
            return self._recovered(made)
        if isinstance(made, diameter.Message):
            return self._named(message, made)
        if isinstance(made, sip.Message):
            return self._placed(message, made, doors(message.protocol).decode(message.octets))
        return made

    def _recovered(self, made: gtpv2.Message) -> gtpv2.Message:
        if not any(ie.type == IeType.RECOVERY and ie.octets != bytes((self._restart_counter,)) for ie in made.ies):
            return made
        new = Recovery(self._restart_counter).encode()
        return replace(made, ies=tuple(replace(ie, value=new) if ie.type == IeType.RECOVERY else ie for ie in made.ies))

    def _named(self, message: SignallingMessage, made: diameter.Message) -> diameter.Message:
        name = self._names.get(message.from_nf.role)
        if name is None:
            return made
        new = {avp.ORIGIN_HOST.code: avp.ORIGIN_HOST(name.host), avp.ORIGIN_REALM.code: avp.ORIGIN_REALM(name.realm)}
        avps = tuple(
            new[one.code] if one.code in new and not one.vendor else one
            for one in made.avps
            if not (made.is_request and one.code == _ROUTE_RECORD and not one.vendor)
        )
        return replace(made, avps=avps)

    def _placed(self, message: SignallingMessage, made: sip.Message, recorded: sip.Message) -> sip.Message:
        """Where stand-ins are. What of the target's own was recorded has been translated: any other is of beyond."""
        for name in _OWN_ROUTES:
            made = with_each_value(made, name, self._route)
        if message.from_nf.role is Role.UE:
            made = _without_security_agreement(made)
        if not made.is_request:
            return made
        stack = [self._via(old, new) for old, new in zip(recorded.values("Via"), made.values("Via"), strict=True)]
        return with_values(made, "Via", [_over_udp(stack[0]), *stack[1:]] if stack else stack)

    def _route(self, value: str) -> str:
        """A URI that the target gave out before is its own, wherever it comes back."""
        old = sip.parse_name_addr(value).uri
        known = self._context.sip.uri(old)
        return self._beyond.text(value) if known is None else value.replace(old, known, 1)

    def _via(self, recorded: str, made: str) -> str:
        """A stand-in's Via, at the stand-in's place."""
        branch = sip.parse_via(recorded).branch
        new = f"{branch}.{self._run}"
        if not branch or sip.parse_via(made).branch != new:
            return made
        return self._beyond.text(recorded.replace(branch, new, 1))


def _without_security_agreement(made: sip.Message) -> sip.Message:
    """A stand-in for a UE has no IPsec (TS 33.203); it does not offer it."""
    made = made.remove("Security-Client", "Security-Verify")
    for name in _OPTION_TAGS:
        kept = [value for value in made.values(name) if value.lower() != _SECURITY_AGREEMENT]
        made = with_values(made, name, kept) if kept else made.remove(name)
    return made


def _over_udp(via: str) -> str:
    """A Via value of a message that goes over UDP."""
    return via.replace("SIP/2.0/TCP", "SIP/2.0/UDP", 1).replace("SIP/2.0/TLS", "SIP/2.0/UDP", 1)
